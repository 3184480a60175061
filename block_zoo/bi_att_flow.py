"""BiAttFlow: two texts that attend to each other (BiDAF)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from block_zoo.attention import attend, attended_spec
from block_zoo.base import BLOCKS, Block
from block_zoo.grid import pair_mask
from block_zoo.masking import masked_max, masked_softmax, same_size, zero_padding
from core.conf import Rate
from core.types import Features, Spec


class BiAttentionConf(Block.Conf):
    """The Conf of attention in both directions."""

    family: ClassVar[str] = "attention"

    attention_dropout: Rate = 0.0
    """Dropout of the attention weights."""


class BiAttention(nn.Module):
    """Attention in both directions by the trilinear similarity S_ts = w [x_t; y_s; x_t * y_s].

    A bias would change no softmax. Reference: Seo et al. 2017, Bidirectional Attention Flow, equation 1.
    """

    def __init__(self, conf: BiAttentionConf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.similarity = nn.Linear(3 * same_size(x, y), 1, bias=False)
        self.dropout = nn.Dropout(conf.attention_dropout)

    def forward(self, x: Features, y: Features) -> tuple[Features, Tensor]:
        """What each token of x reads in y, and attention_BT: how much each token of x matters to y."""
        scores_BTS = self._scores(x.values, y.values)
        most_BT = masked_max(scores_BTS, pair_mask(x, y), 2)
        return attend(scores_BTS, x, y, self.dropout), self.dropout(masked_softmax(most_BT, x.mask))

    def _scores(self, x_BTD: Tensor, y_BSD: Tensor) -> Tensor:
        """The similarity, added up from its three terms: no tensor of B x T x S x 3D is made."""
        w_x, w_y, w_xy = self.similarity.weight.view(3, -1)
        return (x_BTD * w_xy + w_y) @ y_BSD.transpose(1, 2) + (x_BTD @ w_x).unsqueeze(-1)


@BLOCKS.register
class BiAttFlow(Block):
    """Every token of x beside what it reads in y and what y reads in x: [x; u; x * u; x * h].

    u = softmax over S of the similarity, times y; h = one vector: x weighted by the softmax over T of its largest
    similarity to any token of y.

    Shape: x B x T x D, y B x S x D -> B x T x 4D; part `attention`: B x T x S.
    Masking: padding of either text gets no attention; the output has the mask of x and is zero at its padding.
    `{"layer_id": "flow", "layer": "BiAttFlow", "inputs": ["passage", "question"]}`
    Reference: Seo et al. 2017, Bidirectional Attention Flow for Machine Comprehension, equations 1 and 2.
    """

    class Conf(BiAttentionConf):
        def output_spec(self, x: Spec, y: Spec) -> Spec:
            return attended_spec(x, y, 4 * same_size(x, y))

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.attention = BiAttention(conf, x, y)

    def forward(self, x: Features, y: Features) -> Features:
        read, attention_BT = self.attention(x, y)
        x_BTD = zero_padding(x.values, x.mask).to(read.values.dtype)
        noticed_B1D = attention_BT.unsqueeze(1) @ x_BTD
        flow_BTD = torch.cat([x_BTD, read.values, x_BTD * read.values, x_BTD * noticed_B1D], -1)
        return x.with_values(flow_BTD, **read.parts)
