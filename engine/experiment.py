"""The assembler: a config document becomes an Experiment whose parts fit, or one report of everything that is wrong."""

import importlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import core.conf
import core.schema
from block_zoo import BLOCKS, CHAR_EMBEDDINGS
from block_zoo.embedding import EncoderInit
from core.conf import JSON, Conf
from core.config import (
    DataPathsConf,
    ExperimentConf,
    InputsConf,
    LayerConf,
    LossConf,
    LossesConf,
    OptimizerConf,
    OutputsConf,
    TrainingConf,
)
from core.document import read_document
from core.errors import ConfigError, Finding, did_you_mean, known_names
from core.registry import Registry
from core.types import Spec
from engine.checkpoint import RunFolder
from engine.objective import Term, trace_losses
from engine.optimizers import check_optimizer
from engine.trainers.base import TRAINERS
from losses import LOSSES
from model_zoo.graph import Answered, Graph, source_of, trace
from problems import PROBLEMS
from problems.base import Problem
from text.encoder import InputPlan

REGISTRIES: Mapping[str, Registry] = {
    registry.kind: registry for registry in (BLOCKS, CHAR_EMBEDDINGS, LOSSES, PROBLEMS, TRAINERS)
}
UNFITTED_SIZE = 2
"""Stands for the number of labels and of vocabulary entries until the training rows are read."""


class _Unfitted(int):
    """A number of labels that only the training rows tell: computed with as a number, shown as the letter C."""

    def __str__(self) -> str:
        return "C"


@dataclass
class Experiment:
    """A config whose parts fit."""

    conf: ExperimentConf
    source: str
    notices: list[Finding] = field(default_factory=list)

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
        return document

    def trace(self, branches: Mapping[str, Spec], problem: Problem) -> tuple[Graph, list[Term]]:
        """Graph and losses for fitted data. ConfigError where the data does not suit the config."""
        graph, terms = trace_all(_Draft.of(self.conf), branches, problem)
        if graph.findings:
            raise ConfigError(self.source, graph.findings)
        return graph, terms

    def trace_sizes(self, branches: Mapping[str, Spec], problem: Problem, more: int) -> Graph:
        """The graph as it would be with so many more labels of each target whose labels are not known yet."""
        draft = _Draft.of(self.conf)
        return trace(draft.layers, branches, _answered(draft, problem, more)[0], _read_by_losses(draft))


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
    problems = _import_plugins(document, plugins) + _untrusted_code(document, plugins)
    problems += core.schema.problems(document, core.schema.schema(ExperimentConf, REGISTRIES))
    draft = _Draft.read(document, problems)
    notices = [] if problems else [Finding(*notice) for notice in core.conf.notices(ExperimentConf, document)]
    _check_inputs(draft, problems, notices, files)
    if draft.training:
        problems += check_optimizer(draft.training.optimizer)
        if "max_epoch" not in document["training_params"]:
            patience = draft.training.early_stop_patience
            sentence = f"is missing: training ends after {patience} validations without a better score."
            notices.append(Finding("training_params.max_epoch", sentence))
    if document.get("architecture") == []:
        problems.append(Finding("architecture", "names no layer."))
    problem = _sound_problem(draft, problems)
    if draft.inputs:
        graph = _trace_unfitted(draft, problem, any(p.path.startswith("inputs.model_inputs") for p in problems))
        problems += graph.findings
        notices += graph.notices
    if problem:
        fields = draft.outputs.predict_fields if draft.outputs else None
        problems += score_problems(problem, _texts(document.get("metrics")), fields or [])
    if problems:
        raise ConfigError(source, problems)
    conf: ExperimentConf = core.conf.read(ExperimentConf, document)
    return Experiment(conf, source, notices)


@dataclass
class _Draft:
    """The sound parts of a config that may have unsound ones (None)."""

    language: str
    inputs: InputsConf | None
    outputs: OutputsConf | None
    training: TrainingConf | None
    layers: list[LayerConf | None]
    layer_ids: list[str | None]
    loss: LossesConf | None
    losses: list[LossConf | None]

    @classmethod
    def of(cls, conf: ExperimentConf) -> "_Draft":
        """All parts of a sound config."""
        layers: list[LayerConf | None] = [*conf.architecture]
        losses: list[LossConf | None] = [*conf.loss.losses] if conf.loss else []
        return cls(
            conf.language, conf.inputs, conf.outputs, conf.training_params, layers, [None] * len(layers), conf.loss,
            losses,
        )  # fmt: skip

    @classmethod
    def read(cls, document: JSON, problems: list[Finding]) -> "_Draft":
        """The parts of a document that no problem lies in."""
        if not isinstance(document, dict):
            return cls("english", None, None, None, [], [], None, [])

        refused = [problem.path for problem in problems]

        def is_sound(path: str) -> bool:
            return not any(place == path or place.startswith((f"{path}.", f"{path}[")) for place in refused)

        def read(kind: type[Conf], value: JSON, path: str) -> JSON:
            try:
                return core.conf.read(kind, value)
            except ValueError as error:
                problems.append(Finding(path, str(error)))
            except TypeError:  # a required key is missing, as the schema has said
                assert not is_sound(path)
            return None

        def section(kind: type[Conf], path: str) -> JSON:
            """Without the keys that have a problem, so that the rest of the config can still be checked."""
            value = document.get(path)
            if not isinstance(value, dict):
                return None
            return read(kind, {key: item for key, item in value.items() if is_sound(f"{path}.{key}")}, path)

        def parts(kind: type[Conf], values: JSON, path: str) -> list[JSON]:
            """Each whole, or None: a layer without one of its settings is another layer."""
            places = {f"{path}[{i}]": value for i, value in enumerate(values if _is_list(values) else [])}
            return [read(kind, value, place) if is_sound(place) else None for place, value in places.items()]

        layers: JSON = document.get("architecture")
        loss: JSON = document.get("loss")
        losses = loss.get("losses") if isinstance(loss, dict) else None
        language = document.get("language")
        return cls(
            language if isinstance(language, str) else "english",
            section(InputsConf, "inputs"),
            section(OutputsConf, "outputs"),
            section(TrainingConf, "training_params"),
            parts(LayerConf, layers, "architecture"),
            [_text(layer, "layer_id") for layer in layers] if _is_list(layers) else [],
            section(LossesConf, "loss") if is_sound("loss.losses") else None,
            parts(LossConf, losses, "loss.losses"),
        )

    @property
    def embedding(self) -> Conf | None:
        """The settings of the layer that reads the branches, where they are sound."""
        first = self.layers[0] if self.layers else None
        if first is None or first.layer not in BLOCKS or not BLOCKS[first.layer].Conf.reads_branches:  # type: ignore[attr-defined]
            return None
        try:
            conf: Conf = core.conf.read(BLOCKS[first.layer].Conf, first.conf or {})  # type: ignore[attr-defined]
        except ValueError:
            return None
        return conf

    @property
    def clusters(self) -> dict[str, list[str]]:
        """Cluster of the Embedding -> its columns."""
        return {name: cluster.cols for name, cluster in self.embedding.clusters.items()} if self.embedding else {}  # type: ignore[attr-defined]

    @property
    def encoders(self) -> list[tuple[list[str], str, str]]:
        """Of each sound layer that reads pieces: its inputs, its tokenizer, its place in the config."""
        found = []
        for index, layer in enumerate(self.layers):
            source = None if layer is None else source_of(self.layers, index, layer)
            if layer is None or source is None or source.layer not in BLOCKS:
                continue
            if not BLOCKS[source.layer].Conf.reads_pieces:  # type: ignore[attr-defined]
                continue
            with suppress(ValueError):  # as the graph will say
                conf: Any = core.conf.read(BLOCKS[source.layer].Conf, source.conf or {})  # type: ignore[attr-defined]
                found.append((layer.inputs, conf.tokenizer, f"architecture[{index}].inputs"))
        return found

    @property
    def is_read(self) -> bool:
        """Whether layers are known that read the branches."""
        of_encoders = {branch for branches, _, _ in self.encoders for branch in branches}
        return self.embedding is not None or bool(self.inputs and of_encoders.issuperset(self.inputs.model_inputs))


def _is_list(value: JSON) -> bool:
    return isinstance(value, list)


def _texts(value: JSON) -> list[str]:
    return [item for item in value if isinstance(item, str)] if _is_list(value) else []


def _text(value: JSON, key: str) -> str | None:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


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
    if trusted is None or not isinstance(document, dict) or not _is_list(document.get("architecture")):
        return []
    confs = [layer.get("conf") if isinstance(layer, dict) else None for layer in document["architecture"]]
    problems = []
    for index, conf in enumerate(confs):
        if isinstance(conf, dict) and conf.get("trust_remote_code") and conf.get("model") not in trusted:
            model = conf.get("model")
            sentence = f"the code of '{model}' is not run for a run unless you ask for it: --plugins {model}."
            problems.append(Finding(f"architecture[{index}].conf.trust_remote_code", sentence))
    return problems


def _check_inputs(draft: _Draft, problems: list[Finding], notices: list[Finding], files: bool) -> None:
    """Columns, targets and files that inputs name."""
    conf = draft.inputs
    if conf is None:
        return

    def refuse(path: str, message: str) -> None:
        problems.append(Finding(f"inputs.{path}", message))

    if not conf.model_inputs:
        refuse("model_inputs", "names no branch.")
    if not conf.target and not any(problem.path.startswith("inputs.target") for problem in problems):
        refuse("target", "names no column.")
    if conf.file_header is not None:
        virtual = set(make_plan(draft).sources) if draft.is_read else set()
        wanted = [("target", column) for column in conf.target]
        if draft.is_read:  # which says what columns of characters there are: the file has none
            wanted += [(f"model_inputs.{branch}", c) for branch, columns in conf.model_inputs.items() for c in columns]
        wanted += [("group_by", conf.group_by)] if conf.group_by else []
        for path, column in wanted:
            if column not in conf.file_header and column not in virtual:
                known = [*conf.file_header, *virtual]
                hint = did_you_mean(column, known) or known_names(known)
                refuse(path, f"file_header has no column '{column}'.{hint}")
    word = draft.embedding.word if draft.embedding else None  # type: ignore[attr-defined]
    if word is not None and word.init is not None and conf.data_paths.pre_trained_emb is not None:
        refuse("data_paths.pre_trained_emb", "the Embedding takes its vectors from an encoder (init); leave one out.")
    if draft.is_read:
        for path, complaint in _encoder_problems(conf, draft):
            problems.append(Finding(path, complaint))
        for branch, complaint in make_plan(draft).complaints().items():
            refuse(f"model_inputs.{branch}", complaint)
    if not problems:
        notices += _input_notices(conf, draft)
    if files:
        _check_files(conf.data_paths, problems, notices)


def _input_notices(conf: InputsConf, draft: _Draft) -> Iterator[Finding]:
    """What a user should know about sound inputs."""
    for branch, columns in conf.model_inputs.items():
        for column in columns:
            if column in conf.target:
                notice = f"'{column}' is a target, too: the model reads what it should answer."
                yield Finding(f"inputs.model_inputs.{branch}", notice)
    idle = [*_idle_inputs(conf, draft), *((f"training_params.{key}", why) for key, why in _idle_settings(draft))]
    yield from (Finding(path, f"has no effect. {why}") for path, why in idle)
    for name, cluster in (draft.embedding.clusters if draft.embedding else {}).items():  # type: ignore[attr-defined]
        if name == "word" and cluster.fix_weight and cluster.init is None and conf.data_paths.pre_trained_emb is None:
            notice = "fixes random vectors: inputs.data_paths.pre_trained_emb names none."
            yield Finding("architecture[0].conf.word.fix_weight", notice)


def _idle_inputs(conf: InputsConf, draft: _Draft) -> Iterator[tuple[str, str]]:
    """(path, reason) of what changes nothing in inputs, or for the problem, and of columns that nobody reads."""
    settled = _asked_by_problem(conf)
    asked = {"inputs.add_start_end_for_seq": ("add_start_end", conf.add_start_end_for_seq)}
    for key in ("max_lengths", "fixed_lengths"):
        asked[f"training_params.{key}"] = (key, bool(getattr(draft.training, key, None)))
    why = f"{conf.dataset_type} answers about the words as they stand in the file."
    yield from ((path, why) for path, (key, is_on) in asked.items() if is_on and key in settled)
    problem: type[Problem] = PROBLEMS[conf.dataset_type]
    yield from ((f"inputs.{key}", why) for key, why in problem.idle(conf).items())
    clusters = draft.clusters
    if conf.data_paths.pre_trained_emb is None:
        if conf.involve_all_words_in_pretrained_emb:
            yield "inputs.involve_all_words_in_pretrained_emb", "inputs.data_paths.pre_trained_emb names no vectors."
    elif draft.is_read and "word" not in clusters:
        yield "inputs.data_paths.pre_trained_emb", "No Embedding has a cluster word."
    read = {column for columns in conf.model_inputs.values() for column in columns}
    for name, columns in clusters.items():
        for column in set(columns) - read:
            yield f"architecture[0].conf.{name}.cols", f"No branch reads '{column}'."


def _idle_settings(draft: _Draft) -> Iterator[tuple[str, str]]:
    """(path in training_params, reason) of what changes nothing for these inputs."""
    inputs, training = draft.inputs, draft.training
    if inputs is None or training is None:
        return
    columns = {column for columns in inputs.model_inputs.values() for column in columns}
    known = {*inputs.model_inputs, *columns}
    plan = make_plan(draft) if draft.is_read else None
    kinds = set(plan.kinds.values()) if plan else {"char"}
    settled = _asked_by_problem(inputs)
    lengths = {"max_lengths": training.max_lengths or {}, "fixed_lengths": training.fixed_lengths or {}}
    lengths = {key: names for key, names in lengths.items() if key not in settled}
    if all(lengths.values()) and len(lengths) == 2:
        yield "max_lengths", "fixed_lengths cut the texts."
    for key, names in lengths.items():
        for name in names:
            if name == "word" and key == "fixed_lengths" and name not in known:
                if "char" not in kinds:
                    yield f"{key}.{name}", "No column of characters is read."
            elif name not in known:
                yield f"{key}.{name}", f"No branch or column is called so.{did_you_mean(name, known)}"
    if plan and kinds == {"piece"} and not plan.aligned:
        for key in ("tokenizer", "text_preprocessing"):
            if getattr(training, key):
                yield key, "The encoder's own tokenizer prepares and splits the texts."
    if plan and plan.aligned >= set(plan.words_of.values()):
        if training.tokenizer not in (None, "whitespace"):
            yield "tokenizer", "Words that have features or tags are split at spaces."
        if "remove_stopwords" in training.text_preprocessing:
            yield "text_preprocessing", "Words that have features or tags all stay."
    elif settled.get("placed") and "remove_stopwords" in training.text_preprocessing:
        yield "text_preprocessing", "remove_stopwords leaves the text alone that holds the answers."


def _check_files(paths: DataPathsConf, problems: list[Finding], notices: list[Finding]) -> None:
    if paths.train_data_path is None:
        problems.append(Finding("inputs.data_paths", "'train_data_path' is missing."))
    if paths.valid_data_path is None:
        if paths.test_data_path is None:
            problems.append(Finding("inputs.data_paths", "'valid_data_path' is missing (and 'test_data_path' too)."))
        else:
            notice = "is missing: the best model is chosen on the test rows, so their scores are too good."
            notices.append(Finding("inputs.data_paths.valid_data_path", notice))
    if (run := paths.pretrained_model_path) is not None and not RunFolder.named(Path(run)).holds_a_run():
        sentence = f"no such run folder: {run}."
        if Path(run).is_file():
            sentence = f"is a file, not a run folder: {run}. A pickled model may hold any code, so none is read."
        problems.append(Finding("inputs.data_paths.pretrained_model_path", sentence))
    for name, path in core.conf.to_json(replace(paths, pretrained_model_path=None)).items():
        if path is not None and not Path(path).is_file():
            folder = Path(path).parent
            beside = [file.name for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
            what = "is a folder, not a file" if Path(path).is_dir() else "no such file"
            problems.append(
                Finding(f"inputs.data_paths.{name}", f"{what}: {path}.{did_you_mean(Path(path).name, beside)}")
            )


def _sound_problem(draft: _Draft, problems: list[Finding]) -> Problem | None:
    """The problem that the inputs describe, where they describe one; what it refuses goes to `problems`."""
    if draft.inputs is None or not draft.inputs.target:
        return None
    own = core.conf.annotations(PROBLEMS[draft.inputs.dataset_type].Conf)  # type: ignore[attr-defined]
    if any(problem.path.startswith(tuple(f"inputs.{key}" for key in own)) for problem in problems):
        return None
    try:
        return make_problem(draft.inputs)
    except ValueError as error:
        problems.append(Finding("inputs", str(error)))
        return None


def score_problems(problem: Problem, metrics: Sequence[str], fields: Sequence[str]) -> list[Finding]:
    """What a problem has against metrics and predict_fields; ask again once the labels are known."""
    checks = [
        *((f"metrics[{index}]", problem.check_metric(name)) for index, name in enumerate(metrics)),
        *((f"outputs.predict_fields[{index}]", problem.check_fields([name])) for index, name in enumerate(fields)),
    ]
    return [Finding(path, sentence) for path, sentence in checks if sentence]


def reads_pieces(conf: ExperimentConf) -> bool:
    """Whether a pretrained encoder is among the layers."""
    return bool(_Draft.of(conf).encoders)


def word_init(conf: ExperimentConf) -> EncoderInit | None:
    """The encoder that vectors of words come from, if the config names one."""
    embedding: Any = _Draft.of(conf).embedding
    return embedding.word.init if embedding is not None and embedding.word is not None else None


def cache_folder(conf: ExperimentConf) -> Path | None:
    """Where encoded data is kept between runs; None where the config wants none."""
    if not conf.inputs.use_cache:
        return None
    named = os.environ.get("BLOCKSMITH_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "blocksmith"


def make_problem(conf: InputsConf) -> Problem:
    """The problem that the inputs describe, not fitted yet."""
    problem: Problem = PROBLEMS[conf.dataset_type](conf)
    return problem


def make_plan(draft: "_Draft | ExperimentConf", extra_words: Iterable[str] = ()) -> InputPlan:
    """How texts become ids: the branches of the inputs, the clusters of the embedding, the vocabulary settings."""
    draft = _Draft.of(draft) if isinstance(draft, ExperimentConf) else draft
    inputs, clusters = draft.inputs, draft.clusters
    training = draft.training or TrainingConf(optimizer=OptimizerConf(name=""))  # refused: only checked
    assert inputs is not None
    kinds = {column: "word" for columns in inputs.model_inputs.values() for column in columns}
    kinds |= {c: name if name in ("word", "char") else "feature" for name, cols in clusters.items() for c in cols}
    pieces = {
        column: tokenizer
        for branches, tokenizer, _ in draft.encoders
        for branch in branches
        for column in inputs.model_inputs.get(branch, ())
    }
    kinds |= dict.fromkeys(pieces, "piece")
    sources = {}
    for columns in inputs.model_inputs.values():
        words = [column for column in columns if kinds[column] == "word"]
        for column in columns:
            if kinds[column] == "char" and words:
                named = [word for word in words if f"{word.split('_')[0]}_char" == column]
                sources[column] = (named or words)[0]
    asked = _asked_by_problem(inputs)
    for key in ("tagged", "placed"):
        asked[key] = [column for column in asked.get(key, ()) if kinds[column] in ("word", "piece")]
    standard: dict[str, Any] = {
        "max_lengths": {} if training.fixed_lengths else training.max_lengths or {},
        "fixed_lengths": training.fixed_lengths or {},
        "add_start_end": inputs.add_start_end_for_seq,
    }
    tokenizer = training.tokenizer or ("jieba" if draft.language.lower() == "chinese" else "nltk")
    return InputPlan(
        branches=inputs.model_inputs,
        kinds=kinds,
        sources=sources,
        clusters={column: name for name, columns in clusters.items() for column in columns} | pieces,
        tokenizer=tokenizer,
        preprocessing=list(training.text_preprocessing),
        min_word_frequency=training.vocabulary.min_word_frequency,
        max_vocabulary=training.vocabulary.max_vocabulary,
        extra_words=extra_words,
        joined=[branches for branches, _, _ in draft.encoders if len(branches) > 1],
        **standard | asked,
    )


def _encoder_problems(conf: InputsConf, draft: _Draft) -> Iterator[tuple[str, str]]:
    """(path, sentence) of branches that an encoder cannot read beside the other layers."""
    first: dict[str, str] = {}
    of_words = {column: cluster for cluster, columns in draft.clusters.items() for column in columns}
    for branches, tokenizer, path in draft.encoders:
        for branch in branches:
            for column in conf.model_inputs.get(branch, ()):
                way = "Give the encoder a branch with a column of its own; file_header may name one twice."
                if column in of_words:
                    sentence = (
                        f"'{branch}' has column '{column}', which cluster {of_words[column]} of the Embedding has."
                    )
                    yield path, f"{sentence} {way}"
                elif first.setdefault(column, tokenizer) != tokenizer:
                    yield path, f"'{branch}' has column '{column}', which another tokenizer splits. {way}"


def _asked_by_problem(inputs: InputsConf) -> dict[str, Any]:
    """The fields of the input plan that the problem settles."""
    try:
        asked: dict[str, Any] = PROBLEMS[inputs.dataset_type].plan(inputs)  # type: ignore[attr-defined]
    except ValueError:  # what the problem itself will say, too
        return {}
    return asked


def unfitted_branches(plan: InputPlan, vocabulary: int) -> dict[str, Spec]:
    """The specs of the branches before any vocabulary is known."""
    return plan.specs(dict.fromkeys(set(plan.clusters.values()), vocabulary))


def _trace_unfitted(draft: _Draft, problem: Problem | None, are_branches_unsound: bool) -> Graph:
    """The graph before any data is read, of what is sound."""
    assert draft.inputs is not None
    if draft.is_read and not are_branches_unsound:
        branches = unfitted_branches(make_plan(draft), UNFITTED_SIZE)
    else:
        branches = dict.fromkeys(draft.inputs.model_inputs, Spec("BT", ids=True))
        if draft.embedding:
            draft = replace(draft, layers=[None, *draft.layers[1:]])
    if problem is None:
        columns = draft.inputs.target if draft.inputs and draft.inputs.target else [""]
        any_target = Answered(
            dict.fromkeys(columns, UNFITTED_SIZE), {layer: columns[0] for layer in draft.layer_ids if layer}
        )
        return trace(draft.layers, branches, any_target, _read_by_losses(draft), draft.layer_ids)
    return trace_all(draft, branches, problem)[0]


def _read_by_losses(draft: _Draft) -> list[str]:
    return [address for conf in draft.losses if conf is not None for address in conf.inputs]


def _answered(draft: _Draft, problem: Problem, more: int = 0) -> tuple[Answered, list[Finding]]:
    """Which output layer answers which target, and what is not clear about it.

    A single output layer answers a single target. Of several, each answers the target with which a loss reads it.
    more  counts on top of UNFITTED_SIZE
    """
    sizes = {column: size or _Unfitted(UNFITTED_SIZE + more) for column, size in problem.answer_sizes.items()}
    places = {
        conf.layer_id: f"architecture[{index}]"
        for index, conf in enumerate(draft.layers)
        if conf is not None and conf.output_layer_flag and conf.layer_id
    }
    if len(sizes) == 1 and len(places) < 2:
        return Answered(sizes, dict(zip(places, sizes, strict=False))), []
    read: dict[str, set[str]] = {layer: set() for layer in places}
    for loss in draft.losses:
        first = loss.inputs[0].partition(".")[0] if loss is not None and loss.inputs else ""
        if loss is not None and first in read:
            read[first] |= {column for column in loss.inputs[1:] if column in sizes}
    layers = {layer: next(iter(columns)) for layer, columns in read.items() if len(columns) == 1}
    if None in draft.losses or None in draft.layers:
        return Answered(sizes, layers), []
    if len(sizes) == 1:
        sentence = f"{' and '.join(read)} are output layers, but this problem has one answer."
        return Answered(sizes, layers), [Finding("architecture", sentence)]
    findings = []
    for layer, columns in read.items():
        if len(columns) == 1:
            continue
        sentence = (
            f"is read by losses of {' and '.join(sorted(columns))}; each of them needs an output layer of its own."
        )
        if not columns:
            sentence = f"is an output layer, but no loss reads it together with a target ({', '.join(sizes)})."
        findings.append(Finding(places[layer], f"'{layer}' {sentence}"))
    for column in sizes:
        answering = [layer for layer in layers if layers[layer] == column]
        if len(answering) > 1:
            findings.append(Finding("architecture", f"{' and '.join(answering)} both answer target '{column}'."))
        elif not answering and not findings:
            findings.append(Finding("architecture", f"no output layer answers target '{column}'."))
    return Answered(sizes, layers), findings


def trace_all(draft: _Draft, branches: Mapping[str, Spec], problem: Problem) -> tuple[Graph, list[Term]]:
    """Graph and losses with every problem in `graph.findings`."""
    answered, unclear = _answered(draft, problem)
    graph = trace(draft.layers, branches, answered, _read_by_losses(draft), draft.layer_ids)
    targets = problem.target_specs()
    terms = trace_losses(draft.losses, draft.loss, graph, targets, problem.group_by)
    if not draft.losses:
        graph.refuse("loss", "names no loss.")
    if draft.training and draft.training.batch_tokens and any(term.group_by for term in terms):
        graph.refuse("training_params.batch_tokens", "counts tokens, but a loss needs whole groups in a batch.")
    for layer, column in graph.outputs.items():
        index = next(i for i, conf in enumerate(draft.layers) if conf is not None and conf.layer_id == layer)
        try:
            if column:
                problem.check_output(graph.specs[layer], column)
        except ValueError as error:
            graph.refuse(f"architecture[{index}]", str(error))
    graph.findings += unclear
    return graph, terms
