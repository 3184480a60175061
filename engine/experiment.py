"""The assembler: a config document becomes an Experiment whose parts fit, or one report of everything that is wrong."""

import importlib
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import core.conf
import core.schema
from block_zoo import BLOCKS, CHAR_EMBEDDINGS
from core.conf import JSON
from core.config import ExperimentConf
from core.document import read_document
from core.errors import ConfigError, Finding
from core.registry import Registry
from core.types import Spec
from distillation import TEACHERS, WEIGHTINGS
from engine.draft import Draft, make_problem
from engine.input_checks import check_inputs
from engine.optimizers import check_optimizer
from engine.parameter_groups import unknown_layers
from engine.stages import stage_documents, stage_problems
from engine.teachers import make_teachers
from engine.terms import Teachers, Term
from engine.tracing import trace_all, trace_unfitted
from engine.trainers.base import TRAINERS
from losses import LOSSES
from model_zoo.graph import Graph
from problems import PROBLEMS
from problems.base import Problem

REGISTRIES: Mapping[str, Registry] = {
    registry.kind: registry for registry in (BLOCKS, CHAR_EMBEDDINGS, LOSSES, PROBLEMS, TEACHERS, TRAINERS, WEIGHTINGS)
}

LEARNT = ("inputs.target", "loss.losses")
"""Where notices stand of what no loss reads: of a stage they say nothing if another one reads it."""


@dataclass
class Experiment:
    """A config whose parts fit."""

    conf: ExperimentConf
    source: str
    notices: list[Finding] = field(default_factory=list)
    earlier: Sequence["Experiment"] = ()
    """The stages before this one, whose weights it starts from."""

    def document(self) -> JSON:
        """The config as JSON, every default written out, those of blocks, losses and trainer included."""
        document: JSON = core.conf.to_json(self.conf)
        for layer in document["architecture"]:
            if layer["layer"] in BLOCKS:
                layer["conf"] = _filled(BLOCKS, layer["layer"], layer["conf"])
            else:
                del layer["conf"]  # it shares that of the layer it names
        for loss in document["loss"]["losses"]:
            loss["conf"] = _filled(LOSSES, loss["type"], loss["conf"])
        trainer = document["trainer"]
        trainer["conf"] = _filled(TRAINERS, trainer["type"], trainer["conf"])
        for teacher in document["teachers"].values():
            teacher["conf"] = _filled(TEACHERS, teacher["type"], teacher["conf"])
        weighting = document["weighting"]
        weighting["conf"] = _filled(WEIGHTINGS, weighting["type"], weighting["conf"])
        return document

    def trace(
        self, branches: Mapping[str, Spec], problem: Problem, teachers: Teachers | None = None
    ) -> tuple[Graph, list[Term]]:
        """Graph and losses for fitted data; without teachers, losses on them are left out.

        ConfigError where the data does not suit the config.
        """
        graph, terms = trace_all(Draft.of(self.conf), branches, problem, teachers)
        if graph.findings:
            raise ConfigError(self.source, graph.findings)
        return graph, terms

    def teachers(self, problem: Problem) -> Teachers:
        """The teachers of a student whose problem is fitted. ConfigError where they do not suit it."""
        problems: list[Finding] = []
        teachers = make_teachers(Draft.of(self.conf), problem, problems)
        if problems:
            raise ConfigError(self.source, problems)
        return teachers


def _filled(registry: Registry, name: str, fields: JSON) -> JSON:
    return core.conf.to_json(core.conf.read(registry[name].Conf, fields or {}))  # type: ignore[attr-defined]


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and check a config file."""
    return checked(read_document(path, overrides), str(path))


def checked(document: JSON, source: str, files: bool = True, plugins: Collection[str] | None = None) -> Experiment:
    """Check a config document whole; no data is read and no weight is made. ConfigError with every problem at once.

    files    whether data files must exist
    plugins  the modules that may be imported; None = those that the document names
    """
    if stages := stage_documents(document):
        if problems := [*stage_problems(document)]:
            raise ConfigError(source, problems)
        return _checked_stages(stages, source, files, plugins)
    found = examined(document, files, plugins)
    if found.problems:
        raise ConfigError(source, found.problems)
    conf: ExperimentConf = core.conf.read(ExperimentConf, document)
    return Experiment(conf, source, found.notices)


@dataclass
class Examined:
    """What is found in a config of one stage: its sound parts, and all that is wrong.

    problem   what its inputs describe, where they describe one
    teachers  where files may be read
    graph     the layers that fit
    """

    draft: Draft
    problems: list[Finding]
    notices: list[Finding]
    problem: Problem | None = None
    teachers: Teachers | None = None
    graph: Graph | None = None


def examined(document: JSON, files: bool = True, plugins: Collection[str] | None = None) -> Examined:
    """Look at a config of one stage as `checked` does, and keep what is sound."""
    problems = _import_plugins(document, plugins) + _untrusted_code(document, plugins)
    problems += core.schema.problems(document, core.schema.schema(ExperimentConf, REGISTRIES))
    draft = Draft.read(document, problems)
    notices = [] if problems else [Finding(*notice) for notice in core.conf.notices(ExperimentConf, document)]
    found = Examined(draft, problems, notices)
    check_inputs(draft, problems, notices, files)
    if draft.training:
        layers = {"Embedding", *filter(None, draft.layer_ids)}
        problems += check_optimizer(draft.training.optimizer) + unknown_layers(draft.training.optimizer, layers)
        if "max_epoch" not in document["training_params"]:
            patience = draft.training.early_stop_patience
            sentence = f"is missing: training ends after {patience} validations without a better score."
            notices.append(Finding("training_params.max_epoch", sentence))
    if isinstance(document, dict) and document.get("architecture") == []:
        problems.append(Finding("architecture", "names no layer."))
    found.problem = problem = _sound_problem(draft, problems)
    if draft.inputs:
        found.teachers = make_teachers(draft, problem, problems) if files and problem is not None else None
        unsound = any(p.path.startswith("inputs.model_inputs") for p in problems)
        found.graph = trace_unfitted(draft, problem, unsound, found.teachers)
        problems += found.graph.findings
        notices += found.graph.notices
    if problem:
        fields = draft.outputs.predict_fields if draft.outputs else None
        problems += score_problems(problem, _texts(document.get("metrics")), fields or [])
    problems += _trainer_problems(document, notices) if not problems else []
    problems += _overwritten(draft) if files else []
    return found


def _overwritten(draft: Draft) -> Iterator[Finding]:
    """The teachers whose folder the training would write."""
    own = Path(draft.outputs.save_base_dir).resolve() if draft.outputs is not None else None
    for name, teacher in draft.teachers.items():
        path = teacher.conf.get("path") if teacher is not None else None
        if isinstance(path, str) and Path(path).resolve() == own:
            sentence = "is the folder that this training writes; name another in outputs.save_base_dir."
            yield Finding(f"teachers.{name}.conf.path", sentence)


def _trainer_problems(document: JSON, notices: list[Finding]) -> Iterator[Finding]:
    """A weighting without the trainer that it needs, a trainer without its weighting, or whose settings do not fit;
    what is sound, but in vain, goes to `notices`.
    """
    conf: ExperimentConf = core.conf.read(ExperimentConf, document)
    weighting, trainer = WEIGHTINGS[conf.weighting.type], TRAINERS[conf.trainer.type]
    needed: str | None = weighting.Conf.trainer  # type: ignore[attr-defined]
    needing: str | None = getattr(trainer.Conf, "weighting", None)  # type: ignore[attr-defined]
    try:
        settings: Any = core.conf.read(trainer.Conf, conf.trainer.conf)  # type: ignore[attr-defined]
    except ValueError as error:
        yield Finding.of(error, "trainer.conf")
        return
    if needed not in (None, conf.trainer.type):
        yield Finding("trainer", f"weighting {conf.weighting.type} learns only with trainer {needed}.")
    elif needing not in (None, conf.weighting.type):
        yield Finding("weighting", f"trainer {conf.trainer.type} trains a policy: set weighting {needing}.")
    elif needing is not None:
        policy = core.conf.read(weighting.Conf, conf.weighting.conf)  # type: ignore[attr-defined]
        if complaint := settings.complaint(policy, conf.inputs.data_paths.valid_data_path is not None):
            yield Finding("trainer.conf", complaint)
        if settings.average_epochs >= (conf.training_params.max_epoch or math.inf):
            sentence = f"all {conf.training_params.max_epoch} epochs come before the policy chooses."
            notices.append(Finding("trainer.conf.average_epochs", sentence))


def _checked_stages(stages: Sequence[JSON], source: str, files: bool, plugins: Collection[str] | None) -> Experiment:
    """The last stage, with those before it; every problem of all of them at once."""
    found: list[Experiment] = []
    problems: list[list[Finding]] = []
    for document in stages:
        try:
            found.append(checked(document, source, files, plugins))
            problems.append([])
        except ConfigError as error:
            problems.append(error.findings)
    if any(problems):
        raise ConfigError(source, _by_stage(problems))
    *earlier, last = found
    everywhere = set.intersection(*(set(stage.notices) for stage in found))
    notices = _by_stage(
        [[one for one in stage.notices if one in everywhere or one.path not in LEARNT] for stage in found]
    )
    notices += [
        Finding(f"trainer.conf.stages[{number}]: architecture", sentence)
        for number, (before, stage) in enumerate(pairwise(found), 1)
        if (sentence := _not_handed_over(before, stage))
    ]
    return replace(last, earlier=earlier, notices=notices)


def _by_stage(found: Sequence[Sequence[Finding]]) -> list[Finding]:
    """What was found in each stage; what is so in all of them stands once, and names none."""
    numbers: dict[Finding, list[int]] = {}
    for number, findings in enumerate(found):
        for finding in findings:
            numbers.setdefault(finding, []).append(number)
    named = [
        [one] if len(at) == len(found) > 1 else [replace(one, path=f"trainer.conf.stages[{n}]: {one.path}") for n in at]
        for one, at in numbers.items()
    ]
    return [*chain.from_iterable(named)]


def _not_handed_over(before: Experiment, stage: Experiment) -> str:
    """The layers of a stage of which the next has none of that id; "" where there are none."""
    first, then = ([layer.layer_id for layer in one.conf.architecture if layer.layer_id] for one in (before, stage))
    gone = [layer for layer in first if layer not in then]
    return f"has no {' and no '.join(gone)}, so what the stage before it learnt there is lost." if gone else ""


def _import_plugins(document: JSON, trusted: Collection[str] | None) -> list[Finding]:
    """Import the modules that register blocks, losses and problems of the user's own."""
    names = document.get("plugins", []) if isinstance(document, dict) else []
    problems = []
    for index, name in enumerate(names if isinstance(names, list) else []):
        if trusted is not None and name not in trusted:
            sentence = f"'{name}' is not imported for a run unless you ask for it: --plugins {name}."
            problems.append(Finding(f"plugins[{index}]", sentence))
            continue
        try:
            importlib.import_module(str(name))
        except Exception as error:  # a plugin may fail in any way; whatever it says is the user's to mend
            problems.append(Finding(f"plugins[{index}]", f"cannot import '{name}': {type(error).__name__}: {error}."))
    return problems


def _untrusted_code(document: JSON, trusted: Collection[str] | None) -> list[Finding]:
    """The layers that would run the code of a model, where the user has not asked for it."""
    if trusted is None:
        return []
    problems = []
    for index, model in models_with_code(document):
        if model not in trusted:
            sentence = f"the code of '{model}' is not run for a run unless you ask for it: --plugins {model}."
            problems.append(Finding(f"architecture[{index}].conf.trust_remote_code", sentence))
    return problems


def models_with_code(document: JSON) -> Iterator[tuple[int, str]]:
    """The models whose own code a config lets run, each with the index of its layer.

    A model may point to the code of another one: `owner/name--file.Class`.
    """
    layers = document.get("architecture") if isinstance(document, dict) else None
    for index, layer in enumerate(layers if isinstance(layers, list) else []):
        conf = layer.get("conf") if isinstance(layer, dict) else None
        if not isinstance(conf, dict) or not conf.get("trust_remote_code"):
            continue
        config = conf.get("config")
        named = config.get("auto_map") if isinstance(config, dict) else None
        classes = named.values() if isinstance(named, dict) else ()
        others = (name.rpartition("--")[0] for name in classes if isinstance(name, str) and "--" in name)
        yield from ((index, model) for model in dict.fromkeys([str(conf.get("model")), *others]))


def _texts(value: JSON) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _sound_problem(draft: Draft, problems: list[Finding]) -> Problem | None:
    """The problem that the inputs describe, where they describe one; what it refuses goes to `problems`."""
    if draft.inputs is None or not draft.inputs.target:
        return None
    own = core.conf.annotations(PROBLEMS[draft.inputs.dataset_type].Conf)  # type: ignore[attr-defined]
    if any(problem.path.startswith(tuple(f"inputs.{key}" for key in own)) for problem in problems):
        return None
    try:
        return make_problem(draft.inputs)
    except ValueError as error:
        problems.append(Finding.of(error, "inputs"))
        return None


def score_problems(problem: Problem, metrics: Sequence[str], fields: Sequence[str]) -> list[Finding]:
    """What a problem has against metrics and predict_fields; ask again once the labels are known."""
    checks = [
        *((f"metrics[{index}]", problem.check_metric(name)) for index, name in enumerate(metrics)),
        *((f"outputs.predict_fields[{index}]", problem.check_fields([name])) for index, name in enumerate(fields)),
    ]
    return [Finding(path, sentence) for path, sentence in checks if sentence]


def cache_folder(conf: ExperimentConf) -> Path | None:
    """Where encoded data is kept between runs; None where the config wants none."""
    if not conf.inputs.use_cache:
        return None
    named = os.environ.get("BLOCKSMITH_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "blocksmith"
