"""Metrics against scikit-learn, against loops over groups, and against a ranking worked out by hand."""

import math
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from problems.metrics import METRICS, Answers, check_metric, higher_is_better, metric_names, score

LABELS = ("a", "b", "c")
RANKING = ["map", "mrr", "p@1", "p@3", "ndcg@3", "ndcg@10"]


def one(name, problem, **answers):
    answers = {key: np.asarray(value) if isinstance(value, list) else value for key, value in answers.items()}
    return score([name], problem, Answers(**answers))[name]


@pytest.fixture
def classified():
    random = np.random.default_rng(0)
    logits = random.normal(size=(200, 3)).round(1)
    powers = np.exp(logits)
    return Answers(random.integers(0, 3, 200), powers / powers.sum(1, keepdims=True), LABELS, positive=1)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("measure", ["f1", "precision", "recall"])
def test_averages_agree_with_scikit_learn(classified, average, measure):
    oracle = getattr(sklearn_metrics, f"{measure}_score")
    expected = oracle(classified.targets, classified.scores.argmax(1), average=average)
    assert score([f"{average}_{measure}"], "classification", classified) == {
        f"{average}_{measure}": pytest.approx(expected)
    }


@pytest.mark.parametrize("measure", ["f1", "precision", "recall"])
def test_one_label_against_the_rest_agrees_with_scikit_learn(classified, measure):
    oracle = getattr(sklearn_metrics, f"{measure}_score")
    per_label = oracle(classified.targets, classified.scores.argmax(1), average=None)
    got = score([measure, *(f"{measure}@{label}" for label in LABELS)], "classification", classified)
    assert list(got.values()) == pytest.approx([per_label[1], *per_label])


def test_scores_of_probabilities_agree_with_scikit_learn(classified):
    targets, probabilities = classified.targets, classified.scores
    aucs = [sklearn_metrics.roc_auc_score(targets == label, probabilities[:, label]) for label in range(3)]
    assert score(
        ["accuracy", "auc", "auc@c", "auc@average", "matthews", "mcc", "log_loss"], "classification", classified
    ) == {
        "accuracy": pytest.approx(sklearn_metrics.accuracy_score(targets, probabilities.argmax(1))),
        "auc": pytest.approx(aucs[1]),
        "auc@c": pytest.approx(aucs[2]),
        "auc@average": pytest.approx(np.mean(aucs)),
        "matthews": pytest.approx(sklearn_metrics.matthews_corrcoef(targets, probabilities.argmax(1))),
        "mcc": pytest.approx(sklearn_metrics.matthews_corrcoef(targets, probabilities.argmax(1))),
        "log_loss": pytest.approx(sklearn_metrics.log_loss(targets, probabilities)),
    }


def test_classification_by_hand():
    """3 true and 2 predicted positives, 1 hit among 5 rows."""
    right = {"targets": [1, 1, 1, 0, 0], "labels": ("0", "1"), "positive": 1}
    scores = np.array([[0.2, 0.8], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9], [0.9, 0.1]])
    got = {name: one(name, "classification", scores=scores, **right) for name in ("accuracy", "precision", "recall")}
    assert got == {"accuracy": 2 / 5, "precision": 1 / 2, "recall": pytest.approx(1 / 3)}
    assert one("f1", "classification", scores=scores, **right) == pytest.approx(2 / 5)
    assert one("auc", "classification", scores=scores, **right) == pytest.approx(3 / 6)


def test_a_wrong_certainty_costs_no_infinite_log_loss():
    value = one("log_loss", "classification", targets=[0], scores=np.array([[0.0, 1.0]]), labels=("0", "1"))
    assert value == pytest.approx(-math.log(np.finfo(float).eps))


def test_regression_agrees_with_scikit_learn_and_numpy():
    random = np.random.default_rng(1)
    targets = random.normal(size=100).round(1).astype(np.float32)
    values = (targets + random.normal(size=100)).round(1)
    got = score(["mse", "MSE", "rmse", "RMSE", "mae", "r2", "pearson"], "regression", Answers(targets, values))
    mse = sklearn_metrics.mean_squared_error(targets, values)
    assert got == {
        "mse": pytest.approx(mse),
        "MSE": pytest.approx(mse),
        "rmse": pytest.approx(mse**0.5),
        "RMSE": pytest.approx(mse**0.5),
        "mae": pytest.approx(sklearn_metrics.mean_absolute_error(targets, values)),
        "r2": pytest.approx(sklearn_metrics.r2_score(targets, values), rel=1e-5),
        "pearson": pytest.approx(np.corrcoef(targets, values)[0, 1]),
    }


def test_spearman_agrees_with_scipy_also_with_ties():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(2)
    targets, values = random.integers(0, 5, 60), random.integers(0, 7, 60).astype(float)
    expected = stats.spearmanr(targets, values).statistic
    assert one("spearman", "regression", targets=targets, scores=values) == pytest.approx(expected)


def test_regression_auc_needs_targets_of_0_and_1():
    values = [0.3, 0.9, 0.5, 0.4]
    assert one("auc", "regression", targets=[0.0, 1.0, 0.0, 1.0], scores=values) == 3 / 4
    assert math.isnan(one("auc", "regression", targets=[0.0, 1.0, 0.5, 1.0], scores=values))
    assert math.isnan(one("auc", "regression", targets=[1.0, 1.0, 1.0, 1.0], scores=values))


def test_ranking_by_hand():
    """Question 7: relevant at ranks 1 and 3 of 4. Question 5: at rank 2 of 2. Question 9: none, not counted."""
    answers = Answers(
        targets=np.array([1.0, 0, 0, 0, 1, 0, 1, 0]),
        scores=np.array([0.9, 0.8, 0.3, 0.9, 0.6, 0.1, 0.2, 0.7]),
        groups=np.array([7, 5, 9, 9, 7, 7, 5, 7]),
    )
    ideal = 1 + 1 / math.log2(3)
    assert score(["map", "mrr", "p@1", "p@3", "ndcg@3", "ndcg@1"], "regression", answers) == {
        "map": pytest.approx(((1 / 1 + 2 / 3) / 2 + 1 / 2) / 2),
        "mrr": pytest.approx((1 + 1 / 2) / 2),
        "p@1": pytest.approx((1 + 0) / 2),
        "p@3": pytest.approx((2 / 3 + 1 / 3) / 2),
        "ndcg@3": pytest.approx(((1 + 1 / math.log2(4)) / ideal + 1 / math.log2(3)) / 2),
        "ndcg@1": pytest.approx((1 + 0) / 2),
    }


def test_graded_gains_enter_ndcg_as_they_are():
    """The example of Jarvelin & Kekalainen with the gains 3, 2, 3, 0, 1, 2, discount log2(rank + 1)."""
    gains = [3, 2, 3, 0, 1, 2]
    discounted = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
    ideal = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(sorted(gains, reverse=True), 1))
    assert one("ndcg@6", "regression", targets=gains, scores=[6.0, 5, 4, 3, 2, 1], groups=[1] * 6) == pytest.approx(
        discounted / ideal
    )


def loop_over_groups(targets, scores, groups):
    """The ranking metrics as one writes them down: group by group."""
    found: dict[str, list[float]] = {name: [] for name in RANKING}
    for group in dict.fromkeys(groups.tolist()):
        rows = [at for at in range(len(groups)) if groups[at] == group]
        gains = [max(targets[at], 0) for at in sorted(rows, key=lambda at: -scores[at])]
        hits = [rank for rank, gain in enumerate(gains, 1) if gain > 0]
        if not hits:
            continue
        found["map"].append(sum((index + 1) / rank for index, rank in enumerate(hits)) / len(hits))
        found["mrr"].append(1 / hits[0])
        for k in (1, 3):
            found[f"p@{k}"].append(sum(rank <= k for rank in hits) / k)
        for k in (3, 10):
            ideal = sorted(gains, reverse=True)
            dcg, best = (
                sum(gain / math.log2(rank + 1) for rank, gain in enumerate(listed[:k], 1)) for listed in (gains, ideal)
            )
            found[f"ndcg@{k}"].append(dcg / best)
    return {name: sum(values) / len(values) for name, values in found.items()}


@pytest.mark.parametrize("seed", range(5))
def test_ranking_agrees_with_a_loop_over_groups(seed):
    random = np.random.default_rng(seed)
    targets = random.integers(-1, 4, 300) * (random.random(300) < 0.3)
    scores, groups = random.normal(size=300).round(1), random.integers(-40, 40, 300)
    expected = loop_over_groups(targets, scores, groups)
    assert score(RANKING, "regression", Answers(targets, scores, groups=groups)) == pytest.approx(expected)


def test_ranking_of_a_classification_looks_at_the_positive_label():
    random = np.random.default_rng(3)
    probability, targets, groups = random.random(50), random.integers(0, 2, 50), random.integers(0, 9, 50)
    scores = np.stack([probability, 1 - probability], 1)
    answers = Answers(targets, scores, ("yes", "no"), positive=0, groups=groups)
    assert score(RANKING, "classification", answers) == pytest.approx(
        loop_over_groups(targets == 0, probability, groups)
    )


def test_equal_scores_keep_the_order_of_the_file():
    assert one("mrr", "regression", targets=[0, 1, 1], scores=[0.5, 0.5, 0.5], groups=[1, 1, 1]) == 1 / 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("problem", ["classification", "regression"])
@pytest.mark.parametrize("rows", ["none", "not finite", "one", "all alike"])
def test_no_data_raises_or_warns(problem, rows):
    count = {"none": 0, "not finite": 4, "one": 1, "all alike": 4}[rows]
    scores = np.full((count, 2), np.nan if rows == "not finite" else 0.5)
    labels = ("0", "1") if problem == "classification" else ()
    answers = Answers(
        np.zeros(count, int), scores if labels else scores[:, 0], labels, 1 if labels else None, np.ones(count, int)
    )
    names = [name.replace("@label", "@0").replace("@K", "@2") for name in metric_names(problem)]
    got = score(names, problem, answers)
    assert list(got) == names
    if rows in ("none", "not finite"):
        assert all(math.isnan(value) for value in got.values())
    else:
        undefined = {"auc", "matthews", "r2", "pearson", "spearman", "map", "mrr", "p@2", "ndcg@2"}
        assert all(math.isnan(got[name]) for name in undefined & set(got))


def test_0_by_0_is_nan_for_a_label_and_0_in_an_average():
    answers = {"targets": [0, 0, 1], "scores": np.array([[0.9, 0.1]] * 3), "labels": ("0", "1"), "positive": 1}
    assert math.isnan(one("precision", "classification", **answers))
    assert one("recall", "classification", **answers) == 0
    assert one("f1", "classification", **answers) == 0
    assert one("macro_precision", "classification", **answers) == pytest.approx((2 / 3 + 0) / 2)


def test_auc_average_leaves_out_labels_without_rows():
    answers = {"targets": [0, 0, 1], "scores": np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.4, 0.5, 0.1]])}
    expected = (1 / 2 + 1 / 2) / 2
    assert one("auc@average", "classification", labels=LABELS, **answers) == expected


@pytest.mark.parametrize(
    ("name", "problem", "sentence"),
    [
        ("acuracy", "classification", "unknown metric 'acuracy'. Did you mean 'accuracy'?"),
        ("f1@bb", "classification", "metric 'f1@bb' names 'bb', which is no label. Did you mean 'b'?"),
        ("auc@news", "classification", "metric 'auc@news' names 'news', which is no label. Known: a, b, c."),
        ("acu@b", "classification", "unknown metric 'acu@b'. Did you mean 'auc@b'?"),
        ("p@ten", "classification", "metric 'p@ten' needs a number from 1 after the @, as in p@10."),
        ("ndcg@0", "regression", "metric 'ndcg@0' needs a number from 1 after the @, as in ndcg@10."),
        ("ndgc@5", "regression", "unknown metric 'ndgc@5'. Did you mean 'ndcg@5'?"),
        (
            "accuracy",
            "regression",
            "metric 'accuracy' belongs to classification, this is regression."
            " Known: auc, mae, map, mrr, mse, ndcg@K, p@K, pearson, r2, rmse, spearman.",
        ),
        (
            "f1",
            "classification",
            "metric 'f1' needs a positive label: set inputs.positive_label or take f1@c. Known: a, b, c.",
        ),
    ],
)
def test_a_metric_that_cannot_be_is_refused_with_a_sentence(name, problem, sentence):
    assert check_metric(name, problem, LABELS if problem == "classification" else None, True) == sentence


def test_ranking_metrics_need_groups():
    sentence = "metric 'map' needs to know which rows belong together: name their column in inputs.group_by."
    assert check_metric("map", "regression", None, False) == sentence
    assert check_metric("map", "regression", None, True) is None
    assert "needs a positive label" in (check_metric("map", "classification", LABELS, True) or "")
    assert check_metric("map", "classification", LABELS, True, "b") is None


def test_what_hangs_on_labels_is_left_until_they_are_known():
    for name in ("f1", "auc", "auc@anything", "f1@anything"):
        assert check_metric(name, "classification", None, False) is None
        assert check_metric(name, "classification", LABELS, False) is not None


@pytest.mark.parametrize("problem", ["classification", "regression"])
def test_every_listed_name_is_accepted(problem):
    for name in metric_names(problem):
        concrete = name.replace("@label", "@b").replace("@K", "@10")
        assert check_metric(concrete, problem, LABELS, True, "b") is None


def test_ranking_without_groups_is_not_defined():
    assert math.isnan(one("map", "regression", targets=[1.0, 0.0], scores=[0.5, 0.4]))


def test_errors_are_better_low():
    low = {name for problem in METRICS for name in METRICS[problem] if not higher_is_better(name, problem)}
    assert low == {"mse", "rmse", "mae", "log_loss", "hamming_loss"}
    assert not higher_is_better("MSE", "regression") and higher_is_better("p@3", "regression")


def test_importing_problems_does_not_import_scikit_learn():
    code = "import sys, problems; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
