"""What teachers say: asked once for the rows of a file, or in every step, and put into the batches of a student."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import UserError
from core.types import Batch, Features, Scores
from distillation.answers import Answers, confidence, places_of
from distillation.base import JointTeacher, RowTeacher, TeacherRows
from distillation.places import Reading, aligned
from distillation.store import SHARD, Answered, answered
from engine.draft import Draft
from engine.processes import Processes
from engine.terms import Teachers
from losses.teacher_loss import answered as rows_answered
from problems.base import Problem
from problems.reading_comprehension import END
from text.encoded import EncodedRows
from text.readers import RowFile

_TOGETHER = 256
"""Examples that are decoded together."""


@dataclass(frozen=True)
class Joint:
    """An answer of a teacher that is made of those at the addresses of others."""

    teacher: JointTeacher
    address: str
    of: Sequence[str]
    min_confidence: float | None = None

    def features(self, batch: Batch) -> Features:
        """It, from what stands in a batch at these addresses."""
        found = self.teacher.combined([batch.teachers[other] for other in self.of], self.address)
        if self.min_confidence is None:
            return found
        return _without(found, confidence(found, self.teacher.specs[self.address]) >= self.min_confidence)


class Teaching:
    """What teachers give for the rows of a student, address by address: from the store, or asked in every step."""

    def __init__(
        self, stored: Mapping[str, Answers], online: Mapping[str, "Asked"], joint: Mapping[str, Joint]
    ) -> None:
        """joint  address -> what is made there of other answers"""
        self.stored, self.online, self.joint = stored, online, joint

    def answered(self) -> np.ndarray:
        """bool of the examples, whether a teacher may have an answer."""
        stored = [given.present for given in self.stored.values()]
        online = [given.places >= 0 for given in self.online.values()]
        return np.logical_or.reduce([*stored, *online])

    def taken(self, examples: np.ndarray) -> "Teaching":
        """For these examples, in this order."""
        stored = {name: given.taken(examples) for name, given in self.stored.items()}
        online = {name: replace(given, places=given.places[examples]) for name, given in self.online.items()}
        return Teaching(stored, online, self.joint)

    def before(self, batch: Batch, examples: np.ndarray) -> Batch:
        """A batch of these examples, in host memory, with what the store has for it."""
        found = {name: answers.features(examples) for name, answers in self.stored.items()}
        return self._with(batch, found) if found else batch

    def after(self, batch: Batch, examples: np.ndarray) -> Batch:
        """The batch, on its device, with what is asked now, and what is made of it."""
        batch = self._with(batch, {name: asked.features(examples) for name, asked in self.online.items()})
        joint = {address: made.features(batch) for address, made in self.joint.items()}
        return replace(batch, teachers={**batch.teachers, **joint}) if joint else batch

    @staticmethod
    def _with(batch: Batch, found: Mapping[str, Mapping[str, Features]]) -> Batch:
        given = {
            whole(name, address): features
            for name, by_address in found.items()
            for address, features in by_address.items()
        }
        return replace(batch, teachers={**batch.teachers, **given})


def whole(name: str, address: str) -> str:
    """The address of what a teacher of this name gives at one of its own."""
    return f"{name}.{address}" if address else name


@dataclass(frozen=True)
class TrainingSet:
    """Rows to train on, and what teachers give for them."""

    rows: EncodedRows
    teaching: Teaching = field(default_factory=lambda: Teaching({}, {}, {}))

    def answered(self, say: Callable[[str], None]) -> "TrainingSet":
        """Without the rows that no teacher answers, where teachers alone teach."""
        is_answered = self.teaching.answered()
        if is_answered.all():
            return self
        say(f"{int((~is_answered).sum()):,} rows without targets are left out: no teacher answers them")
        kept = np.flatnonzero(is_answered)
        return TrainingSet(self.rows.narrowed(kept), self.teaching.taken(kept))


@dataclass(frozen=True)
class Asked:
    """A teacher that answers anew in every step."""

    teacher: RowTeacher
    rows: TeacherRows
    addresses: Sequence[str]
    places: np.ndarray
    min_confidence: float | None = None

    def features(self, examples: np.ndarray) -> dict[str, Features]:
        """What it gives for these examples of the student, on its device."""
        places, floor = self.places[examples], self.min_confidence
        asked = self.addresses if floor is None else sorted({"", *self.addresses})
        found = self.teacher.answer(self.rows, np.maximum(places, 0), asked)
        if floor is not None:
            sure_B = confidence(found[""], self.teacher.specs[""]) >= floor
            found = {address: _without(found[address], sure_B) for address in self.addresses}
        if (places >= 0).all():
            return found
        return {address: _without(features, torch.from_numpy(places >= 0)) for address, features in found.items()}


def _without(features: Features, present_B: torch.Tensor) -> Features:
    """Features of which only these rows count. How long the others are is not known without waiting for the device."""
    present_B = present_B.to(features.values.device)
    if features.mask is None and features.values.dim() <= 2:
        return replace(features, mask=present_B, lengths=None)
    mask = features.real_mask()
    return replace(features, mask=mask & (present_B if mask.dim() == 1 else present_B[:, None]), lengths=None)


def _sure(teacher: RowTeacher, given: Answered, floor: float) -> np.ndarray:
    """bool of the rows that a teacher answered, whether it is sure enough."""
    whole, spec = given.tables[""], teacher.specs[""]
    parts = np.array_split(np.arange(len(whole)), max(1, len(whole) // SHARD))
    sure = [confidence(whole.features(rows, None), spec) >= floor for rows in parts]
    return torch.cat(sure).numpy()


def ask(teachers: Teachers, addresses: Iterable[str]) -> None:
    """Tell the teachers all that they will be asked for, before one of them loads its model."""
    for name, address in (address.partition(".")[::2] for address in addresses):
        if isinstance(teacher := teachers.get(name), RowTeacher):
            teacher.ask([address])


def release(draft: Draft, teachers: Teachers) -> None:
    """Let go of the models whose answers all lie in the store."""
    for name, teacher in teachers.items():
        conf = draft.teachers[name]
        if isinstance(teacher, RowTeacher) and conf is not None and not conf.online:
            teacher.release()


def prepare(
    draft: Draft,
    teachers: Teachers,
    addresses: Iterable[str],
    file: RowFile,
    rows: EncodedRows,
    cache_dir: Path | None,
    processes: Processes,
    say: Callable[[str], None],
    is_training: bool = False,
) -> Teaching:
    """Let the teachers answer at these addresses for the rows of a file. UserError where one answers none of them.

    is_training  whether the student is trained on these rows
    """
    wanted: dict[str, set[str]] = {}
    joint = {}
    for name, address in sorted(address.partition(".")[::2] for address in addresses):
        teacher = teachers.get(name)
        if teacher is None:
            continue
        conf, asked_of = draft.teachers[name], {name: address}
        if isinstance(teacher, JointTeacher):
            assert conf is not None
            column = next(column for column, own in teacher.answers.items() if own == address)
            asked_of = {member: teachers[member].answers[column] for member in teacher.members}  # type: ignore[union-attr]
            of = [whole(*asked) for asked in asked_of.items()]
            joint[whole(name, address)] = Joint(teacher, address, of, conf.min_confidence)
        for reader, own in asked_of.items():
            wanted.setdefault(reader, set()).add(own)
    stored, online = {}, {}
    for name, asked in wanted.items():
        teacher, conf = teachers[name], draft.teachers[name]
        assert isinstance(teacher, RowTeacher) and conf is not None
        floor = conf.min_confidence
        teacher.ask(asked if floor is None else {"", *asked})
        if conf.online:
            read = teacher.read(file, cache_dir, is_training)
            places = places_of(rows.keys, read.keys)
            online[name] = Asked(teacher, read, sorted(asked), places, floor)
            present = places >= 0
        else:
            given = answered(name, teacher, file, asked, cache_dir, processes, say, is_training)
            say(_report(name, given))
            stored[name] = _answers(teacher, given, rows)
            if floor is not None:
                whole_answer = given
                if "" not in asked:  # an entry of its own: what is stored depends on what losses read alone
                    whole_answer = answered(name, teacher, file, [""], cache_dir, processes, say, is_training)
                places = stored[name].places
                places = np.where(_sure(teacher, whole_answer, floor)[places], places, -1)
                stored[name] = replace(stored[name], places=places)
            present = stored[name].present
        missing = int((~present).sum())
        what = "no answer" if floor is None else f"no answer that is {floor:g} sure"
        if not present.any():
            raise UserError(f"teachers.{name}: has {what} for any of the {missing:,} rows of {file.path}.")
        if missing:
            say(f"teacher '{name}' has {what} for {missing:,} of {len(present):,} rows; no loss reads it there")
    return Teaching(stored, online, joint)


def _answers(teacher: RowTeacher, given: Answered, rows: EncodedRows) -> Answers:
    """What a teacher gave, row by row of a student; places in a passage as this one reads it."""
    own = {}
    if any(teacher.specs[address].places for address in given.tables):
        theirs, ours = teacher.reading(given.rows), Reading.of(rows)
        own = {
            address: aligned(table, theirs, ours, of_ends=address == teacher.answers.get(END))
            for address, table in given.tables.items()
            if teacher.specs[address].places
        }
    tables = {address: table for address, table in given.tables.items() if address not in own}
    return Answers(tables, places_of(rows.keys, given.rows.keys), own)


def _report(name: str, given: Answered) -> str:
    rows = f"{len(given.rows.keys):,} rows"
    how = f"answered {rows} in {given.seconds:.1f} s" if given.seconds else f"{rows} from the store"
    rounded = f", their numbers rounded by {given.error:.1g} at most" if given.error else ""
    return f"teacher '{name}': {how}{rounded}"


def answers_for(
    draft: Draft,
    teachers: Teachers,
    problem: Problem,
    file: RowFile,
    rows: EncodedRows,
    cache_dir: Path | None,
    processes: Processes,
    say: Callable[[str], None],
) -> dict[str, dict[str, Features]]:
    """What each teacher who answers all that is asked says to the examples of a file, by name and target column: in
    host memory, from the store.
    """
    stored = {name: conf and replace(conf, online=False, min_confidence=None) for name, conf in draft.teachers.items()}
    draft, columns = replace(draft, teachers=stored), problem.answer_sizes
    able = {
        name: {column: whole(name, teacher.answers[column]) for column in columns}
        for name, teacher in teachers.items()
        if teacher is not None and columns.keys() <= teacher.answers.keys()
    }
    wanted = [address for addresses in able.values() for address in addresses.values()]
    teaching, examples = prepare(draft, teachers, wanted, file, rows, cache_dir, processes, say), rows.examples
    given = teaching.after(teaching.before(Batch(rows.lines, {}, {}), examples), examples).teachers
    return {name: {column: given[at] for column, at in addresses.items()} for name, addresses in able.items()}


@dataclass(frozen=True)
class Said:
    """What a teacher says to rows, decoded: the rows that it answers, which of all they are, what it says to them."""

    problem: Problem
    rows: EncodedRows
    numbers: np.ndarray
    decoded: Any

    @classmethod
    def of(cls, problem: Problem, answers: Mapping[str, Features], rows: EncodedRows) -> "Said":
        """By its answers to the targets of a problem."""
        told = torch.stack([rows_answered(answer) for answer in answers.values()]).all(0).cpu().numpy()
        of_rows = rows.examples if rows.windows is None else rows.windows.rows
        is_whole = np.bincount(of_rows[~told], minlength=len(rows)) == 0
        numbers = np.flatnonzero(is_whole)
        together = np.split(rows.examples, rows.examples[_TOGETHER::_TOGETHER])
        parts = [problem.decode(_part(answers, examples)) for examples in together]
        decoded = type(parts[0]).concatenate(parts).taken(np.flatnonzero(is_whole[of_rows]))
        answered = rows.taken(numbers)
        return cls(problem, answered, numbers, problem.resolved(decoded, answered.targets, answered.windows))

    def tuned(self) -> Problem:
        """The problem, once these rows have tuned what decoding leaves open."""
        self.problem.tune(self.decoded, self.rows.targets)
        return self.problem

    def scores(self, metrics: Sequence[str]) -> Scores:
        """Its scores over the rows that it answers."""
        return self.tuned().score(metrics, self.decoded, self.rows.targets)


def _part(answers: Mapping[str, Features], examples: np.ndarray) -> dict[str, Features]:
    """The answers for these examples alone."""
    at = slice(examples[0], examples[-1] + 1)
    return {
        column: Features(answer.values[at], None if answer.mask is None else answer.mask[at])
        for column, answer in answers.items()
    }
