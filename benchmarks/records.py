"""What runs came to, as JSON lines: one record for each finished training, kept when its run folder is gone."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from core.conf import JSON
from core.errors import UserError

VERSION = 1


@dataclass(frozen=True)
class Record:
    """One training of a model on a task."""

    suite: str
    task: str
    model: str
    variant: str
    """The model and what was changed in it: records of the same variant differ by their seeds."""
    seed: int
    config: str
    """Digest of the config without its paths."""
    scores: Mapping[str, Mapping[str, float | None]]
    """dev, test and further parts -> metric -> value, None where it is not defined."""
    rows: Mapping[str, int]
    """train, dev, ... -> how many rows."""
    interval: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Part -> 2.5 and 97.5 % of its first metric when its rows are drawn again (bootstrap)."""
    curve: Sequence[Sequence[float]] = ()
    """Step and score on dev of each validation."""
    footprint: Mapping[str, JSON] = field(default_factory=dict)
    """Size and speed of the model, see benchmarks.footprint."""
    seconds: float = 0.0
    """How long the training took; 0 where it was taken up again, or lay there already."""
    machine: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What makes another record of the same a newer one."""
        return self.suite, self.task, self.variant, self.seed

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
        raise UserError(f"--results {path}: cannot be written ({error.strerror or error}).") from error


def append(path: Path, record: Record) -> None:
    """Add a record; several processes may do so at once. UserError where the disc does not take it."""
    line = json.dumps({"version": VERSION, **dataclasses.asdict(record)}, allow_nan=False) + "\n"
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
    """The records of files that are there, the newest of each key; and a sentence for each line that is left out.

    Of a variant only what has the config of its newest record counts: seeds of two configs are not one model's.
    """
    found: dict[tuple[str, str, str, int], Record] = {}
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
    newest = {key[:3]: record.config for key, record in found.items()}
    older = [key for key, record in found.items() if record.config != newest[key[:3]]]
    for *of, seed in older:
        complaints.append(f"left out: {', '.join(map(str, of))}, seed {seed}: the config was changed after it")
    return [record for key, record in found.items() if key not in older], complaints


def _read(line: str) -> Record:
    """ValueError for what is no record, or one of another version."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ValueError("not a whole line of JSON.") from error
    if not isinstance(value, dict) or "version" not in value:
        raise ValueError("not a record of a benchmark.")
    if value.pop("version") != VERSION:
        raise ValueError(f"a record of another version than {VERSION}.")
    try:
        record = Record(**value)
        if not record.scores["dev"]:
            raise KeyError("dev")
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a record of version {VERSION} ({error}).") from error
    return record
