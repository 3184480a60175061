"""Predictions to files: the columns that came, then the columns of the answer."""

import csv
import gzip
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
from typing import Any, BinaryIO, Self, cast

import numpy as np

from core.errors import UserError
from core.files import written_aside
from core.types import Prediction, Row
from text.readers import JsonText

_CHUNK = 8192
_BREAKS = str.maketrans("\t\r\n", "   ")
_TSV_BREAKS = str.maketrans("\t\n", "  ")


class PredictionWriter:
    """Writes predictions with the rows they belong to; a context manager.

    path    the file, written aside and renamed at the end (nothing is left after an exception); None = standard output
    header  the file's own names of its columns; without them TSV and CSV get no header line, and JSONL and Parquet get
            the names of the cells
    kinds   column by its own name -> its Arrow type, where the rows come from Parquet

    The file is gzipped where its name ends in .gz. Every row of TSV and CSV gets as many cells as the header (or the
    first good row) has, so that the answer stands where it belongs; what a bad row has too much is joined in its last
    cell. Numbers have six significant digits. In Parquet a column keeps its kind if JSON has it, else it becomes text.
    SQuAD is one object: the `id` of each row -> the first column of its answer; a bad row without id is left out.

    UserError where the format cannot take a row, and where the disc does not take the file.
    """

    def __init__(
        self,
        path: Path | None,
        format: str,
        header: Sequence[str] | None,
        kinds: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self._make = _SHEETS[format]
        self._header = header
        self._kinds = kinds or {}
        self._sheet: _Sheet | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.path is None:
                self._file: BinaryIO = sys.stdout.buffer
            else:
                aside = stack.enter_context(written_aside(self.path))
                self._file = stack.enter_context(aside.open("wb"))
                if self.path.suffix == ".gz":
                    packed = gzip.GzipFile("", "wb", 6, self._file, mtime=0)
                    self._file = cast(BinaryIO, stack.enter_context(packed))
            stack.callback(self._close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    def write(self, predictions: Iterable[Prediction]) -> None:
        """Write these predictions after those already written."""
        rows = iter(predictions)
        while chunk := list(islice(rows, _CHUNK)):
            if self._sheet is None:
                self._sheet = self._make(self._file, self._header, self._kinds, chunk)
            try:
                self._sheet.write(chunk)
            except ValueError as error:
                raise UserError(f"{self.path or 'standard output'}: {error}") from error
        self._file.flush()

    def _close(self) -> None:
        if self._sheet is not None:
            self._sheet.close()


class _Sheet(ABC):
    """A file of one format; begun with its first predictions."""

    def __init__(
        self, file: BinaryIO, header: Sequence[str] | None, kinds: Mapping[str, Any], first: Sequence[Prediction]
    ) -> None:
        self.file = file
        self.header = self.headed(header)
        self.kinds = kinds
        row = next((prediction.row for prediction in first if not prediction.row.error), first[0].row)
        self.own = self.names(row)
        """The names of the columns that came."""
        self.added = {cell: _new_name(cell, self.own) for cell in first[0].cells}
        """Column of the answer -> its name in the file."""
        self.begin()

    def headed(self, header: Sequence[str] | None) -> list[str] | None:
        """The header as this format takes it."""
        return None if header is None else list(header)

    def begin(self) -> None:
        """Write what stands before the rows."""

    @abstractmethod
    def write(self, chunk: Sequence[Prediction]) -> None:
        """Write rows. ValueError where the format cannot take one."""

    def close(self) -> None:
        """Write what stands after the rows."""

    def names(self, row: Row) -> list[str]:
        """The names of the cells of a row in the file."""
        header = self.header or []
        return [*header, *list(row.cells)[len(header) :]]

    def aligned(self, row: Row) -> list[str]:
        """The cells of a row in the order of `own`."""
        names, cells = self.names(row), list(row.cells.values())
        if names == self.own:
            return cells
        by_name = dict(zip(names, cells, strict=False))
        placed = [by_name.pop(name, JsonText()) for name in self.own]
        if by_name and not row.error:
            raise ValueError(
                f"row {row.number} has '{next(iter(by_name))}', which the first row has not: give the output a name "
                "that ends in .jsonl."
            )
        return [*placed[:-1], " ".join([placed[-1], *by_name.values()])] if by_name else placed


class _Tsv(_Sheet):
    def begin(self) -> None:
        if self.header is not None:
            self.file.write(self.lines([[*self.own, *self.added.values()]]))

    def write(self, chunk: Sequence[Prediction]) -> None:
        rows = [[*self.aligned(row), *(_cell(cells[name]) for name in self.added)] for row, cells in chunk]
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


class _Conll(_Sheet):
    def headed(self, header: Sequence[str] | None) -> list[str] | None:
        return None

    def write(self, chunk: Sequence[Prediction]) -> None:
        for row, cells in chunk:
            own = [(cell or "_").split(" ") for cell in (row.cells.values() if row.error else self.aligned(row))]
            words = max(map(len, own))
            added = [_cell(cells[name]).split(" ") for name in self.added]
            if not row.error and any(len(column) != words for column in added):
                raise ValueError("CoNLL holds one answer for each word: give the output a name that ends in .tsv.")
            columns = [[*column, *["_"] * (words - len(column))] for column in (own if row.error else [*own, *added])]
            lines = (" ".join(line) for line in zip(*columns, strict=True))
            self.file.write("".join(f"{line}\n" for line in [*lines, ""]).encode())


class _Jsonl(_Sheet):
    def headed(self, header: Sequence[str] | None) -> list[str] | None:
        """Each name once, as an object needs it."""
        names: list[str] = []
        for name in header or ():
            names.append(_new_name(name, names))
        return None if header is None else names

    def write(self, chunk: Sequence[Prediction]) -> None:
        for prediction in chunk:
            self.file.write(_json(self.values(prediction)).encode() + b"\n")

    def values(self, prediction: Prediction) -> dict[str, Any]:
        """All columns of a row by name."""
        row, cells = prediction
        own = {name: _value(cell) for name, cell in zip(self.names(row), row.cells.values(), strict=False)}
        return own | {name: _number(cells[cell]) for cell, name in self.added.items()}


class _Squad(_Sheet):
    def begin(self) -> None:
        self.ids: set[str] = set()
        self.file.write(b"{")

    def write(self, chunk: Sequence[Prediction]) -> None:
        for row, cells in chunk:
            own = {**dict(zip(self.names(row), row.cells.values(), strict=False)), **row.cells}
            name = own.get("id", "")
            if not name and row.error:
                continue
            if not name:
                raise ValueError(f"row {row.number} has no id: give the output a name that ends in .jsonl.")
            if name in self.ids:
                raise ValueError(f"row {row.number} has the id '{name}' of a row before it.")
            entry = f"{_json(name)}: {_json(_number(next(iter(cells.values()))))}"
            self.file.write(f"{',' * bool(self.ids)}\n{entry}".encode())
            self.ids.add(name)

    def close(self) -> None:
        self.file.write(b"\n}\n")


class _Parquet(_Jsonl):
    def begin(self) -> None:
        self.table: Any = None

    def write(self, chunk: Sequence[Prediction]) -> None:
        import pyarrow as pa  # late: only Parquet pays for it
        import pyarrow.parquet

        own = list(zip(*(self.aligned(row) for row, _ in chunk), strict=True))
        answers = [[_number(cells[name]) for _, cells in chunk] for name in self.added]
        if self.table is None:
            # What later rows bring must fit, so the kind of a column is not guessed from the first ones.
            self.kept = [name in self.kinds and _is_of_json(self.kinds[name]) for name in self.own]
            kinds = [self.kinds[name] if kept else pa.string() for name, kept in zip(self.own, self.kept, strict=True)]
            found = [pa.array(map(_or_null, values)).type for values in answers]
            kinds += [pa.string() if pa.types.is_null(kind) else kind for kind in found]
            names = [*self.own, *self.added.values()]
            self.table = pyarrow.parquet.ParquetWriter(self.file, pa.schema(list(zip(names, kinds, strict=True))))
        columns = [map(_value if kept else _or_text, cells) for kept, cells in zip(self.kept, own, strict=True)]
        for values, kind in zip(answers, self.table.schema.types[len(own) :], strict=True):
            columns.append(map(_or_text if pa.types.is_string(kind) else _or_null, values))
        try:
            arrays = [pa.array(values, kind) for values, kind in zip(columns, self.table.schema.types, strict=True)]
        except (pa.ArrowException, OverflowError) as error:
            raise ValueError(f"cannot be written as Parquet ({str(error).splitlines()[0]}).") from error
        self.table.write_table(pa.Table.from_arrays(arrays, schema=self.table.schema))

    def close(self) -> None:
        if self.table is not None:
            self.table.close()


_SHEETS: dict[str, type[_Sheet]] = {
    "tsv": _Tsv,
    "csv": _Csv,
    "jsonl": _Jsonl,
    "parquet": _Parquet,
    "conll": _Conll,
    "squad": _Squad,
}


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


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


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


def _or_text(value: Any) -> str | None:
    """A cell or a value of an answer as text, None where it is a null."""
    return None if value is None or (isinstance(value, JsonText) and not value) else str(value)


def _is_of_json(kind: Any) -> bool:
    """Whether the values of an Arrow type are the same after a way through JSON."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return all(_is_of_json(field.type) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_of_json(kind.value_type)
    plain = (pa.string(), pa.large_string(), pa.bool_(), pa.float32(), pa.float64())
    return kind in plain or pa.types.is_integer(kind)
