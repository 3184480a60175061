"""Expand_plus: the sum of every token of one text and every token of another."""

from typing import ClassVar

from block_zoo.base import BLOCKS, Block
from block_zoo.grid import grid_spec, over_pairs
from block_zoo.masking import same_size
from core.types import Features, Spec


@BLOCKS.register
class Expand_plus(Block):  # noqa: N801 (the name that configs write)
    """The sum x_i + y_j for every pair of tokens of two texts.

    After a convolution of each text this is the convolution over both of ARC-II, which is linear in its two windows.

    Shape: x B x T x D, y B x S x D -> B x T x S x D.
    Masking: the output has a mask of B x T x S and is zero where either token is padding.
    `{"layer_id": "grid", "layer": "Expand_plus", "inputs": ["question", "answer"]}`
    Reference: Hu et al. 2014, Convolutional Neural Network Architectures for Matching Natural Language Sentences,
    section 3.2 (ARC-II, layer 1).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "attention"
        ignored: ClassVar = {"operation": "The texts are always added."}

        def output_spec(self, x: Spec, y: Spec) -> Spec:
            return grid_spec(x, y, same_size(x, y))

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()

    def forward(self, x: Features, y: Features) -> Features:
        return over_pairs(x.values[:, :, None] + y.values[:, None], x, y)
