"""Windows: long texts in parts that overlap."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Windows:
    """M parts of N texts, text by text.

    rows    int64 of M, the text of each part
    firsts  int64 of M, the first token of each part within its text
    """

    rows: np.ndarray
    firsts: np.ndarray

    @classmethod
    def of(cls, lengths: np.ndarray, size: int, stride: int) -> "Windows":
        """Parts of `size` tokens that begin every `stride` tokens, until one reaches the end of its text."""
        more = np.maximum(0, -((size - lengths) // stride))
        rows = np.repeat(np.arange(len(lengths)), 1 + more)
        number = np.arange(len(rows)) - np.repeat(np.cumsum(1 + more) - 1 - more, 1 + more)
        return cls(rows, number * stride)

    @classmethod
    def whole(cls, count: int) -> "Windows":
        """Each text as one part."""
        return cls(np.arange(count), np.zeros(count, np.int64))

    def taken(self, parts: np.ndarray) -> "Windows":
        """These parts only."""
        return Windows(self.rows[parts], self.firsts[parts])
