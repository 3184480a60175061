"""Rows of a file: TSV, CSV, JSONL, Parquet, CoNLL or SQuAD, each also gzipped.

One row after the other in constant memory; only a SQuAD file is held whole, as it is a single JSON document.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count, zip_longest
from pathlib import Path
from typing import Any, BinaryIO, get_args

from core.config import DataFormat
from core.errors import UserError, did_you_mean
from core.files import similar_file
from core.types import Row

FORMATS = get_args(DataFormat)
SHOWN_BAD_ROWS = 10
_SHOWN_COLUMNS = 20
_MOST_COLUMNS = 10_000
"""Of a file without header; without a bound, a slip in file_header would make that many names."""
_SQUAD_COLUMNS = ("id", "title", "passage", "question", "start_label", "end_label", "answers", "is_impossible")
_BLOCK = 8192
_BLANK = "blank line."
_BOM = b"\xef\xbb\xbf"


class JsonText(str):
    """The JSON of a value that is no text (a number, a list); a writer of JSON gives the value back."""

    __slots__ = ()


class RowFile:
    """A file of rows: iterating gives one Row for each record, in order; a bad one has `error` set and keeps its place.

    columns     column name -> its index from 0 or its name in the file; empty: every column by its name in the file
    has_header  whether the first line of a TSV or CSV file holds the names; implied where a needed column is named
    format      tsv, csv, jsonl, parquet, conll or squad; by default the suffix says it (.json for squad), tsv if not
    needed      the columns that must be there; by default all of `columns`
    stream      read this instead of the file (once); `path` then only names it in messages

    Cells stand in file order: configured columns under their own name, others under the file's name for them, or
    "column N" (from 1). Row numbers are line numbers from 1, a header counts; in Parquet and SQuAD they count the rows.
    In CoNLL a row is a sentence: one line for each word, columns between blanks, an empty line at its end; a cell is a
    column with spaces between its words (in a bad row _ stands for what a line lacks); -DOCSTART- lines are no
    sentences.
    In SQuAD (1.1 and 2.0) a row is a question with the columns id, title, passage, question, and, unless no question of
    the file has answers: start_label and end_label (characters of the first answer in the passage, the end is one past
    it; -1 where there is none), answers (the texts of all as a JSON list), is_impossible (true or false). They are
    empty where this question alone has no list of answers. An answer that is not where it should be makes a bad row.
    TSV: a quote is a character, only a line feed ends a line. CSV: quotes as in RFC 4180. JSONL: values that are no
    text are written as JSON; an index counts the keys of the first object, unless a key is called as the column. A null
    is an empty text.

    UserError where the file as a whole cannot be used: missing, a folder, without rows, binary, damaged, or without a
    needed column.
    """

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, int | str],
        has_header: bool = False,
        format: str | None = None,
        needed: Collection[str] | None = None,
        stream: BinaryIO | None = None,
    ) -> None:
        self.path = path
        self.columns = dict(columns)
        self.format = format or format_named(path) or "tsv"
        assert self.format in FORMATS, self.format
        self.header: list[str] | None = None
        """The file's own names of its columns; None where it has none."""
        self.kinds: Mapping[str, Any] = {}
        """Parquet: column by its own name -> its Arrow type."""
        self._needed = list(columns if needed is None else needed)
        self._has_names = self.format in ("jsonl", "parquet")
        by_name = any(isinstance(self.columns.get(name, name), str) for name in self._needed)
        if self.format == "conll" and (by_name or not columns):
            raise UserError(
                f"{path}: CoNLL has no header, so inputs.file_header must give each column its index from 0."
            )
        has_header = has_header or by_name or not columns or self.format == "squad"
        self._has_header = has_header and not self._has_names and self.format != "conll"
        self._stream = stream
        self._names: list[str] = []
        """The name of each column's cell, as far as known."""
        self._width = 0
        """How many columns every line must have; 0 while no line has said it."""
        self._width_line = 1
        self._required = 0
        """How many columns a line must have to hold all that are needed."""
        self._keys: set[str] = set()
        """The names in the file of the columns that must be there."""

        records = self._records()
        first = next(records, None)
        if first is None:
            raise UserError(f"{path}: is empty.")
        if self._has_names or self._has_header:
            if first[2]:
                raise UserError(f"{path}:1: {first[2]}")
            self.header = list(first[1])
            self._width = len(self.header)
        self._own_names = frozenset(self.header or ())
        self._place_columns()
        if stream is None:
            records.close()
        self._pending = None if stream is None else chain([first], records)

    def renamed(self, names: Mapping[str, str]) -> "RowFile":
        """The same file, where columns that have a name in `names` are called by it, and no others."""
        kept = [column for column in self.columns if column in names or column not in names.values()]
        columns = {names.get(column, column): self.columns[column] for column in kept}
        columns |= {new: old for old, new in names.items() if old not in self.columns}
        needed = [names.get(column, column) for column in self._needed if column in kept or column not in self.columns]
        return RowFile(self.path, columns, self._has_header, self.format, needed)

    def settings(self) -> list[Any]:
        """What decides, beside the file itself, which rows come out; as JSON."""
        return [self.format, self.columns, self._needed, self._has_header]

    def require(self, columns: Iterable[str]) -> None:
        """UserError unless every row has these columns."""
        known = self._names if self.header is not None else list(self.columns)
        for column in columns:
            if column not in known:
                raise UserError(f"{self.path}: has no column '{column}'.{_choices(column, known)}")
            if self.header is not None:
                self._keys.add(self.header[self._names.index(column)])

    def __iter__(self) -> Iterator[Row]:
        records: Iterator[tuple[int, Any, str]]
        if self._stream is None:
            records = self._records()
        else:
            assert self._pending is not None, "a stream can be read only once"
            records, self._pending = iter(self._pending), None
        if self._has_header:
            next(records)
        number = 0
        make = self._row_of_object if self._has_names else self._row_of_cells
        for number, cells, error in records:
            yield make(number, cells, error)
        if not number:
            raise UserError(f"{self.path}: has a header, but no rows.")

    def _place_columns(self) -> None:
        """Work out the name of each column's cell from the config and the header."""
        named: dict[int, str] = {}
        for name in dict.fromkeys([*self.columns, *self._needed]):
            index = self._index(name, self.columns.get(name, name))
            if index is None:
                continue
            if index in named:
                raise UserError(f"{self.path}: '{named[index]}' and '{name}' are the same column ({index}, from 0).")
            named[index] = name
            if name in self._needed:
                self._required = max(self._required, index + 1)
                self._keys |= {self.header[index]} if self.header is not None else set()
        self._named = named
        self._extend_names(max(self._width, self._required))

    def _index(self, name: str, place: int | str) -> int | None:
        """The index of a column; None for one that is neither in the file nor needed."""
        header = self.header
        if self.format == "jsonl" and isinstance(place, int) and name in (header or []):
            place = name  # the keys of an object have no order
        if isinstance(place, str):
            if header is not None and header.count(place) == 1:
                return header.index(place)
            if name not in self._needed:
                return None
            if header is not None and place in header:
                raise UserError(f"{self.path}: the header has '{place}' more than once. Give its index from 0.")
            looks_csv = self.format == "tsv" and len(header or []) == 1 and "," in (header or [""])[0]
            hint = " Is this a CSV file? Say so in inputs.data_format." if looks_csv else _choices(place, header or [])
            raise UserError(f"{self.path}: the header has no column '{place}'.{hint}")
        if place >= (_MOST_COLUMNS if header is None else len(header)):
            if name not in self._needed:
                return None
            if header is None:
                raise UserError(
                    f"{self.path}: '{name}' is column {place} (counted from 0), but a line has {_MOST_COLUMNS:,} "
                    "columns at most."
                )
            raise UserError(
                f"{self.path}: has {len(header)} columns ({', '.join(header)}), but '{name}' is column {place} "
                "(counted from 0)."
            )
        return place

    def _extend_names(self, width: int) -> None:
        taken = {*self._named.values(), *self._names}
        for index in range(len(self._names), width):
            own = self.header[index] if self.header is not None and index < len(self.header) else None
            name = self._named.get(index) or (own if own and own not in taken else f"column {index + 1}")
            taken.add(name)
            self._names.append(name)

    def _row_of_cells(self, number: int, cells: Sequence[str], error: str) -> Row:
        found = len(cells)
        if not self._width and not error and found >= self._required:
            self._width, self._width_line = found, number
            self._extend_names(found)
        if found == self._width and not error:
            return Row(number, dict(zip(self._names, cells, strict=True)))
        if not error and found < self._required:
            needed = [name for index, name in sorted(self._named.items()) if name in self._needed]
            last = f"asks for column {self._required - 1} counted from 0"
            asked = f"names {len(needed)}" if len(needed) == self._required else last
            error = f"{found} column{'s' * (found != 1)}, but the config {asked} ({', '.join(needed)})."
        elif not error:
            error = f"{found} column{'s' * (found != 1)}, but line {self._width_line} has {self._width}."
        width = max(self._width, self._required)
        names = [*self._names[:width], *(f"column {index + 1}" for index in range(width, found))]
        return Row(number, dict(zip(names, [*cells, *[""] * (width - found)], strict=True)), error)

    def _row_of_object(self, number: int, texts: Mapping[str, str], error: str) -> Row:
        assert self.header is not None
        cells = {name: texts.get(own, "") for name, own in zip(self._names, self.header, strict=True)}
        if not error and not self._keys <= texts.keys():
            error = f"key '{next(key for key in self.header if key in self._keys and key not in texts)}' is missing."
        if not texts.keys() <= self._own_names:
            cells |= {own: text for own, text in texts.items() if own not in self._own_names and own not in cells}
        return Row(number, cells, error)

    def _records(self) -> Generator[tuple[int, Any, str]]:
        """(line number, cells, error) of each record; the first of a format with names carries the names."""
        if self.format == "parquet":
            yield from self._parquet()
            return
        with self._open() as file:
            lines = self._lines(file)
            if self.format == "tsv":
                yield from _tsv(lines)
            elif self.format == "csv":
                yield from _csv(lines)
            elif self.format == "conll":
                yield from _conll(lines)
            elif self.format == "squad":
                yield from _squad(lines, self.path)
            else:
                yield from _jsonl(lines)

    def _lines(self, file: Iterable[bytes]) -> Iterator[bytes]:
        """Lines as they are, without a byte order mark."""
        seen = 0
        for raw in file:
            if seen < _BLOCK:
                if not seen and raw.startswith(b"\x1f\x8b"):
                    raise UserError(f"{self.path}: looks gzipped, but its name does not end in .gz.")
                if b"\0" in raw:
                    raise UserError(f"{self.path}: is binary (or UTF-16), but {self.format} in UTF-8 is expected.")
                raw = raw if seen else raw.removeprefix(_BOM)
                seen += len(raw)
            if raw:
                yield raw

    def _parquet(self) -> Iterator[tuple[int, Any, str]]:
        import pyarrow as pa  # late: only Parquet pays for it
        import pyarrow.parquet

        with self._open() as file:
            try:
                whole = self._stream is not None or self.path.suffix == ".gz"  # Parquet must be able to seek
                table = pyarrow.parquet.ParquetFile(io.BytesIO(file.read()) if whole else file)
                names = table.schema_arrow.names
                self.kinds = dict(zip(names, table.schema_arrow.types, strict=True))
                if not table.metadata.num_rows:
                    raise UserError(f"{self.path}: has no rows.")
                numbers = count(1)
                for batch in table.iter_batches(8192):
                    columns = [map(_text, column.to_pylist()) for column in batch.columns]
                    for texts in zip(*columns, strict=True):
                        yield next(numbers), dict(zip(names, texts, strict=True)), ""
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{self.path}: damaged, or no Parquet file ({str(error).splitlines()[0]}).") from error

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """The bytes of the file, unpacked."""
        if self._stream is not None:
            yield self._stream
            return
        with opened(self.path) as file:
            yield file


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to read, unpacked if its name ends in .gz. UserError where it is missing, a folder, locked, or damaged."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a file.")
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.{similar_file(path)}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    with file:
        if path.suffix != ".gz":
            yield file
            return
        try:
            yield io.BufferedReader(gzip.GzipFile(fileobj=file), 1 << 20)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{path}: broken gzip ({error}).") from error


def without_blank_end(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows without the blank lines at the end of a file: editors leave them there."""
    waiting: list[Row] = []
    for row in rows:
        waiting.append(row)
        if row.error != _BLANK:
            yield from waiting
            waiting.clear()


def bad_rows_error(path: Path, first: Sequence[tuple[int, str]], count: int, among_good: bool = False) -> UserError:
    """The one message for rows that cannot be used: the first ones as (line number, reason), how many there are, and
    where there are good ones among them, how to do without.
    """
    shown = first[:SHOWN_BAD_ROWS]
    lines = [f"{path}: {count:,} row{'s' * (count != 1)} cannot be used"]
    lines += [f"{path}:{number}: {reason}" for number, reason in shown]
    if count > len(shown):
        lines.append(f"... and {count - len(shown):,} more")
    if among_good:
        lines.append('inputs.on_bad_row "skip" leaves such rows out and counts them.')
    elif format_named(path) is None:
        lines.append('The name of the file tells no format; inputs.data_format does, such as "tsv" or "conll".')
    return UserError("\n  ".join(lines))


def format_named(path: Path) -> str | None:
    """The format that the suffix of a file says, if it says one."""
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix[1:]
    return "squad" if suffix == "json" else suffix if suffix in FORMATS else None


def _choices(name: str, known: Sequence[str]) -> str:
    shown = f"{', '.join(known[:_SHOWN_COLUMNS])}{' and more' if len(known) > _SHOWN_COLUMNS else ''}"
    return f"{did_you_mean(name, known)} It has: {shown}."


def _decode(raw: bytes) -> tuple[str, str]:
    """(text, error): what is no UTF-8 becomes a replacement character and an error."""
    try:
        return raw.decode(), ""
    except UnicodeDecodeError as error:
        what = f"byte 0x{raw[error.start]:02x} at position {error.start + 1}"
        return raw.decode(errors="replace"), f"not valid UTF-8 ({what}). Save the file as UTF-8."


def _tsv(lines: Iterable[bytes]) -> Iterator[tuple[int, list[str], str]]:
    for number, raw in enumerate(lines, start=1):
        text, error = _decode(raw.removesuffix(b"\n").removesuffix(b"\r"))
        if text:
            yield number, text.split("\t"), error
        else:
            yield number, [], _BLANK


def _csv(lines: Iterable[bytes]) -> Iterator[tuple[int, list[str], str]]:
    errors: list[str] = []

    def decoded() -> Iterator[str]:
        for raw in lines:
            text, error = _decode(raw)
            if error:
                errors.append(error)
            yield text

    reader = csv.reader(decoded(), strict=True)
    while True:
        number = reader.line_num + 1
        errors.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            hint = " Is a quote not closed?" if "limit" in str(error) or "end of data" in str(error) else ""
            yield number, [], f"not valid CSV: {error}.{hint}"
        else:
            yield number, cells, errors[0] if errors else "" if cells else _BLANK


def _conll(lines: Iterable[bytes]) -> Iterator[tuple[int, list[str], str]]:
    words: list[list[str]] = []
    error, number = "", 0
    for number, raw in enumerate(chain(lines, [b""]), start=1):
        text, broken = _decode(raw)
        if columns := text.split():
            words.append(columns)
            error = error or broken
            if len(columns) != len(words[0]) and not error:
                first = number - len(words) + 1
                error = f"line {number} has {len(columns)} columns, but line {first} has {len(words[0])}."
        elif words:
            if words[0][0] != "-DOCSTART-":
                yield number - len(words), [" ".join(column) for column in zip_longest(*words, fillvalue="_")], error
            words, error = [], ""


def _jsonl(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, str], str]]:
    for number, raw in enumerate(lines, start=1):
        text, error = _decode(raw)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as problem:
            what = str(problem)
            if isinstance(problem, json.JSONDecodeError):  # it counts lines of its own
                what = f"{problem.msg} at character {problem.pos + 1}"
            yield number, {}, error or (f"not valid JSON: {what}." if text.strip() else _BLANK)
            continue
        if not isinstance(value, dict):
            yield number, {}, "not a JSON object; JSONL has one object per line."
            continue
        if "\\ud" in text.lower() and not _is_unicode(json.dumps(value, ensure_ascii=False)):
            yield number, {}, "not valid Unicode (half of a surrogate pair)."
            continue
        yield number, {key: _text(item) for key, item in value.items()}, error


def _squad(lines: Iterable[bytes], path: Path) -> Iterator[tuple[int, list[str], str]]:
    """The names of the columns, then the questions."""
    text, broken = _decode(b"".join(lines))
    if broken:
        raise UserError(f"{path}: {broken}")
    if not text.strip():
        return
    try:
        questions = list(_questions(json.loads(text), path))
    except json.JSONDecodeError as error:
        hint = " Is this a JSONL file? Say so in inputs.data_format." if error.msg == "Extra data" else ""
        raise UserError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}.{hint}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}.") from error
    if not questions:
        raise UserError(f"{path}: has no questions.")
    has_answers = any(question.get("answers") is not None for _, _, question in questions)
    width = len(_SQUAD_COLUMNS) if has_answers else _SQUAD_COLUMNS.index("start_label")
    yield 0, list(_SQUAD_COLUMNS[:width]), ""
    for number, (title, passage, question) in enumerate(questions, start=1):
        texts = [_text(value) for value in (question.get("id"), title, passage, question.get("question"))]
        answers, complaint = _squad_answers(question, texts[2])
        for column in ("question", "passage"):
            if not texts[_SQUAD_COLUMNS.index(column)].strip():
                complaint = f"its {column} is missing or empty."
        if not _is_unicode("".join([*texts, *answers, complaint])):
            texts, answers, complaint = ["", "", "", ""], [""] * 4, "not valid Unicode (half of a surrogate pair)."
        yield number, [*texts, *answers][:width], complaint and f"question '{texts[0]}': {complaint}"


def _questions(document: Any, path: Path) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Title, passage and question for each question of a document; UserError where it is not nested as SQuAD is."""

    def parts(holder: Any, key: str, place: str) -> list[dict[str, Any]]:
        found = holder.get(key) if isinstance(holder, dict) else None
        if not isinstance(found, list) or not all(isinstance(part, dict) for part in found):
            raise UserError(f"{path}: {place}has no list '{key}' of objects; SQuAD nests data, paragraphs, qas.")
        return found

    for a, article in enumerate(parts(document, "data", "")):
        for p, paragraph in enumerate(parts(article, "paragraphs", f"data[{a}] ")):
            for question in parts(paragraph, "qas", f"data[{a}].paragraphs[{p}] "):
                yield article.get("title"), paragraph.get("context"), question


def _squad_answers(question: Mapping[str, Any], passage: str) -> tuple[list[str], str]:
    """The cells of the answers, and what is wrong with them; empty cells where there is no list, or a wrong one."""
    answers, impossible = question.get("answers"), question.get("is_impossible")
    error = ""
    if isinstance(answers, list):
        error = next(filter(None, (_misplaced(answer, passage) for answer in answers)), "")
    elif answers is not None:
        error = "its answers are no list."
    if not isinstance(impossible, bool | None):
        error = error or f"its is_impossible is {json.dumps(impossible):.40}, not true or false."
    elif impossible and answers:
        error = error or "it is_impossible, but has answers."
    if answers is None or error:
        return [""] * 4, error
    start = answers[0]["answer_start"] if answers else -1
    end = start + len(answers[0]["text"]) if answers else -1
    impossible = not answers if impossible is None else impossible
    return [_text(value) for value in (start, end, [answer["text"] for answer in answers], impossible)], ""


def _misplaced(answer: Any, passage: str) -> str:
    """What is wrong with an answer to a question about a passage."""
    text, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (None, None)
    if not isinstance(text, str) or not text or type(start) is not int:
        return f"answer {json.dumps(answer, ensure_ascii=False):.60} needs a text and its answer_start."
    if start >= 0 and passage.startswith(text, start):
        return ""
    places = [place for place in range(len(passage)) if passage.startswith(text, place)]
    there = f", but at {min(places, key=lambda place: abs(place - start))}" if places else ""
    size = "" if 0 <= start < len(passage) else f" of {len(passage)} characters"
    return f"answer '{text:.60}' is not at character {start} of its passage{size}{there}."


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: Any) -> str:
    """A value of JSON or Parquet as the text of a cell."""
    if isinstance(value, str):
        return value
    if value is None:
        return JsonText("")
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, bool | int | float | list | dict):
        return JsonText(json.dumps(value, ensure_ascii=False, default=str))
    return str(value)
