"""What teachers gave for rows, as it is kept: tables of arrays, read as the batches of a student ask for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from core.types import Features, Spec
from losses.teacher_loss import mean_of_real, two_sided
from text.padding import pad_maps, pad_vectors

MAPS = "BATS"
"""The axes of attention maps: those of a text of L tokens are A x L x L numbers."""
OF_LABELS = ("BD", "BC", "BTD")
"""The axes of answers that give labels a probability: of a row, of each label of a row, of each token."""


@dataclass(frozen=True)
class Table:
    """What stands at one address for N rows.

    axes     those of a batch of it
    values   N x ..., or where texts differ in length the numbers of all their tokens, one text after the other
    offsets  where each of these texts begins in `values`, and the end of the last
    heads    of attention maps
    """

    axes: str
    values: np.ndarray
    offsets: np.ndarray | None = None
    heads: int = 0

    @classmethod
    def of(cls, axes: str, features: Features) -> "Table":
        """The real numbers of a batch, in single precision."""
        values, mask = features.values.float().cpu().numpy(), features.mask
        if "T" not in axes:
            return cls(axes, values)
        mask_BT = np.ones((len(values), values.shape[axes.index("T")]), bool) if mask is None else mask.cpu().numpy()
        lengths, heads = mask_BT.sum(1), 0
        if axes == MAPS:
            real = np.broadcast_to((mask_BT[:, :, None] & mask_BT[:, None])[:, None], values.shape)
            flat, lengths, heads = values[real], lengths**2 * values.shape[1], values.shape[1]
        else:
            flat = values[mask_BT]
        return cls(axes, flat, np.r_[0, np.cumsum(lengths)], heads)

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    @classmethod
    def joined(cls, tables: Sequence["Table"]) -> "Table":
        """The rows of several tables, one after the other."""
        first, values = tables[0], np.concatenate([table.values for table in tables])
        if first.offsets is None:
            return cls(first.axes, values)
        lengths = [np.diff(table.offsets) for table in tables if table.offsets is not None]
        return cls(first.axes, values, np.r_[0, np.cumsum(np.concatenate(lengths))], first.heads)

    def taken(self, rows: np.ndarray) -> "Table":
        """These rows, in this order."""
        if self.offsets is None:
            return Table(self.axes, self.values[rows])
        starts, lengths = self.offsets[rows], np.diff(self.offsets)[rows]
        offsets = np.r_[0, np.cumsum(lengths)]
        steps = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Table(self.axes, self.values[np.repeat(starts, lengths) + steps], offsets, self.heads)

    def features(self, rows: np.ndarray, present_B: np.ndarray | None) -> Features:
        """A batch of these rows; those that are not present have no real token, or a mask of False."""
        if self.offsets is None:
            mask = None if present_B is None else torch.from_numpy(present_B)
            return Features(torch.from_numpy(self.values[rows]), mask)
        if self.axes == MAPS:
            padded, mask_BT = pad_maps(self.values, self.offsets, self.heads, rows)
        else:
            padded, mask_BT = pad_vectors(self.values, self.offsets, rows)
        if present_B is not None:
            mask_BT = mask_BT & present_B[:, None]
        return Features(torch.from_numpy(padded), torch.from_numpy(mask_BT), torch.from_numpy(mask_BT.sum(1)))


@dataclass(frozen=True)
class Answers:
    """What one teacher gave for the rows of a student.

    tables  address -> a table of the rows that the teacher read
    places  of each row of the student its place in the tables, -1 where the teacher has nothing for it
    own     address -> a table of the student's rows themselves; texts are empty where the teacher has nothing for them
    """

    tables: Mapping[str, Table]
    places: np.ndarray
    own: Mapping[str, Table] = field(default_factory=dict)

    def features(self, rows: np.ndarray) -> dict[str, Features]:
        """A batch of the student's rows, by address."""
        places = self.places[rows]
        present_B = places >= 0
        present = None if present_B.all() else present_B
        found = {address: table.features(np.maximum(places, 0), present) for address, table in self.tables.items()}
        return found | {address: table.features(rows, None) for address, table in self.own.items()}

    @property
    def present(self) -> np.ndarray:
        """bool of the rows of the student, whether they have an answer at every address."""
        found = [table.offsets[:-1] < table.offsets[1:] for table in self.own.values() if table.offsets is not None]
        present: np.ndarray = np.all([*found, self.places >= 0][: None if self.tables else -1], axis=0)
        return present

    def taken(self, rows: np.ndarray) -> "Answers":
        """For these rows of the student, in this order."""
        own = {address: table.taken(rows) for address, table in self.own.items()}
        return Answers(self.tables, self.places[rows], own)


def confidence(answer: Features, spec: Spec) -> torch.Tensor:
    """B, the largest probability in each row; of tokens, or of labels that a row has together, its mean."""
    scores = answer.values.float()
    largest = two_sided(scores.unsqueeze(-1) if spec.axes == "BC" else scores).softmax(-1).amax(-1)
    if largest.dim() == 1:
        return largest
    return mean_of_real(largest, answer.real_mask() if spec.axes == "BTD" else None)


def places_of(keys: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Where the rows of a student stand among those that a teacher read, by their keys; -1 = nowhere."""
    at = np.minimum(np.searchsorted(theirs, keys), len(theirs) - 1)
    return np.where(theirs[at] == keys, at, -1)
