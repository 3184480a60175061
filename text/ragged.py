"""Lists of different length in flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """N lists of integers, one after the other: list i is `values[offsets[i]:offsets[i + 1]]`.

    With `inner`, the integers are indices into its lists. So the characters of a text are the words of the text, and
    the characters of each different word once.
    """

    values: np.ndarray
    offsets: np.ndarray
    inner: "Ragged | None" = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """int64 of N."""
        return np.diff(self.offsets)

    @property
    def whole_lengths(self) -> np.ndarray:
        """int64 of N, how many integers the inner lists of each list have together; without inner its own length."""
        if self.inner is None:
            return self.lengths
        ends = np.append(0, np.cumsum(self.inner.lengths[self.values]))
        return np.diff(ends[self.offsets])

    @property
    def firsts(self) -> np.ndarray:
        """bool of the integers, True where a list begins."""
        first = np.zeros(int(self.offsets[-1]), bool)
        first[self.offsets[:-1][self.lengths > 0]] = True
        return first

    @classmethod
    def of_lengths(cls, values: np.ndarray, lengths: np.ndarray, inner: "Ragged | None" = None) -> "Ragged":
        """Consecutive lists of these lengths."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(values, offsets, inner)

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> "Ragged":
        """Texts as lists of bytes."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls.of_lengths(np.frombuffer(b"".join(encoded), np.uint8), lengths)

    def texts(self) -> list[str]:
        """The texts that `of_texts` was given."""
        whole = self.values[: self.offsets[-1]].tobytes()
        return [whole[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(self.offsets.tolist())]

    def with_values(self, values: np.ndarray) -> "Ragged":
        """Other integers in lists of the same lengths."""
        return replace(self, values=values)

    def taken(self, indices: np.ndarray) -> "Ragged":
        """The lists at these places, in this order."""
        starts = self.offsets[indices]
        lengths = self.offsets[indices + 1] - starts
        taken = Ragged.of_lengths(self.values, lengths, self.inner)
        steps = np.arange(taken.offsets[-1]) - np.repeat(taken.offsets[:-1], lengths)
        return taken.with_values(self.values[np.repeat(starts, lengths) + steps])

    def cut(self, limit: int) -> "Ragged":
        """At most so many integers of each list."""
        lengths = self.lengths
        if not len(lengths) or lengths.max() <= limit:
            return self
        steps = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], lengths)
        return Ragged.of_lengths(self.values[steps < limit], np.minimum(lengths, limit), self.inner)

    def wrapped(self, first: int, last: int) -> "Ragged":
        """Each list with one integer before it and one after it."""
        offsets = self.offsets + 2 * np.arange(len(self.offsets))
        values = np.empty(len(self.values) + 2 * len(self), self.values.dtype)
        inside = np.ones(len(values), bool)
        inside[offsets[:-1]] = inside[offsets[1:] - 1] = False
        values[offsets[:-1]], values[offsets[1:] - 1] = first, last
        values[inside] = self.values
        return Ragged(values, offsets, self.inner)

    def multi_hot(self, size: int) -> np.ndarray:
        """bool of N x size, True at the integers of each list."""
        hot = np.zeros((len(self), size), bool)
        hot[np.repeat(np.arange(len(self)), self.lengths), self.values] = True
        return hot


def taken(values: "np.ndarray | Ragged", indices: np.ndarray) -> "np.ndarray | Ragged":
    """The values or lists at these places, in this order."""
    return values.taken(indices) if isinstance(values, Ragged) else values[indices]
