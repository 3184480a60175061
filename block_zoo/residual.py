"""Residual: what came in, added to what a layer made of it."""

from typing import ClassVar, Literal

from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import over_same_tokens, same_tokens, zero_padding
from core.types import Features, Spec


@BLOCKS.register
class Residual(Block):
    """A connection around other layers: x + f, with layer norm and a projection W x where they are asked for.

    Shape: x B x D, f B x D' -> B x D'; x B x T x D, f B x T x D' -> B x T x D'. D = D' without a projection.
    Masking: both run over the same tokens; the output is zero at padding.
    `{"layer_id": "sum", "layer": "Residual", "conf": {"layer_norm": "post"}, "inputs": ["question", "attended"]}`
    Reference: He et al. 2016, Deep Residual Learning for Image Recognition, equations 1 and 2; Vaswani et al. 2017,
    Attention Is All You Need, section 3.1 (post).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "combination"

        projection: bool = False
        """Whether x is projected to the size of f."""
        layer_norm: Literal["pre", "post"] | None = None
        """Layer norm: pre = of f, before it is added; post = of the sum; null = none."""

        def output_spec(self, x: Spec, f: Spec) -> Spec:
            spec = same_tokens(x, f)
            if x.size("D") != f.size("D") and not self.projection:
                raise ValueError(f"needs inputs of the same size D, or projection true, but they are {x} and {f}.")
            return spec.resized(D=f.size("D"))

    def __init__(self, conf: Conf, x: Spec, f: Spec) -> None:
        super().__init__()
        self.project = nn.Linear(x.size("D"), f.size("D"), bias=False) if conf.projection else nn.Identity()
        self.pre = nn.LayerNorm(f.size("D")) if conf.layer_norm == "pre" else nn.Identity()
        self.post = nn.LayerNorm(f.size("D")) if conf.layer_norm == "post" else nn.Identity()

    def forward(self, x: Features, f: Features) -> Features:
        (before, made), tokens = over_same_tokens("Residual", x, f)
        return tokens.with_values(zero_padding(self.post(self.project(before) + self.pre(made)), tokens.mask))
