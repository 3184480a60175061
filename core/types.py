"""What travels between rooms: rows, specs, features, batches, outputs, predictions.

Legend of axis letters. Tensor names end in their axes (`states_BTD`, `mask_BT`):

    B  rows of a batch            T  tokens of a text           S  tokens of a second text
    K  characters of a token      D  features                   C  classes (labels)
    E  features of a second kind  H  hidden units               V  entries of a vocabulary
    A  heads of attention
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

SPECIAL_IDS = 4
"""Ids below this are no words: padding, <start>, <eos>, unknown words."""
NO_TARGET = -100
"""The target id of a token that does not count, such as padding: what torch's losses leave out."""


class Row(NamedTuple):
    """One row of a file: its line number (from 1, the header counts), its cells by column name in file order.

    `error` says why the row cannot be used; such a row keeps its place so that nothing is ever shifted.
    """

    number: int
    cells: Mapping[str, str]
    error: str = ""


@dataclass(frozen=True)
class Frames:
    """The ids that the tokenizer of a pretrained encoder puts around texts: before the first, behind each.

    Empty until the tokenizer is read.
    """

    one: tuple[tuple[int, ...], ...] = ((), ())
    two: tuple[tuple[int, ...], ...] = ((), (), ())


@dataclass(frozen=True)
class Spec:
    """What a tensor will be, before it is: its axes, the sizes that are known, its inner parts by name.

    An axis without a size varies (B and T always do, unless a config fixes the length of a branch).
    `ids` marks integer tensors; `labels` are the classes of a target, in the order of their ids, `positive` is the one
    that ranking looks for, if there is one; `places` says that the ids are places of tokens instead. `frames` stands
    where ids are pieces of words as a pretrained encoder reads them, and says what it wants around them. `texts` says
    whose tokens axis T counts: those of one of these branches; it is empty where that is not known.
    """

    axes: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, "Spec"] = field(default_factory=dict)
    ids: bool = False
    labels: tuple[str, ...] | None = None
    places: bool = False
    positive: str | None = None
    frames: Frames | None = None
    texts: frozenset[str] = frozenset()

    def size(self, axis: str) -> int:
        """The size of `axis`. ValueError where it must be known and is not."""
        if axis not in self.sizes:
            raise ValueError(f"the size of axis {axis} must be known here, but the input is {self}.")
        return self.sizes[axis]

    def expect(self, *axes: str) -> Self:
        """This spec, if its axes are one of those given; else a ValueError that says what came."""
        if self.axes not in axes:
            raise ValueError(f"expects {' or '.join(' x '.join(a) for a in axes)}, but the input is {self}.")
        return self

    def resized(self, axes: str | None = None, **sizes: int) -> "Spec":
        """The same kind of tensor with other axes or sizes; parts and labels are dropped."""
        kept = {a: n for a, n in {**self.sizes, **sizes}.items() if a in (axes or self.axes)}
        return Spec(axes or self.axes, kept)

    def __str__(self) -> str:
        return " x ".join(str(self.sizes.get(axis, axis)) for axis in self.axes)


@dataclass(frozen=True)
class Features:
    """What flows between blocks: values, which of them are real, and inner states by name.

    mask     bool over the tokens of each row, True = a real token; padding is always on the right. Where rows have no
             tokens, bool over the rows, True = there is a value. None where all are real.
    lengths  int64 of B, the number of real tokens, always in host memory: packing needs it there without a sync.
    parts    inner states over the same tokens, by name; `layer.part` is their address.
    inner    those that run over other tokens.
    """

    values: Tensor
    mask: Tensor | None = None
    lengths: Tensor | None = None
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    inner: Mapping[str, "Features"] = field(default_factory=dict)

    def with_values(self, values: Tensor, **parts: Tensor) -> "Features":
        """New values over the same tokens."""
        return Features(values, self.mask, self.lengths, parts)

    def host_lengths(self) -> Tensor:
        """Real tokens per row in host memory; waits for the device only where no one counted them before."""
        if self.lengths is not None:
            return self.lengths
        if self.mask is None:
            return torch.full((self.values.shape[0],), self.values.shape[1], dtype=torch.int64)
        return self.mask.sum(1).cpu()

    def real_mask(self) -> Tensor:
        """mask_BT, made of ones where nothing is padded."""
        if self.mask is not None:
            return self.mask
        return torch.ones(self.values.shape[:2], dtype=torch.bool, device=self.values.device)

    def to(self, device: torch.device) -> "Features":
        """Everything but the lengths on `device`; copies from pinned memory do not wait."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return replace(
            self,
            values=move(self.values),
            mask=None if self.mask is None else move(self.mask),
            parts={name: move(part) for name, part in self.parts.items()},
        )

    def pinned(self) -> "Features":
        """Everything but the lengths in memory from which copies to a GPU do not wait."""
        return replace(
            self,
            values=self.values.pin_memory(),
            mask=None if self.mask is None else self.mask.pin_memory(),
            parts={name: part.pin_memory() for name, part in self.parts.items()},
        )

    def float(self) -> "Features":
        """All numbers in single precision; ids and masks as they are."""

        def exact(tensor: Tensor) -> Tensor:
            return tensor.float() if tensor.is_floating_point() else tensor

        return replace(
            self,
            values=exact(self.values),
            parts={name: exact(part) for name, part in self.parts.items()},
            inner={name: part.float() for name, part in self.inner.items()},
        )

    def twice(self) -> "Features":
        """All rows, then all of them again."""

        def again(tensor: Tensor) -> Tensor:
            return torch.cat([tensor, tensor])

        return Features(
            again(self.values),
            None if self.mask is None else again(self.mask),
            None if self.lengths is None else again(self.lengths),
            {name: again(part) for name, part in self.parts.items()},
        )


Outputs = Mapping[str, Features]
"""Layer id -> what it gave: a layer id is an address, `layer.part` is one of its inner states."""


def lookup(outputs: Outputs, address: str) -> Features:
    """What stands at an address: a layer id, or `layer.part`."""
    if address in outputs:
        return outputs[address]
    layer, _, part = address.partition(".")
    whole = outputs[layer]
    return whole.inner[part] if part in whole.inner else whole.with_values(whole.parts[part])


@dataclass(frozen=True)
class Batch:
    """Rows made to tensors: one Features per branch (`parts` = ids by column), one tensor per target column.

    `lines` are the line numbers of the rows in their file, in the order of the batch; `teachers` is what teachers gave
    for them, by address (`big`, `big.encoder.hidden.2`). Rows without an answer have a mask of False, or no token.
    """

    lines: np.ndarray
    inputs: Mapping[str, Features]
    targets: Mapping[str, Tensor]
    teachers: Outputs = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def to(self, device: torch.device) -> "Batch":
        """The batch with its tensors on `device`."""
        inputs = {name: features.to(device) for name, features in self.inputs.items()}
        targets = {name: target.to(device, non_blocking=True) for name, target in self.targets.items()}
        return Batch(self.lines, inputs, targets, {name: given.to(device) for name, given in self.teachers.items()})

    def pinned(self) -> "Batch":
        """The batch in memory from which copies to a GPU do not wait."""
        inputs = {name: features.pinned() for name, features in self.inputs.items()}
        targets = {name: target.pin_memory() for name, target in self.targets.items()}
        return Batch(self.lines, inputs, targets, {name: given.pinned() for name, given in self.teachers.items()})

    def twice(self) -> "Batch":
        """Every row two times: all rows, then all of them again."""
        inputs = {name: features.twice() for name, features in self.inputs.items()}
        targets = {name: torch.cat([target, target]) for name, target in self.targets.items()}
        teachers = {name: given.twice() for name, given in self.teachers.items()}
        return Batch(np.concatenate([self.lines, self.lines]), inputs, targets, teachers)


class Prediction(NamedTuple):
    """The answer for one row: output columns by name (`prediction`, `confidence`, `confidence@label`).

    Columns of a row that could not be read are empty strings; `row.error` says why.
    """

    row: Row
    cells: Mapping[str, Any]


Scores = Mapping[str, float]
"""Metric name -> score. NaN where the metric is not defined for the data (AUC with one class only)."""
