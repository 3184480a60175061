import numpy as np
import pytest
import torch

from core.types import Features, Spec
from distillation.answers import Answers, Table, confidence, places_of


def ragged(lengths, *shape):
    """A batch of texts of these lengths, with noise at padding."""
    torch.manual_seed(0)
    mask_BT = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Features(torch.randn(len(lengths), max(lengths), *shape), mask_BT)


def maps(lengths, heads=2):
    torch.manual_seed(0)
    longest = max(lengths)
    mask_BT = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return Features(torch.randn(len(lengths), heads, longest, longest), mask_BT)


CASES = {
    "BD": Features(torch.randn(3, 4, generator=torch.Generator().manual_seed(0))),
    "B": Features(torch.arange(3.0)),
    "BT": ragged([2, 5, 1]),
    "BTD": ragged([2, 5, 1], 3),
    "BATS": maps([2, 5, 1]),
}


@pytest.mark.parametrize("axes", CASES)
def test_a_table_gives_back_the_real_numbers_of_any_rows_in_any_order(axes):
    given = CASES[axes]
    rows = np.array([1, 0, 2, 1])
    found = Table.of(axes, given).features(rows, None)
    for at, row in enumerate(rows):
        if given.mask is None:
            assert torch.equal(found.values[at], given.values[row])
            continue
        length = int(given.mask[row].sum())
        assert found.mask is not None
        assert found.mask[at].tolist() == [True] * length + [False] * (5 - length)
        inside = (slice(None), slice(length), slice(length)) if axes == "BATS" else (slice(length),)
        assert torch.equal(found.values[at][inside], given.values[row][inside])
        outside = found.values[at].clone()
        outside[inside] = 0
        assert not outside.any()


@pytest.mark.parametrize("axes", CASES)
def test_tables_of_batches_joined_and_reordered_are_the_table_of_all(axes):
    given = CASES[axes]
    whole = Table.of(axes, given)
    parts = [
        Table.of(axes, Features(given.values[part], None if given.mask is None else given.mask[part]))
        for part in ([2], [0, 1])
    ]
    joined = Table.joined(parts).taken(np.array([1, 2, 0]))
    assert len(joined) == 3
    assert np.array_equal(joined.values, whole.values)
    assert (joined.offsets is None) == (whole.offsets is None)
    if joined.offsets is not None and whole.offsets is not None:
        assert np.array_equal(joined.offsets, whole.offsets)


def test_rows_that_a_teacher_did_not_answer_are_masked():
    numbers, texts = Table.of("BD", CASES["BD"]), Table.of("BTD", CASES["BTD"])
    answers = Answers({"": numbers, "states": texts}, np.array([2, -1, 0]))
    found = answers.features(np.array([0, 1, 2]))
    numbers_mask, texts_mask = found[""].mask, found["states"].mask
    assert numbers_mask is not None and texts_mask is not None
    assert numbers_mask.tolist() == texts_mask.any(1).tolist() == [True, False, True]
    assert torch.equal(found[""].values[0], CASES["BD"].values[2])
    assert answers.features(np.array([0, 2]))[""].mask is None


def test_what_is_kept_by_rows_of_the_student_is_missing_where_it_is_empty():
    own = Table("BT", np.array([1, 2, 3], np.float32), np.array([0, 2, 2, 3]))
    answers = Answers({}, np.array([-1, -1, -1]), {"start": own})
    found = answers.features(np.array([1, 0]))["start"]
    assert found.real_mask().tolist() == [[False, False], [True, True]] and found.values[1].tolist() == [1, 2]
    assert (~answers.present).sum() == 1
    both = Answers({"": Table("B", np.zeros(1))}, np.array([0, 0, -1]), {"start": own})
    assert both.present.tolist() == [True, False, False]
    assert both.taken(np.array([2, 0])).present.tolist() == [False, True]


def test_rows_are_found_by_their_keys():
    assert places_of(np.array([5, 1, 9, 3]), np.array([1, 3, 5])).tolist() == [2, 0, -1, 1]


def test_a_row_is_as_sure_as_its_largest_probability_or_the_mean_of_these():
    odds = torch.tensor([1.0, 4.0, 5.0]).log()
    assert confidence(Features(odds[None]), Spec("BD", {"D": 3})).tolist() == pytest.approx([0.5])
    words = torch.stack([odds, torch.tensor([1.0, 9.0, 0.0]).log(), torch.zeros(3)])
    answer = Features(words[None], torch.tensor([[True, True, False]]))
    assert confidence(answer, Spec("BTD", {"D": 3})).tolist() == pytest.approx([(0.5 + 0.9) / 2])
    together = Features(torch.tensor([[0.2 / 0.8, 0.6 / 0.4]]).log())
    assert confidence(together, Spec("BC", {"C": 2})).tolist() == pytest.approx([(0.8 + 0.6) / 2])
