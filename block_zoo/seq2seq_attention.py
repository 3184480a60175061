"""Seq2SeqAttention: a text weighted by another, beside what it reads there."""

import torch

from block_zoo.attention import attended_spec
from block_zoo.base import BLOCKS, Block
from block_zoo.bi_att_flow import BiAttention, BiAttentionConf
from block_zoo.masking import same_size, zero_padding
from core.types import Features, Spec


@BLOCKS.register
class Seq2SeqAttention(Block):
    """Both attentions of BiAttFlow, token by token: [a_t x_t; u_t].

    a = softmax over T of the largest similarity of x_t to any token of y; u = softmax over S of the similarities,
    times y.

    Shape: x B x T x D, y B x S x D -> B x T x 2D; part `attention`: B x T x S.
    Masking: padding of either text gets no attention; the output has the mask of x and is zero at its padding.
    `{"layer_id": "read", "layer": "Seq2SeqAttention", "inputs": ["passage", "question"]}`
    Reference: Seo et al. 2017, Bidirectional Attention Flow for Machine Comprehension, equation 1 and section 2.4.
    """

    class Conf(BiAttentionConf):
        def output_spec(self, x: Spec, y: Spec) -> Spec:
            return attended_spec(x, y, 2 * same_size(x, y))

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.attention = BiAttention(conf, x, y)

    def forward(self, x: Features, y: Features) -> Features:
        read, attention_BT = self.attention(x, y)
        weighted_BTD = zero_padding(x.values, x.mask) * attention_BT.unsqueeze(-1)
        return x.with_values(torch.cat([weighted_BTD.to(read.values.dtype), read.values], -1), **read.parts)
