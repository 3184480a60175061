"""The table of metrics by name, and what each of them reads of the answers.

A metric that is not defined for the data (AUC of one class) is NaN. All are NaN where there is no row, or where a
score is not finite.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from core.errors import did_you_mean, known_names
from problems.answer_texts import answer_scores
from problems.measures import (
    NAN,
    Ranking,
    accuracy,
    auc,
    auc_average,
    auc_of_values,
    label_ranking,
    log_loss,
    mae,
    matthews,
    mse,
    pearson,
    precision_recall_f1,
    r2,
    rmse,
    sentence_accuracy,
    set_scores,
    span_scores,
    spearman,
)
from problems.tags import Spans, Tags, spans


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
