"""The teacher store: every teacher answers every row once, and what it gave lies on disc, memory-mapped.

An entry depends on the teacher, on the content of the file and on what was asked for. It is filled in shards: what a
kill leaves is taken up again, the processes of a training fill it together, and another training waits for it.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from core.errors import UserError
from distillation.answers import Table
from distillation.base import RowTeacher, TeacherRows
from text import store
from text.batching import prediction_batches
from text.readers import RowFile

SHARD = 4096
"""Rows of a shard."""
BATCH = 64
"""Rows that a teacher answers together, and more of short texts."""


class Crew(Protocol):
    """The processes that fill a store together."""

    @property
    def number(self) -> int:
        """Which one this is, from 0."""

    @property
    def count(self) -> int:
        """How many there are."""

    def wait(self) -> None:
        """Until all are here."""

    def agreed(self, said: bool) -> bool:
        """Whether any of them says so."""


@dataclass(frozen=True)
class Answered:
    """What a teacher gave for the rows of a file, by address."""

    rows: TeacherRows
    tables: dict[str, Table]
    error: float
    """The largest difference that half precision made."""
    seconds: float
    """What it took to make them; 0 where they were found."""


def answered(
    name: str,
    teacher: RowTeacher,
    file: RowFile,
    addresses: Iterable[str],
    cache_dir: Path | None,
    crew: Crew,
    say: Callable[[str], None],
    is_training: bool = False,
) -> Answered:
    """The rows of a file as a teacher reads them, and what it gave for them: found, or made now.

    Numbers are kept in half precision, or in single precision where one of them is too large for it.
    cache_dir    where all is kept; None: in memory, made by each process for itself
    is_training  whether the student is trained on these rows
    """
    rows, wanted, began = teacher.read(file, cache_dir, is_training), sorted(addresses), time.perf_counter()
    axes = {address: teacher.specs[address].axes for address in wanted}

    shards = np.array_split(np.arange(len(rows.keys)), max(1, -(-len(rows.keys) // SHARD)))

    def made(number: int) -> Shard:
        return _made(name, teacher, rows, shards[number], axes)

    def told(what: str) -> None:
        say(f"teacher '{name}': {what}")

    if cache_dir is None:
        whole = Shard.joined([made(number) for number in range(len(shards))])
        return Answered(rows, whole.tables, whole.error, time.perf_counter() - began)
    content = [store.content_key(file.path), file.settings()]
    folder = cache_dir / store.key("answers", teacher.key(), content, wanted, is_training)
    found, seconds = Shard.opened(folder, axes), 0.0
    if crew.agreed(found is None):
        with _alone(folder, crew, told):
            found = Shard.opened(folder, axes)  # another training may have made it meanwhile
            if found is None:
                _fill(folder, len(shards), made, axes, crew, told)
                found, seconds = Shard.opened(folder, axes), time.perf_counter() - began
    assert found is not None
    return Answered(rows, found.tables, found.error, seconds)


@contextmanager
def _alone(folder: Path, crew: Crew, told: Callable[[str], None]) -> Iterator[None]:
    """Keep other trainings out of an entry while these processes look at it and fill it."""
    wait = "another training fills this part of the store; waiting for it"
    with store.locked(folder, lambda: told(wait)) if crew.number == 0 else nullcontext():
        crew.wait()
        yield
        crew.wait()


def _fill(
    folder: Path,
    count: int,
    made: Callable[[int], "Shard"],
    axes: Mapping[str, str],
    crew: Crew,
    told: Callable[[str], None],
) -> None:
    """Make the shards that are missing beside the entry, and join them."""
    beside = folder.with_name(f"{folder.name}.shards")
    paths = [beside / str(number) for number in range(count)]
    missing = [number for number, path in enumerate(paths) if Shard.opened(path, axes) is None]
    if damaged := [path for path in [folder, *(paths[number] for number in missing)] if path.exists()]:
        told(f"parts of the store are damaged and made again: {len(damaged)}")
    crew.wait()
    for number in missing[crew.number :: crew.count]:
        write(paths[number], [made(number)])
    crew.wait()
    if crew.number == 0:
        write(folder, [Shard.opened(path, axes) or made(number) for number, path in enumerate(paths)])
        shutil.rmtree(beside, ignore_errors=True)
    crew.wait()


@dataclass(frozen=True)
class Shard:
    """What a teacher gave for some rows, one after the other."""

    tables: dict[str, Table]
    error: float

    @classmethod
    def opened(cls, folder: Path, axes: Mapping[str, str]) -> Self | None:
        """As it lies on disc; None where it does not, or is damaged."""
        found = store.open_store(folder)
        if found is None:
            return None
        arrays, heads = found.arrays, found.extra["heads"]
        tables = {
            address: Table(letters, arrays[f"values {address}"], arrays.get(f"offsets {address}"), heads[address])
            for address, letters in axes.items()
        }
        return cls(tables, found.extra["error"])

    @classmethod
    def joined(cls, shards: Sequence[Self]) -> Self:
        """The rows of several, one after the other."""
        tables = {address: Table.joined([shard.tables[address] for shard in shards]) for address in shards[0].tables}
        return cls(tables, max(shard.error for shard in shards))


def write(folder: Path, shards: Sequence[Shard]) -> None:
    """Put the rows of shards on disc, one after the other, whole or not at all."""
    with store.StoreWriter(folder) as writer:
        for address in shards[0].tables:
            tables = [shard.tables[address] for shard in shards]
            precision = np.result_type(*(table.values.dtype for table in tables))
            end = 0
            for number, table in enumerate(tables):
                writer.append(f"values {address}", table.values.astype(precision, copy=False))
                if table.offsets is not None:
                    writer.append(f"offsets {address}", table.offsets[number > 0 :] + end)
                    end += int(table.offsets[-1])
        heads = {address: table.heads for address, table in shards[0].tables.items()}
        writer.finish({"heads": heads, "error": max(shard.error for shard in shards)})


def _made(name: str, teacher: RowTeacher, rows: TeacherRows, places: np.ndarray, axes: Mapping[str, str]) -> Shard:
    """Ask a teacher for the rows at these places, those of like length together."""
    batches = prediction_batches(rows.lengths[places], BATCH)
    given = [teacher.answer(rows, places[batch], list(axes)) for batch in batches]
    order = np.argsort(np.concatenate(batches))
    tables, error = {}, 0.0
    for address, letters in axes.items():
        whole = Table.joined([Table.of(letters, features[address]) for features in given]).taken(order)
        if not np.isfinite(whole.values).all():
            raise UserError(f"teacher '{name}' gives numbers that are not finite at '{address or 'its answer'}'.")
        if np.abs(whole.values).max(initial=0) <= np.finfo(np.float16).max:
            half = whole.values.astype(np.float16)
            error = max(error, float(np.abs(half - whole.values).max(initial=0)))
            whole = replace(whole, values=half)
        tables[address] = whole
    return Shard(tables, error)
