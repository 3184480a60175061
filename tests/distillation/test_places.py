"""Scores of places against dictionaries of characters, and by what must not change them."""

import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from core.types import Features, Spec
from distillation.answers import Table
from distillation.ensemble import mean_answer
from distillation.places import NOWHERE, Reading, aligned
from problems.reading_comprehension import SPANS
from text.encoded_rows import EncodedRows
from text.input_plan import InputPlan
from text.ragged import Ragged

PASSAGES = ["the cat sat in old Rome", "not so", "a big dog ran far"]
WORDS = [
    [(0, 3), (4, 7), (8, 11), (12, 14), (15, 18), (19, 23)],
    [(0, 3), (4, 6)],
    [(0, 1), (2, 5), (6, 9), (10, 13), (14, 17)],
]
"""The characters of all words."""
SIGNS = [[(at, at + 1) for at, sign in enumerate(text) if sign != " "] for text in PASSAGES]
HALVES = [[half for start, end in words for half in ((start, (start + end) // 2), ((start + end) // 2, end)) if half[0] < half[1]] for words in WORDS]  # fmt: skip
PAIRS = [[(0, 7), (8, 14), (15, 23)], [(0, 6)], [(0, 5), (6, 13), (14, 17)]]


def reading(spans, lines=(1, 2, 3), has_null=False, size=None, stride=None) -> Reading:
    """Somebody who reads these tokens of each line, in windows of `size` where that is given."""
    lengths = np.array([len(of_row) for of_row in spans])
    flat = np.array([span for of_row in spans for span in of_row], np.int32).reshape(-1, 2)
    plan = InputPlan(
        branches={"passage": ["passage"]},
        kinds={"passage": "word"},
        positions={"start_label": "passage", "end_label": "passage"},
        begun=["passage"] if has_null else [],
        windows={"passage": [size, stride or size]} if size else {},
    )
    ids = Ragged.of_lengths(np.full(int(lengths.sum()), 5, np.int32), lengths)
    rows = EncodedRows(plan, {"passage": ids}, {SPANS: Ragged.of_lengths(flat, lengths)}, np.array(lines))
    return Reading.of(rows)


def table(*scores) -> Table:
    return Table("BT", np.concatenate([np.array(one, np.float16) for one in scores]), np.cumsum([0, *map(len, scores)]))


def noise(read: Reading) -> Table:
    """Random scores of what somebody reads."""
    torch.manual_seed(1)
    return table(*(4 * torch.randn(int(length) + read.has_null).numpy() for length in read.lengths))


def lists(found: Table) -> list[list[float]]:
    assert found.offsets is not None
    return [part.tolist() for part in np.split(found.values, found.offsets[1:-1])]


def shares(scores) -> np.ndarray:
    return torch.tensor(scores, dtype=torch.float64).softmax(0).numpy()


@pytest.mark.parametrize("of_ends", [False, True])
@pytest.mark.parametrize("has_null", [False, True])
def test_who_reads_the_same_tokens_gets_the_very_scores(of_ends, has_null):
    read = reading(WORDS, has_null=has_null)
    given = noise(read)
    found = aligned(given, read, read, of_ends)
    assert np.array_equal(found.values, given.values.astype(np.float32))
    assert np.array_equal(found.offsets, given.offsets)  # type: ignore[arg-type]


@pytest.mark.parametrize("of_ends", [False, True])
@pytest.mark.parametrize("has_null", [False, True])
@pytest.mark.parametrize(("theirs", "ours"), [(WORDS, SIGNS), (SIGNS, WORDS), (HALVES, PAIRS), (PAIRS, HALVES), (WORDS, HALVES)])  # fmt: skip
def test_other_tokens_get_the_shares_of_those_that_begin_or_end_in_them(theirs, ours, of_ends, has_null):
    """By a dictionary: the character where each token of the teacher begins, or its last one -> its probability."""
    teacher, student = reading(theirs, has_null=has_null), reading(ours, has_null=has_null)
    given = noise(teacher)
    for row, (scores, found) in enumerate(
        zip(lists(given), lists(aligned(given, teacher, student, of_ends)), strict=True)
    ):
        told = shares(scores)
        at: dict[int, float] = defaultdict(float)
        for (start, end), share in zip(theirs[row], told[has_null:], strict=True):
            at[end - 1 if of_ends else start] += share
        expected = [*told[:has_null], *(sum(at[sign] for sign in range(*span)) for span in ours[row])]
        np.testing.assert_allclose(shares(found), expected, atol=1e-6)
        nowhere = [score for score, share in zip(found, expected, strict=True) if not share]
        np.testing.assert_allclose(nowhere, np.logaddexp.reduce(scores) + NOWHERE, atol=1e-5)


def test_a_token_between_those_of_the_student_counts_where_the_problem_puts_such_an_answer():
    """A space as a token: an answer from there begins with the word behind, and one up to there ends with the last."""
    teacher, student = reading([[(0, 3), (3, 4), (4, 6)]], [1]), reading([[(0, 3), (4, 6)]], [1])
    scores = [1.0, 2.0, 0.5]
    for of_ends, expected in ((False, [scores[:1], scores[1:]]), (True, [scores[:2], scores[2:]])):
        (found,) = lists(aligned(table(scores), teacher, student, of_ends))
        np.testing.assert_allclose(found, [np.logaddexp.reduce(part) for part in expected], atol=1e-6)


def test_of_overlapping_windows_the_highest_score_of_a_token_counts_and_the_lowest_of_no_answer():
    teacher, student = reading(WORDS[:1], [1], True, size=4, stride=2), reading(WORDS[:1], [1], True)
    assert teacher.firsts.tolist() == [0, 2]
    given = table([0.5, 1, 2, 3, 4], [-1, 7, 0, 5, 6])
    assert lists(aligned(given, teacher, student, False)) == [[-1, 1, 2, 7, 4, 5, 6]]


@pytest.mark.parametrize("has_null", [False, True])
def test_a_window_of_the_student_gets_what_lies_in_it_and_the_rest_is_no_answer(has_null):
    teacher, student = reading(WORDS[:1], [1], has_null), reading(WORDS[:1], [1], has_null, size=4, stride=2)
    given = noise(teacher)
    (scores,), found = lists(given), lists(aligned(given, teacher, student, True))
    told = shares(scores)
    for first, window in zip((0, 2), found, strict=True):
        inside = told[has_null:][first : first + 4]
        expected = [1 - inside.sum(), *inside] if has_null else inside / inside.sum()
        np.testing.assert_allclose(shares(window), expected, atol=1e-6)


def test_what_lies_behind_the_cut_of_the_student_is_no_answer():
    teacher, student = reading(WORDS[:1], [1], True), reading([WORDS[0][:2]], [1], True)
    given = noise(teacher)
    told = shares(lists(given)[0])
    for of_ends in (False, True):
        (found,) = lists(aligned(given, teacher, student, of_ends))
        np.testing.assert_allclose(shares(found), [1 - told[1:3].sum(), *told[1:3]], atol=1e-6)


def test_tokens_behind_the_cut_of_the_teacher_have_no_score():
    teacher, student = reading([WORDS[0][:4]], [1]), reading(SIGNS[:1], [1], size=8)
    found = lists(aligned(noise(teacher), teacher, student, False))
    assert [len(window) for window in found] == [8, 3, 0]  # the four words have 11 signs
    passed = reading(SIGNS[:1], [1], has_null=True, size=8)
    answered = lists(
        aligned(noise(reading([WORDS[0][:4]], [1], True)), reading([WORDS[0][:4]], [1], True), passed, False)
    )
    assert [len(window) for window in answered] == [9, 4, 1]


def test_scores_of_pieces_that_were_cut_while_they_were_read_are_those_of_a_shorter_text():
    """A teacher may answer fewer tokens than its rows have, as an encoder cuts long texts."""
    student, whole, cut = reading(SIGNS[:1], [1]), reading(WORDS[:1], [1]), reading([WORDS[0][:3]], [1])
    given = table([1, 2, 3])
    assert lists(aligned(given, whole, student, True)) == lists(aligned(given, cut, student, True))


def test_rows_are_matched_by_line_and_those_without_an_answer_are_empty():
    teacher = reading([WORDS[2], WORDS[0]], [3, 9])
    student = reading([WORDS[1], WORDS[2], WORDS[0]], [2, 3, 9], has_null=False, size=4)
    given = noise(teacher)
    third, ninth = lists(given)
    found = lists(aligned(given, teacher, student, False))
    np.testing.assert_allclose(found[0], [])
    np.testing.assert_allclose(found[1] + found[2], third, rtol=1e-6)
    np.testing.assert_allclose(found[3] + found[4], ninth, rtol=1e-6)


def test_a_teacher_that_may_give_no_answer_says_to_a_student_that_must_where_one_would_be():
    teacher, student = reading(WORDS[1:2], [2], True), reading(WORDS[1:2], [2])
    (found,) = lists(aligned(table([5, 1, 2]), teacher, student, False))
    np.testing.assert_allclose(shares(found), shares([1.0, 2.0]), atol=1e-9)


def test_no_answer_in_a_whole_passage_has_next_to_no_share_where_the_teacher_never_says_it():
    teacher, student = reading(WORDS[1:2], [2]), reading(WORDS[1:2], [2], True)
    (found,) = lists(aligned(table([1, 2]), teacher, student, False))
    assert found[1:] == [1, 2] and found[0] == pytest.approx(math.log(math.e + math.e**2) + NOWHERE)


def test_rows_that_get_their_scores_one_by_one_get_the_same(monkeypatch):
    teacher, student = reading(WORDS, (1, 5, 9), True, 4, 2), reading(HALVES, (1, 5, 7), True, 3, 2)
    given = noise(teacher)
    whole = aligned(given, teacher, student, False)
    monkeypatch.setattr("distillation.places._TOGETHER", 1)
    apart = aligned(given, teacher, student, False)
    np.testing.assert_allclose(apart.values, whole.values, rtol=1e-6)
    assert np.array_equal(apart.offsets, whole.offsets)  # type: ignore[arg-type]


def test_the_mean_of_readers_is_over_the_tokens_that_all_of_them_read():
    """By hand: of the first row halves and a quarter to three; the second has one answer, of which nothing is cut off;
    the third none.
    """
    spec, one, three = Spec("BT", places=True), 0.0, math.log(3)
    long = Features(
        torch.tensor([[5.0, 5, 9], [one, three, one], [7, 7, 7]]), torch.tensor([[True] * 3, [True] * 3, [False] * 3])
    )
    short = Features(torch.tensor([[one, three]] * 3), torch.tensor([[True] * 2, [False] * 2, [False] * 2]))
    mean = mean_answer([long, short], spec)
    assert mean.real_mask().tolist() == [[True, True, False], [True] * 3, [False] * 3]
    torch.testing.assert_close(mean.values[:2].softmax(1), torch.tensor([[0.375, 0.625, 0], [0.2, 0.6, 0.2]]))
