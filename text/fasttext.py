"""Binary models of fastText: the vector of a word from its own row and those of its n-grams of characters."""

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import UserError
from text.readers import opened

_HEAD = struct.Struct("<iii 7i iii i d")
"""Magic number, version, dim; seven settings of the training; buckets, shortest and longest n-gram; two settings."""
_WORDS = struct.Struct("<iiiqq")
"""Entries, words and labels among them, tokens of the training text, pruned rows."""
_MAGIC, _VERSION = 793712314, 12
_FIRST, _PRIME = 2166136261, 16777619
_TOGETHER = 4096
"""Words whose n-grams are looked up together."""


class FastTextModel:
    """A model as fastText writes it (.bin). Only the rows of wanted words are read.

    UserError for a file of another kind or version, a quantised or a damaged one.

    Reference: Bojanowski et al. 2017, Enriching Word Vectors with Subword Information, section 3.2; the file is that of
    fastText's version 12.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.words: list[str] = []
        """Those with a row of their own, in the order of the file."""
        try:
            with opened(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                place = self._read_words(data)
                self._map_rows(data, place)
        except (struct.error, ValueError) as error:
            raise UserError(f"{path}: is no binary model of fastText, or damaged ({error}).") from error

    def vectors(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """float32 of len(words) x D, and which of the words have a vector: those of the file, and others by their
        n-grams.
        """
        own = {word: place for place, word in enumerate(self.words)}
        place_V = np.array([own.get(word, -1) for word in words], np.int64)
        sums_VD, counts_V = np.zeros((len(words), self.dim), np.float32), (place_V >= 0).astype(np.int64)
        sums_VD[place_V >= 0] = self._rows[place_V[place_V >= 0]]
        for start in range(0, len(words), _TOGETHER):
            word_N, hash_N = ngram_hashes(words[start : start + _TOGETHER], self._shortest, self._longest)
            np.add.at(sums_VD, start + word_N, self._rows[len(self.words) + hash_N % self._buckets])
            counts_V += np.bincount(start + word_N, minlength=len(words))
        return sums_VD / np.maximum(counts_V, 1)[:, None].astype(np.float32), counts_V > 0

    def _read_words(self, data: mmap.mmap) -> int:
        """Read the settings and the words; where the rows begin."""
        magic, version, dim, *_, self._buckets, self._shortest, self._longest, _, _ = _HEAD.unpack_from(data)
        if (magic, version) != (_MAGIC, _VERSION):
            raise ValueError("its first bytes say so")
        self.dim: int = dim
        entries, count, _, _, pruned = _WORDS.unpack_from(data, _HEAD.size)
        place = _HEAD.size + _WORDS.size
        for number in range(entries):
            end = data.find(b"\0", place)
            if end < 0:
                raise ValueError(f"it ends after {number:,} of {entries:,} words")
            if number < count:
                self.words.append(data[place:end].decode(errors="replace"))
            place = end + 10  # the count and the kind of the entry follow
        if data[place : place + 1] != b"\0" or pruned > 0:
            raise UserError(f"{self.path}: is quantised. Take the model as it was before, or a text of its vectors.")
        return place + 1

    def _map_rows(self, data: mmap.mmap, place: int) -> None:
        rows, dim = struct.unpack_from("<qq", data, place)
        wanted = len(self.words) + self._buckets
        if (rows, dim) != (wanted, self.dim):
            raise ValueError(f"{rows} x {dim} numbers, but {wanted} x {self.dim} are expected")
        self._rows = np.memmap(self.path, "<f4", "r", place + 16, (rows, dim))


def ngram_hashes(words: Sequence[str], shortest: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of `<word>`, n from `shortest` to `longest` characters: the place of its word and the hash of each.

    The hash is 32-bit FNV-1a, but bytes enter it with their sign, as in fastText. The line end `</s>` has no n-grams.
    """
    marked = [b"" if word == "</s>" else f"<{word}>".encode(errors="surrogatepass") for word in words]
    data = np.frombuffer(b"".join(marked), np.int8)
    begins = np.flatnonzero((data & -64) != -128)  # the bytes at which a character begins
    ends = np.append(begins[1:], len(data))
    word_of = np.repeat(np.arange(len(marked)), list(map(len, marked)))[begins]
    changes = np.flatnonzero(np.diff(word_of, prepend=-1, append=len(marked)))
    is_mark = np.zeros(len(begins) + 1, bool)
    is_mark[changes] = is_mark[changes - 1] = True
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for size in range(max(1, shortest), longest + 1):
        first = np.arange(len(begins) - size + 1)
        first = first[word_of[first] == word_of[first + size - 1]]
        if size == 1:
            first = first[~is_mark[first]]
        begin_N, length_N = begins[first], ends[first + size - 1] - begins[first]
        hash_N = np.full(len(first), _FIRST, np.uint32)
        for step in range(length_N.max(initial=0)):
            on = step < length_N
            hash_N[on] = (hash_N[on] ^ data[begin_N[on] + step].astype(np.uint32)) * np.uint32(_PRIME)
        found.append((word_of[first], hash_N.astype(np.int64)))
    owners, hashes = zip(*found, strict=True)
    return np.concatenate(owners), np.concatenate(hashes)
