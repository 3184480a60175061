import math
from typing import Any, cast

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.types import Spec
from distillation import Scores
from distillation.base import Classroom
from text.readers import RowFile

TWO = {"label": Spec("B", ids=True, labels=("no", "yes"), positive="yes")}
THREE = {"label": Spec("B", ids=True, labels=("b", "a", "c"))}
NUMBER = {"score": Spec("B")}
SETS = {"labels": Spec("BC", {"C": 2}, labels=("x", "y"))}


def teacher(targets, texts=None, train=None, **conf):
    """texts  branch of the student -> column of its words;  train  its training rows"""
    told = Classroom(targets, cast(Any, None), {}, texts or {}, cast(Any, None), file=lambda: train)
    return Scores.Conf(**conf).build(told)


def file(tmp_path, text, name="rows.tsv"):
    path = tmp_path / name
    path.write_text(text)
    return RowFile(path, {}, has_header=True)


def answers(teacher, file):
    rows = teacher.read(file, None)
    return (rows.keys >> 24).tolist(), teacher.answer(rows, np.arange(len(rows.keys)), [""])[""].values


def test_one_score_is_the_probability_of_the_positive_label(tmp_path):
    lines, logits = answers(teacher(TWO, kind="score", column="s"), file(tmp_path, "s\n0.8\n\n0.25\n"))
    assert torch.allclose(logits.softmax(1), torch.tensor([[0.2, 0.8], [0.75, 0.25]]))
    assert lines == [2, 4]


def test_the_positive_label_may_be_the_first(tmp_path):
    targets = {"label": Spec("B", ids=True, labels=("yes", "no"), positive="yes")}
    _, logits = answers(teacher(targets, kind="score", column="s"), file(tmp_path, "s\n0.8\n"))
    assert torch.allclose(logits.softmax(1), torch.tensor([[0.8, 0.2]]))


def test_columns_are_matched_by_label_not_by_place(tmp_path):
    found = teacher(THREE, kind="probabilities", columns={"a": "p", "b": "q", "c": "r"})
    _, logits = answers(found, file(tmp_path, "p\tq\tr\n0.5\t0.2\t0.3\n"))
    assert torch.allclose(logits.softmax(1), torch.tensor([[0.2, 0.5, 0.3]]))


def test_a_list_of_logits_is_matched_by_its_labels(tmp_path):
    found = teacher(THREE, kind="logits", column="z", labels=["a", "b", "c"])
    _, logits = answers(found, file(tmp_path, '{"z": [1.5, -2, 0]}\n', "rows.jsonl"))
    assert logits.tolist() == [[-2, 1.5, 0]]


def test_labels_that_stand_together_have_a_probability_each(tmp_path):
    found = teacher(SETS, kind="probabilities", columns={"y": "py", "x": "px"})
    _, logits = answers(found, file(tmp_path, "px\tpy\n0.9\t0.8\n"))
    assert torch.allclose(logits.sigmoid(), torch.tensor([[0.9, 0.8]]))


def test_numbers_stay_as_they_are(tmp_path):
    _, numbers = answers(teacher(NUMBER, kind="score", column="s"), file(tmp_path, "s\n3.5\n-1\n"))
    assert numbers.tolist() == [3.5, -1]


def test_a_file_of_scores_is_joined_by_id_in_any_order(tmp_path):
    (tmp_path / "scores.jsonl").write_text('{"id": "q2", "s": 0.5}\n{"id": "q1", "s": 0.9}\n{"id": "q9", "s": 0.1}\n')
    found = teacher(TWO, kind="score", column="s", path=str(tmp_path / "scores.jsonl"), id="id")
    lines, logits = answers(found, file(tmp_path, "id\ttext\nq1\ta\nq3\tb\nq2\tc\n"))
    assert lines == [2, 4]
    assert torch.allclose(logits.softmax(1)[:, 1], torch.tensor([0.9, 0.5]))


def test_a_file_of_scores_without_ids_has_a_row_for_each_row(tmp_path):
    (tmp_path / "scores.tsv").write_text("s\n0.5\n0.9\n")
    found = teacher(TWO, kind="score", column="s", path=str(tmp_path / "scores.tsv"))
    lines, _ = answers(found, file(tmp_path, "text\na\nb\n"))
    assert lines == [2, 3]
    with pytest.raises(UserError, match=r"scores.tsv: has 2 rows, but .* has 3. By an id"):
        found.read(file(tmp_path, "text\na\nb\nc\n"), None)


def test_scores_row_by_row_are_those_of_the_training_rows(tmp_path):
    train, other = file(tmp_path, "text\na\nb\n\n"), file(tmp_path, "text\nc\nd\n", "other.tsv")
    own = file(tmp_path, "s\n0.8\n0.25\n", "scores.tsv")
    found = teacher(TWO, train=train, kind="score", column="s", path=str(own.path))
    assert answers(found, train)[0] == [2, 3]  # a blank line at the end is no row
    with pytest.raises(UserError, match=r"has the scores of .*rows.tsv, row by row. With an id"):
        found.read(other, None)


def test_what_scores_mean_for_labels_that_stand_together_is_another_answer():
    one = {"labels": Spec("B", ids=True, labels=("x", "y"))}
    columns = {"x": "p", "y": "q"}
    assert len({str(teacher(targets, kind="probabilities", columns=columns).key()) for targets in (one, SETS)}) == 2


def test_certainty_has_a_finite_logit(tmp_path):
    _, logits = answers(teacher(TWO, kind="score", column="s"), file(tmp_path, "s\n1\n0\n"))
    assert logits.abs().max() < -math.log(1e-7)


@pytest.mark.parametrize(
    ("conf", "text", "sentence"),
    [
        ({"kind": "score", "column": "s"}, "s\n0.5\n1.5\n", r"rows.tsv:3: 1.5 is no probability from 0 to 1"),
        ({"kind": "score", "column": "s"}, "s\n0.5\nnan\n", r"rows.tsv:3: 'nan' is no number"),
        ({"kind": "score", "column": "s"}, "s\nabc\n", r"rows.tsv:2: 'abc' is no number"),
        ({"kind": "score", "column": "t"}, "s\n0.5\n", r"rows.tsv: has no column 't'"),
        ({"kind": "score", "column": "s"}, "s\tt\n\ta\n", r"has no score for any row"),
        (
            {"kind": "logits", "column": "s", "labels": ["no", "yes"]},
            "s\n[1]\n",
            r"rows.tsv:2: .* no list of 2 numbers",
        ),
        ({"kind": "logits", "column": "s", "labels": ["no", "yes"]}, "s\n[1, x]\n", r":2: .* no list of 2 numbers"),
        ({"kind": "probabilities", "columns": {"no": "s", "yes": "t"}}, "s\tt\n0.5\t0.9\n", r":2: .* add up to 1.4"),
        (
            {"kind": "probabilities", "columns": {"no": "s", "yes": "t"}},
            "s\tt\n0.5\t\n",
            r":2: has no score for yes, but",
        ),
    ],
)
def test_what_is_no_score_is_refused_with_its_place(tmp_path, conf, text, sentence):
    with pytest.raises(UserError, match=sentence):
        teacher(TWO, **conf).read(file(tmp_path, text), None)


def test_the_first_training_rows_are_looked_at_before_training(tmp_path):
    rows = file(tmp_path, "id\ts\n" + "".join(f"r{n}\t0.5\n" for n in range(8)) + "r8\t1.5\n")
    with pytest.raises(UserError, match=r"rows.tsv:10: 1.5 is no probability"):
        teacher(TWO, train=rows, kind="score", column="s")
    few = {"kind": "score", "column": "s", "path": str(file(tmp_path, "id\ts\nr1\t0.5\nr1\t0.5\n", "few.tsv").path)}
    with pytest.raises(UserError, match=r"few.tsv: has 2 rows, but .*rows.tsv has 9"):
        teacher(TWO, train=rows, **few)
    with pytest.raises(UserError, match=r"few.tsv:3: column 'id' has 'r1', as line 2 has"):
        teacher(TWO, train=rows, **few, id="id")


def test_ids_are_found_under_any_name_that_the_config_gives_their_column(tmp_path):
    (tmp_path / "scores.jsonl").write_text('{"pair": "a", "s": 0.5}\n{"pair": "b", "s": 0.9}\n')
    (tmp_path / "train.tsv").write_text("pair\tsentence\nb\tx\nc\ty\n")
    train = RowFile(tmp_path / "train.tsv", {"number": "pair", "text": "sentence"}, has_header=True)
    conf = {"kind": "score", "column": "s", "id": "pair", "path": str(tmp_path / "scores.jsonl")}
    found = teacher(TWO, {"sentence": "text"}, train, **conf)
    assert found.read(train, None).lines.tolist() == [2] and not found.doubt
    (tmp_path / "train.tsv").write_text("pair\tsentence\nd\tx\n")
    assert "has a score for none of the first 1,000 rows" in teacher(TWO, {"sentence": "text"}, train, **conf).doubt
    (tmp_path / "scores.jsonl").write_text('{"pair": "a", "s": 0.5}\n{"s": 0.9}\n')
    with pytest.raises(UserError, match=r"scores.jsonl:2: has no 'pair'"):
        teacher(TWO, {"sentence": "text"}, train, **conf)


def test_rows_of_several_files_have_ids_of_their_own(tmp_path):
    (tmp_path / "scores.tsv").write_text("id\ts\n1\t0.5\n2\t0.9\n")
    path = str(tmp_path / "scores.tsv")
    train = file(tmp_path, "id\ttext\tlabel\n1\ta\tyes\n2\tb\tno\n", "train.tsv")
    found = teacher(TWO, {"sentence": "text"}, train, kind="score", column="s", path=path, id="id")
    found.read(file(tmp_path, "id\ttext\n2\tb\n", "same.tsv"), None)
    with pytest.raises(
        UserError, match=r"valid.tsv:3: '2' in column 'id' is the id of another row, too \(.*train.tsv:3"
    ):
        found.read(file(tmp_path, "id\ttext\n3\tc\n2\tc\n", "valid.tsv"), None)


def test_an_id_that_several_scores_have_is_named(tmp_path):
    own = file(tmp_path, "id\ts\na\t0.5\nb\t0.5\nb\t0.6\n", "scores.tsv")
    found = teacher(TWO, kind="score", column="s", id="id", path=str(own.path))
    with pytest.raises(UserError, match=r"scores.tsv:4: column 'id' has 'b', as line 3 has"):
        found.read(file(tmp_path, "id\na\nb\n"), None)


@pytest.mark.parametrize(
    ("targets", "conf", "sentence"),
    [
        (THREE, {"kind": "score", "column": "s"}, "answers for two labels"),
        (TWO, {"kind": "logits", "columns": {"no": "a", "maybe": "b"}}, "scores for no, maybe, but the labels here are no, yes"),
        (NUMBER, {"kind": "logits", "columns": {"no": "a"}}, "target here is a number"),
        ({"tags": Spec("BT", ids=True)}, {"kind": "score", "column": "s"}, "answer for rows"),
        (TWO, {"kind": "score", "column": "s", "id": "id"}, "path names none"),
        (TWO, {"kind": "logits", "column": "s"}, "needs labels: the order of the numbers in the lists of column 's'"),
        (TWO, {"kind": "score", "column": "s", "labels": ["no", "yes"]}, "here column holds no list"),
        (TWO, {"kind": "score", "column": "s", "path": "nowhere.tsv"}, "nowhere.tsv: no such file"),
        (TWO, {"kind": "logits"}, "either column or columns"),
    ],
)  # fmt: skip
def test_scores_that_cannot_answer_are_refused_before_any_row_is_read(targets, conf, sentence):
    with pytest.raises(ValueError, match=sentence):
        teacher(targets, **conf)
