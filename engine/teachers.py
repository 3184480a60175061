"""The teachers of a config: what they are asked, and how their answers come into the batches of a student."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import core.conf
from core.errors import Finding, UserError
from core.types import Batch, Features, Outputs, Scores
from distillation import TEACHERS
from distillation.answers import Answers, places_of
from distillation.base import ALL, Classroom, JointTeacher, OpenRun, RowTeacher, Teacher, TeacherRows
from distillation.store import Answered, answered
from engine.checkpoint import CONFIG, PROBLEM, WEIGHTS, RunFolder
from engine.draft import Draft, word_init
from engine.processes import Processes
from engine.terms import Teachers
from losses.teacher_loss import answered as rows_answered
from problems.base import Problem, words_column
from text import store
from text.encoded import EncodedRows
from text.ragged import taken
from text.readers import RowFile


def make_teachers(draft: Draft, problem: Problem, problems: list[Finding]) -> dict[str, Teacher | None]:
    """The teachers that a config names, without their weights; what is wrong goes to `problems`."""
    device = draft.training.device if draft.training is not None else "auto"
    inputs, targets = draft.inputs, problem.target_specs()
    columns = {branch: words_column(inputs, branch) for branch in inputs.model_inputs} if inputs is not None else {}
    found: dict[str, Teacher | None] = {}
    for name, conf in draft.teachers.items():
        path = f"teachers.{name}"
        if not name or "." in name or name == ALL:
            why = f"means all of them; '{name}' needs another name." if name == ALL else "needs a name without dots."
            problems.append(Finding(path, why))
        others = {other: teacher for other, teacher in found.items() if teacher is not None}
        found[name] = None
        if conf is None or len(others) < len(found) - 1:
            continue
        try:
            read: Teacher.Conf = core.conf.read(TEACHERS[conf.type].Conf, conf.conf)  # type: ignore[attr-defined]
            opens, place = partial(open_run, device=device), partial(_picked, device)
            found[name] = read.build(Classroom(targets, opens, others, columns, place))
        except ValueError as error:
            problems.append(Finding(f"{path}.conf", str(error)))
        except UserError as error:
            problems.append(Finding(f"{path}.conf", f"cannot be used: {error}"))
    return found


def open_run(path: Path, plugins: Sequence[str], device: str) -> OpenRun:
    """A run folder as a teacher. UserError where it is none, or damaged."""
    from engine.predictor import Predictor, opened  # late: a run may have had teachers itself

    folder = RunFolder.named(path)
    if not folder.holds_a_run():
        raise UserError(f"no such run folder: {path}.")
    if not (folder / WEIGHTS).exists():
        raise UserError(f"{folder.path} holds no trained model yet: {WEIGHTS} is missing.")
    experiment, problem, encoder, graph = opened(folder, plugins=plugins)
    specs = {layer: spec for layer, spec in graph.specs.items() if layer not in graph.branches}
    specs |= {f"{layer}.{part}": inner for layer, spec in specs.items() for part, inner in spec.parts.items()}
    key = [store.content_key(folder / name) for name in (CONFIG, PROBLEM, WEIGHTS)]

    def load(addresses: Iterable[str]) -> Predictor:
        with torch.random.fork_rng():  # a training takes the same random numbers where answers are in the store
            return Predictor.load(folder.path, device, plugins=plugins, also=list(addresses))

    left_out = experiment.conf.training_params.left_out
    return OpenRun(
        specs,
        graph.outputs,
        problem.target_specs(),
        key,
        load,
        encoder,
        learns_words=word_init(experiment.conf) is not None,
        group_by=problem.group_by,
        left_out=None if left_out is None else (left_out.fold, left_out.of),
        is_finished=folder.is_finished,
    )


def _picked(device: str) -> torch.device:
    from engine.predictor import pick_device  # late, as above

    return pick_device(device)


class Teaching:
    """What teachers give for the rows of a student, address by address: from the store, or asked in every step."""

    def __init__(
        self, stored: Mapping[str, Answers], online: Mapping[str, "Asked"], joint: Mapping[str, JointTeacher]
    ) -> None:
        """joint  the teachers whose answers are those of others together"""
        self.stored, self.online, self.joint = stored, online, joint

    def before(self, batch: Batch, examples: np.ndarray) -> Batch:
        """A batch of these examples, in host memory, with what the store has for it."""
        found = {name: answers.features(examples) for name, answers in self.stored.items()}
        return self._with(batch, found) if found else batch

    def after(self, batch: Batch, examples: np.ndarray) -> Batch:
        """The batch, on its device, with what is asked now, and what is made of it."""
        batch = self._with(batch, {name: asked.features(examples) for name, asked in self.online.items()})
        joint = {
            name: teacher.combined([batch.teachers[member] for member in teacher.members])
            for name, teacher in self.joint.items()
        }
        return replace(batch, teachers={**batch.teachers, **joint}) if joint else batch

    @staticmethod
    def _with(batch: Batch, found: Mapping[str, Mapping[str, Features]]) -> Batch:
        given = {
            f"{name}.{address}" if address else name: features
            for name, by_address in found.items()
            for address, features in by_address.items()
        }
        return replace(batch, teachers={**batch.teachers, **given})


@dataclass(frozen=True)
class TrainingSet:
    """Rows to train on, and what teachers give for them."""

    rows: EncodedRows
    teaching: Teaching = field(default_factory=lambda: Teaching({}, {}, {}))


@dataclass(frozen=True)
class Asked:
    """A teacher that answers anew in every step."""

    teacher: RowTeacher
    rows: TeacherRows
    addresses: Sequence[str]
    places: np.ndarray

    def features(self, examples: np.ndarray) -> dict[str, Features]:
        """What it gives for these examples of the student, on its device."""
        places = self.places[examples]
        found = self.teacher.answer(self.rows, np.maximum(places, 0), self.addresses)
        if (places >= 0).all():
            return found
        return {address: _without(features, torch.from_numpy(places >= 0)) for address, features in found.items()}


def _without(features: Features, present_B: torch.Tensor) -> Features:
    """Features of which only these rows count."""
    present_B = present_B.to(features.values.device)
    has_tokens = features.values.dim() > 2 or features.mask is not None
    return replace(features, mask=features.real_mask() & present_B[:, None] if has_tokens else present_B)


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
        if isinstance(teacher, JointTeacher):
            joint[name] = teacher
        for reader in teacher.members or [name]:
            wanted.setdefault(reader, set()).add(address)
    stored, online = {}, {}
    for name, asked in wanted.items():
        teacher, conf = teachers[name], draft.teachers[name]
        assert isinstance(teacher, RowTeacher) and conf is not None
        teacher.ask(asked)
        if conf.online:
            read = teacher.read(file, cache_dir, is_training)
            places = places_of(rows.keys, read.keys)
            online[name] = Asked(teacher, read, sorted(asked), places)
        else:
            given = answered(name, teacher, file, asked, cache_dir, processes, say, is_training)
            places = places_of(rows.keys, given.rows.keys)
            stored[name] = Answers(given.tables, places)
            say(_report(name, given))
        missing = int((places < 0).sum())
        if missing == len(places):
            raise UserError(f"teachers.{name}: has no answer for any of the {missing:,} rows of {file.path}.")
        if missing:
            say(f"teacher '{name}' has no answer for {missing:,} of {len(places):,} rows; no loss reads it there")
    return Teaching(stored, online, joint)


def _report(name: str, given: Answered) -> str:
    rows = f"{len(given.rows.keys):,} rows"
    how = f"answered {rows} in {given.seconds:.1f} s" if given.seconds else f"{rows} from the store"
    rounded = f", rounded by {given.error:.1g} at most" if given.error else ""
    return f"teacher '{name}': {how}{rounded}"


def answers_for(
    draft: Draft,
    teachers: Teachers,
    file: RowFile,
    rows: EncodedRows,
    cache_dir: Path | None,
    processes: Processes,
    say: Callable[[str], None],
) -> Outputs:
    """Name -> what each teacher who has one answer says to all rows of a file, in host memory, from the store."""
    stored = {name: conf and replace(conf, online=False) for name, conf in draft.teachers.items()}
    draft = replace(draft, teachers=stored)
    able = [name for name, teacher in teachers.items() if teacher is not None and "" in teacher.specs]
    teaching, examples = prepare(draft, teachers, able, file, rows, cache_dir, processes, say), np.arange(len(rows))
    return teaching.after(teaching.before(Batch(rows.lines, {}, {}), examples), examples).teachers


def score_of(problem: Problem, metrics: Sequence[str], answer: Features, rows: EncodedRows) -> Scores:
    """The scores of what a teacher says to rows, over those that it answers."""
    present = np.flatnonzero(rows_answered(answer).cpu().numpy())
    targets = {column: taken(values, present) for column, values in rows.targets.items()}
    decoded: Any = problem.decode({problem.target_columns[0]: answer})
    return problem.score(metrics, decoded.taken(present), targets)
