"""MultiHeadAttention: a text reads itself or another one, in several ways at once."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import zero_padding
from block_zoo.positions import rotated
from core.conf import PositiveInt, Rate
from core.types import Features, Spec


class HeadsConf(Block.Conf):
    """The settings of attention with several heads, wherever it stands."""

    family: ClassVar[str] = "attention"

    aliases: ClassVar = {"n_head": "num_heads"}
    num_heads: PositiveInt = 12
    """Heads; each reads an equal share of the features."""
    attn_dropout: Rate = 0.1
    """Dropout on the attention."""
    resid_dropout: Rate = 0.1
    """Dropout on the output."""
    scale: bool = True
    """Whether scores are divided by the square root of the features of a head."""


@BLOCKS.register
class MultiHeadAttention(Block):
    """For each head softmax(Q K' / sqrt(d)) V, side by side and projected: Q of x, K and V of the memory.

    Shape: x B x T x D, memory B x S x E -> B x T x D. With one input a text is its own memory.
    Masking: padding of the memory gets no attention, an empty memory gives zeros; the output has the mask of x and is
    zero at its padding.
    `{"layer_id": "read", "layer": "MultiHeadAttention", "conf": {"num_heads": 4}, "inputs": ["question", "answer"]}`
    Reference: Vaswani et al. 2017, Attention Is All You Need, section 3.2; Su et al. 2021, RoFormer (rotary).
    """

    class Conf(HeadsConf):
        causal: bool = False
        """Whether a token reads only itself and those before it; for one input."""
        rotary: bool = False
        """Whether queries and keys are rotated by their positions; for one input."""

        def output_spec(self, x: Spec, memory: Spec | None = None) -> Spec:
            dim = x.expect("BTD").size("D")
            if dim % self.num_heads:
                raise ValueError(f"needs a size D that num_heads {self.num_heads} divides, but the input is {x}.")
            if self.rotary and dim // self.num_heads % 2:
                raise ValueError(f"rotates pairs of features (rotary), but a head has {dim // self.num_heads}.")
            if memory is not None:
                memory.expect("BTD").size("D")
                if self.causal or self.rotary:
                    raise ValueError("compares positions (causal, rotary) within one text, but it has two inputs.")
            return x.resized()

    def __init__(self, conf: Conf, x: Spec, memory: Spec | None = None) -> None:
        super().__init__()
        self.conf = conf
        dim = x.size("D")
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear((memory or x).size("D"), 2 * dim)
        self.output = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(conf.resid_dropout)

    def forward(self, x: Features, memory: Features | None = None) -> Features:
        conf, read = self.conf, memory or x
        queries_BATD = self._heads(self.query(x.values))
        keys_BASD, values_BASD = map(self._heads, self.key_value(read.values).chunk(2, -1))
        if conf.rotary:
            queries_BATD, keys_BASD = rotated(queries_BATD), rotated(keys_BASD)
        mask_BATS = real_B = None
        if read.mask is not None and not conf.causal:  # a real token that looks back sees no padding
            # A softmax over nothing is not a number: an empty memory is read, and the result is zeroed.
            real_B = read.mask.any(1)
            mask_BATS = (read.mask | ~real_B.unsqueeze(1))[:, None, None]
        attended_BATD = F.scaled_dot_product_attention(
            queries_BATD,
            keys_BASD,
            values_BASD,
            attn_mask=mask_BATS,
            dropout_p=conf.attn_dropout if self.training else 0.0,
            is_causal=conf.causal,
            scale=None if conf.scale else 1.0,
        )
        values_BTD = self.dropout(self.output(attended_BATD.transpose(1, 2).flatten(2)))
        return x.with_values(zero_padding(zero_padding(values_BTD, x.mask), real_B))

    def _heads(self, states_BTD: Tensor) -> Tensor:
        return states_BTD.view(*states_BTD.shape[:2], self.conf.num_heads, -1).transpose(1, 2)
