"""Which rows go together: batches of rows of like length, as a pure function of lengths, groups, seed and epoch."""

from collections.abc import Sequence

import numpy as np

from core.seeding import generator

POOL = 50
"""Batches among whose rows those of like length are put together."""


def training_batches(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Indices of rows, each exactly once, in random batches of like length; only the last made may be smaller."""
    random = generator(seed, epoch)
    order = random.permutation(len(lengths))
    pool = np.arange(len(order)) // (POOL * batch_size)
    order = order[np.lexsort((lengths[order], pool))]  # stable: rows of the same length stay shuffled
    return _shuffled(_split(order, batch_size), random)


def batches_of_tokens(lengths: np.ndarray, tokens: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Indices of rows, each exactly once, in random batches of at most `tokens` tokens, padding included.

    Rows are taken by length, so that there are as many batches in every epoch; those of equal length are mixed. A
    longer row than `tokens` is a batch of its own.
    """
    random = generator(seed, epoch)
    order = random.permutation(len(lengths))
    order = order[np.argsort(-lengths[order], kind="stable")]
    falling = lengths[order]
    batches, start = [], 0
    while start < len(order):
        size = max(1, tokens // max(1, int(falling[start])))
        batches.append(order[start : start + size])
        start += size
    return _shuffled(batches, random)


def grouped_batches(
    lengths: np.ndarray, groups: np.ndarray, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Indices of rows, each exactly once, in random batches of whole groups of like length.

    Groups one after the other, those that end in the same stretch of `batch_size` rows are a batch, which so has fewer
    rows than batch_size and its largest group together; a larger group than batch_size is a batch of its own. There
    are as many batches in every epoch.
    """
    random = generator(seed, epoch)
    _, group_N, sizes_G = np.unique(groups, return_inverse=True, return_counts=True)
    longest_G = np.zeros(len(sizes_G), np.int64)
    np.maximum.at(longest_G, group_N, lengths)
    order = random.permutation(len(sizes_G))
    pool = np.cumsum(sizes_G[order]) // (POOL * batch_size)
    order = order[np.lexsort((longest_G[order], pool))]
    fits = sizes_G[order] <= batch_size
    last = np.cumsum(np.where(fits, sizes_G[order], 0)) - 1
    batch_G = np.empty(len(sizes_G), np.int64)
    batch_G[order] = np.where(fits, last // batch_size, -1 - np.arange(len(order)))
    batch_N = batch_G[group_N]
    _, counts = np.unique(batch_N, return_counts=True)
    batches = np.split(np.argsort(batch_N, kind="stable"), np.cumsum(counts))[:-1]
    return _shuffled(batches, random)


def prediction_batches(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Indices of rows, each exactly once, the longest first: what does not fit into memory shows at once.

    The first batch has `batch_size` rows. Batches of shorter rows have more, up to as many tokens as the first; where
    so many rows are of one length, they have no other, and no padding.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    falling = -np.asarray(lengths)[order]
    batches: list[np.ndarray] = []
    start, tokens = 0, batch_size * int(np.max(lengths, initial=0))
    while start < len(order):
        size = max(batch_size, tokens // max(1, -int(falling[start])))
        alike = int(np.searchsorted(falling, falling[start], side="right")) - start
        size = min(size, alike) if alike >= batch_size else size
        batches.append(order[start : start + size])
        start += size
    return batches


def mixed_batches(of_sets: Sequence[list[np.ndarray]], seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of several sets of rows in one random order."""
    together = [batch for batches in of_sets for batch in batches]
    return _shuffled(together, generator(seed, epoch))


def _shuffled(batches: list[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
    return [batches[at] for at in random.permutation(len(batches))]


def _split(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
