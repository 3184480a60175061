"""Questions of SQuAD files, read and answered."""

import gzip
import io
import json
import re
from pathlib import Path

import pytest

from core.errors import UserError
from core.types import Prediction, Row
from text.readers import RowFile, format_named
from text.writers import PredictionWriter

PASSAGE = "The cat İs in Zürich. The cat sleeps."


def document(*questions, passage=PASSAGE, title="Cats"):
    """A file with one paragraph."""
    return {"version": "v2.0", "data": [{"title": title, "paragraphs": [{"context": passage, "qas": list(questions)}]}]}


def question(*answers, number=1, **more):
    texts = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": f"q{number}", "question": f"Where {number}?", "answers": texts, **more}


def put(tmp_path, content, name="x.json"):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def errors(tmp_path, *questions, **more):
    return [row.error for row in RowFile(put(tmp_path, document(*questions, **more)), {})]


FIRST = {
    "id": "q1", "title": "Cats", "passage": PASSAGE, "question": "Where 1?", "start_label": "14", "end_label": "20",
    "answers": '["Zürich", "in Zürich"]', "is_impossible": "false",
}  # fmt: skip


@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.squad"])
def test_a_question_is_a_row(tmp_path, name):
    none = question(number=2, is_impossible=True, plausible_answers=[{"text": "Oslo", "answer_start": 1}])
    questions = [question(("Zürich", 14), ("in Zürich", 11)), none]
    rows = list(RowFile(put(tmp_path, document(*questions), name), {}))
    assert [(row.number, row.error) for row in rows] == [(1, ""), (2, "")]
    assert rows[0].cells == FIRST and list(rows[0].cells) == list(FIRST)
    assert list(rows[1].cells.values()) == ["q2", "Cats", PASSAGE, "Where 2?", "-1", "-1", "[]", "true"]


def test_the_columns_can_have_other_names_and_a_stream_is_read(tmp_path):
    raw = b"\xef\xbb\xbf" + json.dumps(document(question(("cat", 4)))).encode()
    for place in ("passage", 2):
        file = RowFile(tmp_path / "-", {"context": place}, format="squad", stream=io.BytesIO(raw))
        file.require(["context", "question", "end_label"])
        (row,) = file
        assert list(row.cells) == ["context" if name == "passage" else name for name in FIRST]
        assert row.cells["context"][int(row.cells["start_label"]) : int(row.cells["end_label"])] == "cat"


def test_a_file_to_predict_has_no_columns_of_answers(tmp_path):
    bare = {"id": "q1", "question": "Where?"}
    file = RowFile(put(tmp_path, document(bare)), {}, needed=["passage", "question"])
    assert [list(row.cells) for row in file] == [["id", "title", "passage", "question"]]
    with pytest.raises(UserError, match="has no column 'start_label'"):
        file.require(["start_label"])
    rows = list(RowFile(put(tmp_path, document(bare, question(("cat", 4)))), {}))
    assert [row.cells["answers"] for row in rows] == ["", '["cat"]'] and not rows[0].error


def test_a_bad_question_keeps_its_row_and_says_why(tmp_path):
    found = errors(
        tmp_path,
        question(("cat", 5)),
        question(("cat", 24), number=2),
        question(("dog", 4), number=3),
        question(("cat", 4), ("Zürich", 99), number=4),
        question(("cat", -33), number=5),
        {**question(number=6), "answers": {"text": ["cat"], "answer_start": [4]}},
        {**question(number=7), "answers": ["cat"]},
        question(("", 0), number=8),
        question(("cat", True), number=9),
        question(("cat", 4), number=10, is_impossible=True),
        question(number=11, is_impossible="no"),
        question(number=12, question=" "),
        question(number=13, question="\ud83d"),
        question(("\ud83d", 4), number=14),
        question(("cat", 26), number=15),
    )
    assert found == [
        "question 'q1': answer 'cat' is not at character 5 of its passage, but at 4.",
        "question 'q2': answer 'cat' is not at character 24 of its passage, but at 26.",
        "question 'q3': answer 'dog' is not at character 4 of its passage.",
        "question 'q4': answer 'Zürich' is not at character 99 of its passage of 37 characters, but at 14.",
        "question 'q5': answer 'cat' is not at character -33 of its passage of 37 characters, but at 4.",
        "question 'q6': its answers are no list.",
        "question 'q7': answer \"cat\" needs a text and its answer_start.",
        'question \'q8\': answer {"text": "", "answer_start": 0} needs a text and its answer_start.',
        'question \'q9\': answer {"text": "cat", "answer_start": true} needs a text and its answer_start.',
        "question 'q10': it is_impossible, but has answers.",
        "question 'q11': its is_impossible is \"no\", not true or false.",
        "question 'q12': its question is missing or empty.",
        "question '': not valid Unicode (half of a surrogate pair).",
        "question '': not valid Unicode (half of a surrogate pair).",
        "",
    ]
    assert errors(tmp_path, question(), passage="") == ["question 'q1': its passage is missing or empty."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": is empty."),
        (b'{"data": [\n {"a" 1}]}', ":2:7: not valid JSON: Expecting ':' delimiter."),
        (b'{"a": 1}\n{"a": 2}\n', ":2:1: not valid JSON: Extra data. Is this a JSONL file? Say so in inputs.data_format."),
        (b"[" * 100_000, ": not valid JSON: "),
        (b'{"data": "\xff"}', ": not valid UTF-8 (byte 0xff at position 11). Save the file as UTF-8."),
        ({"q1": "cat"}, ": has no list 'data' of objects; SQuAD nests data, paragraphs, qas."),
        (3, ": has no list 'data' of objects; SQuAD nests data, paragraphs, qas."),
        ({"data": [{"paragraphs": []}, {}]}, ": data[1] has no list 'paragraphs' of objects;"),
        ({"data": [{"paragraphs": [{"qas": [1]}]}]}, ": data[0].paragraphs[0] has no list 'qas' of objects;"),
        ({"data": []}, ": has no questions."),
    ],
)  # fmt: skip
def test_a_file_that_is_no_squad_is_one_sentence(tmp_path, content, message):
    path = put(tmp_path, content)
    with pytest.raises(UserError, match=f"^{re.escape(str(path) + message)}"):
        RowFile(path, {})


def test_json_means_squad():
    assert [format_named(Path(name)) for name in ("a.json", "a.JSON.gz", "a.jsonl")] == ["squad", "squad", "jsonl"]


@pytest.mark.parametrize(("name", "questions"), [("dev-v1.1", 10_570), ("train-v1.1-part", 11_877)])
def test_the_answers_of_squad_stand_where_it_says(real_data, name, questions):
    rows = list(RowFile(real_data / "SQuAD" / f"{name}.json.gz", {}))
    assert [row.number for row in rows] == list(range(1, questions + 1))
    assert not any(row.error for row in rows)
    for cells in (row.cells for row in rows):
        texts = json.loads(cells["answers"])
        assert cells["passage"][int(cells["start_label"]) : int(cells["end_label"])] == texts[0]
        assert cells["is_impossible"] == "false"


def write(path, rows, answer, header=None):
    with PredictionWriter(path, "squad", header) as writer:
        writer.write(
            Prediction(row, {"prediction": "" if row.error else answer(row), "confidence": 0.5}) for row in rows
        )
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)


@pytest.mark.parametrize("name", ["out.json", "out.json.gz"])
def test_predictions_are_one_object_that_gives_each_id_its_answer(tmp_path, name):
    rows = [Row(at, {"id": f"é{at}"}, "bad" if at % 7 == 3 else "") for at in range(20_000)]
    answers = {f"é{at}": "" if at % 7 == 3 else f'"{at}"\n\t' for at in range(20_000)}
    assert write(tmp_path / name, rows, lambda row: f'"{row.number}"\n\t') == answers


def test_the_id_may_be_called_so_by_the_file_or_by_the_config(tmp_path):
    for columns in ({"key": "id"}, {"id": "key"}):
        (tmp_path / "x.tsv").write_text(f"{next(iter(columns.values()))}\ttext\na\tb\n")
        file = RowFile(tmp_path / "x.tsv", columns)
        assert write(tmp_path / "out.json", file, lambda row: "yes", file.header) == {"a": "yes"}


def test_questions_that_cannot_be_told_apart_are_refused(tmp_path):
    path, once = tmp_path / "out.json", Row(1, {"id": "a"})
    for cells, sentence in [
        ({"text": "b"}, "row 2 has no id: give the output a name that ends in .jsonl."),
        ({"id": ""}, "row 2 has no id: give the output a name that ends in .jsonl."),
        ({"id": "a"}, "row 2 has the id 'a' of a row before it."),
    ]:
        with pytest.raises(UserError, match=f"^{re.escape(f'{path}: {sentence}')}$"):
            write(path, [once, Row(2, cells)], lambda row: "yes")
        assert not path.exists()
    assert write(path, [once, Row(2, {"id": ""}, "unreadable")], lambda row: "yes") == {"a": "yes"}
