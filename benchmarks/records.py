"""What runs came to, as JSON lines: one record for each finished training, kept when its run folder is gone."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

import core.conf
import core.schema
from core.conf import JSON, Conf
from core.errors import UserError

VERSION = 2


class Footprint(Conf):
    """Size and speed of a model, see benchmarks.footprint."""

    parameters: int
    weights_mib: float
    rows_per_second: dict[str, float]
    """Rows of a batch -> rows answered in a second."""
    latency_ms: dict[str, float]
    """p50 and p95 of rows that are answered one by one."""
    predict_mib: float
    """Peak memory of predict.py."""
    gpu_mib: float | None = None
    """Peak memory on the GPU, with the largest batches."""
    load: float | None = None
    """Processes that wanted to run meanwhile, this one among them: what is above 1 may have slowed it down."""
    machine: dict[str, JSON] = field(default_factory=dict)
    """On which this was measured; empty where that is the one of the training."""


class Record(Conf):
    """One training of a model on a task."""

    suite: str
    task: str
    model: str
    variant: str
    """The model and what was changed in it: records of the same variant differ by their seeds."""
    seed: int
    config: str
    """Digest of the config without its paths."""
    data: str
    """Digest of the files that it read."""
    scores: dict[str, dict[str, float | None]]
    """dev, test and further parts -> metric -> value, None where it is not defined."""
    rows: dict[str, int]
    """train, dev, ... -> how many rows."""
    teachers: dict[str, str] = field(default_factory=dict)
    """Models that it learnt or began from -> digest of their weights: one that is trained again is another teacher."""
    vectors: str = ""
    """The file of word vectors that it read, and how many they are."""
    interval: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Part -> metric -> 2.5 and 97.5 % of it when the rows are drawn again (bootstrap)."""
    curve: list[list[float]] = field(default_factory=list)
    """Step and score on dev of each validation."""
    footprint: Footprint | None = None
    seconds: float = 0.0
    """How long the training took; 0 where it was taken up again, or lay there already."""
    machine: dict[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scores.get("dev"):
            raise ValueError("scores has no dev.")
        if any(len(pair) != 2 for pair in [*self.curve, *self._intervals()]):
            raise ValueError("a point of curve, or an interval, has not two numbers.")

    def _intervals(self) -> Iterable[list[float]]:
        return (found for of_metrics in self.interval.values() for found in of_metrics.values())

    @property
    def version(self) -> tuple[str, str]:
        """What seeds of one model have in common."""
        return self.config, self.data

    @property
    def training(self) -> tuple[str, str, str, int]:
        """The job that it is of."""
        return self.suite, self.task, self.variant, self.seed

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes another record of the same a newer one."""
        return *self.training, *self.version, frozenset(self.teachers.items())

    @property
    def dev_score(self) -> float:
        """The first metric on dev; the lowest there is where it is not defined."""
        value = next(iter(self.scores["dev"].values()))
        return float("-inf") if value is None else value


def refuse_if_closed(path: Path) -> None:
    """UserError where nothing can be added to a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        sentence = f"{path}: results cannot be written there ({error.strerror or error}); --results names another file."
        raise UserError(sentence) from error


def append(path: Path, record: Record) -> None:
    """Add a record; several processes may do so at once. UserError where the disc does not take it."""
    line = json.dumps({"version": VERSION, **core.conf.to_json(record)}, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=60), path.open("a+b") as file:
            file.seek(0, os.SEEK_END)
            if end := file.tell():
                file.seek(end - 1)
                line = line if file.read(1) == b"\n" else f"\n{line}"  # what was cut off stays a line of its own
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}).") from error


def read(paths: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """The records of files that are there, the newest of each key; and a sentence for each line that is none."""
    found: dict[tuple[Any, ...], Record] = {}
    complaints = []
    for path in paths:
        text = path.read_text("utf-8", errors="replace") if path.exists() else ""
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                record = _read(line)
            except ValueError as error:
                complaints.append(f"{path}:{number}: left out: {error}")
            else:
                found.pop(record.key, None)
                found[record.key] = record
    return list(found.values()), complaints


def of_one_version(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Of each variant those of the config and data of its newest record, and a sentence for each of the others.

    Seeds of two configs are not one model's.
    """
    newest = {record.training[:3]: record.version for record in records}
    kept, complaints = [], []
    for record in records:
        *of, seed = record.training
        config, data = newest[record.training[:3]]
        if record.version == (config, data):
            kept.append(record)
        else:
            changed = "config" if record.config != config else "data"
            complaints.append(f"left out: {', '.join(of)}, seed {seed}: a later line has another {changed}")
    return kept, complaints


@cache
def _checker() -> Mapping[str, JSON]:
    return core.schema.schema(Record, {})


def _read(line: str) -> Record:
    """ValueError for what is no record, or one of another version."""
    try:
        value = json.loads(line, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValueError("not a whole line of JSON.") from error
    if not isinstance(value, dict) or "version" not in value:
        raise ValueError("not a record of a benchmark.")
    if value.pop("version") != VERSION:
        raise ValueError(f"a record of another version than {VERSION}.")
    if findings := core.schema.problems(value, _checker()):
        raise ValueError(f"not a record of version {VERSION} ({findings[0]}).")
    try:
        record: Record = core.conf.read(Record, value)
    except ValueError as error:
        raise ValueError(f"not a record of version {VERSION} ({error}).") from error
    return record


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON.")
