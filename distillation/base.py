"""What every teacher is: something that answers for rows, by address; and what its answer to a target looks like."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import core.conf
from core.conf import JSON
from core.errors import did_you_mean
from core.linear_chain import PARTS, Chain, marginals
from core.registry import Registry
from core.types import Features, Spec
from distillation.places import Reading
from losses.row_loss import logits_of
from losses.teacher_loss import two_sided
from text.encoder import InputEncoder
from text.readers import RowFile

TEACHERS = Registry("teacher")
ALL = "teachers"
"""The name of all teachers together in an address: `teachers` are their answers, weighted."""
FIRST_ROWS = 1000
"""Training rows whose labels are looked at before all are read."""


def answer_spec(target: Spec) -> Spec:
    """The scores that answer a target: one for each label, of a row or of each token; a number; a score per place."""
    if target.places:
        return Spec("BT", places=True)
    if not target.ids and target.axes == "B":
        return Spec("B")
    sizes = {} if target.labels is None else {"C" if target.axes == "BC" else "D": len(target.labels)}
    axes = {"B": "BD", "BT": "BTD", "BC": "BC"}[target.axes]
    return Spec(axes, sizes, labels=target.labels, positive=target.positive)


def answer_name(target: Spec) -> str:
    """What answers a target, in words."""
    names = {"BD": "a label of each row", "BC": "labels of each row", "BTD": "a label of each token"}
    return names.get(answer_spec(target).axes, "places in a passage" if target.places else "a number")


def answer_of(output: Features, target: Spec) -> Features:
    """The scores that the output layer of a model gives for a target, in the form of `answer_spec`.

    A single score becomes one for each of two labels; a CRF gives the logarithms of the tags' probabilities. A number
    is what the model predicts, after a sigmoid if it has one.
    """
    if set(PARTS) <= set(output.parts):
        probabilities_BTC = marginals(Chain.of(output)).clamp(min=torch.finfo(torch.float16).tiny)
        return output.with_values(probabilities_BTC.log())
    if not target.ids and target.axes == "B" and not target.places:
        return Features(output.values.float().reshape(-1))
    logits = logits_of(output)
    if target.places:
        return output.with_values(logits.squeeze(-1) if logits.dim() == 3 else logits)
    if target.axes == "B":
        return Features(two_sided(logits.reshape(len(logits), -1)))
    return output.with_values(logits)


def label_order(theirs: Sequence[str] | None, ours: Sequence[str] | None) -> list[int]:
    """For each of our labels its place among those of a teacher. ValueError where they are not the same labels."""
    if theirs is None or ours is None:
        return []
    if set(theirs) != set(ours):
        raise ValueError(f"knows the labels {', '.join(theirs)}, but those here are {', '.join(ours)}.")
    return [list(theirs).index(label) for label in ours]


class TeacherRows(Protocol):
    """The rows of a file as a teacher reads them; those that it cannot read are not among them."""

    @property
    def keys(self) -> np.ndarray:
        """int64, which row each is, in numbers that are the same for everybody who reads the file, and rise."""

    @property
    def lengths(self) -> np.ndarray:
        """int64, of each row what it costs: those of like length are answered together."""


class Teacher:
    """Answers for rows. Making one reads what it can be asked for; what takes time waits until it is asked."""

    class Conf(core.conf.Conf):
        """Its settings in the config."""

        def build(self, classroom: "Classroom") -> "Teacher":
            """The teacher. ValueError where it cannot teach what the student learns, UserError where it is damaged."""
            teacher: Teacher = self.owner(self, classroom)
            return teacher

    specs: Mapping[str, Spec]
    """Address -> what stands there: "" is the answer, `output` what a layer gives, `encoder.hidden.2` a state."""
    answers: Mapping[str, str]
    """Target column of the student -> the address of the answer to it: "" where there is one answer only."""
    members: Sequence[str] = ()
    """The teachers whose answers its own are made of."""
    answers_any_row: bool = True
    """Whether it answers rows that nobody has seen, too."""
    answers_other_files: bool = True
    """Whether it answers the rows of other files than the training file, too."""
    doubt: str = ""
    """What a user should know of it, if anything."""

    def canonical(self, address: str) -> str:
        """The one address of what may have several: `output` is the answer, a target column the answer to it."""
        return "" if address == "output" else self.answers.get(address, address)


class RowTeacher(Teacher, ABC):
    """A teacher that reads rows itself."""

    def ask(self, addresses: Iterable[str]) -> None:
        """Hear what it will be asked for, before it reads anything large."""

    def release(self) -> None:
        """Let go of what is large: it will not be asked again, or not soon."""

    @abstractmethod
    def key(self) -> JSON:
        """What its answers depend on, beside the rows."""

    @abstractmethod
    def read(self, file: RowFile, cache_dir: Path | None, is_training: bool = False) -> TeacherRows:
        """The rows of a file as it reads them. UserError where it cannot read the file.

        is_training  whether the student is trained on them: the teacher may have been trained on them, too
        """

    def reading(self, rows: Any) -> Reading:
        """How it reads the passages of these rows, where its answers are places in them."""
        raise AssertionError(f"{type(self).__qualname__} answers with no places")

    @abstractmethod
    def answer(self, rows: Any, places: np.ndarray, addresses: Sequence[str]) -> dict[str, Features]:
        """What it gives at these addresses for the rows at these places, in their order, without gradient."""


class JointTeacher(Teacher, ABC):
    """A teacher whose answers are made of those of its members."""

    @abstractmethod
    def combined(self, answers: Sequence[Features], address: str = "") -> Features:
        """Its answer for rows at this address from those of its members."""


@dataclass(frozen=True)
class OpenRun:
    """A run folder, read but for its weights.

    specs         address -> spec of each layer and its inner states
    outputs       output layer -> the target column that it answers
    targets       target column -> its spec, labels in the order of their ids
    key           what tells one trained model from another
    load          gives the model that computes these addresses
    encoder       that of its inputs, as it was fitted
    learns_words  whether the encoder of the loaded model gives ids to words that it meets
    group_by      the column that says which of its rows belong together
    left_out      the fold of the training rows that it has not seen, and how many folds there are
    is_finished   whether its training came to its end
    """

    specs: Mapping[str, Spec]
    outputs: Mapping[str, str]
    targets: Mapping[str, Spec]
    key: JSON
    load: Callable[[Iterable[str]], Any]
    encoder: InputEncoder
    learns_words: bool
    group_by: str | None
    left_out: tuple[int, int] | None
    is_finished: bool


@dataclass(frozen=True)
class Classroom:
    """What a teacher is told.

    targets   those of the student
    open_run  how to open a run
    others    the teachers before it
    columns   branch of the student -> the column of the file that holds its words
    device    where to compute
    begun     the branches of the student whose texts begin with the place of no answer
    file      the training rows; None where there are none
    """

    targets: Mapping[str, Spec]
    open_run: Callable[[Path, Sequence[str]], OpenRun]
    others: Mapping[str, Teacher]
    columns: Mapping[str, str]
    device: Callable[[], torch.device]
    begun: Collection[str] = ()
    file: Callable[[], RowFile | None] = lambda: None

    def require(self, columns: Iterable[str]) -> None:
        """UserError unless the training rows have these columns."""
        if (file := self.file()) is not None:
            file.require(columns)

    def refuse_other_labels(self, theirs: Collection[str] | None, column: str) -> None:
        """ValueError where one of the first training rows has a label that a teacher does not know.

        Before the rows are read, this is all that is known of labels that the config does not list.
        """
        target, file = self.targets[column], self.file()
        if theirs is None or file is None or target.labels is not None or not target.ids or target.axes != "B":
            return
        first: dict[str, int] = {}
        for row in islice(file, FIRST_ROWS):
            if not row.error and (label := row.cells.get(column)):
                first.setdefault(label, row.number)
        if strange := [label for label in first if label not in theirs]:
            said = f"knows the labels {', '.join(theirs)}, but {file.path}:{first[strange[0]]} has '{strange[0]}'."
            raise ValueError(said + (did_you_mean(strange[0], theirs) or f" First rows: {', '.join(sorted(first))}."))
