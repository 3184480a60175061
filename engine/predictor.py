"""From rows to answers: the one way that validation, test.py and predict.py go."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Any, Self, cast

import numpy as np
import torch

from block_zoo.embedding import Embedding, EncoderInit
from core.config import ExperimentConf
from core.document import overridden
from core.errors import UserError
from core.run_folder import CONFIG, PROBLEM, WEIGHTS, RunFolder
from core.types import Batch, Outputs, Prediction, Row, Scores
from engine.data import cut_counts
from engine.draft import make_problem, reads_pieces, word_init
from engine.encoder_vectors import EncoderVectors, learn_words
from engine.experiment import Experiment, checked
from engine.prefetch import prefetched
from engine.processes import Processes
from model_zoo.graph import Graph, Model
from problems.base import DecodedRows, Problem
from text.batching import prediction_batches
from text.encoded import EncodedRows
from text.encoder import InputEncoder

WINDOW = 8192
"""Rows that are held, sorted by length and answered together."""


class Predictor:
    """A trained model with all it needs to answer for rows. Use `Predictor.load(run)`."""

    def __init__(
        self,
        conf: ExperimentConf,
        model: Model,
        problem: Problem,
        encoder: InputEncoder,
        device: torch.device,
        batch_size: int | None = None,
        processes: Processes | None = None,
    ) -> None:
        """processes  those that answer together, if there are several"""
        self.processes = processes
        self.conf, self.model, self.problem, self.encoder, self.device = conf, model, problem, encoder, device
        self.batch_size = batch_size or conf.training_params.batch_size
        self.notices: list[str] = []
        self.cut = Counter[str]()
        """How many of the texts answered by `predict` were cut to what."""

    @classmethod
    def load(
        cls,
        run: str | Path,
        device: str | None = None,
        batch_size: int | None = None,
        overrides: Sequence[str] = (),
        plugins: Collection[str] = (),
        also: Collection[str] = (),
    ) -> Self:
        """The predictor of a run folder. Runs no code that the folder may hold. UserError where it is damaged.

        overrides  `path=value`, laid over the config of the run, such as `metrics=["auc"]`
        plugins    modules that the run may import; one that names others is refused
        also       addresses that are computed beside those of the answers
        """
        folder = RunFolder(Path(run))
        experiment, problem, encoder, graph = opened(folder, overrides, plugins)
        model = Model(graph)
        model.restrict({*graph.outputs, *also})
        weights, problem.tuned = folder.read_weights()
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
            raise UserError(f"{folder / WEIGHTS}: does not fit the run's config: {shorten(reason, 200)}") from error
        where = pick_device(device or experiment.conf.training_params.device)
        predictor = cls(experiment.conf, model.to(where), problem, encoder, where, batch_size)
        if (init := word_init(experiment.conf)) is not None and "word" in model.rows_by_id().values():
            predictor._learn_words_from(init)
        return predictor

    def _learn_words_from(self, init: EncoderInit) -> None:
        """Words that training did not meet get vectors of the encoder, where it is at hand."""
        try:
            source = EncoderVectors(init, None)  # the words of each file are others
        except UserError as error:
            self.notices.append(f"words that training did not meet are unknown: {error}")
            return
        embedding = cast(Embedding, self.model.embedding)
        self.encoder.learn = lambda words: learn_words(embedding, self.encoder, words, source)

    def decoded(self, rows: EncodedRows) -> Any:
        """The answers for encoded rows, in their order. Rows of like length are answered together."""
        self.model.eval()
        batches = prediction_batches(rows.lengths, self.batch_size)
        together = self.processes if self.processes is not None and not self.processes.is_sharded else None
        mine = batches if together is None else batches[together.number :: together.count]
        with torch.inference_mode(), self._autocast():
            parts = [self._answer(batch) for batch in prefetched(rows.batches(mine), self.device)]
        if together is not None:
            batches, parts = together.gathered(mine), together.gathered(parts)
        order = np.empty(len(rows.lengths), dtype=np.int64)
        order[np.concatenate(batches)] = np.arange(len(order))
        decoded = type(parts[0]).concatenate(parts).taken(order)
        return self.problem.resolved(decoded, rows.targets, rows.windows)

    def _autocast(self) -> torch.autocast:
        """The arithmetic of the training, so that validation, test.py and predict.py give the same answers."""
        types = {"bf16": torch.bfloat16, "fp16": torch.float16}
        dtype = types.get(pick_precision(self.conf, self.device))
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    def outputs(self, batch: Batch) -> Outputs:
        """What the layers give for a batch on the device, in the arithmetic of the training."""
        self.model.eval()
        with self._autocast():
            return self.model(batch.inputs)

    def _answer(self, batch: Batch) -> DecodedRows:
        outputs = self.model(batch.inputs)
        return self.problem.decode({column: outputs[layer] for layer, column in self.model.outputs.items()})

    def score(self, rows: EncodedRows, metrics: Sequence[str]) -> Scores:
        """The scores of encoded rows against their targets."""
        return self.problem.score(metrics, self.decoded(rows), rows.targets)

    def tuned_score(self, rows: EncodedRows, metrics: Sequence[str]) -> Scores:
        """The same, once these rows have tuned what decoding leaves open."""
        decoded = self.decoded(rows)
        self.problem.tune(decoded, rows.targets)
        return self.problem.score(metrics, decoded, rows.targets)

    def predict(
        self, rows: Iterable[Row | Mapping[str, Any]], fields: Sequence[str] | None = None
    ) -> Iterator[Prediction]:
        """One prediction for each row, in order, in constant memory. Rows are `Row`s or mappings column -> text.

        A row that cannot be read gets empty cells and says why in `prediction.row.error`. UserError for an unknown
        field.
        """
        fields = list(fields or self.conf.outputs.predict_fields or self.problem.default_fields)
        if sentence := self.problem.check_fields(fields):
            raise UserError(sentence)
        numbered = (row if isinstance(row, Row) else _as_row(number, row) for number, row in enumerate(rows, start=1))
        while window := list(islice(numbered, WINDOW)):
            yield from self._predict_window(window, fields)

    def _predict_window(self, window: list[Row], fields: list[str]) -> Iterator[Prediction]:
        encoded, errors = self.encoder.encode_rows(window, self.problem.kept)
        for layer, room, cut in cut_counts(self.model.steps, encoded):
            self.cut[f"the {room} pieces that layer '{layer.id}' reads"] += cut
        good = [row for row, error in zip(window, errors, strict=True) if not error]
        answers = iter(self.problem.predictions(good, self.decoded(encoded), fields) if good else ())
        blank = dict.fromkeys(fields, "")
        for row, error in zip(window, errors, strict=True):
            yield Prediction(row._replace(error=error), blank) if error else next(answers)


def opened(
    folder: RunFolder, overrides: Sequence[str] = (), plugins: Collection[str] = ()
) -> tuple[Experiment, Problem, InputEncoder, Graph]:
    """What a run folder says of its model, without the weights. UserError where it is damaged."""
    document = overridden(folder.read_config(), overrides)
    experiment = checked(document, f"{folder / CONFIG}", files=False, plugins=plugins)
    state = folder.read_problem()
    problem = make_problem(experiment.conf.inputs)
    try:
        encoder = InputEncoder.from_state(state["inputs"])
        problem.restore(state["target"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder / PROBLEM}: damaged ({error!r}).") from error
    graph, _ = experiment.trace(encoder.specs(), problem)
    return experiment, problem, encoder, graph


def _as_row(number: int, cells: Mapping[str, Any]) -> Row:
    if not isinstance(cells, Mapping):
        raise UserError(f"row {number}: a row maps columns to texts, but this one is {cells!r:.60}.")
    return Row(number, {column: "" if text is None else str(text) for column, text in cells.items()})


def pick_device(name: str) -> torch.device:
    """`auto` = CUDA where there is one. UserError where CUDA is asked for and absent.

    Numbers too small for full precision count as zero on a CPU from here on: saturated softmaxes are full of them, and
    they make a step take several times as long.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "training_params.device: cuda is asked for, but torch finds no CUDA device here. Use auto or cpu."
        )
    torch.set_flush_denormal(True)
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def pick_precision(conf: ExperimentConf, device: torch.device) -> str:
    """The arithmetic that the config names; auto = the best for the device and the model."""
    named = conf.training_params.precision
    if named != "auto":
        return named
    if device.type == "cpu":
        is_native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return "bf16" if reads_pieces(conf) and is_native else "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
