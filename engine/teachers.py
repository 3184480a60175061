"""The teachers of a config: made without their weights, and what is wrong with them; runs as teachers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

import core.conf
from core.config import InputsConf, TeacherConf
from core.errors import Finding, UserError
from core.run_folder import CONFIG, PROBLEM, WEIGHTS, RunFolder
from distillation import TEACHERS, WEIGHTINGS, Weighting
from distillation.answers import OF_LABELS
from distillation.base import ALL, Classroom, JointTeacher, OpenRun, Teacher
from engine.draft import Draft, word_init
from problems.base import Problem, words_column
from text import store
from text.readers import RowFile


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
        is_whole = len(others) == len(found)
        found[name] = None
        if conf is None or (not is_whole and issubclass(TEACHERS[conf.type], JointTeacher)):
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
