from typing import Any

import numpy as np
import pytest

from core.types import NO_TARGET, Row
from text.encoded_rows import EncodedRows
from text.encoder import InputEncoder
from text.input_plan import InputPlan
from text.vocabulary import START
from text.windows import Windows

PLAN: dict[str, Any] = {
    "branches": {"passage": ["p", "p_char"], "question": ["q"]},
    "kinds": {"p": "word", "p_char": "char", "q": "word"},
    "sources": {"p_char": "p"},
    "positions": {"first": "passage", "last": "passage"},
}
PASSAGES = ["a b c d e f g", "a b", "c d e"]


def encoded(**plan) -> EncodedRows:
    """Three rows; answers: tokens 3 to 4, none, and 0."""
    encoder = InputEncoder(InputPlan(**PLAN, **plan))
    rows = [Row(number, {"p": text, "q": "a"}) for number, text in enumerate(PASSAGES, start=1)]
    encoder.encode(rows)
    encoder.finish()
    answers = {"first": np.array([3, -1, 0]), "last": np.array([4, -1, 0])}
    return encoder.encode_rows(rows, lambda rows, tokens: answers)[0]


def words(rows: EncodedRows, examples: list[int]) -> list[str]:
    """The passages of examples, a letter for each word."""
    batch = rows.batch(np.array(examples))
    ids, lengths = batch.inputs["passage"].values.numpy(), batch.inputs["passage"].lengths
    assert lengths is not None
    known = {START: "<"}
    for text, row in zip(PASSAGES, encoded().batch(np.arange(3)).inputs["passage"].values.numpy(), strict=True):
        known |= dict(zip(row.tolist(), text.split(), strict=False))
    return ["".join(known[i] for i in row[:length]) for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)]


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (3, 3), (3, 1), (100, 50), (1, 1)])
def test_windows_cover_every_token_and_end_with_the_text(size, stride):
    lengths = np.array([7, 2, 3, 0, 8])
    windows = Windows.of(lengths, size, stride)
    for row, length in enumerate(lengths):
        firsts = windows.firsts[windows.rows == row]
        assert firsts.tolist() == list(range(0, len(firsts) * stride, stride))
        covered = {at for first in firsts for at in range(first, min(first + size, length))}
        assert covered == set(range(length))
        assert len(firsts) == 1 or firsts[-2] + size < length


def test_an_example_is_a_window():
    rows = encoded(windows={"passage": [4, 2]})
    assert len(rows) == 3 and rows.lengths.tolist() == [4, 4, 3, 2, 3]
    assert words(rows, [0, 1, 2, 3, 4]) == ["abcd", "cdef", "efg", "ab", "cde"]
    assert rows.batch(np.array([2, 3])).lines.tolist() == [1, 2]


def test_an_answer_counts_in_the_windows_that_hold_it_whole():
    rows = encoded(windows={"passage": [4, 2]})
    targets = rows.batch(np.arange(5), ["first", "last"]).targets
    assert targets["first"].tolist() == [NO_TARGET, 1, NO_TARGET, NO_TARGET, 0]
    assert targets["last"].tolist() == [NO_TARGET, 2, NO_TARGET, NO_TARGET, 0]
    taught = rows.taught()
    assert len(taught) == 3 and words(taught, [0, 1]) == ["cdef", "cde"]
    assert taught.batch(np.arange(2), ["first"]).targets["first"].tolist() == [1, 0]


def test_rows_without_an_answer_teach_nothing():
    taught = encoded().taught()
    assert words(taught, [0, 1]) == ["abcdefg", "cde"] and taught.lengths.tolist() == [7, 3]


def test_every_window_begins_with_the_place_of_no_answer():
    rows = encoded(windows={"passage": [4, 2]}, begun=["passage"])
    assert rows.taught() is rows
    assert words(rows, [1, 3]) == ["<cdef", "<ab"]
    assert rows.batch(np.arange(5), ["last"]).targets["last"].tolist() == [0, 3, 0, 0, 1]
    characters = rows.batch(np.array([3])).inputs["passage"].parts["p_char"]
    assert characters.shape == (1, 3, 1) and characters[0, 0, 0] == START


def test_fixed_lengths_count_the_place_of_no_answer_on_top():
    rows = encoded(begun=["passage"], fixed_lengths={"passage": 5})
    passage = rows.batch(np.arange(3)).inputs["passage"]
    assert passage.values.shape == (3, 6) and rows.plan.size("passage") == 6
    assert passage.mask is not None and passage.mask.sum(1).tolist() == [6, 3, 4]
