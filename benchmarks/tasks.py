"""The tasks that models are compared on, the models that have a config for them, and the runs that this makes."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from benchmarks.data import (
    config,
    data_overrides,
    encoder_overrides,
    find,
    is_encoder,
    look_for,
    named_texts,
    whole_config,
)
from block_zoo import BLOCKS
from core.conf import JSON
from core.document import ROOT
from core.errors import UserError, did_you_mean, known_names
from core.run_folder import WEIGHTS, RunFolder
from distillation.run import fold_folder
from engine.data import row_file
from engine.experiment import Experiment, load_experiment
from text.store import content_key

WORD_VECTORS: Mapping[str, Sequence[str]] = {
    "glove": (),
    "random": ("inputs.data_paths.pre_trained_emb=null",),
    "encoder": (
        "inputs.data_paths.pre_trained_emb=null",
        "architecture.params.dim=200",
        'architecture.params.init={"encoder": "sentence-transformers/all-MiniLM-L6-v2"}',
    ),
}
"""Where models that read words get their vectors -> what that changes in a config that names a file of GloVe."""


@dataclass(frozen=True)
class Part:
    """A further file to score."""

    file: str
    """As a config would name it."""
    metrics: Sequence[str] = ()
    """Where they are not those of the task."""
    changes: Sequence[str] = ()
    """What else scoring it changes in the config."""
    is_optional: bool = False
    """Whether it is left out where it does not lie."""

    def overrides(self) -> tuple[str, ...]:
        """What makes the config one that reads and scores it."""
        return (*self.changes, *([f"metrics={json.dumps(self.metrics)}"] if self.metrics else ()))


@dataclass(frozen=True)
class Task:
    """A data set with its published metrics; the first of them chooses the epoch, where a config says nothing else."""

    suite: str
    name: str
    title: str
    metrics: Sequence[str]
    also: Mapping[str, Part] = field(default_factory=dict, hash=False)
    """What is scored beside dev and test, by its name."""
    configs: str = ""
    """Where those of its models lie below configs, such as glue/rte_*.json, which is what it is if not said."""
    data: str = ""
    """The config below configs whose files, columns and labels they take, where they are written for another set."""
    changes: Sequence[str] = ()
    """What else the task changes in them."""
    reads: str = "bilstm"
    """The model whose config says for those without one how the data is read."""
    fine_tunes: str = "minilm"
    """The model that is a fine-tuned encoder, if there is one."""
    teacher_seed: int | None = None
    """The seed of all teachers; if not said, each student has teachers of its own seed."""
    whole: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Rows as published: train, dev, ... -> how many; what has fewer is a part."""

    def __str__(self) -> str:
        return self.name

    def config(self, model: str) -> Path:
        """The config of a model on this task."""
        return ROOT / "configs" / (self.configs or f"{self.suite}/{self.name}_*.json").replace("*", model)

    def path(self, model: str) -> Path:
        """The config of a model, or the one whose data and settings a peer takes."""
        of_peers = {TRAINER: self.fine_tunes, **dict.fromkeys(BASELINES, self.reads)}
        return self.config(of_peers.get(model, model))

    def metrics_of(self, part: str) -> Sequence[str]:
        """Those of a part of its rows."""
        return (self.also[part].metrics if part in self.also else ()) or self.metrics

    def overrides(self) -> tuple[str, ...]:
        """What makes their configs ones of this task."""
        inputs = config(ROOT / "configs" / self.data)["inputs"] if self.data else {}
        given = [key for key in ("data_paths", "file_header", "labels", "group_by") if key in inputs]
        return (*(f"inputs.{key}={json.dumps(inputs[key])}" for key in given), *self.changes)

    def models(self) -> list[str]:
        """Those that have a config."""
        before, after = self.config("*").name.split("*")
        found = self.config("*").parent.glob(self.config("*").name)
        return sorted(path.name.removeprefix(before).removesuffix(after) for path in found)

    def model_of(self, run: str) -> str | None:
        """The model whose config writes this run; None where there is none."""
        return _models_by_run(self).get(run)


_LEFT_OUT = re.compile(r'training_params\.left_out=\{"fold": (\d+), "of": \d+\}')
"""What `Job.needs` changes in the config of an out-of-fold run."""
ENCODER_FILES = (".json", ".safetensors", ".txt")
"""Suffixes of what an encoder is read from."""
BASELINES = ("majority", "chance", "bag_of_words", "word_overlap", "word_tag")
TRAINER = "trainer"
PEERS = (*BASELINES, TRAINER)
"""What models are compared with (see benchmarks.peers): they have no config of their own."""


def is_fold(variant: str) -> bool:
    """Whether it is of a teacher that was trained without a part of the rows, for those that learn from it."""
    return _LEFT_OUT.search(variant) is not None


@cache
def _models_by_run(task: Task) -> Mapping[str, str]:
    return {config(task.config(model))["outputs"]["save_base_dir"]: model for model in task.models()}


def _distillation(name: str, title: str, metrics: Sequence[str], **more: Any) -> Task:
    """A set for the students of configs/distillation/mrpc."""
    of_all: dict[str, Any] = {"configs": "distillation/mrpc/*.json", "reads": "student", "fine_tunes": "teacher_pooler"}
    changes = (*more.pop("changes", ()), f"metrics={json.dumps(metrics)}")
    return Task("distillation", name, title, metrics, **of_all, **more, changes=changes, teacher_seed=1)


DIAGNOSTIC = {"first": "Premise", "second": "Hypothesis", "label": "Label"}
QQP_ROWS = {"train": 363_846, "dev": 40_430}
MNLI_ROWS = {"train": 392_702, "dev": 9_815, "mismatched": 9_832}
QNLI_ROWS = {"train": 104_743, "dev": 5_463}
SQUAD_ROWS = {"train": 87_599, "dev": 10_570}
MNLI_PARTS = {
    "mismatched": Part("dataset/MNLI/dev_mismatched.tsv"),
    "diagnostic": Part(
        "dataset/diagnostic/diagnostic-full.tsv",  # with labels, as gluebenchmark.com gives it
        ("matthews",),
        tuple(f"inputs.file_header.{column}={name}" for column, name in DIAGNOSTIC.items()),
        is_optional=True,
    ),
}
SUITES: Mapping[str, Sequence[Task]] = {
    "glue": (
        Task("glue", "cola", "CoLA", ("matthews",)),
        Task("glue", "sst2", "SST-2", ("accuracy",)),
        Task("glue", "mrpc", "MRPC", ("f1", "accuracy")),
        Task("glue", "stsb", "STS-B", ("spearman", "pearson")),
        Task("glue", "qqp", "QQP", ("f1", "accuracy"), whole=QQP_ROWS),
        Task("glue", "mnli", "MNLI", ("accuracy",), MNLI_PARTS, whole=MNLI_ROWS),
        Task("glue", "qnli", "QNLI", ("accuracy",), whole=QNLI_ROWS),
        Task("glue", "rte", "RTE", ("accuracy",)),
        Task("glue", "wnli", "WNLI", ("accuracy",)),
    ),
    "wikiqa": (Task("wikiqa", "wikiqa", "WikiQA", ("auc", "map", "mrr"), configs="wikiqa/*.json"),),
    "tagging": (Task("tagging", "conll2003", "CoNLL-2003", ("f1", "precision", "recall")),),
    "joint": (
        Task("joint", "snips", "SNIPS", ("sentence_accuracy", "intent.accuracy", "slots.f1"), reads="bilstm_crf"),
    ),
    "reading": (Task("reading", "squad", "SQuAD 1.1", ("f1", "exact_match"), reads="drqa", whole=SQUAD_ROWS),),
    "queries": tuple(
        Task("queries", name, title, ("rmse", "auc"), configs=f"distillation/{name}_*.json", reads="classifier")
        for name, title in {"query": "Query classifier", "matching": "Text matching"}.items()
    ),
    "distillation": (
        _distillation("mrpc", "MRPC", ("accuracy", "f1", "auc")),
        _distillation("rte", "RTE", ("accuracy", "auc"), data="parts/glue/rte.json"),
        _distillation("qnli", "QNLI", ("accuracy", "auc"), data="parts/glue/qnli.json", whole=QNLI_ROWS),
        _distillation(
            "wikiqa",
            "WikiQA",
            ("auc", "map", "mrr"),
            data="parts/wikiqa.json",
            changes=(
                "training_params.early_stop_patience=3",  # five times the rows of the others
            ),
        ),
    ),
}


TITLES = {task.name: task.title for tasks in SUITES.values() for task in tasks}
"""What a task is called in print."""


def chosen_tasks(suite: str, names: Sequence[str]) -> list[Task]:
    """The tasks of a suite by their names, all where none is given. UserError for unknown ones."""
    tasks = {task.name: task for task in SUITES[suite]}
    for name in names:
        if name not in tasks:
            raise UserError(f"--tasks: {suite} has no '{name}'.{did_you_mean(name, tasks) or known_names(tasks)}")
    return [tasks[name] for name in names] or list(tasks.values())


def chosen_models(tasks: Sequence[Task], names: Sequence[str]) -> list[str]:
    """The models by their names, or `all`, which are those of every task. UserError for one without a config."""
    common = [model for model in tasks[0].models() if all(model in task.models() for task in tasks)]
    if "all" in names:
        if len(names) > 1:
            raise UserError("--models: 'all' stands alone.")
        return common
    for name in names:
        for task in tasks:
            if name in PEERS and not task.path(name).exists():
                raise UserError(f"--models: nothing says how {name} would read {task}.")
            if name not in (*task.models(), *PEERS):
                hint = did_you_mean(name, task.models()) or known_names(task.models())
                raise UserError(f"--models: there is no config of '{name}' for {task}.{hint}")
    return list(names)


@dataclass(frozen=True)
class Places:
    """Where the runs of a benchmark find and leave what they need: what differs between machines."""

    data: Path
    runs: Path


@dataclass(frozen=True)
class Job:
    """One training: a model on a task with a seed."""

    task: Task
    model: str
    seed: int
    vectors: str = "glove"
    changes: Sequence[str] = ()
    """What `--set` changes in the config."""
    encoder: str | None = None
    """A folder to take in the place of the encoder that the config names."""

    def __post_init__(self) -> None:
        for change in self.changes:
            if re.match(r"\s*(training_params\.seed|outputs)\b", change):
                raise UserError(f"--set {change}: is settled by the benchmark itself.")
        if self.model in BASELINES:  # which have no other settings
            changes = tuple(change for change in self.changes if re.match(r"\s*(inputs|metrics)\b", change))
            object.__setattr__(self, "changes", changes)

    def __str__(self) -> str:
        return f"{self.task} {self.variant}, seed {self.seed}"

    @property
    def training(self) -> tuple[str, str, str, int]:
        """What its records say that they are of."""
        return self.task.suite, self.task.name, self.variant, self.seed

    @property
    def path(self) -> Path:
        """Its config, or the one whose data and settings a peer takes."""
        return self.task.path(self.model)

    @property
    def reads_words(self) -> bool:
        """Whether its config names a file of word vectors, so that there is a choice."""
        paths = config(self.path)["inputs"]["data_paths"]
        return bool(paths.get("pre_trained_emb"))

    @property
    def variant(self) -> str:
        """The model and what was changed in it."""
        has_vectors = self.reads_words and self.model not in BASELINES and self.vectors != "glove"
        vectors = [f"{self.vectors} vectors"] if has_vectors else []
        encoder = [f"encoder {self._encoder_name}"] if self.uses_encoder and self._is_another else []
        return ", ".join([self.model, *vectors, *encoder, *self.changes])

    @property
    def uses_encoder(self) -> bool:
        """Whether the given encoder stands in its config, or in that of a teacher."""
        return any(job._encoders() for job in (self, *self.needs()))

    @property
    def _is_another(self) -> bool:
        """Whether the given encoder is another than that of the configs, as far as its name tells."""
        texts = named_texts(whole_config(self.path, self.overrides())["architecture"])
        named = {text for place, text in texts if is_encoder(place) and not self.task.model_of(text)}
        return any(self._encoder_name not in (name, Path(name).name) for name in named) or any(
            job._is_another for job in self.runs().values()
        )

    @property
    def _encoder_name(self) -> str:
        """Of the given one: that of its folder, whose content `data` knows, or else its whole name on the hub."""
        given = Path(self.encoder or "")
        return given.name if given.is_dir() else str(given)

    def overrides(self) -> tuple[str, ...]:
        """What makes its config another one, but for the encoder."""
        vectors = WORD_VECTORS[self.vectors] if self.reads_words else ()
        if self.model in BASELINES:  # they have no use for any
            params = config(self.path)["architecture"].get("params", {})
            vectors = (*WORD_VECTORS["random"], *(["architecture.params.init=null"] if "init" in params else ()))
        return (*self.task.overrides(), *vectors, *self.changes)

    def _encoders(self) -> list[str]:
        """The overrides that put the encoder into the config."""
        if self.encoder is None or self.model in BASELINES:
            return []
        return encoder_overrides(self.path, self.encoder, self.overrides())

    def digest(self) -> str:
        """Of all that makes the training what it is but for seed and files: another version is known by it."""
        document = whole_config(self.path, self.overrides())
        said = {key: value for key, value in document.items() if key not in ("$schema", "model_description", "outputs")}
        said["inputs"] = {key: value for key, value in document["inputs"].items() if key != "data_paths"}
        said["architecture"] = list(map(_said, document["architecture"]))
        more = [*self.overrides(), *(job.digest() for job in self.runs().values())]
        more += [self._encoder_name] if self._encoders() and self._is_another else []
        return _digest([said, more])

    def data(self, places: Places) -> str:
        """Of the content of all files that its config names or that are scored beside, its encoder and what its
        teachers read among them: with other files it is another training. UserError where they are missing.
        """
        own = self.overrides()
        document = whole_config(self.path, (*own, *data_overrides(self.path, places.data, own)))
        named = (Path(text) for place, text in named_texts(document) if "data_paths." in place)
        files = list(named)
        if self._encoders():
            files += sorted(file for file in Path(str(self.encoder)).glob("*") if file.suffix in ENCODER_FILES)
        files += self.also(places).values()
        of_runs = [job.data(places) for job in self.runs().values()]
        return _digest([[content_key(file) for file in files if file.is_file()], of_runs])

    def folder(self, places: Places) -> Path:
        """Its run, another one for another config, other files or teachers; out-of-fold runs lie in the whole one."""
        whole, fold = self._whole()
        if fold:
            return fold_folder(whole.folder(places), fold)
        teachers = self.teachers(places)
        read = [self.data(places), *([_digest(teachers)] if teachers else [])]
        return (
            places.runs / self.task.suite / "_".join([self.task.name, self.model, self.digest(), *read, str(self.seed)])
        )

    def runs(self) -> dict[str, "Job"]:
        """The runs that its config names, to learn or start from: their place there -> what trains them."""
        found = {}
        for place, text in named_texts(config(self.path, self.overrides())):
            model = self.task.model_of(text)
            if model is not None and place != "outputs.save_base_dir":
                seed = self.task.teacher_seed or self.seed
                found[place] = Job(self.task, model, seed, self.vectors, encoder=self.encoder)
        return found

    def teachers(self, places: Places) -> dict[str, str] | None:
        """The models of those runs -> digest of their weights. None as long as they are not trained."""
        runs = {job.model: RunFolder(job.folder(places)) for job in self.runs().values()}
        if not all(run.is_finished for run in runs.values()):
            return None
        return {model: _digest(content_key(run / WEIGHTS)) for model, run in runs.items()}

    def needs(self) -> list["Job"]:
        """The trainings that must have come to their end before it begins."""
        whole, fold = self._whole()
        runs, teachers = self.runs(), config(self.path, self.overrides()).get("teachers") or {}
        found = [*([whole] if fold else []), *runs.values()]
        for name, teacher in teachers.items():
            if run := runs.get(f"teachers.{name}.conf.path"):
                of = teacher["conf"].get("folds") or 0
                left_out = [json.dumps({"fold": one, "of": of}) for one in range(1, of + 1)]
                found += [replace(run, changes=(f"training_params.left_out={one}",)) for one in left_out]
        return found

    def _whole(self) -> tuple["Job", int]:
        """The training of all rows, and the fold of them that this one leaves out; 0 where it is itself that of all."""
        for change in self.changes:
            if found := _LEFT_OUT.fullmatch(change):
                return replace(self, changes=tuple(other for other in self.changes if other != change)), int(found[1])
        return self, 0

    def experiment(self, places: Places, part: Part | None = None) -> Experiment:
        """Its config with the data and runs of this machine, to score a part. UserError for what is not there."""
        changes = part.overrides() if part else ()
        path, own = self.path, [*self.overrides(), *changes, f"training_params.seed={self.seed}"]
        runs = [f"{place}={job.folder(places)}" for place, job in self.runs().items()]
        data = data_overrides(path, places.data, own)
        run = f"outputs.save_base_dir={self.folder(places)}"
        return load_experiment(path, [*own, *data, *self._encoders(), *runs, run])

    def is_finished(self, places: Places) -> bool:
        """Whether its training came to its end."""
        return RunFolder(self.folder(places)).is_finished

    def check(self, places: Places) -> None:
        """UserError for files that are missing or of another layout, and for a config that does not fit them.

        What needs runs that are still to be trained is checked when its turn comes.
        """
        also = self.also(places)
        if all(needed.is_finished(places) for needed in self.needs()):
            conf = self.experiment(places).conf
            named = asdict(conf.inputs.data_paths)
            files = [(conf, path) for part in ("train", "valid", "test") if (path := named[f"{part}_data_path"])]
            files += [(self.experiment(places, self.task.also[part]).conf, str(path)) for part, path in also.items()]
            for reading, path in files:
                row = next(iter(row_file(reading, path)), None)  # a column that is not there is refused
                if row is not None and row.error:
                    raise UserError(f"{path}:{row.number}: {row.error}")

    def also(self, places: Places) -> dict[str, Path]:
        """The further files to score."""
        look = {name: look_for if part.is_optional else find for name, part in self.task.also.items()}
        found = {name: look[name](places.data, Path(part.file)) for name, part in self.task.also.items()}
        return {name: path for name, path in found.items() if path}


def _digest(value: JSON) -> str:
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=6).hexdigest()


def _said(layer: JSON) -> JSON:
    """A layer without the settings that it would have anyway."""
    if not isinstance(layer, dict) or layer.get("layer") not in BLOCKS:
        return layer
    usual = {field.name: field.default for field in fields(BLOCKS[layer["layer"]].Conf)}  # type: ignore[attr-defined]
    conf = {key: value for key, value in (layer.get("conf") or {}).items() if value != usual.get(key, MISSING)}
    return {**layer, "conf": conf}
