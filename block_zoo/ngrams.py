"""Hashed vectors of the n-grams of words."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACTOR = 116049371
"""By which fastText multiplies the hash of an n-gram before it adds the next word."""
PRIME = 2**31 - 1
"""Hashes stay below it, so that their products fit 64 bits on every device."""


def ngram_buckets(ids_BT: Tensor, sizes: Sequence[int], buckets: int) -> Tensor:
    """The buckets, from 1, of the n-grams that end at each token, B x T x len(sizes); 0 where the text is too young."""
    hashes_BT, found = ids_BT, {}
    for size in range(1, max(sizes) + 1):
        if size > 1:
            hashes_BT = (F.pad(hashes_BT, (1, 0))[:, :-1] * FACTOR + ids_BT) % PRIME
        found[size] = hashes_BT % buckets + 1
        found[size][:, : size - 1] = 0
    return torch.stack([found[size] for size in sizes], -1)


class NgramTable(nn.Module):
    """For every token the mean of the vectors of the n-grams that end there.

    Texts are padded on the right, so no n-gram of a real token reaches into padding.

    Reference: Joulin et al. 2017, Bag of Tricks for Efficient Text Classification, section 2.2.
    """

    def __init__(self, dim: int, sizes: Sequence[int], buckets: int) -> None:
        super().__init__()
        self.sizes, self.buckets = tuple(sizes), buckets
        self.vectors = nn.EmbeddingBag(buckets + 1, dim, mode="mean", padding_idx=0)
        nn.init.uniform_(self.vectors.weight[1:], -math.sqrt(3 / dim), math.sqrt(3 / dim))

    def forward(self, ids_BT: Tensor) -> Tensor:
        """B x T x D; zeros where no n-gram ends."""
        buckets_BTN = ngram_buckets(ids_BT, self.sizes, self.buckets)
        vectors: Tensor = self.vectors(buckets_BTN.flatten(0, 1))
        return vectors.view(*ids_BT.shape, -1)
