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
    """Indices of rows, each exactly once, the longest first: what does not fit into memory shows at once."""
    return _split(np.argsort(-np.asarray(lengths), kind="stable"), batch_size)


def _split(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
