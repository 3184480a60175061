"""Places of answers: what a teacher says of its own tokens of a passage, said of the tokens that a student reads.

The two may split a passage otherwise, cut it elsewhere, or read it in other windows; its characters are the same. A
teacher's scores of a passage are those of all its windows together, as in decoding: of a token that several have the
highest, of no answer the lowest. The softmax of these is its answer. Each place counts for the token of the student
where the problem would put an answer that begins (or ends) with it, so that of equal tokens the scores stay as they
are. What lies outside of a window, or behind what the student reads, counts for no answer there, as it does in targets.
Tokens behind the last that the teacher has read have no score.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from distillation.answers import Table, places_of
from problems.reading_comprehension import SPANS
from text.encoded import EncodedRows
from text.ragged import Ragged

NOWHERE = -30.0
"""The logarithm of the share of a place to which the teacher gives none: next to nothing, also at a temperature, and
finite, as some divergences ask for."""
_TOGETHER = 4096
"""Rows of a student that get their scores together: they take a hundred bytes for each token."""
_PASSAGE = 1 << 32
"""More characters than a passage has."""


@dataclass(frozen=True)
class Reading:
    """How somebody reads the passages of N rows, in M windows, those of a row one after the other.

    lines     int64 of N, the line of each row; they rise
    spans     of each row the characters of its tokens, K x 2 in all: the first, and the one after the last
    rows      int64 of M, the row of each window
    firsts    int64 of M, its first token
    lengths   int64 of M, how many it has
    has_null  whether the place of no answer stands before the tokens of each window
    """

    lines: np.ndarray
    spans: Ragged
    rows: np.ndarray
    firsts: np.ndarray
    lengths: np.ndarray
    has_null: bool

    @classmethod
    def of(cls, rows: EncodedRows, has_null: bool | None = None) -> Self:
        """That of encoded rows. has_null: where their plan does not say it."""
        branch = next(iter(rows.plan.positions.values()))
        firsts, lengths = rows.extent(branch, rows.examples)
        of_rows = rows.examples if rows.windows is None else rows.windows.rows
        begun = branch in rows.plan.begun if has_null is None else has_null
        return cls(rows.lines, rows.targets[SPANS], of_rows, np.broadcast_to(firsts, of_rows.shape), lengths, begun)

    def windows_of(self, first: int, end: int) -> slice:
        """The windows of the rows from `first` to before `end`."""
        return slice(*np.searchsorted(self.rows, [first, end]).tolist())

    def part(self, first: int, end: int) -> Self:
        """That of these rows alone."""
        offsets, at = self.spans.offsets[first : end + 1], self.windows_of(first, end)
        spans = Ragged(self.spans.values[offsets[0] : offsets[-1]], offsets - offsets[0])
        lines, rows = self.lines[first:end], self.rows[at] - first
        return replace(self, lines=lines, spans=spans, rows=rows, firsts=self.firsts[at], lengths=self.lengths[at])

    @property
    def begins(self) -> np.ndarray:
        """int64 of M, the first token of each window among the tokens of all rows."""
        return self.spans.offsets[self.rows] + self.firsts

    def whole(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """scores_K, nulls_N: the scores of windows as those of passages, -inf where there are none."""
        assert table.offsets is not None
        window, step = _steps(np.diff(table.offsets))
        step -= self.has_null
        scores, is_token = table.values.astype(np.float64), step >= 0
        scores_K, nulls_N = np.full(len(self.spans.values), -np.inf), np.full(len(self.lines), np.inf)
        np.maximum.at(scores_K, (self.begins[window] + step)[is_token], scores[is_token])
        np.minimum.at(nulls_N, self.rows[window[~is_token]], scores[~is_token])
        return scores_K, np.where(nulls_N < np.inf, nulls_N, -np.inf)

    def tokens_at(self, rows: np.ndarray, spans: np.ndarray, of_ends: bool) -> np.ndarray:
        """The token, among those of all rows, where an answer begins (or ends) that has these characters of these rows;
        -1 where the passage was cut before.
        """
        row_K, offsets = np.repeat(np.arange(len(self.lines)), self.spans.lengths), self.spans.offsets
        starts_K, ends_K = (row_K * _PASSAGE + self.spans.values[:, side] for side in (0, 1))
        wanted = rows * _PASSAGE + spans[:, int(of_ends)]
        if of_ends:
            found = np.searchsorted(starts_K, wanted, side="left") - 1
            inside = (found >= offsets[rows]) & (wanted <= ends_K[offsets[rows + 1] - 1])
        else:
            found = np.searchsorted(ends_K, wanted, side="right")
            inside = found < offsets[rows + 1]
        return np.where(inside, found, -1)

    def read(self, reach_N: np.ndarray) -> np.ndarray:
        """int64 of M, how many tokens of each window begin before these characters of their rows."""
        row_K = np.repeat(np.arange(len(self.lines)), self.spans.lengths)
        ends = np.searchsorted(row_K * _PASSAGE + self.spans.values[:, 0], self.rows * _PASSAGE + reach_N[self.rows])
        return np.clip(ends - self.begins, 0, self.lengths)


def aligned(table: Table, theirs: Reading, ours: Reading, of_ends: bool) -> Table:
    """The scores of a teacher, as it reads, for the windows of a student; those of rows without an answer are empty.

    of_ends  whether they say where answers end
    """
    parts = []
    for first in range(0, len(ours.lines), _TOGETHER):
        mine = ours.part(first, min(first + _TOGETHER, len(ours.lines)))
        begin, end = np.searchsorted(theirs.lines, [mine.lines[0], mine.lines[-1] + 1]).tolist()
        windows = theirs.windows_of(begin, end)
        given = table.taken(np.arange(windows.start, windows.stop))
        parts.append(_aligned(given, theirs.part(begin, end), mine, of_ends))
    return Table.joined(parts)


def _aligned(table: Table, theirs: Reading, ours: Reading, of_ends: bool) -> Table:
    """The same for few rows."""
    count = len(ours.lines)
    if not len(theirs.lines):
        return Table("BT", np.zeros(0, np.float32), np.zeros(len(ours.rows) + 1, np.int64))
    scores_K, nulls_N = theirs.whole(table)
    at = places_of(ours.lines, theirs.lines)
    ours_of = np.full(len(theirs.lines), -1)
    ours_of[at[at >= 0]] = np.flatnonzero(at >= 0)
    row_K = np.repeat(ours_of, theirs.spans.lengths)
    known = np.flatnonzero((row_K >= 0) & (scores_K > -np.inf))
    rows, spans, scores = row_K[known], theirs.spans.values[known], scores_K[known]
    token = ours.tokens_at(rows, spans, of_ends)
    inside = token >= 0
    nulls_R = np.where(at >= 0, nulls_N[at], -np.inf) if ours.has_null else np.full(count, -np.inf)
    norms_R = np.logaddexp(_logsumexp(scores, rows, count), nulls_R)
    reach_R = np.zeros(count, np.int64)
    np.maximum.at(reach_R, rows, spans[:, 1])

    ours_J, begins_M, read_M = len(ours.spans.values), ours.begins, ours.read(reach_R)
    scores_J = _logsumexp(scores[inside], token[inside], ours_J)
    norms_M = norms_R[ours.rows]
    window, step = _steps(np.where(norms_M > -np.inf, read_M + ours.has_null, 0))
    step -= ours.has_null
    given = scores_J[begins_M[window] + np.maximum(step, 0)]
    if ours.has_null:
        shares = np.exp(scores - norms_R[rows])
        sums_J = np.r_[0, np.cumsum(np.bincount(token[inside], shares[inside], ours_J))]
        ends_M, lost_R = ours.spans.offsets[ours.rows + 1], np.bincount(rows[~inside], shares[~inside], count)
        before_M = sums_J[begins_M] - sums_J[ours.spans.offsets[ours.rows]]
        outside_M = before_M + sums_J[ends_M] - sums_J[begins_M + read_M] + lost_R[ours.rows]
        nulls_M = np.logaddexp(nulls_R[ours.rows], norms_M + _log(outside_M))
        given = np.where(step < 0, nulls_M[window], given)
    given = np.where(given > -np.inf, given, norms_M[window] + NOWHERE)
    lengths = np.bincount(window, minlength=len(ours.rows))
    return Table("BT", given.astype(np.float32), np.r_[0, np.cumsum(lengths)])


def _steps(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of all items of lists of these lengths: the list of each, and its place in it."""
    lists = np.repeat(np.arange(len(lengths)), lengths)
    return lists, np.arange(len(lists)) - (np.cumsum(lengths) - lengths)[lists]


def _logsumexp(values: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Of each of `count` groups; -inf where it has no value, of a single one that very value."""
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, groups, values)
    highest[highest == -np.inf] = 0
    return highest + _log(np.bincount(groups, np.exp(values - highest[groups]), count))


def _log(values: np.ndarray) -> np.ndarray:
    """The logarithm, of 0 without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(values)
