"""EncodedRows: the rows of a file as ids, ready to be made to batches."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch

from core.types import NO_TARGET, Batch, Features, Spec
from text.input_plan import InputPlan
from text.padding import pad, pad_inner
from text.ragged import Ragged

_TOGETHER = 16
"""Batches that are made together."""


class EncodedRows:
    """Rows as ids, in memory or memory-mapped.

    columns  column -> the ids of its texts
    targets  target column -> one value for each row (an array), or one list (a Ragged)
    lines    int64, the line number of each row in its file
    skipped  how many bad rows of the file are left out
    specs    target column -> what its tensor will be; B x C are the labels of a row as a vector of bool
    """

    def __init__(
        self,
        plan: InputPlan,
        columns: Mapping[str, Ragged],
        targets: Mapping[str, Any],
        lines: np.ndarray,
        skipped: int = 0,
        specs: Mapping[str, Spec] | None = None,
    ) -> None:
        self.plan = plan
        self.columns = columns
        self.targets = targets
        self.lines = lines
        self.skipped = skipped
        self.specs = specs or {}
        lengths = [columns[plan.words_of[names[0]]].lengths for names in plan.branches.values()]
        self.lengths: np.ndarray = np.maximum.reduce(lengths)
        """int64 of N: tokens in the longest branch; rows of like length belong together."""

    def __len__(self) -> int:
        return len(self.lines)

    def batches(self, orders: Iterable[np.ndarray], wanted: Collection[str] = ()) -> Iterator[Batch]:
        """A batch for each of these lists of rows, with those of the target columns that are wanted.

        They are made a few at a time: one alone takes ten times as long, since between two steps of a model the
        processor's caches forget how it is done.
        """
        rest = iter(orders)
        while group := list(islice(rest, _TOGETHER)):
            yield from [self.batch(indices, wanted) for indices in group]

    def batch(self, indices: np.ndarray, wanted: Collection[str] = ()) -> Batch:
        """These rows as tensors in host memory."""
        inputs = {branch: self._branch(branch, indices) for branch in self.plan.branches}
        targets = {
            column: torch.from_numpy(self._target(column, indices)) for column in self.targets if column in wanted
        }
        return Batch(self.lines[indices], inputs, targets)

    def _target(self, column: str, indices: np.ndarray) -> np.ndarray:
        """Those of these rows; lists become B x C of bool, or B x T with NO_TARGET at padding."""
        values, spec = self.targets[column], self.specs.get(column)
        if not isinstance(values, Ragged):
            return values[indices]
        if spec is not None and spec.axes == "BC":
            return values.taken(indices).multi_hot(spec.size("C"))
        ids_BT, mask_BT = pad(values, indices)
        return np.where(mask_BT, ids_BT, NO_TARGET)

    def _branch(self, branch: str, indices: np.ndarray) -> Features:
        names, size = self.plan.branches[branch], self.plan.size(branch)
        words = self.plan.words_of[names[0]]
        ids_BT, mask_BT = pad(self.columns[words], indices, size)
        parts = {}
        for name in names:
            if name == words:
                parts[name] = torch.from_numpy(ids_BT)
            elif self.plan.kinds[name] == "char":
                parts[name] = torch.from_numpy(pad_inner(self.columns[name], indices, size, self.plan.word_length)[0])
            else:
                parts[name] = torch.from_numpy(pad(self.columns[name], indices, size)[0])
        lengths = torch.from_numpy(mask_BT.sum(1))
        mask = None if mask_BT.all() else torch.from_numpy(mask_BT)
        return Features(parts[words], mask, lengths, parts)
