"""FeedForward: the position-wise network of a transformer."""

from typing import ClassVar

from torch import nn

from block_zoo.activation import activation
from block_zoo.base import BLOCKS, Block
from block_zoo.masking import zero_padding
from core.conf import Activation, PositiveInt, Rate
from core.types import Features, Spec


@BLOCKS.register
class FeedForward(Block):
    """Two fully connected layers with an activation between them: W2 f(W1 x + b1) + b2.

    Shape: B x ... x D -> the same.
    Masking: every token for itself; the output is zero at padding.
    `{"layer_id": "thought", "layer": "FeedForward", "conf": {"hidden_factor": 2}, "inputs": ["question"]}`
    Reference: Vaswani et al. 2017, Attention Is All You Need, equation 2.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "dense"

        hidden_factor: PositiveInt = 4
        """Hidden units for each feature."""
        activation: Activation | None = "GELU"
        """The activation f; null = none."""
        dropout: Rate = 0.1
        """Dropout on the output."""

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BD", "BTD", "BTSD").size("D")
            return states.resized()

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        dim = states.size("D")
        hidden = conf.hidden_factor * dim
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden), activation(conf.activation), nn.Linear(hidden, dim), nn.Dropout(conf.dropout)
        )

    def forward(self, states: Features) -> Features:
        return states.with_values(zero_padding(self.layers(states.values), states.mask))
