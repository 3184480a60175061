"""Modules of torch with the weights of our blocks."""

from collections.abc import Sequence
from typing import Any

from torch import nn


def recurrent_twin(layers: Sequence[Any]) -> nn.LSTM | nn.GRU:
    """One module of torch for the layers of an LSTM or GRU."""
    first = layers[0].directions[0]
    rnn: nn.LSTM | nn.GRU = type(first)(
        first.input_size, first.hidden_size, len(layers), batch_first=True, bidirectional=len(layers[0].directions) == 2
    )
    weights = {
        name.replace("_l0", f"_l{number}") + ("_reverse" if backwards else ""): weight
        for number, layer in enumerate(layers)
        for backwards, direction in enumerate(layer.directions)
        for name, weight in direction.state_dict().items()
    }
    rnn.load_state_dict(weights)
    return rnn.eval()
