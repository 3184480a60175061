"""The teachers of a config: what they are asked, and how their answers come into the batches of a student."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import core.conf
from core.config import InputsConf, TeacherConf
from core.errors import Finding, UserError
from core.run_folder import CONFIG, PROBLEM, WEIGHTS, RunFolder
from core.types import Batch, Features, Scores
from distillation import TEACHERS, WEIGHTINGS, Weighting
from distillation.answers import OF_LABELS, Answers, confidence, places_of
from distillation.base import ALL, Classroom, JointTeacher, OpenRun, RowTeacher, Teacher, TeacherRows
from distillation.places import Reading, aligned
from distillation.store import SHARD, Answered, answered
from engine.draft import Draft, word_init
from engine.processes import Processes
from engine.terms import Teachers
from losses.teacher_loss import answered as rows_answered
from problems.base import Problem, words_column
from problems.reading_comprehension import END
from text import store
from text.encoded import EncodedRows
from text.readers import RowFile

_TOGETHER = 256
"""Examples that are decoded together."""


def make_teachers(draft: Draft, problem: Problem, problems: list[Finding]) -> dict[str, Teacher | None]:
    """The teachers that a config names, without their weights; what is wrong goes to `problems`."""
    device = draft.training.device if draft.training is not None else "auto"
    inputs, targets = draft.inputs, problem.target_specs()
    columns = {branch: words_column(inputs, branch) for branch in inputs.model_inputs} if inputs is not None else {}
    begun = problem.plan(inputs).get("begun", []) if inputs is not None else []
    file = partial(_training_file, inputs)
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
            found[name] = built = read.build(Classroom(targets, opens, others, columns, place, begun, file))
            problems += [Finding(f"{path}{key}", why) for key, why in _complaints(draft, conf, built)]
        except ValueError as error:
            problems.append(Finding.of(error, f"{path}.conf"))
        except UserError as error:
            problems.append(Finding(f"{path}.conf", f"cannot be used: {error}"))
        if conf.online and any(target.places for target in targets.values()):
            sentence = "answers that are places in a passage come from the store alone. Leave it out."
            problems.append(Finding(f"{path}.online", sentence))
    return found


def _complaints(draft: Draft, conf: TeacherConf, teacher: Teacher) -> Iterator[tuple[str, str]]:
    """(path, sentence) of what is asked of a teacher and cannot be."""
    if conf.min_confidence is not None and ("" not in teacher.specs or teacher.specs[""].axes not in OF_LABELS):
        yield ".min_confidence", "needs one answer with a probability for each label, but this teacher has none."
    if draft.inputs is not None and draft.inputs.augmentation is not None and not teacher.answers_any_row:
        yield "", "answers the rows of a file only, not those that inputs.augmentation makes."
    if not teacher.answers_other_files and (others := _other_files(draft)):
        sentence = "has the scores of the training rows alone, row by row. Name a column in id, for"
        yield ".conf.id", f"{sentence} {' and '.join(others)} {'need' if others[1:] else 'needs'} scores, too."


def _other_files(draft: Draft) -> list[str]:
    """The files beside the training file whose rows teachers answer for a training."""
    if draft.inputs is None:
        return []
    paths, conf = draft.inputs.data_paths, draft.weighting
    kind: Any = WEIGHTINGS[conf.type] if conf is not None and conf.type in WEIGHTINGS else Weighting
    asked = [paths.unlabelled_data_path, paths.valid_data_path if kind.Conf.reads_scores else None]
    return [path for path in asked if path is not None]


def _training_file(inputs: InputsConf | None) -> RowFile | None:
    """The training rows, where they are to be read."""
    if inputs is None or (path := inputs.data_paths.train_data_path) is None:
        return None
    with suppress(UserError):  # as reading the data will say
        return RowFile(Path(path), inputs.file_header or {}, inputs.file_with_col_header, inputs.data_format, needed=[])
    return None


def open_run(path: Path, plugins: Sequence[str], device: str) -> OpenRun:
    """A run folder as a teacher. UserError where it is none, or damaged."""
    from engine.predictor import Predictor, opened  # late: a run may have had teachers itself

    folder = RunFolder.named(path)
    if not folder.holds_a_run():
        raise UserError(f"no such run folder: {path}.")
    folder.refuse_if_untrained()
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
