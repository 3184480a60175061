import random
from itertools import pairwise

import numpy as np
import pytest

from text.ragged import Ragged


def random_lists(seed, count=None):
    rng = random.Random(seed)
    count = rng.randint(0, 12) if count is None else count
    return [[rng.randint(-9, 99) for _ in range(rng.choice([0, 0, 1, 2, 5]))] for _ in range(count)]


def ragged(lists, dtype=np.int32):
    flat = [value for values in lists for value in values]
    return Ragged.of_lengths(np.array(flat, dtype), np.array([len(values) for values in lists], np.int64))


def lists_of(ragged):
    return [ragged.values[start:end].tolist() for start, end in pairwise(ragged.offsets)]


@pytest.fixture(params=range(25))
def lists(request):
    return random_lists(request.param)


def test_the_lists_are_those_that_came(lists):
    made = ragged(lists)
    assert (lists_of(made), len(made), made.lengths.tolist()) == (lists, len(lists), [len(values) for values in lists])
    assert made.offsets.dtype == made.lengths.dtype == np.int64


@pytest.mark.parametrize("limit", [0, 1, 2, 4, 9])
def test_cut_keeps_the_first_of_each_list(lists, limit):
    cut = ragged(lists).cut(limit)
    assert lists_of(cut) == [values[:limit] for values in lists]
    assert cut.values.dtype == np.int32


def test_wrapped_puts_one_before_and_one_after(lists):
    wrapped = ragged(lists).wrapped(1, 2)
    assert lists_of(wrapped) == [[1, *values, 2] for values in lists]
    assert wrapped.values.dtype == np.int32


def test_taken_gives_the_lists_in_the_order_asked_for(lists):
    rng = random.Random(len(lists))
    indices = [rng.randrange(len(lists)) for _ in range(9)] if lists else []
    taken = ragged(lists).taken(np.array(indices, np.int64))
    assert lists_of(taken) == [lists[index] for index in indices]
    assert taken.values.dtype == np.int32


def test_with_values_keeps_the_lengths(lists):
    made = ragged(lists)
    assert lists_of(made.with_values(made.values * 2)) == [[2 * value for value in values] for values in lists]


@pytest.mark.parametrize("texts", [[], ["", "a", ""], ["naïve", "東京 😀", "half \ud83d of a pair", "a\0b"]])
def test_texts_come_back(texts):
    made = Ragged.of_texts(texts)
    assert made.texts() == texts
    assert made.taken(np.arange(len(texts))[::-1]).texts() == texts[::-1]


def test_multi_hot_marks_the_integers_of_each_list():
    hot = ragged([[2, 0], [], [1, 1]]).multi_hot(4)
    assert hot.dtype == bool
    assert hot.astype(int).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_what_changes_the_outer_lists_leaves_the_inner_ones():
    inner = ragged([[1, 2], [3], []])
    outer = Ragged(np.array([2, 0, 1, 0]), np.array([0, 3, 4]), inner)
    changed = [outer.cut(1), outer.wrapped(0, 1), outer.taken(np.array([1, 0])), outer.with_values(outer.values)]
    assert all(one.inner is inner for one in changed)
    assert lists_of(outer.cut(1)) == [[2], [0]]
