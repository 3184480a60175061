"""Folds: parts of rows, told by what stands in a row alone."""

import numpy as np

from text.encoded_rows import EncodedRows
from text.ragged import Ragged

_ODD = np.uint64(0x9E3779B97F4A7C15)


def folds(rows: EncodedRows, group_by: str | None, count: int) -> np.ndarray:
    """int64 of N, the fold of each row from 1 to `count`: by its group, or by the ids of its texts.

    Rows with equal texts, or of one group, have the same fold, in whatever file they stand.
    """
    if group_by is not None:
        hash_N = _mixed(rows.targets[group_by].astype(np.uint64))
    else:
        hash_N = np.zeros(len(rows), np.uint64)
        for column in rows.columns.values():
            hash_N = _mixed(hash_N + _hashes(column))
    return (hash_N % np.uint64(count)).astype(np.int64) + 1


def _hashes(lists: Ragged) -> np.ndarray:
    """uint64 of N, a hash of each list; of inner lists by what is in them."""
    values = lists.values if lists.inner is None else _hashes(lists.inner)[lists.values]
    steps = np.arange(len(values)) - np.repeat(lists.offsets[:-1], lists.lengths)
    ends = np.append(np.uint64(0), np.cumsum(_mixed(_mixed(values.astype(np.uint64)) + steps.astype(np.uint64))))
    return _mixed(ends[lists.offsets[1:]] - ends[lists.offsets[:-1]])


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Numbers with all their bits stirred (the finalizer of SplitMix64, Steele et al. 2014)."""
    mixed = numbers + _ODD
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
