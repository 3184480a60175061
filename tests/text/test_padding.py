import random

import numpy as np
import pytest

from text.padding import pad, pad_inner
from text.ragged import Ragged


def ragged(lists, inner=None):
    flat = [value for values in lists for value in values]
    return Ragged.of_lengths(np.array(flat, np.int32), np.array([len(values) for values in lists], np.int64), inner)


def rectangle(lists, size):
    size = max(map(len, lists), default=0) if size is None else size
    values = [(values + [0] * size)[:size] for values in lists]
    return values, [[at < len(values) for at in range(size)] for values in lists]


def random_lists(rng, count, low, high):
    return [[rng.randint(low, high) for _ in range(rng.choice([0, 1, 2, 3, 6]))] for _ in range(count)]


@pytest.mark.parametrize("size", [None, 0, 1, 3, 8])
@pytest.mark.parametrize("seed", range(10))
def test_pad_against_plain_lists(seed, size):
    rng = random.Random(seed)
    lists = random_lists(rng, rng.randint(1, 9), 1, 99)
    rows = rng.choices(range(len(lists)), k=rng.randint(1, 9))
    ids_BT, mask_BT = pad(ragged(lists), np.array(rows), size)
    wanted, mask = rectangle([lists[row] for row in rows], size)
    assert (ids_BT.tolist(), mask_BT.tolist()) == (wanted, mask)
    assert ids_BT.dtype == np.int64 and mask_BT.dtype == np.bool_


@pytest.mark.parametrize("sizes", [(None, None), (4, None), (None, 2), (3, 5), (1, 1)])
@pytest.mark.parametrize("seed", range(10))
def test_pad_inner_against_plain_lists(seed, sizes):
    rng = random.Random(seed)
    inner = random_lists(rng, 7, 1, 99)
    outer = random_lists(rng, rng.randint(1, 9), 0, 6)
    rows = rng.choices(range(len(outer)), k=rng.randint(1, 9))
    ids_BTK, mask_BTK = pad_inner(ragged(outer, ragged(inner)), np.array(rows), *sizes)
    size = max(len(outer[row]) for row in rows) if sizes[0] is None else sizes[0]
    texts = [[inner[word] for word in outer[row]][:size] for row in rows]
    texts = [text + [[]] * (size - len(text)) for text in texts]
    most = max((len(word) for text in texts for word in text), default=0) if sizes[1] is None else sizes[1]
    assert ids_BTK.shape == mask_BTK.shape == (len(rows), size, most)
    assert ids_BTK.tolist() == [rectangle(text, most)[0] for text in texts]
    assert mask_BTK.tolist() == [rectangle(text, most)[1] for text in texts]


def test_lists_that_are_all_empty_and_no_rows_at_all():
    empty = ragged([[], []])
    ids, mask = pad(empty, np.array([1, 0]))
    assert ids.shape == mask.shape == (2, 0)
    ids, mask = pad(empty, np.array([1, 0]), 2)
    assert ids.tolist() == [[0, 0], [0, 0]] and not mask.any()
    assert pad(ragged([[1]]), np.array([], np.int64))[0].shape == (0, 0)


def test_the_neighbours_of_a_row_do_not_change_it():
    lists = [[5, 6, 7], [8], [1, 2, 3, 4, 9]]
    alone = pad(ragged(lists), np.array([0]))[0][0]
    among = pad(ragged(lists), np.array([2, 0, 1]))[0][1]
    assert among.tolist() == [*alone.tolist(), 0, 0]
