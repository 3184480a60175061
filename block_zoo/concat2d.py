"""Concat2D: vectors side by side."""

from typing import ClassVar, Literal

import torch

from block_zoo.base import BLOCKS, Block
from core.types import Features, Spec


@BLOCKS.register
class Concat2D(Block):
    """Vectors side by side.

    Shape: n times B x D -> B x (sum of D).
    Masking: none needed.
    `{"layer_id": "pair", "layer": "Concat2D", "inputs": ["question_vector", "answer_vector"]}`
    Reference: torch.cat.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "combination"

        concat2D_axis: Literal[1] = 1
        """The axis that grows: 1 = features."""

        def output_spec(self, *inputs: Spec) -> Spec:
            if not inputs:
                raise ValueError("expects one input or more.")
            return inputs[0].resized(D=sum(states.expect("BD").size("D") for states in inputs))

    def __init__(self, conf: Conf, *inputs: Spec) -> None:
        super().__init__()

    def forward(self, *inputs: Features) -> Features:
        return Features(torch.cat([features.values for features in inputs], 1))
