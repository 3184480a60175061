"""Run: a trained run as a teacher, with an architecture, a tokenizer and words of its own."""

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from core.conf import JSON
from core.types import Batch, Features, Outputs, lookup
from distillation.base import TEACHERS, Classroom, Teacher, answer_of, answer_spec, label_order
from distillation.untargeted import Untargeted
from text.encoded import EncodedRows, encode_file
from text.encoder import InputEncoder
from text.readers import RowFile


class Reader(Protocol):
    """A trained model with the encoder of its inputs."""

    encoder: InputEncoder
    device: torch.device

    def outputs(self, batch: Batch) -> Outputs:
        """What its layers give for a batch on its device, in the arithmetic of its training."""


@TEACHERS.register
class Run(Teacher):
    """A run of ours: what `train.py` has left in a folder. It may read the texts in a way of its own.

    Its answer is that of its output layer; of several, `name.layer` names one. Each layer and inner state of it has an
    address, too: `name.encoder.hidden.2`.

        {"big": {"type": "Run", "conf": {"path": "runs/rte_encoder"}}}
    """

    class Conf(Teacher.Conf):
        path: str
        """The run folder."""
        columns: dict[str, str] = field(default_factory=dict)
        """Column of the teacher -> column of this config, where they are called otherwise."""
        plugins: list[str] = field(default_factory=list)
        """Modules, or models with code of their own, that the run may import."""

    def __init__(self, conf: Conf, classroom: Classroom) -> None:
        run, targets = classroom.open_run(Path(conf.path), conf.plugins), classroom.targets
        self.conf, self.run = conf, run
        self.reader: Reader | None = None
        self.wanted: set[str] = set()
        self.orders: dict[str, list[int]] = {}
        """Output layer -> the place of each of our labels among its own; of the layers that answer our targets."""
        self.specs = {**run.specs}
        for layer, column in run.outputs.items():
            name = next(iter(targets)) if len(targets) == len(run.outputs) == 1 else column
            if name not in targets:
                continue
            theirs, ours = run.targets[column], targets[name]
            if answer_spec(theirs).axes != answer_spec(ours).axes:
                raise ValueError(f"answers with {answer_spec(theirs)}, but here the answer is {answer_spec(ours)}.")
            self.orders[layer] = label_order(theirs.labels, ours.labels)
            self.specs[layer] = answer_spec(ours)
        if not self.orders:
            raise ValueError(f"answers {', '.join(run.outputs.values())}, but the target here is {', '.join(targets)}.")
        self.answer_layer = next(iter(self.orders)) if len(self.orders) == 1 else None
        if self.answer_layer is not None:
            self.specs[""] = self.specs.pop(self.answer_layer)

    def canonical(self, address: str) -> str:
        """Where one layer gives the answer, its id is another name of it, and so is `output` if no layer has it."""
        names = {self.answer_layer, None if "output" in self.run.specs else "output"}
        return "" if self.answer_layer is not None and address in names else address

    def key(self) -> JSON:
        """The weights, and how labels and columns meet ours."""
        return ["run", self.run.key, self.orders, self.conf.columns]

    def read(self, file: RowFile, cache_dir: Path | None) -> EncodedRows:
        """The rows as the run's own encoder reads them."""
        renamed = file.renamed({ours: theirs for theirs, ours in self.conf.columns.items()})
        return encode_file(renamed, self._reader().encoder, Untargeted(), cache_dir, "skip")

    def ask(self, addresses: Iterable[str]) -> None:
        """Hear which layers must be computed."""
        self.wanted |= {address or self.answer_layer or "" for address in addresses}

    def answer(self, rows: EncodedRows, places: np.ndarray, addresses: Sequence[str]) -> dict[str, Features]:
        """What layers give for these rows; scores of labels in our order."""
        reader = self._reader()
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

    def _reader(self) -> Reader:
        if self.reader is None:
            self.reader = self.run.load(self.wanted)
        return self.reader
