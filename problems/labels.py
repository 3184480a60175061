"""Labels: the ids of a column of labels."""

from collections.abc import Iterable, Sequence

import numpy as np

from core.errors import did_you_mean, known_names

_HINTS = 10
"""Different unknown labels that get a hint, since each is compared with all that are known."""


class Labels:
    """The labels of a column in the order of their ids: as listed, or by descending frequency in train.

    While growing, labels are numbered as they come; `finish` says what these ids become.
    """

    def __init__(self, listed: Iterable[str] | None = None) -> None:
        self.names: tuple[str, ...] | None = None if listed is None else tuple(listed)
        """None before fitting, unless listed."""
        self._ids = _numbered(self.names or ())
        self._counts = np.zeros(0, np.int64)
        self._hints: dict[str, str] = {}

    def encode(self, labels: Sequence[str], growing: bool = False) -> np.ndarray:
        """int64 ids; -1 for unknown labels and for empty ones."""
        grows = growing and self.names is None
        if grows:
            for label in dict.fromkeys(labels):
                if label:
                    self._ids.setdefault(label, len(self._ids))
        ids_N = np.fromiter((self._ids.get(label, -1) for label in labels), np.int64, len(labels))
        if grows:
            counts = np.bincount(ids_N[ids_N >= 0], minlength=len(self._ids))
            counts[: len(self._counts)] += self._counts
            self._counts = counts
        return ids_N

    def finish(self) -> np.ndarray:
        """Order the labels, ties by first occurrence; the final id of each provisional one."""
        if self.names is not None:
            return np.arange(len(self.names))
        order = np.argsort(-self._counts, kind="stable")
        found = list(self._ids)
        self.names = tuple(found[at] for at in order)
        self._ids = _numbered(self.names)
        return np.argsort(order)

    @property
    def found(self) -> list[str]:
        """The labels so far."""
        return list(self._ids)

    def complaint(self, label: str, column: str) -> str:
        """The sentence for a label that has no id."""
        if not label:
            return f"the label in column {column} is empty."
        if label not in self._hints and len(self._hints) < _HINTS:
            self._hints[label] = did_you_mean(label, self._ids) or known_names(self._ids)
        return f"unknown label '{label}' in column {column}.{self._hints.get(label, '')}"


def _numbered(labels: Sequence[str]) -> dict[str, int]:
    return {label: number for number, label in enumerate(labels)}
