"""Measures: pure functions of numpy arrays, NaN where one is not defined for the data.

scikit-learn is imported where it is called: the doors should not wait for it.
"""

from dataclasses import dataclass

import numpy as np

from problems.tags import Spans

NAN = float("nan")


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
