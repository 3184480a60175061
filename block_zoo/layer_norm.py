"""LayerNorm: features of mean 0 and variance 1."""

from typing import ClassVar

from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import zero_padding
from core.types import Features, Spec


@BLOCKS.register
class LayerNorm(Block):
    """Layer normalisation over the features, with a learnt gain and bias.

    Shape: B x ... x D -> the same.
    Masking: every token for itself; the output is zero at padding.
    `{"layer_id": "normed", "layer": "LayerNorm", "inputs": ["question"]}`
    Reference: Ba et al. 2016, Layer Normalization, equation 4.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "dense"

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BD", "BTD", "BTSD").size("D")
            return states.resized()

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(states.size("D"))

    def forward(self, states: Features) -> Features:
        return states.with_values(zero_padding(self.norm(states.values), states.mask))
