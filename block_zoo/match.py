"""Match: the scores that a match attention would have."""

from typing import ClassVar

from torch import nn

from block_zoo.activation import activation
from block_zoo.base import BLOCKS, Block
from block_zoo.grid import grid_spec, over_pairs
from block_zoo.masking import same_size
from core.conf import Activation
from core.types import Features, Spec


@BLOCKS.register
class Match(Block):
    """Dot products of projected tokens: f(W X) f(W Y)' with one projection W for both texts.

    Shape: x B x T x D, y B x S x D -> B x T x S.
    Masking: the output has a mask of B x T x S and is zero where either token is padding.
    `{"layer_id": "scores", "layer": "Match", "inputs": ["question", "answer"]}`
    Reference: Chen et al. 2017, Reading Wikipedia to Answer Open-Domain Questions, section 3.2, before the softmax.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "attention"

        activation: Activation | None = "PReLU"
        """The activation f; null = none."""

        def output_spec(self, x: Spec, y: Spec) -> Spec:
            same_size(x, y)
            return grid_spec(x, y)

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(x.size("D"), x.size("D")), activation(conf.activation))

    def forward(self, x: Features, y: Features) -> Features:
        return over_pairs(self.project(x.values) @ self.project(y.values).transpose(1, 2), x, y)
