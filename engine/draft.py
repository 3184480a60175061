"""The sound parts of a config, and what can be made of them before any data is read."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import core.conf
from block_zoo import BLOCKS
from block_zoo.embedding import EncoderInit
from core.conf import JSON, Conf
from core.config import (
    ExperimentConf,
    InputsConf,
    LayerConf,
    LossConf,
    LossesConf,
    OptimizerConf,
    OutputsConf,
    TeacherConf,
    TrainingConf,
    WeightingConf,
)
from core.errors import Finding
from core.types import Spec
from model_zoo.graph import source_of
from problems import PROBLEMS
from problems.base import Problem
from text.encoder import InputPlan


@dataclass
class Draft:
    """The sound parts of a config that may have unsound ones (None)."""

    language: str
    inputs: InputsConf | None
    outputs: OutputsConf | None
    training: TrainingConf | None
    layers: list[LayerConf | None]
    layer_ids: list[str | None]
    loss: LossesConf | None
    losses: list[LossConf | None]
    teachers: dict[str, TeacherConf | None]
    weighting: WeightingConf | None

    @classmethod
    def of(cls, conf: ExperimentConf) -> "Draft":
        """All parts of a sound config."""
        layers: list[LayerConf | None] = [*conf.architecture]
        losses: list[LossConf | None] = [*conf.loss.losses] if conf.loss else []
        return cls(
            conf.language, conf.inputs, conf.outputs, conf.training_params, layers, [None] * len(layers), conf.loss,
            losses, {**conf.teachers}, conf.weighting,
        )  # fmt: skip

    @classmethod
    def read(cls, document: JSON, problems: list[Finding]) -> "Draft":
        """The parts of a document that no problem lies in."""
        if not isinstance(document, dict):
            return cls("english", None, None, None, [], [], None, [], {}, None)

        refused = [problem.path for problem in problems]

        def is_sound(path: str) -> bool:
            return not any(place == path or place.startswith((f"{path}.", f"{path}[")) for place in refused)

        def read(kind: type[Conf], value: JSON, path: str) -> JSON:
            try:
                return core.conf.read(kind, value)
            except ValueError as error:
                problems.append(Finding.of(error, path))
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

        teachers: JSON = document.get("teachers")
        weighting: JSON = document.get("weighting") or {}
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
            {
                name: read(TeacherConf, value, f"teachers.{name}") if is_sound(f"teachers.{name}") else None
                for name, value in (teachers.items() if isinstance(teachers, dict) else ())
            },
            read(WeightingConf, weighting, "weighting") if is_sound("weighting") else None,
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


def _text(value: JSON, key: str) -> str | None:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def reads_pieces(conf: ExperimentConf) -> bool:
    """Whether a pretrained encoder is among the layers."""
    return bool(Draft.of(conf).encoders)


def word_init(draft: "Draft | ExperimentConf") -> EncoderInit | None:
    """The encoder that vectors of words come from, if the config names one."""
    draft = Draft.of(draft) if isinstance(draft, ExperimentConf) else draft
    embedding: Any = draft.embedding
    return embedding.word.init if embedding is not None and embedding.word is not None else None


def make_problem(conf: InputsConf) -> Problem:
    """The problem that the inputs describe, not fitted yet."""
    problem: Problem = PROBLEMS[conf.dataset_type](conf)
    return problem


def make_plan(draft: "Draft | ExperimentConf", extra_words: Iterable[str] = ()) -> InputPlan:
    """How texts become ids: the branches of the inputs, the clusters of the embedding, the vocabulary settings."""
    draft = Draft.of(draft) if isinstance(draft, ExperimentConf) else draft
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
    asked = asked_by_problem(inputs)
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


def asked_by_problem(inputs: InputsConf) -> dict[str, Any]:
    """The fields of the input plan that the problem settles."""
    try:
        asked: dict[str, Any] = PROBLEMS[inputs.dataset_type].plan(inputs)  # type: ignore[attr-defined]
    except ValueError:  # what the problem itself will say, too
        return {}
    return asked


def unfitted_branches(plan: InputPlan, vocabulary: int) -> dict[str, Spec]:
    """The specs of the branches before any vocabulary is known."""
    return plan.specs(dict.fromkeys(set(plan.clusters.values()), vocabulary))
