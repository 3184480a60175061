"""Sentences of CoNLL files, read and written."""

import gzip

import pytest

from core.errors import UserError
from core.types import Prediction
from text.readers import RowFile
from text.writers import PredictionWriter

TEXT = """-DOCSTART- -X- O O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

\t
Peter\tNNP\tB-NP\tB-PER
"""
COLUMNS = {"words": 0, "tags": 3}


def read(tmp_path, text, columns=COLUMNS, name="a.conll"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return list(RowFile(path, columns, format="conll"))


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.conll.gz"])
def test_a_sentence_is_a_row_with_the_number_of_its_first_line(tmp_path, name):
    rows = read(tmp_path, TEXT, name=name)
    assert [row.number for row in rows] == [3, 7]
    assert rows[0].cells == {"words": "EU rejects", "column 2": "NNP VBZ", "column 3": "B-NP B-VP", "tags": "B-ORG O"}
    assert rows[1].cells["words"] == "Peter" and not any(row.error for row in rows)


def test_a_line_with_other_columns_makes_a_bad_row(tmp_path):
    rows = read(tmp_path, "a B-X\nb\n\nc O\n", {"words": 0, "tags": 1})
    assert [row.error for row in rows] == ["line 2 has 1 columns, but line 1 has 2.", ""]


def test_a_bad_row_is_written_as_it_came(tmp_path):
    text = "Oslo X O\n\na Y O\nb Z\n\nc\nd\n\ne X O more\n\n"
    rows = read(tmp_path, text, {"words": 0, "tags": 2})
    predictions = [Prediction(row, {"prediction": "" if row.error else "O"}) for row in rows]
    with PredictionWriter(tmp_path / "out.conll", "conll", None) as writer:
        writer.write(predictions)
    expected = "Oslo X O O\n\na Y O\nb Z _\n\nc _ _\nd _ _\n\ne X O more\n\n"
    assert (tmp_path / "out.conll").read_text() == expected


def test_columns_must_have_an_index(tmp_path):
    for columns in ({}, {"words": "words"}):
        with pytest.raises(
            UserError, match="CoNLL has no header, so inputs.file_header must give each column its index"
        ):
            read(tmp_path, TEXT, columns)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="is empty"):
        read(tmp_path, "\n\n")


def test_answers_stand_beside_their_words(tmp_path):
    rows = read(tmp_path, TEXT)
    bad = rows[1]._replace(error="broken")
    with PredictionWriter(tmp_path / "out.conll", "conll", None) as writer:
        writer.write([Prediction(rows[0], {"prediction": "B-LOC O"}), Prediction(bad, {"prediction": ""})])
    expected = "EU NNP B-NP B-ORG B-LOC\nrejects VBZ B-VP O O\n\nPeter NNP B-NP B-PER\n\n"
    assert (tmp_path / "out.conll").read_text() == expected


def test_one_answer_for_a_sentence_does_not_fit(tmp_path):
    rows = read(tmp_path, TEXT)
    with (
        pytest.raises(UserError, match="one answer for each word"),
        PredictionWriter(tmp_path / "out", "conll", None) as writer,
    ):
        writer.write([Prediction(rows[0], {"prediction": "positive"})])
