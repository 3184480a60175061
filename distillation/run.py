"""Run: a trained run as a teacher, with an architecture, a tokenizer and words of its own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import torch

from core.conf import JSON, Range
from core.errors import SettingError, UserError, did_you_mean, inside, known_names
from core.run_folder import RunFolder
from core.types import Batch, Features, Outputs, lookup
from distillation.answers import Table
from distillation.base import TEACHERS, Classroom, OpenRun, RowTeacher, answer_name, answer_of, answer_spec, label_order
from distillation.places import Reading
from distillation.untargeted import Untargeted
from problems.reading_comprehension import PASSAGE
from text.encoded import EncodedRows, encode_file
from text.encoder import InputEncoder
from text.folds import folds
from text.readers import RowFile


class Reader(Protocol):
    """A trained model with the encoder of its inputs."""

    encoder: InputEncoder
    device: torch.device

    def outputs(self, batch: Batch) -> Outputs:
        """What its layers give for a batch on its device, in the arithmetic of its training."""


@dataclass(frozen=True)
class RunRows:
    """Rows as runs read them: the whole run (0), or each by the run of its fold.

    parts  number of a run -> all rows as it reads them
    runs   of each example the run that answers it
    """

    parts: Mapping[int, EncodedRows]
    runs: np.ndarray

    @property
    def keys(self) -> np.ndarray:
        """Those of any part: all have the same rows."""
        return next(iter(self.parts.values())).keys

    @property
    def lengths(self) -> np.ndarray:
        """Those of any part."""
        return next(iter(self.parts.values())).lengths


@TEACHERS.register
class Run(RowTeacher):
    """A run of ours: what `train.py` has left in a folder. It may read the texts in a way of its own.

    Its answer is that of its output layer; of several, `name.layer` names one. Each layer and inner state of it has an
    address, too: `name.encoder.hidden.2`.

    With `folds` the rows that a student is trained on are answered by runs that have not seen them: of what it has
    learnt by heart, a teacher is surer than of anything else. `python train.py --conf_path teacher.json --folds 5`
    trains such runs beside the whole run, which answers all other files. Rows with equal texts, or of one group, are
    left out together; vocabularies and labels are fitted on all rows.

        {"big": {"type": "Run", "conf": {"path": "runs/rte_minilm"}}}
    """

    class Conf(RowTeacher.Conf):
        path: str
        """The run folder."""
        columns: dict[str, str] = field(default_factory=dict)
        """Column of the teacher -> column of this config, where they are called otherwise."""
        plugins: list[str] = field(default_factory=list)
        """Modules, or models with code of their own, that the run may import."""
        folds: Annotated[int, Range(minimum=2)] | None = None
        """How many out-of-fold runs answer the rows that the student is trained on; null = the whole run does."""

    def __init__(self, conf: Conf, classroom: Classroom) -> None:
        with inside(".path"):
            _refuse_if_absent(Path(conf.path))
            run, targets = classroom.open_run(Path(conf.path), conf.plugins), classroom.targets
        for column in conf.columns:
            if column not in (known := [*run.encoder.text_columns, *([run.group_by] if run.group_by else [])]):
                hint = did_you_mean(column, known) or known_names(known)
                raise SettingError(".columns", f"the teacher reads no column '{column}'.{hint}")
        self.doubt = "" if run.is_finished else "its training has not come to its end; the best model so far teaches."
        self.conf, self.run = conf, run
        self.runs = [run, *(_fold_run(conf, number, run, classroom) for number in range(1, (conf.folds or 0) + 1))]
        self.readers: dict[int, Reader] = {}
        self.wanted: set[str] = set()
        self.orders: dict[str, list[int]] = {}
        """Output layer -> the place of each of our labels among its own; of the layers that answer our targets."""
        self.specs, self.answers = {**run.specs}, {}
        for layer, column in run.outputs.items():
            name = next(iter(targets)) if len(targets) == len(run.outputs) == 1 else column
            if name not in targets:
                continue
            theirs, ours = run.targets[column], targets[name]
            if answer_spec(theirs).axes != answer_spec(ours).axes:
                raise ValueError(f"answers with {answer_name(theirs)}, but here the answer is {answer_name(ours)}.")
            classroom.refuse_other_labels(theirs.labels, name)
            self.orders[layer] = label_order(theirs.labels, ours.labels)
            self.specs[layer], self.answers[name] = answer_spec(ours), layer
            if ours.places:
                self._check_passage(classroom)
        if not self.orders:
            raise ValueError(f"answers {', '.join(run.outputs.values())}, but the target here is {', '.join(targets)}.")
        with inside(".columns"):
            classroom.require(conf.columns.get(column, column) for column in run.encoder.text_columns)
        self.answer_layer = next(iter(self.orders)) if len(self.orders) == 1 else None
        if self.answer_layer is not None:
            self.specs[""] = self.specs.pop(self.answer_layer)
            self.answers = dict.fromkeys(self.answers, "")

    def canonical(self, address: str) -> str:
        """Where one layer gives the answer, its id is another name of it, and so is `output` if no layer has it; a
        target column names the layer that answers it.
        """
        names = {self.answer_layer, None if "output" in self.run.specs else "output"}
        if self.answer_layer is not None and address in names:
            return ""
        return address if address in self.specs else self.answers.get(address, address)

    def key(self) -> JSON:
        """The weights, and how labels and columns meet ours."""
        return ["run", [run.key for run in self.runs], self.orders, self.conf.columns]

    def read(self, file: RowFile, cache_dir: Path | None, is_training: bool = False) -> RunRows:
        """The rows as the run's own encoder reads them."""
        renamed, count = file.renamed({ours: theirs for theirs, ours in self.conf.columns.items()}), self.conf.folds

        def encoded(encoder: InputEncoder, group_by: str | None = None) -> EncodedRows:
            return encode_file(renamed, encoder, Untargeted(group_by, encoder.plan.passage), cache_dir, "skip")

        if count is None or not is_training:
            rows = encoded(self._encoder(0))
            return RunRows({0: rows}, np.zeros(len(rows.lengths), np.int64))
        group_by = self.run.group_by
        fitted = encoded(self.run.encoder, group_by)
        fold_N = folds(fitted, group_by, count)
        parts = {
            number: encoded(self._encoder(number), group_by) if self.run.learns_words else fitted
            for number in range(1, count + 1)
        }
        return RunRows(parts, fold_N if fitted.windows is None else fold_N[fitted.windows.rows])

    def reading(self, rows: RunRows) -> Reading:
        """That of any part: all split passages alike."""
        return Reading.of(next(iter(rows.parts.values())))

    def ask(self, addresses: Iterable[str]) -> None:
        """Hear which layers must be computed."""
        self.wanted |= {address or self.answer_layer or "" for address in addresses}

    def release(self) -> None:
        """Let go of the models."""
        self.readers.clear()

    def answer(self, rows: RunRows, places: np.ndarray, addresses: Sequence[str]) -> dict[str, Features]:
        """What layers give for these rows; scores of labels in our order."""
        runs = rows.runs[places]
        at = {int(number): np.flatnonzero(runs == number) for number in np.unique(runs)}
        given = [self._given(number, rows.parts[number], places[here], addresses) for number, here in at.items()]
        if len(given) == 1:
            return given[0]
        order, device = np.argsort(np.concatenate([*at.values()])), self._reader(next(iter(at))).device
        found = {}
        for address in addresses:
            tables = [Table.of(self.specs[address].axes, part[address]) for part in given]
            found[address] = Table.joined(tables).taken(order).features(np.arange(len(places)), None).to(device)
        return found

    def _given(
        self, number: int, rows: EncodedRows, places: np.ndarray, addresses: Sequence[str]
    ) -> dict[str, Features]:
        """What one run gives for these rows."""
        reader = self._reader(number)
        with torch.no_grad():
            outputs = reader.outputs(rows.batch(places).to(reader.device))
            return {address: self._at(outputs, address) for address in addresses}

    def _at(self, outputs: Outputs, address: str) -> Features:
        layer = address or self.answer_layer or ""
        if layer not in self.orders:
            return lookup(outputs, address)
        scores = answer_of(outputs[layer], self.run.targets[self.run.outputs[layer]])
        order = self.orders[layer]
        return replace(scores, values=scores.values[..., order]) if order else scores

    def _check_passage(self, classroom: Classroom) -> None:
        """ValueError where it looks for its answers elsewhere, or always finds one where there may be none."""
        plan, ours = self.run.encoder.plan, classroom.columns[PASSAGE]
        theirs = self.conf.columns.get(plan.passage or "", plan.passage)
        if theirs != ours:
            said = f"its answers are parts of column '{theirs}', but the passage here is column '{ours}'."
            raise ValueError(f"{said} Say in columns which is which.")
        if PASSAGE in classroom.begun and not plan.begun:
            said = "finds an answer to every question, but here one may have none."
            raise ValueError(f"{said} Train it with inputs.unanswerable, too.")

    def _encoder(self, number: int) -> InputEncoder:
        """The encoder of a run; one that learns words is that of the loaded model, which gets their vectors."""
        return self._reader(number).encoder if self.run.learns_words else self.run.encoder

    def _reader(self, number: int) -> Reader:
        if number not in self.readers:
            self.readers[number] = self.runs[number].load(self.wanted)
        return self.readers[number]


def fold_folder(run: Path, number: int) -> Path:
    """Where the run lies that has not seen a fold, beside the files of the whole run."""
    return run / "folds" / str(number)


def _refuse_if_absent(path: Path) -> None:
    """UserError where no run lies there."""
    if not RunFolder.named(path).holds_a_run():
        beside = [one.name for one in path.parent.glob("*") if RunFolder(one).holds_a_run()]
        hint = did_you_mean(path.name, beside) or " Its training writes it: train the teacher first."
        raise UserError(f"no such run folder: {path}.{hint}")


def _fold_run(conf: Run.Conf, number: int, whole: OpenRun, classroom: Classroom) -> OpenRun:
    """The run that has not seen a fold. ValueError where it is not there, or belongs to other folds."""
    folder, count = fold_folder(Path(conf.path), number), conf.folds
    way = f"Train the folds: train.py --folds {count}."
    try:
        run = classroom.open_run(folder, conf.plugins)
    except UserError as error:
        raise ValueError(f"has no run of fold {number} of {count}: {str(error).rstrip('.')}. {way}") from error
    if run.left_out != (number, count):
        left_out = "nothing" if run.left_out is None else "fold {} of {}".format(*run.left_out)
        raise ValueError(f"{folder} leaves out {left_out}, not fold {number} of {count}. {way}")
    if not run.is_finished:
        raise ValueError(f"{folder} is not trained to its end. {way}")
    if run.encoder.state() != whole.encoder.state() or run.group_by != whole.group_by:
        raise ValueError(f"{folder} was fitted on other rows than {conf.path}, or on other groups. {way[:-1]} --force.")
    return run
