"""Which rows go together: batches of rows of like length, as a pure function of the lengths, the seed and the epoch."""

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
    batches = _split(order, batch_size)
    return [batches[at] for at in random.permutation(len(batches))]


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


def _split(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
