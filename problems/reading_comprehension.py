"""Reading comprehension: the answer to a question is a part of a passage."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

import core.conf
from core.conf import JSON, PositiveInt
from core.config import InputsConf
from core.types import Features, Row, Spec
from problems import metrics
from problems.answer_texts import answer_scores
from problems.base import PROBLEMS, DecodedArrays, Problem, words_column
from text.ragged import Ragged
from text.tokens import Tokens
from text.windows import Windows

PASSAGE, START, END = "passage", "start_label", "end_label"
TEXT, SPANS, ANSWERS = "text of passage", "spans of passage", "right answers"
"""What is kept of the rows for metrics and predictions, beside the targets."""


@dataclass(frozen=True)
class DecodedSpans(DecodedArrays):
    """The K best spans of each of N windows, the best first.

    starts, ends  N x K, their first and last tokens, counted in the window
    scores        N x K, the sums of their start and end logits; -inf where there are fewer spans
    nulls         the same for "no answer", -inf where there is always one
    norms         the logarithm of the sum of exp(score) over all pairs of a start and an end
    """

    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray
    nulls: np.ndarray
    norms: np.ndarray

    def of_rows(self, windows: Windows) -> "DecodedSpans":
        """The K best spans of each row, counted in its text, from those of its windows; one that several have once."""
        count = self.starts.shape[1]
        rows, firsts = (np.repeat(values, count) for values in (windows.rows, windows.firsts))
        starts, ends, scores = self.starts.ravel() + firsts, self.ends.ravel() + firsts, self.scores.ravel()
        order = np.lexsort((-scores, ends, starts, rows))
        same = np.stack([rows, starts, ends])[:, order]
        scores = scores.copy()
        scores[order[1:][(same[:, 1:] == same[:, :-1]).all(0)]] = -np.inf
        order = np.lexsort((-scores, rows))
        first = np.flatnonzero(np.r_[True, np.diff(windows.rows) > 0])  # windows of a row follow each other
        best = order[(first * count)[:, None] + np.arange(count)]
        nulls, norms = np.minimum.reduceat(self.nulls, first), np.logaddexp.reduceat(self.norms, first)
        return DecodedSpans(starts[best], ends[best], scores[best], nulls, norms)


@dataclass(frozen=True)
class DecodedAnswers:
    """Of N rows the best span: its text, the characters where it begins and ends, its probability, that of "no answer",
    and by how much the score of that is higher. `n_best` are the best answers with their probabilities.
    """

    texts: Sequence[str]
    starts: np.ndarray
    ends: np.ndarray
    confidence: np.ndarray
    none_confidence: np.ndarray
    no_answer: np.ndarray
    n_best: Sequence[Sequence[tuple[str, float]]]

    def __len__(self) -> int:
        return len(self.texts)

    def taken(self, order: np.ndarray) -> "DecodedAnswers":
        """The answers at these places, in this order."""
        places = order.tolist()
        return DecodedAnswers(
            [self.texts[at] for at in places],
            self.starts[order],
            self.ends[order],
            self.confidence[order],
            self.none_confidence[order],
            self.no_answer[order],
            [self.n_best[at] for at in places] if len(self.n_best) else [],
        )


@PROBLEMS.register
class ReadingComprehension(Problem):
    """The answer to a question is a part of a passage (SQuAD, Rajpurkar et al. 2016).

    Branch `passage` reads the passage. Targets: start_label, the character where the answer begins; end_label, where it
    ends; and a column with the text of the answer, or a JSON list of all right ones. In a batch, start_label and
    end_label are the places of the first and last token. Two layers answer, one for each: a score for each token of
    the passage (B x T x 1 or B x T). A long passage can be read in windows that overlap; the best span of all counts.
    """

    class Conf(Problem.Conf):
        max_answer_length: PositiveInt = 30
        """Tokens of an answer at most."""
        n_best: PositiveInt = 1
        """Answers that the predict_field n_best lists, with their probabilities, "" for no answer among them."""
        window_size: PositiveInt | None = None
        """Tokens of a passage that are read at once; longer passages are read in windows. null = the whole passage."""
        window_stride: PositiveInt | None = None
        """Tokens from the start of a window to that of the next. null = half of window_size."""
        unanswerable: bool = False
        """Whether a question may have no answer in its passage (SQuAD 2.0): its place is <start>, before the text."""
        no_answer_threshold: float | Literal["tuned"] = "tuned"
        """No answer is given where its score is higher than that of the best span by more than this; tuned = the best
        for f1 on the validation rows."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.window_stride is not None and (self.window_size is None or self.window_stride > self.window_size):
                raise ValueError("window_stride must be window_size at most, so that windows leave nothing out.")

    name = "mrc"
    own_metrics = metrics.READING
    default_metrics = ("f1", "exact_match")
    default_fields = ("prediction",)
    conf: Conf

    def __init__(self, inputs: InputsConf) -> None:
        super().__init__(inputs)
        for key in ("labels", "positive_label", "group_by"):
            if getattr(inputs, key) is not None:
                raise ValueError(f"{key} has no place where answers are parts of a passage.")
        if PASSAGE not in inputs.model_inputs:
            raise ValueError(f"model_inputs must have a branch called '{PASSAGE}': answers are parts of it.")
        others = [column for column in inputs.target if column not in (START, END)]
        if not {START, END} <= set(inputs.target) or len(others) > 1:
            columns = ", ".join(inputs.target)
            raise ValueError(f"target must be {START}, {END} and the column of the answers, got {columns}.")
        self.answer_column = others[0] if others else None
        self.passage_column = words_column(inputs, PASSAGE)

    @classmethod
    def plan(cls, inputs: InputsConf) -> dict[str, Any]:
        """The passage keeps where its tokens stand, may be cut to windows, may begin with the place of no answer."""
        own: ReadingComprehension.Conf = core.conf.read(cls.Conf, inputs.settings)
        size = own.window_size
        return {
            "add_start_end": False,
            "placed": inputs.model_inputs.get(PASSAGE, []),
            "begun": [PASSAGE] if own.unanswerable else [],
            "windows": {PASSAGE: [size, own.window_stride or max(1, size // 2)]} if size else {},
            "positions": {START: PASSAGE, END: PASSAGE},
        }

    @property
    def answer_sizes(self) -> dict[str, int | None]:
        """One score for each token."""
        return {START: 1, END: 1}

    def target_specs(self) -> dict[str, Spec]:
        """The places of tokens; the text of the answer is for metrics only."""
        place = Spec("B", ids=True, places=True, texts=frozenset([PASSAGE]))
        return {START: place, END: place}

    def check_output(self, spec: Spec, column: str) -> None:
        """ValueError unless there is one score for each token."""
        spec.expect("BTD", "BT")
        if spec.sizes.get("D", 1) != 1:
            raise ValueError(f"must give one score for each token of the passage, but gives {spec}.")

    def state(self) -> dict[str, Any]:
        """What the encoded rows depend on; nothing is fitted."""
        return {"unanswerable": self.conf.unanswerable, "passage": self.passage_column}

    def encode(
        self, rows: Sequence[Row], growing: bool, tokens: Mapping[str, Tokens] | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """start_label and end_label as places of tokens (-1 = none), the right answers, what is kept of the passage."""
        assert tokens is not None
        errors = [row.error for row in rows]
        places = np.full((len(rows), 2), -1, np.int64)
        right: list[list[str]] = [[] for _ in rows]
        passages = tokens[self.passage_column]
        assert passages.spans is not None
        offsets = passages.index.offsets.tolist()
        for at, row in enumerate(rows):
            if errors[at]:
                continue
            try:
                right[at], characters = self._answer(row)
                if characters is not None:
                    spans = passages.spans[offsets[at] : offsets[at + 1]]
                    places[at] = _tokens_at(*characters, spans)
            except ValueError as error:
                errors[at] = str(error)
        answers = Ragged.of_texts([json.dumps(texts) for texts in right])
        return {START: places[:, 0], END: places[:, 1], ANSWERS: answers, **self.kept(rows, tokens)}, errors

    def kept(self, rows: Sequence[Row], tokens: Mapping[str, Tokens]) -> dict[str, Any]:
        """The passages, and the characters of their tokens."""
        texts = [row.cells.get(self.passage_column, "") for row in rows]
        return {TEXT: Ragged.of_texts(texts), SPANS: spans_of(tokens[self.passage_column])}

    def decode(self, outputs: Mapping[str, Features]) -> DecodedSpans:
        """The best span of each window: the highest sum of a start and an end at most max_answer_length apart."""
        starts_BT, ends_BT = (_logits(outputs[column]) for column in (START, END))
        begun, length = int(self.conf.unanswerable), self.conf.max_answer_length
        ends_BTL = torch.nn.functional.pad(ends_BT, (0, length - 1), value=-torch.inf).unfold(1, length, 1)
        sums_BN = (starts_BT.unsqueeze(-1) + ends_BTL)[:, begun:].flatten(1)
        missing = max(0, self.conf.n_best - sums_BN.shape[1])
        sums_BN = torch.nn.functional.pad(sums_BN, (0, missing), value=-torch.inf)
        scores_BK, best_BK = sums_BN.topk(self.conf.n_best, 1)
        first_BK = best_BK // length
        nulls_B = starts_BT[:, 0] + ends_BT[:, 0] if begun else torch.full_like(starts_BT[:, 0], -torch.inf)
        norms_B = starts_BT.logsumexp(1) + ends_BT.logsumexp(1)
        spans = torch.stack([first_BK.double(), (first_BK + best_BK % length).double(), scores_BK])
        found = torch.cat([spans.movedim(0, 1).flatten(1), nulls_B[:, None], norms_B[:, None]], 1).cpu().numpy()
        starts, ends, scores = np.split(found[:, :-2], 3, 1)
        return DecodedSpans(starts.astype(np.int64), ends.astype(np.int64), scores, found[:, -2], found[:, -1])

    def resolved(self, decoded: DecodedSpans, kept: Mapping[str, Any], windows: Windows | None) -> DecodedAnswers:
        """The best span of each row as text."""
        best = decoded if windows is None else decoded.of_rows(windows)
        spans, firsts = kept[SPANS], kept[SPANS].offsets[:-1]
        real_NK = np.isfinite(best.scores)
        starts_NK = spans.values[firsts[:, None] + np.where(real_NK, best.starts, 0), 0]
        ends_NK = spans.values[firsts[:, None] + np.where(real_NK, best.ends, 0), 1]
        confidence_NK = np.exp(best.scores - best.norms[:, None])
        none_N = np.exp(best.nulls - best.norms)
        passages = kept[TEXT].texts()
        texts = [text[start:end] for text, start, end in zip(passages, starts_NK[:, 0], ends_NK[:, 0], strict=True)]
        n_best = []
        for row, text in enumerate(passages if self.conf.n_best > 1 else ()):
            found = zip(starts_NK[row], ends_NK[row], confidence_NK[row].tolist(), real_NK[row], strict=True)
            answers = [(text[start:end], confidence) for start, end, confidence, real in found if real]
            none = [("", float(none_N[row]))] if self.conf.unanswerable else []
            n_best.append(sorted([*answers, *none], key=lambda answer: -answer[1]))
        no_answer = best.nulls - best.scores[:, 0]
        return DecodedAnswers(texts, starts_NK[:, 0], ends_NK[:, 0], confidence_NK[:, 0], none_N, no_answer, n_best)

    def tune(self, decoded: DecodedAnswers, targets: Mapping[str, Any]) -> None:
        """The threshold of no answer with the highest f1: find_best_thresh of SQuAD 2.0's script."""
        if not self.conf.unanswerable or self.conf.no_answer_threshold != "tuned" or not len(decoded):
            return
        right = self._right(targets)
        gains_N = answer_scores(decoded.texts, right).f1 - answer_scores([""] * len(right), right).f1
        order = np.argsort(decoded.no_answer, kind="stable")
        odds_N = decoded.no_answer[order]
        totals = np.r_[0.0, np.cumsum(gains_N[order])]
        cuts = np.flatnonzero(np.r_[True, np.diff(odds_N) > 0, True])  # equal odds stay together
        best = cuts[np.argmax(totals[cuts])]
        below = odds_N[best - 1] if best else odds_N[0] - 1
        above = odds_N[best] if best < len(odds_N) else below + 1
        self.tuned = {"no_answer_threshold": float(below + above) / 2}

    def answers(self, decoded: DecodedAnswers, targets: Mapping[str, Any]) -> metrics.ReadingAnswers:
        """What the metrics read."""
        return metrics.ReadingAnswers(self._given(decoded), self._right(targets))

    def right_rows(self, decoded: DecodedAnswers, targets: Mapping[str, Any]) -> np.ndarray:
        """Which rows have a right answer."""
        return answer_scores(self._given(decoded), self._right(targets)).exact_match > 0

    def right_cell(self, row: Row) -> str:
        """The first right answer; nothing where there is none."""
        return next(iter(self._answer(row)[0]), "")

    @property
    def no_answer_threshold(self) -> float:
        """As configured, or as tuned; 0 before."""
        given = self.conf.no_answer_threshold
        return given if given != "tuned" else (self.tuned or {}).get("no_answer_threshold", 0.0)

    def _given(self, decoded: DecodedAnswers) -> list[str]:
        """The answers, empty where there is none."""
        none_N = self._is_none(decoded)
        return ["" if none else text for none, text in zip(none_N, decoded.texts, strict=True)]

    def _is_none(self, decoded: DecodedAnswers) -> np.ndarray:
        """Bool of N, whether a row gets no answer."""
        return decoded.no_answer > self.no_answer_threshold

    def _right(self, targets: Mapping[str, Any]) -> list[list[str]]:
        return [json.loads(text) for text in targets[ANSWERS].texts()]

    def _answer(self, row: Row) -> tuple[list[str], tuple[int, int] | None]:
        """The right answers of a row and the characters of the first; None where it has none. ValueError if unsound."""
        cells, passage = row.cells, row.cells.get(self.passage_column, "")
        start, end = _number(cells, START), _number(cells, END)
        texts = _listed(cells.get(self.answer_column, "")) if self.answer_column else None
        if start is None or texts == []:
            if texts:
                raise ValueError(f"column {START} is empty, but there is an answer '{texts[0]:.40}'.")
            if not self.conf.unanswerable:
                raise ValueError("the question has no answer. inputs.unanswerable takes such questions.")
            return [], None
        if texts is None:
            if end is None:
                raise ValueError(f"column {END} is empty, but an answer starts at {start}.")
            texts = [passage[start:end]]
        end = start + len(texts[0])
        if not texts[0].strip() or passage[start:end] != texts[0]:
            found = passage.find(texts[0])
            where = f"it is at {found}." if texts[0].strip() and found >= 0 else "nor anywhere else in it."
            raise ValueError(f"answer '{texts[0]:.40}' is not at character {start} of {self.passage_column}, {where}")
        return texts, (start, end)

    def _encode_column(self, column: str, rows: Sequence[Row], errors: list[str], growing: bool) -> Any:
        raise AssertionError("the targets are encoded together")

    def _fields(self) -> list[str]:
        fields = ["prediction", "confidence", "start", "end", "no_answer"]
        return [*fields, "n_best"] if self.conf.n_best > 1 else fields

    def _field(self, field: str, decoded: DecodedAnswers) -> list[Any]:
        if field == "prediction":
            return self._given(decoded)
        if field == "n_best":
            named = ([{"text": text, "confidence": share} for text, share in answers] for answers in decoded.n_best)
            return [json.dumps(answers, ensure_ascii=False) for answers in named]
        if field == "confidence":  # of what is given, so where that is no answer, of that
            return np.where(self._is_none(decoded), decoded.none_confidence, decoded.confidence).tolist()
        values = {"start": decoded.starts, "end": decoded.ends}.get(field, getattr(decoded, field, None))
        return values.tolist()  # type: ignore[union-attr]


def spans_of(passages: Tokens) -> Ragged:
    """What is kept as SPANS: of each passage the characters of its tokens."""
    assert passages.spans is not None
    return passages.index.with_values(passages.spans)


def _logits(output: Features) -> Tensor:
    """B x T in float64, -inf at padding."""
    scores = output.parts.get("logits", output.values).detach().double()
    scores_BT = scores.squeeze(-1) if scores.dim() == 3 else scores
    return scores_BT if output.mask is None else scores_BT.masked_fill(~output.mask, -torch.inf)


def _tokens_at(start: int, end: int, spans: np.ndarray) -> tuple[int, int]:
    """The first and the last token that has a character of the answer; (-1, -1) where the text was cut before it."""
    first = int(np.searchsorted(spans[:, 1], start, side="right"))
    last = int(np.searchsorted(spans[:, 0], end, side="left")) - 1
    return (first, last) if first <= last and end <= spans[-1, 1] else (-1, -1)


def _number(cells: Mapping[str, str], column: str) -> int | None:
    """The whole number of a cell; None where it is empty or negative."""
    cell = cells.get(column, "").strip()
    try:
        number = int(cell) if cell else -1
    except ValueError:
        raise ValueError(f"'{cell:.40}' in column {column} is no whole number.") from None
    return None if number < 0 else number


def _listed(cell: str) -> list[str]:
    """The texts of a cell: a JSON list of texts, or one text."""
    if cell.startswith("["):
        try:
            value: JSON = json.loads(cell)
        except (ValueError, RecursionError):
            return [cell]
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            return value
    return [cell] if cell else []
