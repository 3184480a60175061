"""Metrics as pure functions over numpy arrays, and the table of their names.

A metric that is not defined for the data (AUC of one class) is NaN. All are NaN where there is no row, or where a
score is not finite. scikit-learn is imported where it is called: the doors should not wait for it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from core.errors import did_you_mean, known_names
from problems.answer_texts import answer_scores
from problems.tags import Spans, Tags, spans

NAN = float("nan")


class Scorable(Protocol):
    """What a problem hands to its metrics: right answers beside those of the model."""

    @property
    def labels(self) -> Sequence[str]:
        """What may stand after the @ of a metric."""

    @property
    def positive(self) -> int | None:
        """Place of the positive label, if there is one."""

    @property
    def is_sound(self) -> bool:
        """Whether there are rows, and finite scores for all of them."""


@dataclass(frozen=True)
class Answers:
    """Answers for rows: for classification label ids and probabilities, for regression numbers on both sides.

    targets   N, label ids or numbers
    scores    N x C probabilities, or N numbers
    labels    the labels in the order of their ids; empty for regression
    positive  id of the positive label, if there is one
    groups    N, equal for rows that belong together (the answers to one question)
    """

    targets: np.ndarray
    scores: np.ndarray
    labels: tuple[str, ...] = ()
    positive: int | None = None
    groups: np.ndarray | None = None

    @property
    def is_sound(self) -> bool:
        """Whether there are rows, and finite scores for all of them."""
        return len(self.targets) > 0 and bool(np.isfinite(self.scores).all())


@dataclass(frozen=True)
class TagAnswers:
    """Tags of tokens, N in all, text after text.

    targets    N, label ids
    predicted  N, label ids
    first      N, True where a text begins
    tags       the labels in the order of their ids
    labels     the types of spans that they mark
    """

    targets: np.ndarray
    predicted: np.ndarray
    first: np.ndarray
    tags: tuple[str, ...]
    labels: tuple[str, ...]
    positive: None = None

    @property
    def is_sound(self) -> bool:
        """Whether there are tokens."""
        return len(self.targets) > 0

    @cached_property
    def spans(self) -> tuple[Spans, Spans]:
        """The right spans and the predicted ones."""
        right, found = (
            spans(Tags.of(ids_N, self.tags, self.labels, self.first)) for ids_N in (self.targets, self.predicted)
        )
        return right, found


@dataclass(frozen=True)
class LabelSets:
    """Any number of labels for each row.

    targets    N x C, bool
    scores     N x C probabilities
    predicted  N x C, bool
    labels     the labels in the order of their ids
    """

    targets: np.ndarray
    scores: np.ndarray
    predicted: np.ndarray
    labels: tuple[str, ...]
    positive: None = None

    @property
    def is_sound(self) -> bool:
        """Whether there are rows, and finite scores for all of them."""
        return len(self.targets) > 0 and bool(np.isfinite(self.scores).all())

    @property
    def right_rows(self) -> np.ndarray:
        """bool of N, whether a row has all its labels and no other."""
        right: np.ndarray = (self.targets == self.predicted).all(1)
        return right


@dataclass(frozen=True)
class ReadingAnswers:
    """Answers in words to N questions.

    predicted  N, the empty text for no answer
    right      N, for each question all the answers that are right; none where it has none
    """

    predicted: Sequence[str]
    right: Sequence[Sequence[str]]
    labels: tuple[str, ...] = ()
    positive: None = None

    @property
    def is_sound(self) -> bool:
        """Whether there are questions."""
        return len(self.predicted) > 0

    @cached_property
    def means(self) -> dict[str, float]:
        """The measures of SQuAD by name."""
        return answer_scores(self.predicted, self.right).means()


@dataclass(frozen=True)
class Metric:
    """One entry of the table: what it computes, what it needs, what may stand after its @.

    function        gets the answers and the label id or K after the @; without an @ the id of the positive label
    after_at        "" (nothing), "label" or "K"
    needs_positive  reads the positive label of a classification
    needs_groups    reads which rows belong together
    """

    function: Callable[[Any, int], float]
    after_at: str = ""
    needs_positive: bool = False
    needs_groups: bool = False
    higher_is_better: bool = True


# Classification


def accuracy(targets_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Share of rows with the right label."""
    return float(np.mean(targets_N == predicted_N))


def precision_recall_f1(measure: str, average: str, targets_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Precision, recall or f1 (`measure`) over two classes ("binary") or averaged ("macro", "micro", "weighted").

    0 / 0 is NaN for one label and counts as 0 in an average, as is usual.
    """
    from sklearn.metrics import precision_recall_fscore_support

    zero_division = np.nan if average == "binary" else 0.0
    scores = precision_recall_fscore_support(targets_N, predicted_N, average=average, zero_division=zero_division)
    return float(scores[("precision", "recall", "f1").index(measure)])


def matthews(targets_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Matthews correlation; NaN where the targets hold one label only, 0 where the predictions do, as is usual."""
    if np.ptp(targets_N) == 0:
        return NAN
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(targets_N, predicted_N))


def log_loss(targets_N: np.ndarray, probabilities_NC: np.ndarray) -> float:
    """Mean negative log probability of the right label; a probability counts as at least the epsilon of float64."""
    right_N = probabilities_NC[np.arange(len(targets_N)), targets_N]
    return float(-np.log(np.maximum(right_N, np.finfo(np.float64).eps)).mean())


def auc(relevant_N: np.ndarray, scores_N: np.ndarray) -> float:
    """Area under the ROC curve of a bool target; NaN unless both sides occur."""
    if relevant_N.all() or not relevant_N.any():
        return NAN
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(relevant_N, scores_N))


def auc_average(relevant_NC: np.ndarray, probabilities_NC: np.ndarray) -> float:
    """Mean over labels of the AUC of one label against the rest, over the labels for which it is defined."""
    aucs = [auc(relevant_N, scores_N) for relevant_N, scores_N in zip(relevant_NC.T, probabilities_NC.T, strict=True)]
    return float(np.mean([value for value in aucs if value == value] or [NAN]))


# Regression


def mse(targets_N: np.ndarray, values_N: np.ndarray) -> float:
    """Mean squared error."""
    return float(np.mean((targets_N - values_N) ** 2))


def rmse(targets_N: np.ndarray, values_N: np.ndarray) -> float:
    """Root of the mean squared error."""
    return mse(targets_N, values_N) ** 0.5


def mae(targets_N: np.ndarray, values_N: np.ndarray) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(targets_N - values_N)))


def pearson(targets_N: np.ndarray, values_N: np.ndarray) -> float:
    """Pearson correlation; NaN where one side is constant."""
    if np.ptp(targets_N) == 0 or np.ptp(values_N) == 0:
        return NAN
    return float(np.corrcoef(targets_N, values_N)[0, 1])


def spearman(targets_N: np.ndarray, values_N: np.ndarray) -> float:
    """Pearson correlation of the ranks; equal numbers share the mean of their ranks."""
    return pearson(_ranks(targets_N), _ranks(values_N))


def r2(targets_N: np.ndarray, values_N: np.ndarray) -> float:
    """Share of the variance of the targets that is explained; NaN where they are constant."""
    return NAN if np.ptp(targets_N) == 0 else 1 - mse(targets_N, values_N) / float(np.var(targets_N, dtype=np.float64))


def auc_of_values(targets_N: np.ndarray, values_N: np.ndarray) -> float:
    """AUC of a regression whose targets are 0 and 1; NaN for other targets."""
    return auc(targets_N == 1, values_N) if np.isin(targets_N, (0, 1)).all() else NAN


def _ranks(values_N: np.ndarray) -> np.ndarray:
    _, inverse_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse_N]


# Ranking


@dataclass(frozen=True)
class Ranking:
    """The rows that belong to groups with a relevant row, group by group, best score first.

    Formulas are those of trec_eval. It breaks ties by document id; rows have none, so equal scores keep the order of
    the file.
    """

    gains: np.ndarray
    """N, the gain of a row, 0 = not relevant."""
    ranks: np.ndarray
    """N, from 1 within its group."""
    starts: np.ndarray
    """G, where each group begins."""

    @classmethod
    def of(cls, gains_N: np.ndarray, scores_N: np.ndarray, groups_N: np.ndarray) -> "Ranking":
        """Sort once. Gains below 0 count as 0."""
        gains_N = np.maximum(gains_N.astype(np.float64), 0)
        order = np.lexsort((-scores_N, groups_N))  # stable
        starts_G = _starts(groups_N[order])
        clean_G = np.add.reduceat(gains_N[order], starts_G) > 0
        order = order[_per_row(clean_G, starts_G, len(order))]
        starts_G = _starts(groups_N[order])
        ranks_N = np.arange(1, len(order) + 1) - _per_row(starts_G, starts_G, len(order))
        return cls(gains_N[order], ranks_N, starts_G)

    def per_row(self, values_G: np.ndarray) -> np.ndarray:
        """The value of its group for each row."""
        return _per_row(values_G, self.starts, len(self.ranks))

    def sums(self, values_N: np.ndarray) -> np.ndarray:
        """The sum of each group."""
        return np.add.reduceat(values_N, self.starts)

    def mean_average_precision(self) -> float:
        """Mean over groups of the mean precision at the ranks of their relevant rows."""
        relevant_N = self.gains > 0
        found_N = np.cumsum(relevant_N)
        found_N = found_N - self.per_row(found_N[self.starts] - relevant_N[self.starts])
        return float(np.mean(self.sums(relevant_N * found_N / self.ranks) / self.sums(relevant_N)))

    def mean_reciprocal_rank(self) -> float:
        """Mean over groups of 1 / rank of their first relevant row."""
        return float(np.mean(np.maximum.reduceat((self.gains > 0) / self.ranks, self.starts)))

    def precision_at(self, k: int) -> float:
        """Mean over groups of the relevant rows among the first K, divided by K even where a group is smaller."""
        return float(np.mean(self.sums((self.gains > 0) & (self.ranks <= k)) / k))

    def ndcg_at(self, k: int) -> float:
        """Mean over groups of the discounted gain of the first K rows, as a share of the best possible.

        Gain is the target itself, discount log2(rank + 1): Jarvelin & Kekalainen 2002 as in trec_eval's ndcg_cut.
        """
        discounts_N = np.where(self.ranks <= k, 1 / np.log2(self.ranks + 1), 0)
        ideal_N = self.gains[np.lexsort((-self.gains, self.per_row(self.starts)))]
        return float(np.mean(self.sums(self.gains * discounts_N) / self.sums(ideal_N * discounts_N)))


def _starts(sorted_N: np.ndarray) -> np.ndarray:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(np.r_[True, sorted_N[1:] != sorted_N[:-1]]) if len(sorted_N) else np.arange(0)


def _per_row(values_G: np.ndarray, starts_G: np.ndarray, count: int) -> np.ndarray:
    return np.repeat(values_G, np.diff(starts_G, append=count))


# Tagging


def span_scores(right: Spans, found: Spans) -> dict[str, float]:
    """Precision, recall and f1 of whole spans, as conlleval computes them; 0 / 0 is NaN."""
    common = right.in_common(found)
    precision = common / len(found) if len(found) else NAN
    recall = common / len(right) if len(right) else NAN
    total = len(found) + len(right)
    return {"precision": precision, "recall": recall, "f1": 2 * common / total if total else NAN}


def sentence_accuracy(targets_N: np.ndarray, predicted_N: np.ndarray, first_N: np.ndarray) -> float:
    """Share of texts whose tags are all right."""
    return float(np.mean(right_texts(targets_N, predicted_N, first_N)))


def right_texts(targets_N: np.ndarray, predicted_N: np.ndarray, first_N: np.ndarray) -> np.ndarray:
    """For each text whether its tags are all right; N tokens in all."""
    right: np.ndarray = np.logical_and.reduceat(targets_N == predicted_N, np.flatnonzero(first_N))
    return right


# Multi-label classification


def set_scores(measure: str, average: str, targets_NC: np.ndarray, predicted_NC: np.ndarray) -> float:
    """Precision, recall or f1 (`measure`) over all answers ("micro"), or the mean over labels ("macro", "weighted" by
    the rows that have them) or over rows ("samples").

    0 / 0 is NaN for all answers and counts as 0 in a mean, as in scikit-learn (whose functions take a single label for
    the two classes of a classification).
    """
    axis = {"micro": None, "samples": 1}.get(average, 0)
    hits, right, found = (np.sum(cells, axis) for cells in (targets_NC & predicted_NC, targets_NC, predicted_NC))
    part, whole = {"precision": (hits, found), "recall": (hits, right), "f1": (2 * hits, right + found)}[measure]
    undefined = NAN if average == "micro" else 0.0
    scores = np.divide(part, whole, out=np.full(np.shape(part), undefined), where=whole > 0)
    if average == "weighted":
        return float(np.average(scores, weights=right)) if right.any() else NAN
    return float(np.mean(scores))


def label_ranking(targets_NC: np.ndarray, scores_NC: np.ndarray) -> float:
    """Mean over rows of the mean precision at the ranks of their labels; 1 for rows with no label or with all."""
    from sklearn.metrics import label_ranking_average_precision_score

    return float(label_ranking_average_precision_score(targets_NC, scores_NC))


# The table


def _predicted(answers: Answers) -> np.ndarray:
    return answers.scores.argmax(1)


def _with_predicted(function: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Answers, int], float]:
    return lambda answers, _: function(answers.targets, _predicted(answers))


def _with_scores(function: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Answers | LabelSets, int], float]:
    return lambda answers, _: function(answers.targets, answers.scores)


def _of_label(measure: str) -> Callable[[Answers, int], float]:
    return lambda answers, label: precision_recall_f1(
        measure, "binary", answers.targets == label, _predicted(answers) == label
    )


def _of_sets(measure: str, average: str, answers: LabelSets, _: int) -> float:
    return set_scores(measure, average, answers.targets, answers.predicted)


def _of_set_label(measure: str, answers: LabelSets, label: int) -> float:
    return set_scores(measure, "micro", answers.targets[:, [label]], answers.predicted[:, [label]])


def _auc_of_label(answers: Answers, label: int) -> float:
    return auc(answers.targets == label, answers.scores[:, label])


def _of_spans(measure: str, answers: TagAnswers, kind: int) -> float:
    right, found = answers.spans
    return span_scores(*((right, found) if kind < 0 else (right.of_type(kind), found.of_type(kind))))[measure]


def _of_answers(name: str, answers: ReadingAnswers, _: int) -> float:
    return answers.means[name]


def _ranked(function: Callable[[Ranking, int], float], after_at: str = "") -> Metric:
    def ranked(answers: Answers, k: int) -> float:
        if answers.groups is None:
            return NAN
        gains, scores = answers.targets, answers.scores
        if answers.labels:
            gains, scores = gains == answers.positive, scores[:, answers.positive]
        ranking = Ranking.of(gains, scores, answers.groups)
        return function(ranking, k) if len(ranking.starts) else NAN

    return Metric(ranked, after_at, needs_positive=True, needs_groups=True)


MEASURES = ("f1", "precision", "recall")
RANKING = {
    "map": _ranked(lambda ranking, _: ranking.mean_average_precision()),
    "mrr": _ranked(lambda ranking, _: ranking.mean_reciprocal_rank()),
    "p@K": _ranked(Ranking.precision_at, "K"),
    "ndcg@K": _ranked(Ranking.ndcg_at, "K"),
}
CLASSIFICATION = {
    "accuracy": Metric(_with_predicted(accuracy)),
    **{measure: Metric(_of_label(measure), needs_positive=True) for measure in MEASURES},
    **{f"{measure}@label": Metric(_of_label(measure), "label") for measure in MEASURES},
    **{
        f"{average}_{measure}": Metric(_with_predicted(partial(precision_recall_f1, measure, average)))
        for average in ("macro", "micro", "weighted")
        for measure in MEASURES
    },
    "auc": Metric(_auc_of_label, needs_positive=True),
    "auc@label": Metric(_auc_of_label, "label"),
    "auc@average": Metric(
        lambda answers, _: auc_average(answers.targets[:, None] == np.arange(len(answers.labels)), answers.scores)
    ),
    "matthews": Metric(_with_predicted(matthews)),
    "log_loss": Metric(_with_scores(log_loss), higher_is_better=False),
    **RANKING,
}
REGRESSION = {
    "mse": Metric(_with_scores(mse), higher_is_better=False),
    "rmse": Metric(_with_scores(rmse), higher_is_better=False),
    "mae": Metric(_with_scores(mae), higher_is_better=False),
    "pearson": Metric(_with_scores(pearson)),
    "spearman": Metric(_with_scores(spearman)),
    "r2": Metric(_with_scores(r2)),
    "auc": Metric(_with_scores(auc_of_values)),
    **RANKING,
}
TAGGING = {
    "accuracy": Metric(lambda answers, _: accuracy(answers.targets, answers.predicted)),
    **{measure: Metric(partial(_of_spans, measure)) for measure in MEASURES},
    **{f"{measure}@label": Metric(partial(_of_spans, measure), "label") for measure in MEASURES},
    "sentence_accuracy": Metric(
        lambda answers, _: sentence_accuracy(answers.targets, answers.predicted, answers.first)
    ),
}
TAGGING |= {"seq_tag_f1": TAGGING["f1"], "seq_tag_accuracy": TAGGING["accuracy"]}  # names of NeuronBlocks
MULTI_LABEL = {
    **{
        f"{average}_{measure}": Metric(partial(_of_sets, measure, average))
        for average in ("micro", "macro", "weighted", "samples")
        for measure in MEASURES
    },
    **{f"{measure}@label": Metric(partial(_of_set_label, measure), "label") for measure in MEASURES},
    "exact_match": Metric(lambda answers, _: float(np.mean(answers.right_rows))),
    "hamming_loss": Metric(
        lambda answers, _: float(np.mean(answers.targets != answers.predicted)), higher_is_better=False
    ),
    "auc@label": Metric(lambda answers, label: auc(answers.targets[:, label], answers.scores[:, label]), "label"),
    "auc@average": Metric(_with_scores(auc_average)),
    "label_ranking_average_precision": Metric(_with_scores(label_ranking)),
}
READING = {
    f"{group}{measure}": Metric(partial(_of_answers, f"{group}{measure}"))
    for group in ("", "has_answer_", "no_answer_")
    for measure in ("exact_match", "f1")
}
METRICS: dict[str, Mapping[str, Metric]] = {}
"""Problem -> name -> metric, filled by the problems; `label` and `K` stand for any label and any number from 1."""

ALIASES = {
    "mcc": "matthews",
    "em": "exact_match",
    "lrap": "label_ranking_average_precision",
    "MSE": "mse",
    "RMSE": "rmse",
}


def metric_names(problem: str) -> list[str]:
    """The names of the metrics of a problem, with `label` and `K` where a label or a number belongs."""
    return sorted(METRICS[problem])


def check_metric(
    name: str, problem: str, labels: Iterable[str] | None, has_groups: bool, positive_label: str | None = None
) -> str | None:
    """A sentence that says why the metric cannot be computed, or None.

    Where labels is None they are not known yet: what depends on them is then left for a second call.
    """
    labels = None if labels is None else tuple(labels)
    metric, argument = _find(name, METRICS[problem])
    if metric is None:
        others = [other for other, table in METRICS.items() if _find(name, table)[0] is not None]
        if others:
            return f"metric '{name}' belongs to {others[0]}, this is {problem}.{known_names(METRICS[problem])}"
        hint = did_you_mean(name, _spelled_out(problem, labels or ())) or known_names(METRICS[problem])
        return f"unknown metric '{name}'.{hint}"
    if metric.after_at == "K" and not (argument.isascii() and argument.isdigit() and int(argument) >= 1):
        return f"metric '{name}' needs a number from 1 after the @, as in {name.partition('@')[0]}@10."
    if metric.after_at == "label" and labels is not None and argument not in labels:
        hint = did_you_mean(argument, labels) or known_names(labels)
        return f"metric '{name}' names '{argument}', which is no label.{hint}"
    if metric.needs_groups and not has_groups:
        return f"metric '{name}' needs to know which rows belong together: name their column in inputs.group_by."
    if metric.needs_positive and positive_label is None and labels is not None:
        at_label = f" or take {name}@{labels[-1]}" if f"{name}@label" in METRICS[problem] else ""
        return f"metric '{name}' needs a positive label: set inputs.positive_label{at_label}.{known_names(labels)}"
    return None


def higher_is_better(name: str, problem: str) -> bool:
    """Whether a higher score of this metric is the better one."""
    metric = _find(name, METRICS[problem])[0]
    assert metric is not None, f"metric '{name}' was never checked"
    return metric.higher_is_better


def score(names: Iterable[str], problem: str, answers: Scorable) -> dict[str, float]:
    """Metric name -> score; the names are those that `check_metric` has approved."""
    if not answers.is_sound:
        return dict.fromkeys(names, NAN)
    return {name: _score(name, METRICS[problem], answers) for name in names}


def _score(name: str, table: Mapping[str, Metric], answers: Scorable) -> float:
    metric, argument = _find(name, table)
    assert metric is not None, f"metric '{name}' was never checked"
    assert not (metric.needs_positive and answers.labels) or answers.positive is not None
    if metric.after_at == "label":
        return metric.function(answers, answers.labels.index(argument))
    if metric.after_at == "K":
        return metric.function(answers, int(argument))
    return metric.function(answers, -1 if answers.positive is None else answers.positive)


def _find(name: str, table: Mapping[str, Metric]) -> tuple[Metric | None, str]:
    """The metric of this name, and what stands after its @ where that varies."""
    name = ALIASES.get(name, name)
    if name in table and not table[name].after_at:
        return table[name], ""
    base, at, argument = name.partition("@")
    return next(
        (table[f"{base}@{kind}"] for kind in ("label", "K") if at and f"{base}@{kind}" in table), None
    ), argument


def _spelled_out(problem: str, labels: tuple[str, ...]) -> list[str]:
    """The names of a problem's metrics with their labels and usual numbers filled in: what a user may have meant."""
    fillings = {"": ("",), "label": labels, "K": ("1", "5", "10")}
    return [
        name.removesuffix(metric.after_at) + filling
        for name, metric in METRICS[problem].items()
        for filling in fillings[metric.after_at]
    ]
