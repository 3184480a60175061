"""Gate: a learnt mixture of two inputs."""

from typing import ClassVar

import torch
from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import over_same_tokens, same_size, same_tokens
from core.types import Features, Spec


@BLOCKS.register
class Gate(Block):
    """A mixture of two inputs, feature by feature: g * x + (1 - g) * y with the gate g = sigmoid(W [x; y] + b).

    Shape: B x D, B x D -> B x D; B x T x D, B x T x D -> B x T x D.
    Masking: sequences run over the same tokens; the output is zero at padding.
    `{"layer_id": "mixed", "layer": "Gate", "inputs": ["question", "matched"]}`
    Reference: Srivastava et al. 2015, Highway Networks, equation 3, with a gate that reads both of what it mixes, as in
    Arevalo et al. 2017, Gated Multimodal Units for Information Fusion.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "combination"

        def output_spec(self, x: Spec, y: Spec) -> Spec:
            spec = same_tokens(x, y)
            same_size(x, y)
            return spec

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * x.size("D"), x.size("D"))

    def forward(self, x: Features, y: Features) -> Features:
        (left, right), tokens = over_same_tokens("Gate", x, y)
        gate = self.gate(torch.cat([left, right], -1)).sigmoid()
        return tokens.with_values(gate * left + (1 - gate) * right)
