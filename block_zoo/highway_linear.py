"""HighwayLinear: layers that let their input through where a gate says so."""

from typing import ClassVar, cast

import torch
from torch import nn

from block_zoo.activation import activation
from block_zoo.base import BLOCKS, Block
from block_zoo.masking import zero_padding
from core.conf import Activation, PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class HighwayLinear(Block):
    """Highway layers: g x + (1 - g) f(A x) with the gate g = sigmoid(B x).

    Shape: B x ... x D -> the same.
    Masking: every token for itself; the output is zero at padding.
    `{"layer_id": "highway", "layer": "HighwayLinear", "conf": {"num_layers": 2}, "inputs": ["question"]}`
    Reference: Srivastava et al. 2015, Highway Networks, equation 3, with its advice that gates begin by carrying.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "dense"

        num_layers: PositiveInt = 1
        """Layers on top of each other."""
        activation: Activation | None = "PReLU"
        """The activation f; null = none."""

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BD", "BTD", "BTSD").size("D")
            return states.resized()

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        dim = states.size("D")
        self.layers = nn.ModuleList(nn.Linear(dim, 2 * dim) for _ in range(conf.num_layers))
        self.activations = nn.ModuleList(activation(conf.activation) for _ in range(conf.num_layers))
        for layer in self.layers:
            nn.init.constant_(cast(nn.Linear, layer).bias[dim:], 1.0)

    def forward(self, states: Features) -> Features:
        values = zero_padding(states.values, states.mask)
        for layer, activate in zip(self.layers, self.activations, strict=True):
            changed, gate = layer(values).chunk(2, -1)
            values = torch.lerp(activate(changed), values.to(changed.dtype), gate.sigmoid())
        return states.with_values(zero_padding(values, states.mask))
