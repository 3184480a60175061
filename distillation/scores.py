"""Scores: answers that lie in a file, as somebody's model once gave them."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from core.conf import JSON
from core.errors import UserError, did_you_mean, inside, known_names
from core.types import Features, Row
from distillation.base import FIRST_ROWS, TEACHERS, Classroom, RowTeacher, answer_spec
from text import store
from text.encoded_rows import row_keys
from text.readers import RowFile, without_blank_end

SURE = 1e-6
"""Probabilities this near to 0 or 1 have the logit of this one."""


@dataclass(frozen=True)
class ScoredRows:
    """The rows that have scores: line numbers, and scores in the form of an answer."""

    lines: np.ndarray
    scores: np.ndarray

    @property
    def keys(self) -> np.ndarray:
        """The lines."""
        return row_keys(self.lines)

    @property
    def lengths(self) -> np.ndarray:
        """All cost the same."""
        return np.ones(len(self.lines), np.int64)


@TEACHERS.register
class Scores(RowTeacher):
    """Scores that lie in the data file, or in a file of their own whose rows are found by an id.

    Rows whose cells are all empty, or whose id is not there, have no answer: losses leave them out. `--check` reads the
    first thousand rows, training all of them.

        {"bert": {"type": "Scores", "conf": {"kind": "score", "column": "bert_score"}}}
    """

    class Conf(RowTeacher.Conf):
        kind: Literal["logits", "probabilities", "score"]
        """What the numbers are: logits; probabilities of the labels; or one score, the probability of the positive
        label, or for regression the number itself."""
        column: str | None = None
        """The column of the score, or of a JSON list with a number for each of `labels`."""
        columns: dict[str, str] | None = None
        """Label -> the column that holds its number."""
        labels: list[str] | None = None
        """The labels in the order of the list."""
        path: str | None = None
        """The file of the scores: .tsv or .csv with a header, .jsonl or .parquet; null = the data file."""
        id: str | None = None
        """The column in both files by which rows are found, whatever file_header calls it; null = the rows are those of
        the training file, in its order."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if (self.column is None) == (self.columns is None):
                raise ValueError("needs either column or columns.")
            if self.kind == "score" and self.columns is not None:
                raise ValueError("kind score has one column: name it in column.")
            is_list = self.column is not None and self.kind != "score"
            if is_list and self.labels is None:
                raise ValueError(f"needs labels: the order of the numbers in the lists of column '{self.column}'.")
            if self.labels is not None and not is_list:
                raise ValueError("labels says the order of the numbers in a list, but here column holds no list.")
            if self.id is not None and self.path is None:
                raise ValueError("id joins the rows of two files, but path names none.")

    def __init__(self, conf: Conf, classroom: Classroom) -> None:
        self.answers_any_row, self.answers_other_files = False, conf.path is None or conf.id is not None
        self.conf, self.target = conf, next(iter(classroom.targets.values()))
        spec = answer_spec(self.target)
        if spec.axes not in ("B", "BD", "BC"):
            raise ValueError("scores answer for rows, but the target here has tags or places of tokens.")
        self.labels = self.target.labels
        named = conf.labels if conf.columns is None else list(conf.columns)
        if named is not None and spec.axes == "B":
            raise ValueError("the target here is a number: take kind score and one column.")
        if named is not None and self.labels is not None and set(named) != set(self.labels):
            raise ValueError(f"has scores for {', '.join(named)}, but the labels here are {', '.join(self.labels)}.")
        classroom.refuse_other_labels(named, next(iter(classroom.targets)))
        if conf.kind == "score" and (spec.axes == "BC" or (self.labels is not None and len(self.labels) > 2)):
            raise ValueError("one score answers for two labels, or for a number. Take columns for more labels.")
        self._check_columns(classroom)
        self.specs, self.answers = {"": spec}, dict.fromkeys([*classroom.targets][:1], "")
        self.training, self.texts = classroom.file, sorted(set(classroom.columns.values()))
        self.owners: dict[str, tuple[str, list[str | None]]] = {}
        """Id -> where its row stands, and what its texts are."""
        if (file := classroom.file()) is not None:
            self._check_first(file)

    def _check_first(self, file: RowFile) -> None:
        """UserError for what is no score in the first rows, and for files that end there after different rows."""
        if self.conf.path is None:
            for row in islice(file, FIRST_ROWS):
                if not row.error:
                    self._scores(row, file.path)
            return
        own = RowFile(Path(self.conf.path), {}, has_header=True)
        found = list(islice(self._own(own), FIRST_ROWS))
        if self.conf.id is not None:
            scores, column = self._by_own_id(own, found), self._id_in(file)
            ids = (_cell(row, column, file.path) for row in islice(file, FIRST_ROWS) if not row.error)
            if len(found) < FIRST_ROWS and not any(name in scores for name in ids):
                self.doubt = f"{own.path} has a score for none of the first {FIRST_ROWS:,} rows of {file.path}."
        else:
            rows = sum(1 for _ in islice(without_blank_end(file), FIRST_ROWS))
            if rows != len(found):
                self._by_row(file, own, list(self._own(own)))

    def _check_columns(self, classroom: Classroom) -> None:
        """ValueError where a column is missing in the file of scores, or in the data."""
        conf, ours, theirs = self.conf, classroom.require, classroom.require
        if conf.path is not None:
            with inside(".path"):
                theirs = RowFile(Path(conf.path), {}, has_header=True).require
        of_labels = [(f".columns.{label}", column, theirs) for label, column in (conf.columns or {}).items()]
        wanted = [(".column", conf.column, theirs), *of_labels, (".id", conf.id, theirs)]
        if conf.id is not None and (file := classroom.file()) is not None:
            wanted.append((".id", self._id_in(file), ours))
        for place, column, require in wanted:
            if column is not None:
                with inside(place):
                    require([column])

    def key(self) -> JSON:
        """The settings, the content of their file, and how labels meet ours."""
        conf = self.conf
        content = None if conf.path is None else store.content_key(Path(conf.path))
        return [
            "scores",
            answer_spec(self.target).axes,
            conf.kind,
            conf.column,
            conf.columns,
            conf.labels,
            content,
            conf.id,
            self.labels,
            self.positive,
        ]

    @property
    def positive(self) -> str | None:
        """The label that one score speaks for."""
        return None if self.labels is None else self.target.positive or self.labels[-1]

    def read(self, file: RowFile, cache_dir: Path | None, is_training: bool = False) -> ScoredRows:
        """The scored rows. UserError with file and line for what is no score."""
        conf = self.conf
        if conf.path is None:
            pairs = [(row.number, self._scores(row, file.path)) for row in file if not row.error]
            scored = [(line, scores) for line, scores in pairs if scores is not None]
        else:
            own = RowFile(Path(conf.path), {}, has_header=True)
            found = list(self._own(own))
            scored = self._by_id(file, own, found) if conf.id is not None else self._by_row(file, own, found)
        if not scored:
            raise UserError(f"{conf.path or file.path}: has no score for any row of {file.path}.")
        lines, scores = zip(*scored, strict=True)
        return ScoredRows(np.array(lines, np.int64), np.array(scores, np.float32))

    def answer(self, rows: ScoredRows, places: np.ndarray, addresses: Sequence[str]) -> dict[str, Features]:
        """The scores as logits, or numbers."""
        return {"": Features(torch.from_numpy(rows.scores[places]))}

    def _own(self, file: RowFile) -> Iterator[tuple[str, list[float] | float | None]]:
        """(id, scores) of each row of the file of scores."""
        for row in without_blank_end(file):
            if row.error:
                raise UserError(f"{file.path}:{row.number}: {row.error}")
            name = _cell(row, self.conf.id, file.path) if self.conf.id is not None else ""
            if not name and self.conf.id is not None:
                raise UserError(f"{file.path}:{row.number}: has no '{self.conf.id}'.")
            yield name, self._scores(row, file.path)

    def _by_own_id(self, own: RowFile, found: list[tuple[str, Any]]) -> dict[str, Any]:
        """Id -> scores. UserError where an id has several rows."""
        scores = dict(found)
        if len(scores) < len(found):
            assert self.conf.id is not None
            twice = next(name for name, times in Counter(name for name, _ in found).items() if times > 1)
            lines = [row.number for row in own if _cell(row, self.conf.id, own.path) == twice]
            raise UserError(f"{own.path}:{lines[1]}: column '{self.conf.id}' has '{twice}', as line {lines[0]} has.")
        return scores

    def _by_id(self, file: RowFile, own: RowFile, found: list[tuple[str, Any]]) -> list[tuple[int, Any]]:
        scores = self._by_own_id(own, found)
        if not self.owners and (training := self.training()) is not None:
            self._ids(training)
        return [(line, scores[name]) for line, name in self._ids(file) if scores.get(name) is not None]

    def _ids(self, file: RowFile) -> list[tuple[int, str]]:
        """Line and id of each row of the data. UserError where an id is that of a row with other texts."""
        found = []
        for row in file:
            if row.error:
                continue
            name, place = _cell(row, self._id_in(file), file.path), f"{file.path}:{row.number}"
            texts = [row.cells.get(column) for column in self.texts]
            first, known = self.owners.setdefault(name, (place, texts))
            if texts != known:
                sentence = f"'{name}' in column '{self.conf.id}' is the id of another row, too ({first})."
                raise UserError(f"{place}: {sentence} {self.conf.path} has scores for one of them at most.")
            found.append((row.number, name))
        return found

    def _id_in(self, file: RowFile) -> str:
        """What the rows of a data file call the column of ids."""
        assert self.conf.id is not None
        return next((ours for ours, theirs in file.columns.items() if theirs == self.conf.id), self.conf.id)

    def _by_row(self, file: RowFile, own: RowFile, found: list[tuple[str, Any]]) -> list[tuple[int, Any]]:
        training = self.training()
        if training is not None and training.path != file.path:
            sentence = f"With an id it may have those of {file.path}, too."
            raise UserError(f"{own.path}: has the scores of {training.path}, row by row. {sentence}")
        lines = [row.number for row in without_blank_end(file)]
        if len(lines) != len(found):
            way = "By an id, rows are found in any order, and those of all files in one."
            raise UserError(f"{own.path}: has {len(found):,} rows, but {file.path} has {len(lines):,}. {way}")
        return [(line, scores) for line, (_, scores) in zip(lines, found, strict=True) if scores is not None]

    def _scores(self, row: Row, path: Path) -> list[float] | float | None:
        """The answer for a row; None where its cells are empty. UserError with its place where they are no scores."""
        try:
            numbers = self._numbers(row, path)
            return None if numbers is None else self._answer(numbers)
        except ValueError as error:
            raise UserError(f"{path}:{row.number}: {error}") from error

    def _numbers(self, row: Row, path: Path) -> list[float] | None:
        """The numbers of a row, those of labels in our order."""
        conf = self.conf
        if conf.columns is not None:
            cells = [_cell(row, conf.columns[label], path) for label in self.labels or conf.columns]
            if not any(cells):
                return None
            if not all(cells):
                empty = next(name for name, cell in zip(self.labels or conf.columns, cells, strict=True) if not cell)
                raise ValueError(f"has no score for {empty}, but for others. A row has all of them, or none.")
            return [_number(cell) for cell in cells]
        assert conf.column is not None
        cell = _cell(row, conf.column, path)
        if not cell:
            return None
        if conf.labels is None:
            return [_number(cell)]
        listed = None
        with suppress(ValueError):
            listed = json.loads(cell)
        if not isinstance(listed, list) or len(listed) != len(conf.labels):
            raise ValueError(f"'{cell:.40}' is no list of {len(conf.labels)} numbers.")
        return [_number(str(listed[conf.labels.index(label)])) for label in self.labels or conf.labels]

    def _answer(self, numbers: list[float]) -> list[float] | float:
        """Logits of the labels, or a number. ValueError where the numbers are out of range."""
        if self.target.axes == "B" and not self.target.ids:
            return numbers[0]
        if self.conf.kind == "logits":
            return numbers
        outside = [number for number in numbers if not 0 <= number <= 1]
        if outside:
            raise ValueError(f"{outside[0]:g} is no probability from 0 to 1. Is the kind of these scores logits?")
        sure = [min(max(number, SURE), 1 - SURE) for number in numbers]
        if self.conf.kind == "score":
            yes, no = math.log(sure[0]), math.log(1 - sure[0])
            return [yes if label == self.positive else no for label in self.labels or ("", self.positive)]
        if self.target.axes == "BC":
            return [math.log(number / (1 - number)) for number in sure]
        if abs(sum(numbers) - 1) > 0.01:
            raise ValueError(f"the probabilities of all labels add up to {sum(numbers):g}, not to 1.")
        return [math.log(number) for number in sure]


def _cell(row: Row, column: str, path: Path) -> str:
    if column not in row.cells:
        raise UserError(f"{path}: has no column '{column}'.{did_you_mean(column, row.cells) or known_names(row.cells)}")
    return row.cells[column].strip()


def _number(cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"'{cell}' is no number.")
    return number
