"""Predictions to files: the columns that came, then the columns of the answer."""

import csv
import io
import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from core.files import written_aside
from core.types import Prediction
from text.readers import JsonText

_CHUNK = 8192
_BREAKS = str.maketrans("\t\r\n", "   ")
_TSV_BREAKS = str.maketrans("\t\n", "  ")


class PredictionWriter:
    """Writes predictions in the format of the rows they belong to; a context manager.

    path    the file, written aside and renamed at the end (nothing is left after an exception); None = standard output
    header  the file's own names of its columns; without them TSV and CSV get no header line

    Every row of TSV and CSV gets as many cells as the header (or the first good row) has, so that the answer stands
    where it belongs; what a bad row has too much is joined in its last cell. Numbers have six significant digits.
    """

    def __init__(self, path: Path | None, format: str, header: Sequence[str] | None) -> None:
        self.path = path
        self._make = _SHEETS[format]
        self._header = None if header is None else list(header)
        self._sheet: _Sheet | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self.path is None:
            self._file: BinaryIO = sys.stdout.buffer
        else:
            aside = self._stack.enter_context(written_aside(self.path))
            self._file = self._stack.enter_context(aside.open("wb"))
        self._stack.callback(self._close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    def write(self, predictions: Iterable[Prediction]) -> None:
        """Write these predictions after those already written."""
        rows = iter(predictions)
        while chunk := list(islice(rows, _CHUNK)):
            if self._sheet is None:
                self._sheet = self._make(self._file, self._header, chunk)
            self._sheet.write(chunk)
        self._file.flush()

    def _close(self) -> None:
        if self._sheet is not None:
            self._sheet.close()


class _Sheet(ABC):
    """A file of one format; begun with its first predictions."""

    def __init__(self, file: BinaryIO, header: list[str] | None, first: Sequence[Prediction]) -> None:
        self.file = file
        row = next((prediction.row for prediction in first if not prediction.row.error), first[0].row)
        self.header = header
        self.own = [*(header or ()), *list(row.cells)[len(header or ()) :]]
        """The names of the columns that came."""
        self.added = {cell: _new_name(cell, self.own) for cell in first[0].cells}
        """Column of the answer -> its name in the file."""
        self.begin()

    def begin(self) -> None:
        """Write what stands before the rows."""

    @abstractmethod
    def write(self, chunk: Sequence[Prediction]) -> None:
        """Write rows."""

    def close(self) -> None:
        """Write what stands after the rows."""


class _Tsv(_Sheet):
    def begin(self) -> None:
        if self.header is not None:
            self.file.write(self.lines([[*self.own, *self.added.values()]]))

    def write(self, chunk: Sequence[Prediction]) -> None:
        width = len(self.own)
        rows = []
        for row, cells in chunk:
            own = list(row.cells.values())
            if len(own) != width:
                own = [*own[: width - 1], " ".join(own[width - 1 :]), *[""] * (width - 1 - len(own))]
            rows.append([*own, *(_cell(cells[name]) for name in self.added)])
        self.file.write(self.lines(rows))

    def lines(self, rows: Iterable[Sequence[str]]) -> bytes:
        """Rows as bytes."""
        return "".join("\t".join([c.translate(_TSV_BREAKS) for c in row]) + "\n" for row in rows).encode()


class _Csv(_Tsv):
    def lines(self, rows: Iterable[Sequence[str]]) -> bytes:
        rows, text = list(rows), io.StringIO()
        returns = any("\r" in cell for row in rows for cell in row)  # csv.writer does not see that these need quotes
        sheet = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL)
        sheet.writerows(rows)
        return text.getvalue().encode()


class _Jsonl(_Sheet):
    def write(self, chunk: Sequence[Prediction]) -> None:
        for prediction in chunk:
            line = json.dumps(self.values(prediction), ensure_ascii=False)
            self.file.write(line.encode() + b"\n")

    def values(self, prediction: Prediction) -> dict[str, Any]:
        """All columns of a row by name."""
        row, cells = prediction
        names = [*(self.header or ()), *list(row.cells)[len(self.header or ()) :]]
        own = {name: _value(cell) for name, cell in zip(names, row.cells.values(), strict=False)}
        return own | {name: _number(cells[cell]) for cell, name in self.added.items()}


class _Parquet(_Jsonl):
    def begin(self) -> None:
        self.table: Any = None

    def write(self, chunk: Sequence[Prediction]) -> None:
        import pyarrow as pa  # late: only Parquet pays for it
        import pyarrow.parquet

        rows = [self.values(prediction) for prediction in chunk]
        columns: Mapping[str, list[Any]] = {
            name: [row.get(name) for row in rows] for name in [*self.own, *self.added.values()]
        }
        if self.table is None:
            kinds = {name: pa.array(map(_or_null, values)).type for name, values in columns.items()}
            kinds = {name: pa.string() if pa.types.is_null(kind) else kind for name, kind in kinds.items()}
            self.table = pyarrow.parquet.ParquetWriter(self.file, pa.schema(list(kinds.items())))
        arrays = []
        for kind, values in zip(self.table.schema.types, columns.values(), strict=True):
            if pa.types.is_string(kind):
                arrays.append(pa.array([None if value is None else str(value) for value in values], kind))
            else:
                arrays.append(pa.array(map(_or_null, values), kind))
        self.table.write_table(pa.Table.from_arrays(arrays, schema=self.table.schema))

    def close(self) -> None:
        if self.table is not None:
            self.table.close()


_SHEETS: dict[str, type[_Sheet]] = {"tsv": _Tsv, "csv": _Csv, "jsonl": _Jsonl, "parquet": _Parquet}


def _new_name(name: str, taken: Sequence[str]) -> str:
    """`name`, or name_2, name_3, ... where the file has such a column already."""
    number, new = 1, name
    while new in taken:
        number += 1
        new = f"{name}_{number}"
    return new


def _cell(value: Any) -> str:
    """A value of an answer as text without breaks."""
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value).translate(_BREAKS)


def _number(value: Any) -> Any:
    """A value of an answer for JSON."""
    if not isinstance(value, float | np.floating):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _value(cell: str) -> Any:
    """A cell as the value that it was in its file."""
    if not isinstance(cell, JsonText):
        return cell
    return json.loads(cell) if cell else None


def _or_null(value: Any) -> Any:
    return None if value == "" else value
