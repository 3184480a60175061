"""BilinearAttention: how much a vector has to do with each token of a text."""

import dataclasses
from typing import ClassVar

from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import masked_softmax, zero_padding
from core.types import Features, Spec


@BLOCKS.register
class BilinearAttention(Block):
    """The score x_t W y of every token of a text with a vector, as for the start or the end of an answer.

    Shape: x B x T x D, y B x E -> B x T x 1; part `attention`: B x T, the softmax of the scores over the text.
    Masking: the output is zero at padding, which gets no attention.
    `{"layer_id": "start", "layer": "BilinearAttention", "inputs": ["passage", "question_vector"]}`
    Reference: Chen et al. 2017, Reading Wikipedia to Answer Open-Domain Questions, section 3.2 (prediction).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "attention"

        def output_spec(self, x: Spec, y: Spec) -> Spec:
            x.expect("BTD").size("D")
            y.expect("BD").size("D")
            return dataclasses.replace(x.resized(D=1), parts={"attention": x.resized("BT")})

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.project = nn.Linear(y.size("D"), x.size("D"), bias=False)

    def forward(self, x: Features, y: Features) -> Features:
        scores_BTD = zero_padding(x.values @ self.project(y.values).unsqueeze(-1), x.mask)
        return x.with_values(scores_BTD, attention=masked_softmax(scores_BTD.squeeze(-1), x.mask))
