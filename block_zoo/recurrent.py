"""What the recurrent blocks share: their settings, and the one way an LSTM or GRU runs over padded texts."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from block_zoo.base import Block
from block_zoo.masking import zero_padding
from core.conf import PositiveInt, Rate
from core.framing import states_at
from core.types import Features, Spec


class RecurrentConf(Block.Conf):
    """The settings of every bidirectional recurrent block."""

    family: ClassVar[str] = "recurrent"

    hidden_dim: PositiveInt = 128
    """Hidden units per direction; the block gives twice as many features."""
    dropout: Rate = 0.0
    """Dropout between the layers; with a single layer, on its states."""
    num_layers: PositiveInt = 1
    """Layers on top of each other."""


class Recurrent(nn.Module):
    """A bidirectional LSTM or GRU of one or more layers over the real tokens of padded texts."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], conf: RecurrentConf, states: Spec) -> None:
        super().__init__()
        sizes = [states.size("D"), *[2 * conf.hidden_dim] * (conf.num_layers - 1)]
        self.layers = nn.ModuleList(RecurrentLayer(kind, size, conf.hidden_dim) for size in sizes)
        self.dropout = nn.Dropout(conf.dropout)

    def forward(self, states: Features) -> tuple[Tensor, Tensor]:
        """The states at every token (B x T x 2H) and the last states of the top layer (B x 2H)."""
        values_BTD = states.values
        for number, layer in enumerate(self.layers):
            values_BTD = layer(self.dropout(values_BTD) if number else values_BTD, states.mask)
        last_BD = last_states(values_BTD, states.mask)
        return (values_BTD, last_BD) if len(self.layers) > 1 else (self.dropout(values_BTD), self.dropout(last_BD))


class RecurrentLayer(nn.Module):
    """A layer of an LSTM or GRU: its states at the real tokens, of both directions side by side; zeros at padding.

    Nothing is packed: to be read backwards, a text is turned round within its length, so that either way padding comes
    last and nothing real sees it. On a CPU the gradient of packed texts costs the square of their length.
    """

    def __init__(
        self, kind: type[nn.LSTM] | type[nn.GRU], size: int, hidden_dim: int, bidirectional: bool = True
    ) -> None:
        super().__init__()
        self.directions = nn.ModuleList(kind(size, hidden_dim, batch_first=True) for _ in range(1 + bidirectional))

    def forward(self, values_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        states = [self.directions[0](values_BTD)[0]]
        if len(self.directions) > 1:
            states.append(_turned(self.directions[1](_turned(values_BTD, mask_BT))[0], mask_BT))
        return zero_padding(torch.cat(states, -1), mask_BT)


def last_states(states_BTD: Tensor, mask_BT: Tensor | None, bidirectional: bool = True) -> Tensor:
    """The state at the last real token, and that of the backward half at the first one; zeros for an empty text."""
    if mask_BT is None:
        last_BD = states_BTD[:, -1]
    else:
        last_B = (mask_BT.sum(1) - 1).clamp(min=0)
        last_BD = states_BTD[torch.arange(len(last_B), device=last_B.device), last_B]
    if not bidirectional:
        return last_BD
    forward_BD, _ = last_BD.chunk(2, -1)
    _, backward_BD = states_BTD[:, 0].chunk(2, -1)
    return torch.cat([forward_BD, backward_BD], -1)


def _turned(values_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
    """Each text from its last real token to its first; padding stays."""
    if mask_BT is None:
        return values_BTD.flip(1)
    places_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    turned_BT = torch.where(mask_BT, mask_BT.sum(1, keepdim=True) - 1 - places_T, places_T)
    return states_at(values_BTD, turned_BT)


def over_time(conf: RecurrentConf, states: Spec) -> Spec:
    """The spec of the states at every token."""
    states.expect("BTD").size("D")
    return states.resized(D=2 * conf.hidden_dim)


def at_the_end(conf: RecurrentConf, states: Spec) -> Spec:
    """The spec of the last states."""
    states.expect("BTD").size("D")
    return states.resized("BD", D=2 * conf.hidden_dim)
