"""What a model answered for a file, beside what is right: which labels it mixes up, how sure it is, where it errs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from core.types import Row
from distillation.report import BINS, calibration_error
from problems.base import Problem
from views import figures
from views.elements import Html, figure, matrix, paragraph, safe, section, table

NONE = "–"
"""Stands for an answer of no words."""
SHOWN = 20
"""Mistakes that are shown."""
MOST_LABELS = 200
"""Labels of the table of labels at most."""
LARGEST = 25
"""Labels of a confusion matrix at most."""
LONGEST = 400
"""Characters of a text that are shown."""
LONGEST_LIST = 80
"""Words of a text that are shown with their attention."""
WIDE = 24
"""Characters from which a text has a cell of its own width."""
PARTS = 5
"""Groups of rows by their length."""
PLACES = 5
"""Places of a ranking that are counted apart."""
POINTS = 2000
"""Numbers that are drawn at most."""


@dataclass(frozen=True)
class Answers:
    """The answers to one target, aligned with the rows.

    targets  as the problem encoded them
    lengths  tokens of each row
    rows     the rows themselves, by their place; only those that `mistakes` asks for are read
    texts    the columns that the model reads
    attended  column -> the words of a row on which the model rests, marked; of models that have attention
    """

    problem: Problem
    decoded: Any
    targets: Mapping[str, Any]
    lengths: np.ndarray
    rows: Callable[[Sequence[int]], Sequence[Row]]
    texts: Sequence[str]
    attended: Callable[[Row], Mapping[str, Html]] | None = None

    @property
    def target(self) -> Any:
        """What is right."""
        return self.targets[self.problem.target_columns[0]]

    @cached_property
    def quality(self) -> np.ndarray:
        """float of N: whether each row is right, or how far off its number is."""
        if self.problem.is_exact:
            return self.problem.right_rows(self.decoded, self.targets).astype(float)
        return np.abs(self.decoded.scores.astype(float) - self.target)

    @property
    def is_classified(self) -> bool:
        """Whether each row has one of several labels."""
        spec = self.problem.target_specs()[self.problem.target_columns[0]]
        return spec.axes == "B" and spec.ids and not spec.places

    def pairs(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The ids of the labels that are right and that were given, of rows or of tokens; None where there are none."""
        spec = self.problem.target_specs()[self.problem.target_columns[0]]
        if self.is_classified:
            return self.target, self.decoded.scores.argmax(1)
        return (self.target.values, self.decoded.tags.values) if spec.axes == "BT" and not spec.places else None


def answer_sections(answers: Answers) -> Html:
    """All that can be said of the answers."""
    makers = (by_label, confusion, calibrated, by_length, scattered, ranked, mistakes)
    return Html("".join(made for make in makers if (made := make(answers))))


def by_label(answers: Answers) -> Html:
    """Precision, recall and F1 of each label."""
    problem = answers.problem
    labels = problem.metric_labels or ()
    if len(labels) > MOST_LABELS:  # a score of one label looks at all rows
        return Html("")
    names = [f"{kind}@{label}" for label in labels for kind in ("precision", "recall", "f1")]
    if not names or any(problem.check_metric(name) for name in names):
        return Html("")
    scores = problem.score(names, answers.decoded, answers.targets)
    counts = _counts(answers)
    rows = [
        [
            label,
            *([f"{counts[label]:,}"] if counts else []),
            *(_number(scores[name]) for name in names[3 * at : 3 * at + 3]),
        ]
        for at, label in enumerate(labels)
    ]
    head = ["label", *(["rows"] if counts else []), "precision", "recall", "F1"]
    return section("Label by label", table(head, rows), level=3)


def _counts(answers: Answers) -> dict[str, int]:
    """Label -> the rows that have it, where labels are those of rows."""
    labels = answers.problem.labels or ()
    if answers.is_classified:
        found = np.bincount(answers.target, minlength=len(labels))
    elif answers.problem.target_specs()[answers.problem.target_columns[0]].axes == "BC":
        found = answers.target.multi_hot(len(labels)).sum(0)
    else:
        return {}
    return dict(zip(labels, found.tolist(), strict=True))


def confusion(answers: Answers) -> Html:
    """Which labels are taken for which others: a matrix, or where there are too many the most frequent confusions."""
    pairs, labels = answers.pairs(), answers.problem.labels or ()
    if pairs is None or not labels:
        return Html("")
    right, given = pairs
    if len(labels) <= LARGEST:
        counts = np.zeros((len(labels), len(labels)), int)
        np.add.at(counts, (right, given), 1)
        return section("What is taken for what", matrix(labels, counts.tolist()), level=3)
    wrong = right != given
    pairs_M, times_M = np.unique(np.stack([right[wrong], given[wrong]], 1), axis=0, return_counts=True)
    worst = np.argsort(-times_M, kind="stable")[:SHOWN]
    shown = [(*(labels[at] for at in pairs_M[place].tolist()), f"{times_M[place]:,}") for place in worst.tolist()]
    return section("Most frequent confusions", table(["right", "answered", "times"], shown, 2), level=3)


def calibrated(answers: Answers) -> Html:
    """How far confidence can be trusted (Guo et al. 2017)."""
    if not answers.is_classified or not len(answers.decoded):
        return Html("")
    scores_NC = answers.decoded.scores.astype(float)
    if not np.isfinite(scores_NC).all():
        return Html("")
    confidence_N, right_N = scores_NC.max(1), scores_NC.argmax(1) == answers.target
    bin_N = np.minimum((confidence_N * BINS).astype(int), BINS - 1)
    counts_B = np.bincount(bin_N, minlength=BINS)
    used = counts_B > 0
    sure_B, right_B = (np.bincount(bin_N, values, BINS)[used] / counts_B[used] for values in (confidence_N, right_N))
    drawn = figures.calibration(sure_B.tolist(), right_B.tolist(), (counts_B[used] / len(bin_N)).tolist())
    with np.errstate(divide="ignore"):
        error = calibration_error(np.log(scores_NC), answers.target)
    caption = f"Calibration error {error:.4f}: how far confidence and accuracy are apart. Larger points are more rows."
    return section("Can its confidence be trusted?", figure(drawn, caption), level=3)


def by_length(answers: Answers) -> Html:
    """The quality of short and long texts: groups of about as many rows."""
    if len(answers.lengths) < 2 * PARTS or answers.lengths.min() == answers.lengths.max():
        return Html("")
    edges = np.unique(np.quantile(answers.lengths, np.linspace(0, 1, PARTS + 1)[1:-1]))
    part_N = np.searchsorted(edges, answers.lengths, side="left")
    quality_N, rows = answers.quality, []
    for part in np.unique(part_N).tolist():
        inside = part_N == part
        short, long = answers.lengths[inside].min(), answers.lengths[inside].max()
        rows.append(
            [
                f"{short} to {long}" if short < long else str(short),
                f"{inside.sum():,}",
                _number(quality_N[inside].mean()),
            ]
        )
    called = "share that is right" if answers.problem.is_exact else "mean absolute error"
    return section("Short and long texts", table(["tokens", "rows", called], rows), level=3)


def scattered(answers: Answers) -> Html:
    """Numbers as they were given and as they are."""
    if answers.problem.is_exact or len(answers.decoded) < 2:
        return Html("")
    at = np.random.default_rng(0).permutation(len(answers.decoded))[:POINTS]
    found = list(zip(answers.target[at].tolist(), answers.decoded.scores[at].tolist(), strict=True))
    return section(
        "Given and right", figure(figures.points(found, "right", "given"), "On the line both are equal."), level=3
    )


def ranked(answers: Answers) -> Html:
    """At which place of its group the best row stands, and the groups where it stands lowest."""
    problem = answers.problem
    if problem.group_by is None or not (answers.is_classified or not problem.is_exact):
        return Html("")
    if answers.is_classified and problem.positive_label is None:
        return Html("")
    scores_N, gains_N = answers.decoded.scores, np.asarray(answers.target, float)
    if answers.is_classified:
        positive = (problem.labels or ()).index(problem.positive_label or "")
        scores_N, gains_N = scores_N[:, positive], (answers.target == positive).astype(float)
    groups_N = answers.targets[problem.group_by]
    order_N = np.lexsort([-scores_N, groups_N])
    starts = np.flatnonzero(np.diff(groups_N[order_N], prepend=groups_N[order_N[0]] - 1))
    found, idle = [], 0
    for start, end in pairwise([*starts.tolist(), len(order_N)]):
        members, gains = order_N[start:end], gains_N[order_N[start:end]]
        if gains.max() == gains.min():
            idle += 1  # no row is better than another
            continue
        rank = int(gains.argmax())
        found.append((rank, len(members), int(members[rank]), int(members[0])))
    if not found:
        return Html("")
    firsts = np.bincount([min(rank, PLACES) for rank, *_ in found], minlength=PLACES + 1).tolist()
    names = [*(f"{place}." for place in range(1, PLACES + 1)), "later"]
    places = table(
        ["place of the best row", "groups"], [[name, f"{count:,}"] for name, count in zip(names, firsts, strict=True)]
    )
    parts = [places, *([paragraph(f"{idle:,} groups have no row that is better than another.")] if idle else [])]
    worst = sorted((line for line in found if line[0]), key=lambda line: -line[0])[:SHOWN]
    rows = answers.rows([at for line in worst for at in line[2:]])
    lines = [
        [f"{rank + 1} of {size}", *_texts(answers, best), *_texts(answers, first)]
        for (rank, size, *_), best, first in zip(worst, rows[::2], rows[1::2], strict=True)
    ]
    if lines:
        head = [
            "place",
            *(f"{column}, best" for column in answers.texts),
            *(f"{column}, first" for column in answers.texts),
        ]
        parts += [Html("<h3>Best rows that are ranked lowest</h3>"), table(head, lines, len(head))]
    return section("Groups", *parts, level=3)


def mistakes(answers: Answers) -> Html:
    """The rows that are answered wrongly, the surest first; of numbers those that are farthest off."""
    problem, quality_N = answers.problem, answers.quality
    sure_N = _confidence(answers)
    if problem.is_exact:
        wrong = np.flatnonzero(quality_N == 0)
        worst = wrong[np.argsort(-sure_N[wrong], kind="stable")] if sure_N is not None else wrong
    else:
        worst = np.argsort(-quality_N, kind="stable")
    worst = worst[:SHOWN]
    if not len(worst):
        return section("Mistakes", paragraph("None: every row is right."), level=3)
    rows = answers.rows(worst.tolist())
    given = problem.predictions(rows, answers.decoded.taken(worst), problem.default_fields)
    lines = []
    for at, row, answer in zip(worst.tolist(), rows, given, strict=True):
        said = answer.cells["prediction"]
        said = f"{said:.4g}" if isinstance(said, float) else str(said)
        right = problem.right_cell(row)
        confidence = [] if sure_N is None else [f"{sure_N[at]:.3f}"]
        marked = answers.attended(row) if answers.attended is not None else {}
        texts = [marked.get(column, text) for column, text in zip(answers.texts, _texts(answers, row), strict=True)]
        lines.append([*texts, *_compared(right or NONE, said or NONE), *confidence, row.number])
    head = [*answers.texts, "right", "answered", *(["confidence"] if sure_N is not None else []), "line"]
    order = "the surest first" if sure_N is not None else "the first of the file"
    title = f"Mistakes, {order}" if problem.is_exact else "Largest errors"
    count = f"{int((quality_N == 0).sum()):,} of {len(quality_N):,} rows are wrong." if problem.is_exact else ""
    if answers.attended is not None:
        count = f"{count} The darker a word, the more attention it has.".strip()
    shown = table(head, lines, len(head))
    return section(title, *([paragraph(count)] if count else []), shown, level=3)


def _compared(right: str, given: str) -> tuple[Html, Html]:
    """Two answers, the words marked in which they differ where each is a list of words of the same length."""
    ours, theirs = right.split(" "), given.split(" ")
    if len(ours) != len(theirs) or len(ours) == 1:
        return _short(right), _short(given)
    parts: list[list[str]] = [[], []]
    for one, other in zip(ours, theirs, strict=True):
        for words, word in zip(parts, (one, other), strict=True):
            words.append(safe(word) if one == other else f"<mark>{safe(word)}</mark>")
    one, other = (Html(f"<div class=long>{' '.join(words)}</div>") for words in parts)
    return one, other


def _confidence(answers: Answers) -> np.ndarray | None:
    """How sure each answer is, where that is known."""
    if answers.is_classified:
        return np.asarray(answers.decoded.scores.max(1), float)
    found = getattr(answers.decoded, "confidence", None)
    return None if found is None else np.asarray(found, float)


def shaded(tokens: Sequence[str], weights: Sequence[float]) -> Html:
    """The tokens of a text, the darker the larger their weight."""
    most = max(weights, default=0) or 1
    pairs = list(zip(tokens, weights, strict=True))[:LONGEST_LIST]
    words = [f"<mark style='--share:{max(weight, 0) / most:.2f}'>{safe(token)}</mark>" for token, weight in pairs]
    return Html(f"<div class='long shaded'>{' '.join(words)}{'…' if len(tokens) > len(words) else ''}</div>")


def _texts(answers: Answers, row: Row) -> list[Html]:
    return [_short(row.cells.get(column, "")) for column in answers.texts]


def _short(text: str) -> Html:
    """A text, cut where it is long, in a cell that leaves it room."""
    shown = safe(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
    return Html(f"<div class=long>{shown}</div>" if len(text) > WIDE else shown)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4f}"


def parts_of(answers: Answers) -> Iterator[tuple[str, Answers]]:
    """The answers to each target, by its column; "" where there is one only."""
    if not answers.problem.parts:
        yield "", answers
    for column, part in answers.problem.parts.items():
        yield column, replace(answers, problem=part, decoded=answers.decoded.by_column[column])
