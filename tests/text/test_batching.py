import math
import random

import numpy as np
import pytest

from text.batching import POOL, grouped_batches, prediction_batches, training_batches

SIZES = [(0, 4), (1, 4), (4, 4), (7, 3), (200, 1), (1000, 16), (1000, 2000)]


def lengths(count, seed=0):
    rng = random.Random(seed)
    return np.array([rng.randint(1, 60) for _ in range(count)], np.int64)


@pytest.mark.parametrize(("count", "size"), SIZES)
def test_training_rows_come_exactly_once_in_full_batches(count, size):
    batches = training_batches(lengths(count), size, 3, 1)
    assert sorted(flat_rows(batches)) == list(range(count))
    full, rest = divmod(count, size)
    assert sorted(map(len, batches), reverse=True) == [size] * full + [rest] * (rest > 0)


@pytest.mark.parametrize(("count", "size"), SIZES)
def test_rows_to_predict_come_exactly_once_and_no_batch_has_more_tokens_than_the_first(count, size):
    rows = lengths(count)
    batches = prediction_batches(rows, size)
    assert sorted(flat_rows(batches)) == list(range(count))
    if batches:
        tokens = size * rows.max()
        assert all(len(batch) * rows[batch].max() <= tokens for batch in batches)
        assert all(len(batch) >= size or np.ptp(rows[batch]) == 0 for batch in batches[:-1])


def groups(count, seed=0):
    """Groups of 1 to 12 rows, one of 40, mixed, with any numbers for names."""
    rng = np.random.default_rng(seed)
    sizes = np.r_[40, rng.integers(1, 13, count)]
    return rng.permutation(np.repeat(rng.permutation(len(sizes)) * 2**50 - 2**55, sizes)[:count])


@pytest.mark.parametrize(("count", "size"), SIZES)
def test_groups_stay_whole_in_as_many_batches_in_every_epoch(count, size):
    rows, names = lengths(count), groups(count)
    sizes = dict(zip(*np.unique(names, return_counts=True), strict=True))
    large = [name for name in sizes if sizes[name] > size]
    rest = count - sum(sizes[name] for name in large)
    for epoch in range(3):
        batches = grouped_batches(rows, names, size, 3, epoch)
        assert sorted(flat_rows(batches)) == list(range(count))
        assert len(batches) == len(large) + math.ceil(rest / size)
        for batch in batches:
            found = np.unique(names[batch]).tolist()
            assert len(batch) == sum(sizes[name] for name in found)
            assert len(batch) < size + max(sizes[name] for name in found) or len(found) == 1
            assert len(found) == 1 or not set(found) & set(large)


def test_groups_of_one_row_are_batched_like_rows():
    rows = lengths(1000)
    alone, plain = grouped_batches(rows, np.arange(1000), 16, 3, 1), training_batches(rows, 16, 3, 1)
    assert sorted(map(len, alone)) == sorted(map(len, plain))
    assert np.mean([np.ptp(rows[batch]) for batch in alone]) < 2 * np.mean([np.ptp(rows[batch]) for batch in plain])


def test_groups_of_like_length_are_together_and_others_in_every_epoch():
    names = np.repeat(np.arange(1000), 5)
    rows = np.repeat(lengths(1000), 5)
    first, second = (grouped_batches(rows, names, 10, 1, epoch) for epoch in (1, 2))
    assert np.mean([np.ptp(rows[batch]) for batch in first]) <= 60 / POOL * 2
    assert len({*map(frozenset, flat(first))} & {*map(frozenset, flat(second))}) < 0.1 * len(first)
    assert flat(grouped_batches(rows, names, 10, 1, 1)) == flat(first)


def test_rows_of_one_length_that_fill_a_batch_are_not_padded():
    rows = np.repeat([9, 4, 2], [3, 20, 30])
    assert [rows[batch].tolist() for batch in prediction_batches(rows, 3)] == [
        [9] * 3, *[[4] * 6] * 3, [4] * 2 + [2] * 4, *[[2] * 13] * 2,
    ]  # fmt: skip


def flat_rows(batches):
    return [row for batch in batches for row in batch.tolist()]


def flat(batches):
    return [batch.tolist() for batch in batches]


def test_batches_depend_on_the_seed_and_the_epoch_alone():
    rows = lengths(500)
    first = flat(training_batches(rows, 8, seed=1, epoch=2))
    np.random.seed(0)
    assert flat(training_batches(rows.copy(), 8, seed=1, epoch=2)) == first
    others = [flat(training_batches(rows, 8, seed, epoch)) for seed, epoch in ((1, 1), (1, 3), (2, 2), (2, 1))]
    for at, other in enumerate(others):
        assert other not in (first, *others[:at])


def test_rows_of_like_length_are_together():
    rows = lengths(5000)
    spread = [np.ptp(rows[batch]) for batch in training_batches(rows, 10, seed=1, epoch=1)]
    assert np.mean(spread) <= 60 / POOL * 2  # sorted, POOL batches share the 60 lengths
    assert np.mean([np.ptp(rows[batch]) for batch in prediction_batches(rows, 10)]) < 1


def test_batches_are_not_ordered_by_length_and_rows_of_one_length_are_shuffled():
    rows = lengths(POOL * 10)  # one pool
    means = np.array([rows[batch].mean() for batch in training_batches(rows, 10, seed=1, epoch=1)])
    ups = np.count_nonzero(np.diff(means) > 0)
    assert 0.25 * POOL < ups < 0.75 * POOL
    lonely = np.arange(POOL * 40)  # every length once
    first, second = ({*map(frozenset, training_batches(lonely, 10, 1, epoch))} for epoch in (1, 2))
    assert not first & second  # neighbours change from epoch to epoch
    same = training_batches(np.full(100, 7), 10, seed=1, epoch=1)
    assert all(np.ptp(batch) > 20 for batch in same)


def test_predictions_begin_with_the_longest_rows_and_keep_the_order_of_equals():
    assert flat(prediction_batches(np.array([3, 9, 3, 1, 9]), 2)) == [[1, 4], [0, 2], [3]]
