"""Activation: a function of every value by itself; and the activations of other blocks, by name."""

from typing import ClassVar

from torch import nn

import core.conf
from block_zoo.base import BLOCKS, Block
from block_zoo.masking import zero_padding
from core.types import Features, Spec


def activation(name: core.conf.Activation | None) -> nn.Module:
    """The activation of torch.nn with this name; None = the identity."""
    module: nn.Module = nn.Identity() if name is None else getattr(nn, name)()
    return module


@BLOCKS.register
class Activation(Block):
    """An activation where no other layer has one: before a convolution (pre-activation), after a sum.

    Shape: any -> the same.
    Masking: every value for itself; the output is zero at padding.
    `{"layer_id": "active", "layer": "Activation", "conf": {"activation": "ReLU"}, "inputs": ["question"]}`
    Reference: He et al. 2016, Identity Mappings in Deep Residual Networks, section 4 (pre-activation).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "dense"

        activation: core.conf.Activation = "ReLU"
        """The function."""

        def output_spec(self, states: Spec) -> Spec:
            return states.resized()

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.activation = activation(conf.activation)

    def forward(self, states: Features) -> Features:
        return states.with_values(zero_padding(self.activation(states.values), states.mask))
