"""MatchAttention: the aligned question embedding of DrQA."""

from typing import ClassVar

from torch import nn

from block_zoo.activation import activation
from block_zoo.attention import attend, attended_spec
from block_zoo.base import BLOCKS, Block
from block_zoo.masking import same_size
from core.conf import Activation
from core.types import Features, Spec


@BLOCKS.register
class MatchAttention(Block):
    """Aligned attention: softmax(f(W X) f(W Y)') Y with one projection W for both texts.

    Shape: x B x T x D, y B x S x D -> B x T x D; part `attention`: B x T x S.
    Masking: padding of y gets no attention; the output has the mask of x and is zero at its padding.
    `{"layer_id": "matched", "layer": "MatchAttention", "inputs": ["answer", "question"]}`
    Reference: Chen et al. 2017, Reading Wikipedia to Answer Open-Domain Questions, section 3.2.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "attention"

        activation: Activation | None = "ReLU"
        """The activation f; null = none."""

        def output_spec(self, x: Spec, y: Spec) -> Spec:
            return attended_spec(x, y, same_size(x, y))

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(x.size("D"), x.size("D")), activation(conf.activation))

    def forward(self, x: Features, y: Features) -> Features:
        return attend(self.project(x.values) @ self.project(y.values).transpose(1, 2), x, y)
