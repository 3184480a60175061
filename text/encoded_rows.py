"""EncodedRows: the rows of a file as ids, ready to be made to batches."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch

from core.types import NO_TARGET, Batch, Features, Spec
from text.input_plan import InputPlan
from text.padding import Part, pad, pad_inner
from text.ragged import Ragged, taken
from text.vocabulary import START
from text.windows import Windows

_LONGEST_BITS = 24
"""No text has more than 2 to this power tokens."""
_TOGETHER = 16
"""Batches that are made together."""


class EncodedRows:
    """Rows as ids, in memory or memory-mapped. An example is a row, or a window of it where the plan cuts texts.

    columns  column -> the ids of its texts
    targets  target column -> one value for each row (an array), or one list (a Ragged)
    lines    int64, the line number of each row in its file
    skipped  how many bad rows of the file are left out
    windows  the examples, where they are not simply the rows
    specs    target column -> what its tensor will be; B x C are the labels of a row as a vector of bool
    """

    def __init__(
        self,
        plan: InputPlan,
        columns: Mapping[str, Ragged],
        targets: Mapping[str, Any],
        lines: np.ndarray,
        skipped: int = 0,
        windows: Windows | None = None,
        specs: Mapping[str, Spec] | None = None,
    ) -> None:
        self.plan = plan
        self.columns = columns
        self.targets = targets
        self.lines = lines
        self.skipped = skipped
        self.specs = specs or {}
        for branch, (size, stride) in plan.windows.items() if windows is None else ():
            windows = Windows.of(self._texts(branch).lengths, size, stride)
        self.windows = windows
        examples = np.arange(len(lines) if windows is None else len(windows.rows))
        alone = [[branch] for branch in plan.branches if not any(branch in group for group in plan.joined)]
        extents = {branch: self.extent(branch, examples)[1] for branch in plan.branches}
        texts = [np.add.reduce([extents[branch] for branch in group]) for group in [*plan.joined, *alone]]
        self.lengths: np.ndarray = np.maximum.reduce(texts)
        """int64, for each example the tokens of its longest text; those of like length belong together."""

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.lines)

    @property
    def examples(self) -> np.ndarray:
        """The numbers of the examples."""
        return np.arange(len(self.lengths))

    @property
    def rows_with_examples(self) -> int:
        """How many rows have an example; after `taught` it may be less than all."""
        return len(self) if self.windows is None else len(np.unique(self.windows.rows))

    @property
    def keys(self) -> np.ndarray:
        """int64, for each example the line of its row and the token at which its window begins, in one number."""
        if self.windows is None:
            return row_keys(self.lines)
        return row_keys(self.lines[self.windows.rows]) + self.windows.firsts

    def lengths_of(self, branches: Collection[str]) -> np.ndarray:
        """int64, for each example the tokens that it has in these branches together."""
        return np.add.reduce(
            [self.extent(branch, self.examples)[1] + (branch in self.plan.begun) for branch in branches]
        )

    def answers_behind(self, branch: str, lengths_N: np.ndarray) -> int:
        """How many examples have an answer that ends behind so many tokens of a branch."""
        places = self._places(self.examples)
        found = [places[column] >= lengths_N for column, of in self.plan.positions.items() if of == branch]
        return int(np.any(found, axis=0).sum()) if found else 0

    def taught(self) -> "EncodedRows":
        """Without the examples that teach nothing: windows that do not have the answer of their row in them."""
        if not self.plan.positions or self.plan.begun:
            return self
        places = self._places(self.examples)
        return self.narrowed(np.flatnonzero(np.all([values != NO_TARGET for values in places.values()], axis=0)))

    def narrowed(self, examples: np.ndarray) -> "EncodedRows":
        """The same rows, with these of their examples only."""
        windows = (self.windows or Windows.whole(len(self))).taken(examples)
        return EncodedRows(self.plan, self.columns, self.targets, self.lines, self.skipped, windows, self.specs)

    def taken(self, rows: np.ndarray) -> "EncodedRows":
        """These rows only, with all their examples."""
        columns = {column: ragged.taken(rows) for column, ragged in self.columns.items()}
        targets = {name: taken(values, rows) for name, values in self.targets.items()}
        return EncodedRows(self.plan, columns, targets, self.lines[rows], self.skipped, specs=self.specs)

    def batches(self, orders: Iterable[np.ndarray], wanted: Collection[str] = ()) -> Iterator[Batch]:
        """A batch for each of these lists of rows, with those of the target columns that are wanted.

        They are made a few at a time: one alone takes ten times as long, since between two steps of a model the
        processor's caches forget how it is done.
        """
        rest = iter(orders)
        while group := list(islice(rest, _TOGETHER)):
            yield from [self.batch(indices, wanted) for indices in group]

    def batch(self, examples: np.ndarray, wanted: Collection[str] = ()) -> Batch:
        """These examples as tensors in host memory."""
        rows = self._rows(examples)
        inputs = {branch: self._branch(branch, examples) for branch in self.plan.branches}
        targets = {name: self._target(name, rows) for name in self.targets if name in wanted}
        if not targets.keys().isdisjoint(self.plan.positions):
            targets |= self._places(examples)
        return Batch(self.lines[rows], inputs, {name: torch.from_numpy(values) for name, values in targets.items()})

    def _target(self, column: str, rows: np.ndarray) -> np.ndarray:
        """Those of these rows; lists become B x C of bool, or B x T with NO_TARGET at padding."""
        values, spec = self.targets[column], self.specs.get(column)
        if not isinstance(values, Ragged):
            return values[rows]
        if spec is not None and spec.axes == "BC":
            return values.taken(rows).multi_hot(spec.size("C"))
        ids_BT, mask_BT = pad(values, rows)
        return np.where(mask_BT, ids_BT, NO_TARGET)

    def _branch(self, branch: str, examples: np.ndarray) -> Features:
        names, size, rows = self.plan.branches[branch], self.plan.size(branch), self._rows(examples)
        part = None
        if self.windows is not None and branch in self.plan.windows:
            part = (self.windows.firsts[examples], self.plan.windows[branch][0])
        begun = branch in self.plan.begun
        if begun and size is not None:
            size -= 1
        words = self.plan.words_of[names[0]]
        if self.plan.kinds[words] == "piece":
            return self._pieces(branch, rows, part)
        ids_BT, mask_BT = pad(self.columns[words], rows, size, part)
        parts = {}
        for name in names:
            if name == words:
                ids = ids_BT
            elif self.plan.kinds[name] == "char":
                ids = pad_inner(self.columns[name], rows, size, self.plan.word_length, part)[0]
            else:
                ids = pad(self.columns[name], rows, size, part)[0]
            parts[name] = torch.from_numpy(_begun(ids, START) if begun else ids)
        if begun:
            mask_BT = _begun(mask_BT, True)
        lengths = torch.from_numpy(mask_BT.sum(1))
        mask = None if mask_BT.all() else torch.from_numpy(mask_BT)
        return Features(parts[words], mask, lengths, parts)

    def _pieces(self, branch: str, rows: np.ndarray, part: Part | None) -> Features:
        """A branch of pieces; where its words are tagged, with the first piece of each word and that after its last."""
        pieces, parts = self._texts(branch), {}
        if pieces.inner is None:
            ids_BT, mask_BT = pad(pieces, rows, None, part)
        else:
            ids_BWK, mask_BWK = pad_inner(pieces, rows)
            counts_BW = mask_BWK.sum(2)
            ends_BW = counts_BW.cumsum(1)
            parts["words"] = torch.from_numpy(np.stack([ends_BW - counts_BW, ends_BW], 2))
            mask_BT = np.arange(ends_BW[:, -1].max(initial=0)) < ends_BW[:, -1:]
            ids_BT = np.zeros(mask_BT.shape, np.int64)
            ids_BT[mask_BT] = ids_BWK[mask_BWK]
        if branch in self.plan.begun:
            ids_BT, mask_BT = _begun(ids_BT, self.plan.starts[branch]), _begun(mask_BT, True)
        mask = None if mask_BT.all() else torch.from_numpy(mask_BT)
        return Features(torch.from_numpy(ids_BT), mask, torch.from_numpy(mask_BT.sum(1)), parts)

    def _rows(self, examples: np.ndarray) -> np.ndarray:
        """The row of each of these examples."""
        return examples if self.windows is None else self.windows.rows[examples]

    def _texts(self, branch: str) -> Ragged:
        return self.columns[self.plan.words_of[self.plan.branches[branch][0]]]

    def extent(self, branch: str, examples: np.ndarray) -> tuple[np.ndarray | int, np.ndarray]:
        """The first token of these examples in the texts of a branch, and how many there are."""
        lengths = self._texts(branch).whole_lengths[self._rows(examples)]
        if self.windows is None or branch not in self.plan.windows:
            return 0, lengths
        firsts = self.windows.firsts[examples]
        return firsts, np.minimum(lengths - firsts, self.plan.windows[branch][0])

    def _places(self, examples: np.ndarray) -> dict[str, np.ndarray]:
        """The targets that are places of tokens, within these examples: NO_TARGET where one of them lies outside, or
        the place of <start> where texts begin with it.
        """
        rows, inside, places = self._rows(examples), np.ones(len(examples), bool), {}
        for column, branch in self.plan.positions.items():
            firsts, lengths = self.extent(branch, examples)
            places[column] = self.targets[column][rows] - firsts
            inside &= (places[column] >= 0) & (places[column] < lengths)
        begun = {column: branch in self.plan.begun for column, branch in self.plan.positions.items()}
        return {c: np.where(inside, at + begun[c], 0 if begun[c] else NO_TARGET) for c, at in places.items()}


def row_keys(lines: np.ndarray) -> np.ndarray:
    """The keys of rows that are read whole."""
    return lines << _LONGEST_BITS


def _begun(ids: np.ndarray, first: int) -> np.ndarray:
    """One more item before each text: `first`, a word of one sign where items are words of characters."""
    widths = [(0, 0)] * ids.ndim
    widths[1] = (1, 0)
    begun = np.pad(ids, widths)
    begun[(slice(None), 0) + (0,) * (ids.ndim - 2)] = first
    return begun
