"""Fusion: the tokens of a text compared with what they are aligned with."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from block_zoo.activation import activation
from block_zoo.base import BLOCKS, Block
from block_zoo.masking import over_same_tokens, same_size, same_tokens, zero_padding
from core.conf import Activation, PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class Fusion(Block):
    """Two inputs compared in three ways: G([G1([x; y]); G2([x; x - y]); G3([x; x * y])]).

    Each G is a fully connected layer of its own, f(W z + b).

    Shape: x B x T x D, y B x T x D -> B x T x D', D' = hidden_dim; vectors B x D likewise.
    Masking: both run over the same tokens; the output is zero at padding.
    `{"layer_id": "fused", "layer": "Fusion", "conf": {"hidden_dim": 64}, "inputs": ["question", "matched"]}`
    Reference: Yang et al. 2019, Simple and Effective Text Matching with Richer Alignment Features, section 2
    (fusion layer).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "combination"

        hidden_dim: PositiveInt = 128
        """Features of every G."""
        activation: Activation | None = "GELU"
        """The activation f; null = none."""

        def output_spec(self, x: Spec, y: Spec) -> Spec:
            spec = same_tokens(x, y)
            same_size(x, y)
            return spec.resized(D=self.hidden_dim)

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        dim, hidden = x.size("D"), conf.hidden_dim
        self.compare = nn.ModuleList(nn.Linear(2 * dim, hidden) for _ in range(3))
        self.join = nn.Linear(3 * hidden, hidden)
        self.activation = activation(conf.activation)

    def forward(self, x: Features, y: Features) -> Features:
        (a, b), tokens = over_same_tokens("Fusion", x, y)
        compared = [
            self.activation(layer(torch.cat([a, other], -1)))
            for layer, other in zip(self.compare, (b, a - b, a * b), strict=True)
        ]
        joined: Tensor = self.activation(self.join(torch.cat(compared, -1)))
        return tokens.with_values(zero_padding(joined, tokens.mask))
