"""What a trained model does with the rows of a file: its answers, its scores, its speed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from core.types import Row
from engine.attribution import attention_addresses, attributions
from engine.data import checked_scores, row_file
from engine.inference import rows_to_score
from engine.predictor import Predictor
from text.encoded import EncodedRows
from text.readers import RowFile
from views.answers import Answers, shaded
from views.elements import Html

PROBE = 64
"""Rows by which the speed of answering is told."""
SINGLES = 24
"""Rows that are answered one by one for their latency, after a few to warm up."""
BEGINNING = 50_000
"""Rows of a large file among which those are that are answered: the texts of mistakes are read from the file again."""


@dataclass
class Measured:
    """What a model does with a file: its answers, its scores, its speed.

    answered   how many of its rows were answered
    """

    file: Path
    rows: int
    answered: int
    answers: Answers
    scores: Mapping[str, float]
    speeds: dict[str, float] = field(default_factory=dict)


def measure(predictor: Predictor, data: Path | None, seconds: float | None) -> Measured:
    """Answer the rows of a file, or as many as the time allows, spread over it; whole groups where rows have groups."""
    conf = predictor.conf
    chosen = data or Path(conf.inputs.data_paths.valid_data_path or conf.inputs.data_paths.test_data_path or "")
    rows, file = rows_to_score(predictor, chosen)
    speeds = _latency(predictor, row_file(conf, file))
    probe = rows.taken(np.arange(min(PROBE, len(rows))))
    start = time.perf_counter()
    predictor.decoded(probe)
    speed = len(probe) / (time.perf_counter() - start)
    part = rows
    if seconds is not None and len(rows) > (most := max(PROBE, int(speed * seconds))):
        part = rows.taken(_spread(rows, predictor.problem.group_by, most))
    start = time.perf_counter()
    decoded = predictor.decoded(part)
    speeds["rows/s"] = len(part) / (time.perf_counter() - start)
    scores = predictor.problem.score(checked_scores(conf, predictor.problem, str(file)), decoded, part.targets)
    lines = part.lines

    def read(places: Sequence[int]) -> Sequence[Row]:
        return _rows_at(row_file(conf, file), [int(lines[place]) for place in places])

    texts = predictor.encoder.text_columns
    marked = _attended(predictor) if attention_addresses(predictor) else None
    answers = Answers(predictor.problem, decoded, part.targets, row_lengths(part), read, texts, marked)
    return Measured(file, len(rows), len(part), answers, scores, speeds)


def _attended(predictor: Predictor) -> Callable[[Row], Mapping[str, Html]]:
    """What marks the words of a row by the attention that they have."""
    plan = predictor.encoder.plan
    columns = {branch: plan.words_of[columns[0]] for branch, columns in plan.branches.items()}

    def marked(row: Row) -> Mapping[str, Html]:
        found = attributions(predictor, row, "attention")
        return {columns[text.branch]: shaded(text.tokens, text.weights) for text in reversed(found)}

    return marked


def _spread(rows: EncodedRows, group_by: str | None, most: int) -> np.ndarray:
    """So many rows of a file: evenly spread over its beginning, or the first whole groups."""
    if group_by is None:
        return np.unique(np.linspace(0, min(len(rows), BEGINNING) - 1, most).astype(int))
    groups = rows.targets[group_by]
    cut = np.isin(groups[:most], groups[most:])  # those that go on behind it
    return np.flatnonzero(~cut) if not cut.all() else np.flatnonzero(groups == groups[0])


def row_lengths(rows: EncodedRows) -> np.ndarray:
    """Tokens of the longest text of each row."""
    return np.maximum.reduce([ragged.lengths for ragged in rows.columns.values()])


def _rows_at(file: RowFile, numbers: Sequence[int]) -> Sequence[Row]:
    """The rows of these lines, in this order."""
    wanted, found = set(numbers), dict[int, Row]()
    for row in file:
        if row.number in wanted:
            found[row.number] = row
            if len(found) == len(wanted):
                break
    return [found[number] for number in numbers]


def _latency(predictor: Predictor, file: RowFile) -> dict[str, float]:
    """Milliseconds to answer one row from its text: median and 95 %; of the first good rows of a file."""
    beginning = list(islice(file, PROBE))
    rows = [answer.row for answer in predictor.predict(beginning) if not answer.row.error][:SINGLES]
    taken = []
    for row in rows:
        start = time.perf_counter()
        list(predictor.predict([row]))
        taken.append(1000 * (time.perf_counter() - start))
    return {f"p{share}": float(np.percentile(taken, share)) for share in (50, 95) if taken}
