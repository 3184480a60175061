"""AttentivePooling: the mean along an axis, weighted by learnt queries."""

import math
from typing import ClassVar, Literal

from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.grid import grid_mask
from block_zoo.masking import masked_softmax, zero_padding
from block_zoo.pooling import pooled_spec
from core.conf import PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class AttentivePooling(Block):
    """Multi-head attention of a learnt query to the states along one axis, usually the tokens of a text.

    Every head has its own query q and its share of the values V x: softmax(x q / sqrt(d)) V x, d = D / num_heads.

    Shape: B x T x D -> B x D; B x T x S x D -> B x T x D, T being what is left of T and S (pool_axis 1 or 2).
    Masking: padding gets no attention; a text without tokens gives zeros.
    `{"layer_id": "vector", "layer": "AttentivePooling", "conf": {"num_heads": 4}, "inputs": ["question"]}`
    Reference: Lee et al. 2019, Set Transformer, section 3.2 (pooling by multihead attention, one seed), without its
    feed-forward layers; the projection of the keys is part of the query.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "attention"

        num_heads: PositiveInt = 1
        """Queries; each weighs its share of the features."""
        pool_axis: Literal[1, 2] = 1
        """The axis that goes, counted from 0 = rows; 1 = tokens."""

        def output_spec(self, states: Spec) -> Spec:
            if self.pool_axis >= len(states.expect("BTD", "BTSD").axes) - 1:
                raise ValueError(f"pools over axis {self.pool_axis} (pool_axis), which must hold tokens in {states}.")
            if states.size("D") % self.num_heads:
                raise ValueError(
                    f"shares {states.size('D')} features among {self.num_heads} heads: some would be left."
                )
            return pooled_spec(states, self.pool_axis)

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.conf = conf
        self.query = nn.Linear(states.size("D"), conf.num_heads, bias=False)
        self.value = nn.Linear(states.size("D"), states.size("D"))

    def forward(self, states: Features) -> Features:
        axis, heads = self.conf.pool_axis, self.conf.num_heads
        mask = grid_mask(states) if states.values.ndim == 4 else states.mask
        values = zero_padding(states.values, mask)
        # Tokens to pool stand last in the scores and second to last in the values, both behind the heads.
        scores = (self.query(values) / math.sqrt(values.shape[-1] / heads)).movedim(axis, -1)
        attention = masked_softmax(scores, None if mask is None else mask.movedim(axis, -1).unsqueeze(-2))
        shares = self.value(values).unflatten(-1, (heads, -1)).movedim(axis, -2)
        pooled = (attention.unsqueeze(-2) @ shares).flatten(-3)
        return Features(pooled, None if mask is None or mask.ndim == 2 else mask.any(axis))
