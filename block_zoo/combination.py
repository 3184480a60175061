"""Combination: inputs beside their difference and product."""

import dataclasses
import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import over_same_tokens, same_tokens
from core.types import Features, Spec


@BLOCKS.register
class Combination(Block):
    """The inputs, the absolute difference of two and the product of all, side by side.

    Shape: n times B x D (or B x T x D) -> B x D' (or B x T x D'): n D for origin, D for difference, D for dot_multiply.
    Masking: sequences run over the same tokens; the output is zero at padding.
    `{"layer_id": "pair", "layer": "Combination", "inputs": ["question_vector", "answer_vector"]}`
    Reference: Mou et al. 2016, Natural Language Inference by Tree-Based Convolution, section 3.3.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "combination"

        operations: list[Literal["origin", "difference", "dot_multiply"]] = dataclasses.field(
            default_factory=lambda: ["origin", "difference", "dot_multiply"]
        )
        """What stands side by side: origin = the inputs, difference = |a - b|, dot_multiply = their product."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.operations:
                raise ValueError("operations is empty.")

        def output_spec(self, *inputs: Spec) -> Spec:
            spec = same_tokens(*inputs)
            dims = [states.size("D") for states in inputs]
            if "difference" in self.operations and len(inputs) != 2:
                raise ValueError(f"needs two inputs for difference, but there are {len(inputs)}.")
            compared = [name for name in ("difference", "dot_multiply") if name in self.operations]
            if compared and len(set(dims)) > 1:
                came = " and ".join(map(str, inputs))
                raise ValueError(f"needs inputs of the same size for {' and '.join(compared)}, but they are {came}.")
            return spec.resized(D=("origin" in self.operations) * sum(dims) + len(compared) * dims[0])

    def __init__(self, conf: Conf, *inputs: Spec) -> None:
        super().__init__()
        self.operations = conf.operations

    def forward(self, *inputs: Features) -> Features:
        values, tokens = over_same_tokens("Combination", *inputs)
        joined: list[Tensor] = list(values) if "origin" in self.operations else []
        if "difference" in self.operations:
            joined.append((values[0] - values[1]).abs())
        if "dot_multiply" in self.operations:
            joined.append(math.prod(values[1:], start=values[0]))
        return tokens.with_values(torch.cat(joined, -1))
