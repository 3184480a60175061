"""Dropout: zeros at random while training."""

from typing import ClassVar

from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import zero_padding
from core.conf import Rate
from core.types import Features, Spec


@BLOCKS.register
class Dropout(Block):
    """Dropout: while training, a share of the values is zero and the others are scaled up.

    Shape: any -> the same.
    Masking: every value for itself; the output is zero at padding.
    `{"layer_id": "dropped", "layer": "Dropout", "conf": {"dropout": 0.2}, "inputs": ["question"]}`
    Reference: Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "dense"

        dropout: Rate = 0.5
        """The share of values that become zero."""

        def output_spec(self, states: Spec) -> Spec:
            return states.resized()

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.dropout = nn.Dropout(conf.dropout)

    def forward(self, states: Features) -> Features:
        return states.with_values(zero_padding(self.dropout(states.values), states.mask))
