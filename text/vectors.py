"""Pretrained word vectors: texts of GloVe, word2vec and fastText, binaries of word2vec, each also gzipped; models of
fastText.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from core.conf import JSON
from core.errors import UserError
from text import store
from text.fasttext import FastTextModel
from text.readers import opened
from text.vocabulary import SPECIALS

_BLOCK = 1 << 22


def load_vectors(
    path: Path, kind: str, binary: bool, words: Sequence[str], cache_dir: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """float32 of len(words) x D, and which of the words have a vector; the rows of the others are zero.

    A cased word without a vector of its own takes that of its lower-case form; a model of fastText has vectors for all
    words. With `cache_dir` the result is kept there and memory-mapped. Only the numbers of wanted words are read.
    UserError for a file that is missing, empty, damaged, or of another kind.
    """
    if cache_dir is None:
        return _load(path, kind, binary, words)
    with opened(path):  # says at once what is wrong with the path
        folder = cache_dir / store.key("vectors", store.content_key(path), kind, binary, list(words))
    stored = store.open_store(folder)
    if stored is None:
        vectors, found = _load(path, kind, binary, words)
        with store.StoreWriter(folder) as writer:
            writer.append("vectors", vectors)
            writer.append("found", found)
            stored = writer.finish(None)
    return stored.arrays["vectors"], stored.arrays["found"]


@dataclass(frozen=True)
class VectorWords:
    """Every word that has a vector, in the order of the file, which is read only when it is iterated over."""

    path: Path
    kind: str
    binary: bool

    def __iter__(self) -> Iterator[str]:
        if _is_model(self.kind, self.binary):
            yield from FastTextModel(self.path).words
            return
        with _entries(self.path, self.kind, self.binary) as (_, entries):
            for entry in entries:
                try:
                    yield entry.word.decode()
                except UnicodeDecodeError:
                    continue  # no text can have this word

    def key(self) -> JSON:
        """What the words depend on. UserError where the file cannot be used."""
        vector_dim(self.path, self.kind, self.binary)  # says at once what is wrong with the path
        return [store.content_key(self.path), self.kind, self.binary]


def vector_dim(path: Path, kind: str, binary: bool) -> int:
    """The number of features of a vector."""
    if _is_model(kind, binary):
        return FastTextModel(path).dim
    with _entries(path, kind, binary) as (dim, _):
        return dim


class _Entry(NamedTuple):
    place: int
    """Number of the line, or of the word in a binary."""
    word: bytes
    numbers: bytes


def _is_model(kind: str, binary: bool) -> bool:
    return binary and kind == "fasttext"


def _load(path: Path, kind: str, binary: bool, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    if _is_model(kind, binary):
        vectors, found = FastTextModel(path).vectors(words)
        found &= np.array([word not in SPECIALS for word in words], bool)
        return vectors * found[:, None], found
    own: dict[bytes, int] = {}
    cased: dict[bytes, list[int]] = {}
    for number, word in enumerate(words):
        own[word.encode(errors="surrogatepass")] = number
        if word.lower() != word:
            cased.setdefault(word.lower().encode(errors="surrogatepass"), []).append(number)
    with _entries(path, kind, binary) as (dim, entries), np.errstate(over="ignore"):  # not finite: refused below
        try:
            vectors = np.zeros((len(words), dim), np.float32)
        except (MemoryError, ValueError, OverflowError) as error:
            raise UserError(
                f"{path}:1: vectors of {dim:,} numbers do not fit in memory. Is the file damaged, or of another kind?"
            ) from error
        exact, found = np.zeros(len(words), bool), np.zeros(len(words), bool)
        for entry in entries:
            at, lower = own.get(entry.word), cased.get(entry.word, ())
            if at is None and not lower:
                continue
            vector = _parse(path, entry, binary, dim)
            rows = [row for row in lower if not found[row]]
            vectors[rows], found[rows] = vector, True
            if at is not None and not exact[at]:
                vectors[at], found[at], exact[at] = vector, True, True
    return vectors, found


def _parse(path: Path, entry: _Entry, binary: bool, dim: int) -> np.ndarray:
    try:
        vector = np.frombuffer(entry.numbers, "<f4") if binary else np.array(entry.numbers.split(), np.float32)
    except ValueError as error:
        raise UserError(f"{path}:{entry.place}: not all numbers ({error}).") from error
    if len(vector) != dim:
        raise UserError(f"{path}:{entry.place}: {len(vector)} numbers, but {dim} are expected.")
    if not np.isfinite(vector).all():
        raise UserError(f"{path}:{entry.place}: not all numbers are finite.")
    return vector


@contextmanager
def _entries(path: Path, kind: str, binary: bool) -> Iterator[tuple[int, Iterator[_Entry]]]:
    """The number of features, and the entries of the file."""
    if binary and kind != "word2vec":
        raise UserError(f"{path}: {kind} has no binary format. Set inputs.pretrained_emb_binary_or_text to text.")
    with opened(path) as file:
        first = file.readline(_BLOCK)
        if not first.strip():
            raise UserError(f"{path}: is empty, or begins with an empty line.")
        header = _header(first)
        if binary:
            if header is None:
                raise UserError(
                    f"{path}:1: a word2vec binary begins with two numbers, words and features. Is it a text?"
                )
            yield header[1], _binary_entries(path, file, *header)
            return
        number = 1 if header is None else 2
        line = first if header is None else file.readline(_BLOCK)
        dim = len(line.split()) - 1 if header is None else header[1]
        if not _is_text(line):
            raise UserError(f"{path}: is binary. Set inputs.pretrained_emb_binary_or_text to binary.")
        if dim < 1 or b" " not in line:
            raise UserError(f"{path}:{number}: a word and its numbers are expected, separated by spaces.")
        yield dim, _text_entries(path, chain([line], file), number, line.count(b" "), dim)


def _header(line: bytes) -> tuple[int, int] | None:
    """(words, features), if that is what a line says."""
    fields = line.split()
    is_header = len(fields) == 2 and all(field.isdigit() and len(field) < 100 for field in fields)
    return (int(fields[0]), int(fields[1])) if is_header else None


def _is_text(line: bytes) -> bool:
    try:
        return "\0" not in line.decode()
    except UnicodeDecodeError:
        return False


def _text_entries(path: Path, lines: Iterable[bytes], number: int, spaces: int, dim: int) -> Iterator[_Entry]:
    """number: of the first line; spaces: how many it has, so that other lines need only be compared."""
    for place, line in enumerate(lines, start=number):
        if line.count(b" ") == spaces:
            end = line.find(b" ")
            yield _Entry(place, line[:end], line[end:])
        elif line.strip():
            yield _unusual(path, place, line, number, dim)


def _unusual(path: Path, place: int, line: bytes, first: int, dim: int) -> _Entry:
    """The entry of a line whose word has spaces (GloVe 840B has some). UserError for other surprises."""
    word, *numbers = line.rstrip().rsplit(b" ", dim)
    if len(numbers) != dim or (b" " in word and all(map(_is_number, word.split(b" ")[1:]))):
        count = len(line.split()) - 1
        raise UserError(f"{path}:{place}: {count} numbers, but line {first} has {dim}.")
    return _Entry(place, word, b" ".join(numbers))


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _binary_entries(path: Path, file: BinaryIO, count: int, dim: int) -> Iterator[_Entry]:
    """A word, a space, its numbers as little-endian float32, perhaps a line feed; and so on."""
    buffer, start = b"", 0
    for place in range(1, count + 1):
        while (end := buffer.find(b" ", start)) < 0 or len(buffer) < end + 1 + 4 * dim:
            block = file.read(_BLOCK)
            if not block:
                raise UserError(f"{path}: ends after {place - 1:,} of {count:,} words. It is damaged, or a text.")
            buffer, start = buffer[start:] + block, 0
        numbers = end + 1
        start_of_next = numbers + 4 * dim
        if place == 1 and not buffer[numbers:start_of_next].strip(b"0123456789.+-eE \n"):
            raise UserError(f"{path}: is a text. Set inputs.pretrained_emb_binary_or_text to text.")
        yield _Entry(place, buffer[start:end].lstrip(b"\n"), buffer[numbers:start_of_next])
        start = start_of_next
