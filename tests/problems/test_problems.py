"""Classification and regression: labels and numbers in, answers and scores out."""

import json
import math

import numpy as np
import pytest
import torch
from problem_of import problem_of

from core.errors import UserError
from core.types import Features, Row, Spec
from problems import PROBLEMS, Classification, Decoded, Regression, labels


def rows(*cells, column="label", **more):
    columns = {column: cells, **more}
    return [Row(at + 2, {name: texts[at] for name, texts in columns.items()}) for at in range(len(cells))]


def fitted(*cells, **arguments):
    problem = problem_of(Classification, "label", **arguments)
    problem.encode(rows(*cells), growing=True)
    problem.finish()
    return problem


def test_problems_are_known_by_their_dataset_type():
    known = {"classification", "regression", "sequence_tagging", "multi_label", "multi_target", "mrc"}
    assert known <= set(PROBLEMS.names())
    assert PROBLEMS["classification"] is Classification and PROBLEMS["regression"] is Regression


def test_label_ids_follow_descending_frequency_over_all_chunks():
    problem = problem_of(Classification, "label")
    assert problem.labels is None and problem.num_targets is None
    first, errors = problem.encode(rows("b", "a", "c"), growing=True)
    second, _ = problem.encode(rows("c", "d", "a", " c "), growing=True)
    assert errors == ["", "", ""]
    assert first["label"].tolist() == [0, 1, 2] and second["label"].tolist() == [2, 3, 1, 2]
    remap = problem.finish()["label"]
    assert problem.labels == ("c", "a", "b", "d")  # b before d: met first
    assert [("c", "a", "b", "d")[final] for final in remap[first["label"]]] == ["b", "a", "c"]
    assert problem.encode(rows("c", "d"), growing=False)[0]["label"].tolist() == [0, 3]
    assert problem.target_specs() == {"label": Spec("B", ids=True, labels=("c", "a", "b", "d"))}
    assert problem.num_targets == 4


def test_listed_labels_keep_their_order_and_take_no_others():
    problem = problem_of(Classification, "label", labels=["no", "yes"])
    assert problem.num_targets == 2
    arrays, errors = problem.encode(rows("yes", "yes", "maybe"), growing=True)
    assert arrays["label"].tolist() == [1, 1, -1]
    assert errors[2] == "unknown label 'maybe' in column label. Known: no, yes."
    assert problem.finish()["label"].tolist() == [0, 1] and problem.labels == ("no", "yes")


def test_labels_met_after_fitting_are_errors_of_their_rows():
    arrays, errors = fitted("0", "1", "0").encode(rows("0", "3", "", "1"), growing=False)
    assert arrays["label"].dtype == np.int64 and arrays["label"].tolist() == [0, -1, -1, 1]
    assert errors == ["", "unknown label '3' in column label. Known: 0, 1.", "the label in column label is empty.", ""]


def test_only_the_first_unknown_labels_get_a_hint_because_looking_for_it_takes_long(monkeypatch):
    asked = []

    def hint(name, _):
        asked.append(name)
        return f" Like {name}?"

    monkeypatch.setattr(labels, "did_you_mean", hint)
    _, errors = fitted("0", "1", "0").encode(rows(*[f"x{at // 2}" for at in range(200)]), growing=False)
    assert asked == [f"x{at}" for at in range(10)]
    for at, error in enumerate(errors):
        end = f" Like x{at // 2}?" if at < 20 else ""
        assert error == f"unknown label 'x{at // 2}' in column label.{end}"


def test_a_row_that_could_not_be_read_keeps_its_error_and_teaches_nothing():
    problem = problem_of(Classification, "label")
    broken = Row(9, {"label": "z"}, "3 columns, but the config names 2.")
    arrays, errors = problem.encode([*rows("a", "b"), broken], growing=True)
    problem.finish()
    assert errors == ["", "", "3 columns, but the config names 2."] and arrays["label"][2] == -1
    assert problem.labels == ("a", "b")


def test_each_target_column_has_its_own_labels():
    problem = problem_of(Classification, "label", "topic")
    problem.encode(rows("1", "0", "1", topic=("x", "y", "z")), growing=True)
    remaps = problem.finish()
    assert {column: spec.labels for column, spec in problem.target_specs().items()} == {
        "label": ("1", "0"),
        "topic": ("x", "y", "z"),
    }
    assert remaps["label"].tolist() == [0, 1] and problem.num_targets == 2


def test_one_label_cannot_be_learned():
    with pytest.raises(UserError, match="column label needs 2 or more labels in train, but has only 'a'"):
        fitted("a", "a")
    with pytest.raises(UserError, match="but has none"):
        fitted()


def test_wrong_labels_in_the_config_are_refused():
    with pytest.raises(ValueError, match="2 or more different ones, got a, a"):
        problem_of(Classification, "label", labels=["a", "a"])
    with pytest.raises(ValueError, match=r"positive_label 'yse' is no label. Did you mean 'yes'"):
        problem_of(Classification, "label", labels=["no", "yes"], positive_label="yse")
    with pytest.raises(UserError, match=r"positive_label '2' is no label. Known: 0, 1"):
        fitted("0", "1", positive_label="2")
    with pytest.raises(ValueError, match="regression has none"):
        problem_of(Regression, "score", labels=["a", "b"])
    with pytest.raises(ValueError, match="cannot be a target and group rows"):
        problem_of(Regression, "score", group_by="score")


def test_the_positive_label_is_1_or_the_rarer_of_two():
    assert fitted("0", "1").positive_label == "1"
    assert fitted("yes", "no", "no").positive_label == "yes"
    assert fitted("0", "1", "2").positive_label is None
    assert fitted("0", "1", positive_label="0").positive_label == "0"


def test_state_survives_json():
    problem = fitted("b", "a", "a")
    restored = problem_of(Classification, "label")
    restored.restore(json.loads(json.dumps(problem.state())))
    assert restored.labels == problem.labels == ("a", "b")
    assert restored.encode(rows("b"), growing=False)[0]["label"].tolist() == [1]
    regression = problem_of(Regression, "score")
    regression.restore(json.loads(json.dumps(regression.state())))


def test_groups_are_the_same_numbers_everywhere():
    problem = problem_of(Regression, "score", group_by="question")
    first, _ = problem.encode(rows("1", "2", "3", column="score", question=("q1", "q2", "q1")), growing=True)
    second, _ = problem.encode(rows("1", "2", column="score", question=("q2", "ä\ud800")), growing=False)
    groups = first["question"]
    assert groups.dtype == np.int64 and groups[0] == groups[2] != groups[1] == second["question"][0]
    assert groups[0].tobytes().hex() == "e7837aa50ee28068"  # printf q1 | b2sum -l 64


def test_an_empty_group_is_an_error_of_its_row():
    problem = problem_of(Regression, "score", group_by="question")
    _, errors = problem.encode(rows("1", "x", "3", column="score", question=("q", "", "")), growing=False)
    assert errors == ["", "'x' in column score is not a number.", "column question, which groups rows, is empty."]


def test_numbers_that_are_none_are_errors_of_their_rows():
    cells = ("0.5", " -2e3 ", "abc", "", "nan", "inf", "1e39", "7")
    arrays, errors = problem_of(Regression, "score").encode(rows(*cells, column="score"), growing=False)
    assert arrays["score"].dtype == np.float32
    assert arrays["score"][[0, 1, 7]].tolist() == [0.5, -2000, 7] and np.isnan(arrays["score"][2:7]).all()
    assert errors[2] == "'abc' in column score is not a number."
    assert [bool(error) for error in errors] == [False, False, True, True, True, True, True, False]


@pytest.mark.parametrize("problem", [problem_of(Classification, "label"), problem_of(Regression, "label")])
def test_no_rows_are_no_problem(problem):
    arrays, errors = problem.encode([], growing=False)
    assert arrays["label"].shape == (0,) and errors == []


def test_outputs_that_cannot_answer_are_refused():
    three, two, unfitted, regression = (
        fitted("a", "b", "c"),
        fitted("a", "b"),
        problem_of(Classification, "label"),
        problem_of(Regression, "score"),
    )
    for problem, size in [(three, 3), (two, 2), (two, 1), (unfitted, 7), (regression, 1)]:
        problem.check_output(Spec("BD", {"D": size}), "label")
    for problem in (two, regression):
        problem.check_output(Spec("B"), "label")
    with pytest.raises(ValueError, match="one score for each of the 3 labels, but gives 2"):
        three.check_output(Spec("BD", {"D": 2}), "label")
    with pytest.raises(ValueError, match="one score for each of the 3 labels, but gives 1"):
        three.check_output(Spec("B"), "label")
    with pytest.raises(ValueError, match=r"one number for each row \(B x 1\), but gives B x 2"):
        regression.check_output(Spec("BD", {"D": 2}), "label")
    for problem in (three, regression):
        with pytest.raises(ValueError, match="expects B x D or B, but the input is B x T x 3"):
            problem.check_output(Spec("BTD", {"D": 3}), "label")


def test_probabilities_are_the_softmax_of_logits_once():
    problem, logits = fitted("a", "b", "c"), torch.randn(4, 3, requires_grad=True)
    expected = torch.softmax(logits, -1).detach().numpy()
    np.testing.assert_allclose(problem.decode({"label": Features(logits)}).scores, expected, rtol=1e-6)
    behind_softmax = Features(logits.softmax(-1), parts={"logits": logits})
    np.testing.assert_allclose(problem.decode({"label": behind_softmax}).scores, expected, rtol=1e-6)
    assert problem.decode({"label": Features(logits.bfloat16())}).scores.dtype == np.float64


@pytest.mark.parametrize("shape", [(3, 1), (3,)])
def test_one_logit_speaks_for_the_label_with_id_1(shape):
    problem, logits = fitted("no", "no", "yes"), torch.tensor([2.0, -1.0, 0.1]).reshape(shape)
    p = 1 / (1 + np.exp([-2.0, 1.0, -0.1]))
    decoded = problem.decode({"label": Features(logits)})
    np.testing.assert_allclose(decoded.scores, np.stack([1 - p, p], 1), rtol=1e-6)
    behind_sigmoid = Features(logits.sigmoid(), parts={"logits": logits})
    np.testing.assert_array_equal(problem.decode({"label": behind_sigmoid}).scores, decoded.scores)
    answers = [prediction.cells for prediction in problem.predictions(rows("", "", ""), decoded)]
    assert [cells["prediction"] for cells in answers] == ["yes", "no", "yes"]
    assert [cells["confidence"] for cells in answers] == pytest.approx([p[0], 1 - p[1], p[2]])


def test_predictions_carry_their_rows_and_the_fields_asked_for():
    problem, decoded = fitted("a", "b", "c"), Decoded(np.array([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]]))
    given = rows("?", "!")
    predictions = problem.predictions(given, decoded, ["confidence@c", "prediction"])
    assert [prediction.row for prediction in predictions] == given
    assert [prediction.cells for prediction in predictions] == [
        {"confidence@c": 0.3, "prediction": "b"},
        {"confidence@c": 0.0, "prediction": "a"},
    ]
    numbers = problem_of(Regression, "score").predictions(given, Decoded(np.array([0.25, -1.0])))
    assert [prediction.cells for prediction in numbers] == [{"prediction": 0.25}, {"prediction": -1.0}]


def test_of_rows_that_are_ranked_the_score_to_rank_by_is_answered_too():
    problem = problem_of(Classification, "label", group_by="query", positive_label="yes", labels=["yes", "no"])
    problem.restore(problem.state())
    (answer,) = problem.predictions(rows("?"), Decoded(np.array([[0.2, 0.8]])), problem.default_fields)
    assert answer.cells == {"prediction": "no", "confidence": 0.8, "confidence@yes": 0.2}


def test_unknown_fields_are_refused_as_soon_as_they_can_be():
    problem = fitted("a", "b")
    assert problem.check_fields(["prediction", "confidence", "confidence@b"]) is None
    assert problem.check_fields(["predicton"]) == "unknown field 'predicton'. Did you mean 'prediction'?"
    assert "Did you mean 'confidence@" in (problem.check_fields(["confidence@x"]) or "")
    assert problem_of(Classification, "label").check_fields(["confidence@x"]) is None
    assert problem_of(Regression, "score").check_fields(["answer"]) == "unknown field 'answer'. Known: prediction."


def test_batches_of_answers_are_joined_in_order():
    parts = [Decoded(np.array([[0.1, 0.9]])), Decoded(np.array([[0.8, 0.2], [0.3, 0.7]]))]
    joined = Decoded.concatenate(parts)
    assert len(joined) == 3 and joined.scores[:, 0].tolist() == [0.1, 0.8, 0.3]


def test_classification_is_scored_with_the_positive_label_and_the_groups():
    problem = problem_of(Classification, "label", group_by="question")
    given = rows("0", "1", "0", "0", "1", question=("q", "q", "q", "r", "r"))
    problem.encode(given, growing=True)
    problem.finish()
    targets, _ = problem.encode(given, growing=False)
    decoded = problem.decode({"label": Features(torch.tensor([[1.0], [0.5], [-1.0], [-2.0], [3.0]]))})
    assert problem.default_metrics == ("accuracy",)
    assert problem.score(["accuracy", "map", "auc", "f1"], decoded, targets) == {
        "accuracy": pytest.approx(4 / 5),
        "map": pytest.approx((1 / 2 + 1) / 2),
        "auc": pytest.approx(5 / 6),
        "f1": pytest.approx(4 / 5),
    }


def test_regression_is_scored_on_numbers():
    problem = problem_of(Regression, "score", positive_label="1")
    targets, _ = problem.encode(rows("0", "1", "1", column="score"), growing=False)
    decoded = problem.decode({"label": Features(torch.tensor([[0.5], [0.5], [2.0]]))})
    scores = problem.score(["rmse", "auc", "r2"], decoded, targets)
    assert scores["rmse"] == pytest.approx(math.sqrt(1.5 / 3)) and scores["auc"] == 3 / 4


def test_metrics_are_checked_before_and_after_fitting():
    problem = problem_of(Classification, "label")
    assert problem.check_metric("auc") is None and problem.check_metric("auc@x") is None
    assert "inputs.group_by" in (problem.check_metric("map") or "")
    after = fitted("a", "b", "c")
    assert "needs a positive label" in (after.check_metric("auc") or "")
    assert "no label" in (after.check_metric("auc@x") or "")
    assert fitted("0", "1").check_metric("auc") is None
