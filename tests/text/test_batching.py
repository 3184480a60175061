import random

import numpy as np
import pytest

from text.batching import POOL, prediction_batches, training_batches

SIZES = [(0, 4), (1, 4), (4, 4), (7, 3), (200, 1), (1000, 16), (1000, 2000)]


def lengths(count, seed=0):
    rng = random.Random(seed)
    return np.array([rng.randint(1, 60) for _ in range(count)], np.int64)


@pytest.mark.parametrize(("count", "size"), SIZES)
@pytest.mark.parametrize("make", [prediction_batches, lambda lengths, size: training_batches(lengths, size, 3, 1)])
def test_every_row_comes_exactly_once_in_full_batches(make, count, size):
    batches = make(lengths(count), size)
    assert sorted(np.concatenate([*batches, np.zeros(0, int)]).tolist()) == list(range(count))
    full, rest = divmod(count, size)
    assert sorted(map(len, batches), reverse=True) == [size] * full + [rest] * (rest > 0)


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
