"""Speed of distillation: students with teachers from the store, with teachers asked in every step, and TextBrewer.

    python -m benchmarks.distillation_speed --model DIR                      # MRPC; a folder or a name of the hub
    python -m benchmarks.distillation_speed --model DIR --threads 1 --clock processor   # for a machine with other work

The teachers are encoders as in configs/distillation/mrpc/teacher_pooler.json, the students the BiLSTM of student.json
and the two layers of student_encoder.json.

no teacher     the student, trained on labels alone
store n        with the answers of n teachers from the store
policy n       the same with a policy that chooses the teachers of each row (RL-KD)
asked n        with n teachers that answer anew in every step (`online`)
TextBrewer n   its GeneralDistiller, or for several teachers its MultiTeacherDistiller: the same student and teachers,
               batches in random order, padded to their longest text
TextBrewer n cached   its BasicDistiller or MultiTeacherDistiller with `is_caching_logits`, once the answers are there

All in fp32, with the same rows and batch size; every round runs all of them one after the other. The first table has
the median over the rounds of rows/s, and of the ratio store n / other within a round with lowest and highest; below it
stands what filling the store took, and after how many epochs that is less than asking. The second table has the
answers, from texts to labels, each model with the batch size that it is fastest with.
"""

import argparse
import csv
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.data import add_arguments, data_overrides, encoder_overrides
from benchmarks.rounds import CLOCKS, add_round_arguments, ratios, rounds, spread
from benchmarks.speed import epochs
from core.run_folder import WEIGHTS
from core.seeding import seed_everything
from core.types import Batch, Row
from engine.data import read_data, row_file
from engine.draft import Draft
from engine.experiment import Experiment, cache_folder, load_experiment
from engine.objective import Objective
from engine.predictor import Predictor
from engine.processes import Processes
from engine.starting_weights import load_pretrained
from engine.teaching import TrainingSet, prepare
from engine.training import train
from engine.workplace import make_accelerator
from model_zoo.graph import Model
from text.token_splitter import TokenSplitter
from text.tokenizers import tokenizer

CONFIGS = Path("configs/distillation/mrpc")
STUDENTS = {"BiLSTM": CONFIGS / "student.json", "2 layers": CONFIGS / "student_encoder.json"}
TEACHER = CONFIGS / "teacher_pooler.json"
COUNTS = (1, 3)
"""How many teachers."""
BATCH = 32
BATCHES = (BATCH, 4 * BATCH)
"""Rows that are answered together: what suits an encoder, and what suits a small student."""
HARD = '{"type": "CrossEntropyLoss", "inputs": ["output", "label"], "weight": 0.3}'
SOFT = '{"type": "SoftTargetLoss", "conf": {"temperature": 2.0}, "inputs": ["output", "teachers"], "weight": 0.7}'
POLICY = ('weighting={"type": "Reinforced"}', 'trainer={"type": "Reinforced", "conf": {"average_epochs": 0}}')


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Rows per second of distillation.")
    add_arguments(parser)
    add_round_arguments(parser)
    parser.add_argument("--model", required=True, help="the encoder: a folder or a name of the hub")
    parser.add_argument("--rows", type=int, default=640, help="random training rows of a round")
    parser.add_argument("--threads", type=int, help="threads of torch; 1 is steadier on a machine with other work")
    parser.add_argument("--students", choices=STUDENTS, nargs="+", default=list(STUDENTS))
    parser.add_argument("--without", choices=["asked", "TextBrewer"], nargs="+", default=[], help="what to leave out")
    return parser.parse_args()


class Setting:
    """Some rows in a file, and the runs of teachers that have seen them once."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.file = folder / "rows.tsv"
        conf = self._experiment(TEACHER).conf
        everything = list(row_file(conf, conf.inputs.data_paths.train_data_path or ""))
        chosen = np.sort(np.random.default_rng(1).permutation(len(everything))[: options.rows])
        self.rows = [everything[at] for at in chosen.tolist()]
        texts = (Row(row.number, {key: row.cells[key] for key in ("first", "second")}) for row in cycle(everything))
        self.texts = list(islice(texts, options.rows * (options.rounds + 1)))
        """Rows without their labels, for each round others, as far as there are so many."""
        names = {column: str(theirs) for column, theirs in (conf.inputs.file_header or {}).items()}
        with self.file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
            writer.writerow(names.values())
            writer.writerows([row.cells[column] for column in names] for row in self.rows)
        self.teachers = [folder / f"teacher_{number}" for number in range(max(COUNTS))]
        for seed, run in enumerate(self.teachers, start=1):
            wanted = [f"training_params.seed={seed}", "training_params.max_epoch=1"]
            train(self._experiment(TEACHER, f"outputs.save_base_dir={run}", *wanted), lambda _: None)

    def _experiment(self, conf_path: Path, *overrides: str) -> Experiment:
        """A config on these rows, in fp32."""
        wanted = [*data_overrides(conf_path, self.options.data), *encoder_overrides(conf_path, self.options.model)]
        if self.file.exists():
            wanted += [f"inputs.data_paths.{part}_data_path={self.file}" for part in ("train", "valid")]
        wanted += [
            "training_params.precision=fp32",
            "training_params.device=cpu",
            f"training_params.batch_size={BATCH}",
        ]
        wanted += [*overrides, *self.options.overrides]
        return load_experiment(conf_path, wanted)

    def student(self, conf_path: Path, count: int, *overrides: str, online: bool = False) -> Experiment:
        """A student of so many teachers, for one epoch after another."""
        wanted = [f"training_params.max_epoch={self.options.rounds + 1}"]
        for number, teacher in enumerate(self.teachers[:count]):
            settings = f'{{"type": "Run", "conf": {{"path": "{teacher}"}}, "online": {str(online).lower()}}}'
            wanted.append(f"teachers.t{number}={settings}")
        if count:
            wanted += ['weighting={"type": "Uniform"}', f"loss.losses=[{HARD}, {SOFT}]"]
        return self._experiment(conf_path, *wanted, *overrides)


class Ours:
    """A student of ours: each call trains one epoch more."""

    def __init__(self, experiment: Experiment, run: Path, clock: Callable[[], float]) -> None:
        conf, processes = experiment.conf, Processes(make_accelerator(experiment.conf))
        data = read_data(conf, _nothing)
        teachers = experiment.teachers(data.problem)
        seed_everything(conf.training_params.seed)
        graph, terms = experiment.trace(data.encoder.specs(), data.problem, teachers)
        model, objective = Model(graph), Objective(terms)
        load_pretrained(conf, model, data, _nothing)
        file, cache, start = row_file(conf, conf.inputs.data_paths.train_data_path or ""), cache_folder(conf), clock()
        wanted = objective.addresses
        teaching = prepare(Draft.of(conf), teachers, wanted, file, data.train, cache, processes, _nothing, True)
        self.filling = clock() - start
        """Seconds until the store had all answers."""
        self.epochs = epochs(experiment, model, objective, TrainingSet(data.train, teaching), run)

    def __call__(self) -> None:
        next(self.epochs)


class TheirStudent(nn.Module):
    """A student of ours as TextBrewer calls one."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, labels: Tensor, **_: Tensor) -> dict[str, Tensor]:
        """The logits, and what they cost by the labels."""
        logits_BD = self.model(batch.inputs)["output"].values
        return {"logits": logits_BD, "losses": F.cross_entropy(logits_BD, labels)}


class TheirTeacher(nn.Module):
    """A model of transformers as TextBrewer calls a teacher."""

    def __init__(self, model: str) -> None:
        from transformers import AutoModelForSequenceClassification

        super().__init__()
        self.model = AutoModelForSequenceClassification.from_pretrained(model, num_labels=2, dtype="float32")

    def forward(self, batch: Batch, labels: Tensor, **pieces: Tensor) -> dict[str, Tensor]:
        """The logits."""
        return {"logits": self.model(**pieces).logits}


class Cached:
    """The batches of TextBrewer whose answers it has: none to ask for, so many to train on."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[object]:
        return iter(())


class TextBrewer:
    """The same rows and models for TextBrewer."""

    def __init__(self, setting: Setting, conf_path: Path) -> None:
        from transformers import AutoTokenizer

        self.setting, self.conf_path = setting, conf_path
        self.tokenizer = AutoTokenizer.from_pretrained(setting.options.model)
        pairs = [(row.cells["first"], row.cells["second"]) for row in setting.rows]
        self.texts = self.tokenizer([a for a, _ in pairs], [b for _, b in pairs], truncation=True, max_length=512)
        self.teachers = [TheirTeacher(setting.options.model) for _ in range(max(COUNTS))]

    @property
    def mean_length(self) -> float:
        """Pieces of a pair."""
        return float(np.mean([len(ids) for ids in self.texts["input_ids"]]))

    def epoch(self, count: int, cached: bool = False) -> Callable[[], None]:
        """What trains one epoch each time; with `cached` the first call asks for the answers, too."""
        import textbrewer

        experiment = self.setting.student(self.conf_path, 0)
        data = read_data(experiment.conf, _nothing)
        graph, _ = experiment.trace(data.encoder.specs(), data.problem)
        model = Model(graph)
        load_pretrained(experiment.conf, model, data, _nothing)
        labels = torch.tensor(data.train.targets["label"])

        def batch_of(places: Sequence[int]) -> dict[str, Any]:
            pieces = self.tokenizer.pad({key: [values[at] for at in places] for key, values in self.texts.items()})
            rows = np.array(places)
            tensors = {key: torch.tensor(values) for key, values in pieces.items()}
            return {"batch": data.train.batch(rows), "labels": labels[rows], **tensors}

        places: Any = range(len(data.train))
        batches: Any = torch.utils.data.DataLoader(places, BATCH, shuffle=True, collate_fn=batch_of)
        output = str(self.setting.folder / "textbrewer")
        settings = textbrewer.TrainingConfig(output_dir=output, log_dir=None, device="cpu", ckpt_frequency=0)
        wanted = textbrewer.DistillationConfig(
            temperature=2, kd_loss_weight=0.7, hard_label_weight=0.3, is_caching_logits=cached
        )
        single = textbrewer.BasicDistiller if cached else textbrewer.GeneralDistiller
        distiller_class = single if count == 1 else textbrewer.MultiTeacherDistiller
        teachers = self.teachers[0] if count == 1 else self.teachers[:count]
        distiller = distiller_class(settings, wanted, teachers, TheirStudent(model), _as_it_is, _as_it_is)
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learned, lr=1e-4, fused=True)

        def train_once() -> None:
            loader = Cached(len(batches)) if distiller.logits_cache else batches
            with distiller:
                distiller.train(optimizer, loader, num_epochs=1, max_grad_norm=1.0)

        return train_once


def _nothing(_: str) -> None:
    """What is not said."""


def _as_it_is(_: object, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The adaptor for models that give what TextBrewer wants."""
    return found


def training_works(setting: Setting, name: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each way to train a student."""
    conf_path, options = STUDENTS[name], setting.options
    theirs = None if "TextBrewer" in options.without else TextBrewer(setting, conf_path)
    if theirs is not None:
        print(f"\n{len(setting.rows):,} pairs of {theirs.mean_length:.0f} pieces on average")

    def ready(what: str, experiment: Experiment) -> tuple[str, Ours]:
        return what, Ours(experiment, setting.folder / f"{name} {what}", CLOCKS[options.clock])

    yield ready("no teacher", setting.student(conf_path, 0))
    for count in COUNTS:
        yield ready(f"store {count}", setting.student(conf_path, count))
        yield ready(f"policy {count}", setting.student(conf_path, count, *POLICY))
        if "asked" not in options.without:
            yield ready(f"asked {count}", setting.student(conf_path, count, online=True))
        if theirs is not None:
            yield f"TextBrewer {count}", theirs.epoch(count)
            yield f"TextBrewer {count} cached", theirs.epoch(count, cached=True)


def training_table(setting: Setting, name: str) -> Iterator[str]:
    """One line for each way to train a student, and what the store costs."""
    works = dict(training_works(setting, name))
    times = rounds(setting.options, works)
    yield f"\n| {name} | rows/s | {' | '.join(f'store {count} / this' for count in COUNTS)} |"
    yield "|---|---|" + "---|" * len(COUNTS)
    for what, values in times.items():
        faster = [spread(ratios(times, f"store {count}", what), ".2f") for count in COUNTS]
        yield f"| {what} | {len(setting.rows) / median(values):,.0f} | {' | '.join(faster)} |"
    yield ""
    for count in COUNTS:
        filling = works[f"store {count}"].filling  # type: ignore[attr-defined]
        as_epochs = filling / median(times["no teacher"])
        told = f"store of {count}: filled in {filling:.1f} s, {as_epochs:.1f} epochs without a teacher"
        if f"asked {count}" in times:
            gained = median(times[f"asked {count}"]) - median(times[f"store {count}"])
            told += f"; pays after {filling / gained:.2f} epochs"
        yield told


def answering_table(setting: Setting) -> Iterator[str]:
    """Teacher and students, from texts to labels."""
    runs = {"teacher": setting.teachers[0]}
    for name, conf_path in STUDENTS.items():
        runs[name] = setting.folder / f"{name} run"
        changes = [f"outputs.save_base_dir={runs[name]}", "training_params.max_epoch=1"]
        train(setting.student(conf_path, 0, *changes), _nothing)
    predictors = {(name, size): Predictor.load(run, "cpu", size) for name, run in runs.items() for size in BATCHES}
    times = rounds(setting.options, {of: _answering(predictor, setting) for of, predictor in predictors.items()})
    fastest = {name: min(BATCHES, key=lambda size: median(times[name, size])) for name in runs}
    yield "\n| answers | batch | rows/s | this / teacher | parameters | trained ones | weights, MiB |"
    yield "|---" * 7 + "|"
    for name, size in fastest.items():
        parameters = list(predictors[name, size].model.parameters())
        counts = [sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)]
        faster = spread(ratios(times, (name, size), ("teacher", fastest["teacher"])), ".1f")
        speed, room = setting.options.rows / median(times[name, size]), (runs[name] / WEIGHTS).stat().st_size / 2**20
        yield f"| {name} | {size} | {speed:,.0f} | {faster} | {counts[0]:,} | {counts[1]:,} | {room:.1f} |"


def _answering(predictor: Predictor, setting: Setting) -> Callable[[], object]:
    """Each call answers other rows, whose words it knows, but whose texts it has not split before."""
    list(predictor.predict(setting.texts))
    tokenizer.cache_clear()
    predictor.encoder.splitter = TokenSplitter(predictor.encoder.plan, predictor.encoder.pieces)
    rows = iter(setting.texts)
    return lambda: list(predictor.predict(list(islice(rows, setting.options.rows))))


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    with tempfile.TemporaryDirectory() as name:
        os.environ["BLOCKSMITH_CACHE"] = str(Path(name) / "cache")
        setting = Setting(options, Path(name))
        for student in options.students:
            os.environ["BLOCKSMITH_CACHE"] = str(Path(name) / f"cache of {student}")  # where the store is empty
            for line in training_table(setting, student):
                print(line, flush=True)
        for line in answering_table(setting):
            print(line, flush=True)
    how = f"{options.clock} time, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"\n{options.rounds} rounds, batches of {BATCH}, fp32, {how}")


if __name__ == "__main__":
    main()
