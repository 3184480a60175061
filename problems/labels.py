"""Labels: the ids of a column of labels; LabelledProblem: what problems of labels share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from core.config import InputsConf
from core.errors import UserError, did_you_mean, known_names
from problems.base import Problem
from text.ragged import Ragged

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


class LabelledProblem(Problem):
    """A problem whose target columns hold labels, with ids by descending frequency unless the config lists them."""

    least_labels: ClassVar[int] = 1
    """Labels that there must be."""
    has_confidences: ClassVar[bool] = True
    """Whether each label has a field confidence@label."""

    def __init__(self, inputs: InputsConf) -> None:
        super().__init__(inputs)
        listed, least = inputs.labels, self.least_labels
        if listed is not None and not least <= len(listed) == len(set(listed)):
            raise ValueError(f"labels must be {least} or more different ones, got {', '.join(listed) or 'none'}.")
        self._labels = {column: Labels() for column in self.target_columns}
        if listed is not None:
            self._labels[self.target_columns[0]] = Labels(listed)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels of the first target column in the order of their ids; None before fitting unless listed."""
        return self._labels[self.target_columns[0]].names

    def finish(self) -> dict[str, np.ndarray]:
        """Order the labels by descending frequency, ties by first occurrence. UserError where there are too few."""
        for column, labels in self._labels.items():
            if len(labels.found) < self.least_labels:
                found = f" only '{labels.found[0]}'" if labels.found else " none"
                raise UserError(f"column {column} needs {self.least_labels} or more labels in train, but has{found}.")
        return {column: labels.finish() for column, labels in self._labels.items()}

    def state(self) -> dict[str, Any]:
        """The labels of each target column."""
        return {"labels": {column: labels.names for column, labels in self._labels.items() if labels.names is not None}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the labels from a `state`."""
        self._labels = {column: Labels(labels) for column, labels in state["labels"].items()}

    def _check_scores(self, given: int | None) -> None:
        """ValueError unless so many scores are one for each label."""
        wanted = self.num_targets
        if given is not None and wanted is not None and given != wanted:
            raise ValueError(f"must give one score for each of the {wanted} labels, but gives {given}.")

    def _encode_lists(
        self, column: str, flat: Sequence[str], lengths: np.ndarray, errors: list[str], growing: bool
    ) -> Ragged:
        """The label ids of rows that have several, one after the other; adds to errors where one is unknown."""
        ids = Ragged.of_lengths(self._labels[column].encode(flat, growing), lengths)
        row_N = np.repeat(np.arange(len(ids)), lengths)
        for at in np.flatnonzero(ids.values < 0).tolist():
            row = int(row_N[at])
            errors[row] = errors[row] or self._labels[column].complaint(flat[at], column)
        return ids

    def _fields(self) -> list[str]:
        labels = self.labels if self.has_confidences else None
        return list(dict.fromkeys([*self.default_fields, *(f"confidence@{label}" for label in labels or ())]))

    def _may_be_field(self, field: str) -> bool:
        return self.has_confidences and self.labels is None and field.startswith("confidence@")
