"""Attention: one text reads another."""

from typing import ClassVar

from torch import Tensor, nn

from block_zoo.base import BLOCKS, Block
from block_zoo.grid import grid_spec, pair_mask
from block_zoo.masking import masked_softmax, over_same_tokens, same_size, same_tokens, zero_padding
from core.types import Features, Spec


def attend(scores_BTS: Tensor, x: Features, y: Features, dropout: nn.Module | None = None) -> Features:
    """For every token of x the mean of y, weighted by the softmax of the scores over the real tokens of y."""
    attention_BTS = masked_softmax(scores_BTS, pair_mask(x, y))
    weights_BTS = attention_BTS if dropout is None else dropout(attention_BTS)
    theirs_BSD = zero_padding(y.values, y.mask).to(attention_BTS.dtype)
    return x.with_values(weights_BTS @ theirs_BSD, attention=attention_BTS)


def attended_spec(x: Spec, y: Spec, dim: int) -> Spec:
    """What `attend` gives: `dim` features for every token of x, and the attention of B x T x S."""
    attention = grid_spec(x, y)
    return Spec("BTD", {**x.sizes, "D": dim}, {"attention": attention})


@BLOCKS.register
class Attention(Block):
    """Dot-product attention: softmax(X Y') Y, or softmax(X Y') Z where z holds other states of the tokens of y.

    Shape: x B x T x D, y B x S x D -> B x T x D; with z B x S x E -> B x T x E; part `attention`: B x T x S.
    Masking: padding of y gets no attention; the output has the mask of x and is zero at its padding.
    `{"layer_id": "read", "layer": "Attention", "inputs": ["question", "answer"]}`
    Reference: Luong et al. 2015, Effective Approaches to Attention-based NMT, equation 8 (dot).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "attention"

        def output_spec(self, x: Spec, y: Spec, z: Spec | None = None) -> Spec:
            dim = same_size(x, y)
            if z is not None:
                same_tokens(y, z)
                dim = z.size("D")
            return attended_spec(x, y, dim)

    def __init__(self, conf: Conf, x: Spec, y: Spec, z: Spec | None = None) -> None:
        super().__init__()

    def forward(self, x: Features, y: Features, z: Features | None = None) -> Features:
        scores_BTS = x.values @ y.values.transpose(1, 2)
        if z is None:
            return attend(scores_BTS, x, y)
        (_, theirs_BSD), tokens = over_same_tokens("Attention", y, z)
        return attend(scores_BTS, x, tokens.with_values(theirs_BSD))
