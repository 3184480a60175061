"""Flatten: everything of a row in one vector."""

import math
from typing import ClassVar

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import zero_padding
from core.types import Features, Spec


@BLOCKS.register
class Flatten(Block):
    """Everything of a row in one vector; the sizes must be known, by fixed_lengths for sequences.

    Shape: B x T x D, B x T x S, B x T x S x D, ... -> B x (product of the sizes).
    Masking: padding counts as zeros.
    `{"layer_id": "flat", "layer": "Flatten", "inputs": ["question_vector"]}`
    Reference: torch.flatten.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "pooling"

        def output_spec(self, states: Spec) -> Spec:
            if len(states.axes) < 2:
                raise ValueError(f"expects an input with more axes than rows, but the input is {states}.")
            for axis in states.axes[1:]:
                if axis not in states.sizes:
                    raise ValueError(f"needs a known size of {axis} (see fixed_lengths), but the input is {states}.")
            return Spec("BD", {"D": math.prod(states.sizes[axis] for axis in states.axes[1:])})

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()

    def forward(self, states: Features) -> Features:
        return Features(zero_padding(states.values, states.mask).flatten(1))
