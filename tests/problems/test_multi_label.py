"""Multi-label: cells to sets of labels and back, thresholds against every cut, scores against scikit-learn."""

import json
import math

import numpy as np
import pytest
import torch
from problem_of import problem_of
from sklearn import metrics as sklearn_metrics

from core.errors import UserError
from core.types import Features, Row, Spec
from problems import Decoded, MultiLabel
from problems.metrics import METRICS, LabelSets, score
from problems.multi_label import best_thresholds
from text.readers import JsonText

LABELS = ("sport", "art", "war")


def rows(*cells):
    return [Row(at + 2, {"topics": cell}) for at, cell in enumerate(cells)]


def fitted(*cells, **conf):
    problem = problem_of(MultiLabel, "topics", **conf)
    arrays, errors = problem.encode(rows(*cells), growing=True)
    assert not any(errors), errors
    remap = problem.finish()["topics"]
    return problem, arrays["topics"].with_values(remap[arrays["topics"].values])


def listed(**arguments):
    return problem_of(MultiLabel, "topics", labels=list(LABELS), **arguments)


def sets(problem, *cells):
    arrays, errors = problem.encode(rows(*cells), growing=False)
    return arrays["topics"].multi_hot(problem.num_targets).astype(int).tolist(), errors


def test_a_cell_lists_labels_and_frequent_ones_come_first():
    problem, ids = fitted("art, war", "", "war", " war ,sport,, war", ",")
    assert problem.labels == ("war", "art", "sport") and problem.num_targets == 3
    assert ids.multi_hot(3).astype(int).tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert problem.target_specs() == {"topics": Spec("BC", {"C": 3}, labels=("war", "art", "sport"))}
    assert problem_of(MultiLabel, "topics").target_specs() == {"topics": Spec("BC")}


def test_another_separator():
    problem, ids = fitted("New York; Rome, Italy", "New York", label_separator=";")
    assert problem.labels == ("New York", "Rome, Italy") and ids.lengths.tolist() == [2, 1]


def test_json_lists_are_taken_and_other_json_is_refused():
    lists = ['["art", "war"]', "[]", '["war", "war", " art "]', "", '["sport"]']
    assert sets(listed(), *map(JsonText, lists)) == (
        [[0, 1, 1], [0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]],
        [""] * 5,
    )
    numbers, _ = fitted(JsonText("[1, 2.5, true]"), JsonText("1"))
    assert numbers.labels == ("1", "2.5", "true")
    _, errors = sets(listed(), *map(JsonText, ['{"art": 1}', '["art", null]', '["art,war"]']), '["art"]')
    assert errors == [
        'column topics: {"art": 1} is no list of labels.',
        'column topics: ["art", null] is no list of labels.',
        "column topics: label 'art,war' holds the label_separator ','. Set another.",
        "unknown label '[\"art\"]' in column topics. Did you mean 'art'?",
    ]


def test_unknown_labels_and_rows_that_cannot_be_read_are_errors():
    broken = Row(9, {"topics": "war"}, "3 columns, but the config names 2.")
    arrays, errors = listed().encode([*rows("war,wra", "sport"), broken], growing=True)
    assert errors == [
        "unknown label 'wra' in column topics. Did you mean 'war'?",
        "",
        "3 columns, but the config names 2.",
    ]
    assert arrays["topics"].lengths.tolist() == [2, 1, 0]


def test_what_cannot_be_right_is_refused():
    with pytest.raises(ValueError, match="labels must be 1 or more different ones, got a, a"):
        problem_of(MultiLabel, "topics", labels=["a", "a"])
    with pytest.raises(ValueError, match="label 'a,b' holds the label_separator ','"):
        problem_of(MultiLabel, "topics", labels=["a,b"])
    with pytest.raises(ValueError, match="positive_label belongs to classification"):
        problem_of(MultiLabel, "topics", positive_label="a")
    with pytest.raises(ValueError, match="label_separator is empty"):
        MultiLabel.Conf(label_separator="")
    with pytest.raises(ValueError, match="threshold must be below 1"):
        MultiLabel.Conf(threshold=1.0)
    with pytest.raises(UserError, match="column topics needs 1 or more labels in train, but has none"):
        fitted("", " , ")


def test_one_label_alone_is_a_task_of_its_own():
    problem, _ = fitted("", "art", "")
    problem.check_output(Spec("BD", {"D": 1}), "topics")
    assert problem.decode({"topics": Features(torch.zeros(2, 1))}).scores.tolist() == [[0.5], [0.5]]


def test_outputs_that_cannot_answer_are_refused():
    problem = listed()
    problem.check_output(Spec("BD", {"D": 3}), "topics")
    problem.check_output(Spec("BD"), "topics")
    problem_of(MultiLabel, "topics").check_output(Spec("BD", {"D": 7}), "topics")
    with pytest.raises(ValueError, match="must give one score for each of the 3 labels, but gives 1"):
        problem.check_output(Spec("BD", {"D": 1}), "topics")
    with pytest.raises(ValueError, match="expects B x D, but the input is B x T x 3"):
        problem.check_output(Spec("BTD", {"D": 3}), "topics")


def test_the_state_restores_the_labels_and_knows_the_separator():
    problem, _ = fitted("b", "a,b")
    again = problem_of(MultiLabel, "topics")
    again.restore(json.loads(json.dumps(problem.state())))
    assert again.labels == ("b", "a")
    assert again.state() != fitted("b", "a;b", label_separator=";")[0].state()


def test_each_label_has_a_sigmoid_of_its_own():
    logits = torch.randn(4, 3)
    expected = 1 / (1 + np.exp(-logits.numpy().astype(float)))
    np.testing.assert_allclose(listed().decode({"topics": Features(logits)}).scores, expected, rtol=1e-12)
    behind_sigmoid = Features(logits.sigmoid(), parts={"logits": logits})
    np.testing.assert_allclose(listed().decode({"topics": behind_sigmoid}).scores, expected, rtol=1e-12)


SCORES = np.array([[0.6, 0.9, 0.1], [0.5, 0.2, 0.3], [0.1, 0.2, 0.3], [0.7, 0.8, 0.9]])


def predicted(problem, fields=None):
    return [answer.cells for answer in problem.predictions(rows("", "", "", ""), Decoded(SCORES), fields)]


def test_predictions_name_the_surest_label_first():
    assert [cells["prediction"] for cells in predicted(listed())] == ["art,sport", "sport", "", "war,art,sport"]
    (second,) = {cells["confidence@art"] for cells in predicted(listed(), ["confidence@art"])[1:3]}
    assert second == 0.2
    strict = listed(threshold=0.8, label_separator=" | ")
    assert [cells["prediction"] for cells in predicted(strict)] == ["art", "", "", "war | art"]


def test_fields_are_known():
    assert listed().check_fields(["prediction", "confidence@war"]) is None
    assert "unknown field 'confidence'. Did you mean 'confidence@" in (listed().check_fields(["confidence"]) or "")
    assert problem_of(MultiLabel, "topics").check_fields(["confidence@x"]) is None


def f1(right, chosen):
    return sklearn_metrics.f1_score(right, chosen, zero_division=0)


@pytest.mark.parametrize("seed", range(20))
def test_thresholds_are_as_good_as_the_best_of_all_cuts(seed):
    random = np.random.default_rng(seed)
    scores_NC = random.random((30, 4)).round(random.integers(1, 4))  # rounded: many are equal
    right_NC = random.random((30, 4)) < random.choice([0.05, 0.3, 0.9])
    for scores_N, right_N, chosen in zip(scores_NC.T, right_NC.T, best_thresholds(scores_NC, right_NC), strict=True):
        if not right_N.any():
            assert chosen == 0.5
            continue
        best = max(f1(right_N, scores_N >= cut) for cut in np.unique(scores_N))
        assert f1(right_N, scores_N >= chosen) == pytest.approx(best)


def test_a_threshold_lies_in_the_middle_of_its_gap():
    scores, right = np.array([[0.9], [0.8], [0.2]]), np.array([[True], [True], [False]])
    assert best_thresholds(scores, right).tolist() == [pytest.approx(0.5)]
    assert best_thresholds(scores, ~right | True).tolist() == [pytest.approx(0.1)]


def test_a_threshold_between_neighbouring_floats_takes_the_upper_one_only():
    lower, upper = 0.25, np.nextafter(0.25, 1)
    assert upper >= best_thresholds(np.array([[lower], [upper]]), np.array([[False], [True]]))[0] > lower


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_choose_nothing(value):
    scores = np.array([[value, 0.9], [0.3, 0.1]])
    assert best_thresholds(scores, np.array([[True, True], [False, False]])).tolist() == [0.5, pytest.approx(0.5)]


@pytest.mark.filterwarnings("error")
def test_equal_scores_choose_all_or_nothing():
    zeros, right = np.zeros((4, 2)), np.array([[True, False]] * 4)
    chosen = best_thresholds(zeros, right)
    assert (zeros >= chosen).all(0).tolist() == [True, False]


@pytest.fixture
def validation():
    """Scores that are too low for a threshold of 0.5, and right answers."""
    random = np.random.default_rng(7)
    right = random.random((60, 3)) < [0.5, 0.3, 0.0]
    scores = np.clip(random.normal(0.1, 0.05, (60, 3)) + right * [0.3, 0.05, 0], 0, 1)
    cells = [",".join(label for label, has in zip(LABELS, row, strict=True) if has) for row in right]
    return right, Decoded(scores), cells


def tuned(validation, threshold):
    _, decoded, cells = validation
    problem = listed(threshold=threshold)
    targets = problem.encode(rows(*cells), growing=False)[0]
    problem.tune(decoded, targets)
    return problem, problem.score(["micro_f1", "f1@sport", "f1@art"], decoded, targets)


def test_tuned_thresholds_score_best_and_survive_json(validation):
    right, decoded, cells = validation
    fixed, one, each = (tuned(validation, threshold) for threshold in (0.5, "tuned", "tuned_per_label"))
    assert fixed[0].tuned is None and isinstance(one[0].tuned, float) and len(each[0].tuned) == 3
    assert each[0].tuned[2] == 0.5
    cuts = np.unique(decoded.scores)
    best = max(f1(right.ravel(), decoded.scores.ravel() >= cut) for cut in cuts)
    assert one[1]["micro_f1"] == pytest.approx(best) and best > fixed[1]["micro_f1"]
    for at, label in enumerate(("sport", "art")):
        assert each[1][f"f1@{label}"] == pytest.approx(max(f1(right[:, at], decoded.scores[:, at] >= c) for c in cuts))
    again = listed(threshold=each[0].conf.threshold)
    again.tuned = json.loads(json.dumps(each[0].tuned))
    assert again.predictions(rows(*cells), decoded) == each[0].predictions(rows(*cells), decoded)


def test_a_threshold_that_was_never_chosen_is_a_sentence(validation):
    problem = listed(threshold="tuned")
    with pytest.raises(UserError, match=r"inputs.threshold: 'tuned', but this training chose none so\. Set"):
        predicted(problem)
    problem.tuned = [0.1, 0.2, 0.3]
    with pytest.raises(UserError, match="'tuned'"):
        predicted(problem)


def test_rows_are_right_with_all_their_labels_and_no_other():
    problem = listed()
    targets = problem.encode(rows("art,sport", "sport,war", "", "art"), growing=False)[0]
    assert problem.right_rows(Decoded(SCORES), targets).tolist() == [True, False, True, False]
    assert problem.score(["exact_match", "hamming_loss"], Decoded(SCORES), targets) == {
        "exact_match": 2 / 4,
        "hamming_loss": pytest.approx(3 / 12),
    }


@pytest.fixture(params=[0, 1])
def answers(request):
    """Random answers; the last label is very rare, some rows have no label."""
    random = np.random.default_rng(request.param)
    scores = random.random((80, 3)).round(2)
    targets = random.random((80, 3)) < [0.5, 0.2, 0.02]
    return LabelSets(targets, scores, scores >= 0.6, LABELS)


def one(name, answers):
    return score([name], "multi_label", answers)[name]


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", "samples"])
@pytest.mark.parametrize("measure", ["f1", "precision", "recall"])
def test_averages_agree_with_scikit_learn(answers, average, measure):
    oracle = getattr(sklearn_metrics, f"{measure}_score")
    expected = oracle(answers.targets, answers.predicted, average=average, zero_division=0)
    assert one(f"{average}_{measure}", answers) == pytest.approx(expected)


@pytest.mark.parametrize("measure", ["f1", "precision", "recall"])
def test_labels_agree_with_scikit_learn(answers, measure):
    oracle = getattr(sklearn_metrics, f"{measure}_score")
    expected = oracle(answers.targets, answers.predicted, average=None, zero_division=np.nan)
    got = [one(f"{measure}@{label}", answers) for label in LABELS]
    np.testing.assert_allclose(got, expected)


def test_the_other_metrics_agree_with_scikit_learn(answers):
    right, found, scores = answers.targets, answers.predicted, answers.scores
    ranking = sklearn_metrics.label_ranking_average_precision_score(right, scores)
    expected = {
        "exact_match": sklearn_metrics.accuracy_score(right, found),
        "hamming_loss": sklearn_metrics.hamming_loss(right, found),
        "label_ranking_average_precision": ranking,
        "lrap": ranking,
        "auc@art": sklearn_metrics.roc_auc_score(right[:, 1], scores[:, 1]),
    }
    defined = [at for at in range(3) if right[:, at].any()]
    expected["auc@average"] = sklearn_metrics.roc_auc_score(right[:, defined], scores[:, defined], average="macro")
    assert score(expected, "multi_label", answers) == pytest.approx(expected)


def test_a_single_label_is_scored_as_a_label_not_as_two_classes():
    right, found = np.array([[True], [True], [False], [False]]), np.array([[True], [False], [True], [False]])
    answers = LabelSets(right, found.astype(float), found, ("a",))
    assert one("micro_precision", answers) == one("f1@a", answers) == one("macro_recall", answers) == 1 / 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", ["no rows", "not finite", "no labels", "one row"])
def test_no_data_raises_or_warns(case):
    count = {"no rows": 0, "one row": 1}.get(case, 4)
    scores = np.full((count, 3), np.nan if case == "not finite" else 0.3)
    names = [name.replace("@label", "@art") for name in METRICS["multi_label"]]
    got = score(names, "multi_label", LabelSets(np.zeros((count, 3), bool), scores, scores > 0.5, LABELS))
    assert list(got) == names
    if case in ("no rows", "not finite"):
        assert all(math.isnan(value) for value in got.values())
    else:
        assert math.isnan(got["micro_f1"]) and math.isnan(got["f1@art"]) and math.isnan(got["auc@average"])
        assert got["macro_f1"] == got["hamming_loss"] == 0 and got["exact_match"] == 1


def test_metrics_of_other_problems_are_named():
    assert (listed().check_metric("accuracy") or "").startswith(
        "metric 'accuracy' belongs to classification, this is multi_label. Known: "
    )
    assert "Did you mean 'war'" in (listed().check_metric("f1@wart") or "")
    assert not listed().higher_is_better("hamming_loss") and listed().higher_is_better("micro_f1")
