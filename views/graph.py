"""The graph of a config: what a page or a picture of it shows. No weight is trained and no data is read."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import core.conf
from block_zoo import BLOCKS
from core.conf import JSON
from core.errors import Finding
from core.run_folder import RunFolder
from core.types import Spec
from distillation import TEACHERS, WEIGHTINGS
from distillation.base import ALL
from engine.draft import make_plan
from engine.experiment import Examined, examined
from engine.predictor import opened
from engine.stages import stage_documents
from engine.summary import Count, Sizes
from engine.teachers import make_teachers
from engine.tracing import UNFITTED_SIZE
from losses import LOSSES
from model_zoo.graph import TOKEN_AXES, Graph
from views.costs import multiply_adds

TOKENS = 32
"""Tokens of a text whose multiply-adds are counted."""
GROUP = 3
"""Layers with the same first word of their ids make a group, from so many on."""


@dataclass(frozen=True)
class Node:
    """A box.

    settings  name, value, and whether it is the default
    """

    id: str
    title: str
    kind: str
    family: str
    settings: list[tuple[str, str, bool]] = field(default_factory=list)
    shape: str = ""
    parameters: str = ""
    multiply_adds: int | None = None
    shares: str = ""
    """The layer whose weights it uses."""
    group: str = ""
    is_output: bool = False
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Edge:
    """What one box reads of another: its address inside it and its shape; whether some of it may be padding."""

    source: str
    target: str
    part: str
    shape: str
    is_masked: bool


@dataclass(frozen=True)
class Drawing:
    """The graph of one stage."""

    title: str
    nodes: list[Node]
    edges: list[Edge]
    parameters: str
    multiply_adds: int
    legend: str
    """What letters stand for."""
    problems: list[str]
    """Those that no box has."""
    tokens: int = TOKENS

    def as_json(self) -> JSON:
        """For the page."""
        return asdict(self)


def drawings(document: JSON, plugins: Collection[str] | None = None, fitted: Graph | None = None) -> list[Drawing]:
    """The graph of a config, or of each of its stages, as far as it is sound; problems stand where they are.

    plugins  the modules that may be imported; None = those that the document names
    fitted   the graph of the trained model, whose sizes the data has told
    """
    stages = stage_documents(document) or [document]
    return [
        _drawing(stage, plugins, fitted, f"Stage {number} of {len(stages)}" if len(stages) > 1 else "")
        for number, stage in enumerate(stages, start=1)
    ]


def run_drawings(run: RunFolder, plugins: Collection[str] = ()) -> list[Drawing]:
    """The graph of a trained model, its sizes as its data has told them. UserError where the run is damaged."""
    *_, graph = opened(run, plugins=plugins)
    return drawings(run.read_config(), plugins, graph)


def _drawing(document: JSON, plugins: Collection[str] | None, fitted: Graph | None, title: str) -> Drawing:
    return _Sketch(document, examined(document, files=False, plugins=plugins), fitted).drawing(title)


class _Sketch:
    """A drawing as it is made: boxes by the name that addresses begin with."""

    def __init__(self, document: JSON, found: Examined, fitted: Graph | None) -> None:
        self.document, self.found, self.draft = document, found, found.draft
        self.losses = _objects(_object(document.get("loss")).get("losses"))
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.owners: dict[str, str] = {}
        """First name of an address -> its box."""
        self.said: list[Finding] = []
        """Problems that a box has shown."""
        problem, complaints = found.problem, list[Finding]()
        self.graph = fitted or found.graph
        self.sizes = Sizes.fitted(fitted) if fitted is not None else None
        if self.sizes is None and problem is not None and found.graph is not None:
            self.sizes = Sizes.of(self.draft, problem)
        self.teachers = {} if problem is None else make_teachers(self.draft, problem, complaints)
        self.absent = complaints

    def drawing(self, title: str) -> Drawing:
        self._add_inputs()
        for index, layer in enumerate(_objects(self.document.get("architecture"))):
            self._add_layer(index, layer)
        self._add_teachers()
        for index, loss in enumerate(self.losses):
            self._add_loss(index, loss)
        costs = [node.multiply_adds or 0 for node in self.nodes.values()]
        total = self.sizes.total if self.sizes else Count()
        said = {id(finding) for finding in self.said}
        others = [str(finding) for finding in self.found.problems if id(finding) not in said]
        legend = self.sizes.legend(make_plan(self.draft)) if self.sizes else ""
        if total.per_label or total.per_pair:
            legend += f" (multiply-adds: {UNFITTED_SIZE})"
        return Drawing(title, [*_grouped(self.nodes.values())], self.edges, str(total), sum(costs), legend, others)

    def _add_inputs(self) -> None:
        """A box for each branch, and for each target that a loss or a teacher reads."""
        draft = self.draft.inputs
        for branch, columns in (draft.model_inputs if draft else {}).items():
            settings = [("columns", ", ".join(columns), False)]
            self._add(
                Node(f"branch {branch}", branch, "texts", "data", settings), branch, f"inputs.model_inputs.{branch}"
            )
        for column in draft.target if draft else []:
            self._add(Node(f"target {column}", column, "target", "data"), column, "inputs.target")

    def _add_layer(self, index: int, layer: Mapping[str, JSON]) -> None:
        graph, path = self.graph, f"architecture[{index}]"
        block, name = str(layer.get("layer")), str(layer.get("layer_id") or layer.get("layer"))
        traced = None
        if graph is not None:
            of_branches = [graph.embedding] if graph.embedding is not None and index == 0 else []
            traced = next((one for one in [*of_branches, *graph.layers] if one.id == name), None)
        node = Node(
            f"layer {name}" if traced or f"layer {name}" not in self.nodes else f"layer {name} {index}",
            name,
            traced.block if traced else block,
            traced.conf.family if traced else BLOCKS[block].Conf.family if block in BLOCKS else "other",  # type: ignore[attr-defined]
            _settings(traced.conf, layer.get("conf")) if traced else _given(layer.get("conf")),
            is_output=bool(layer.get("output_layer_flag")),
            shares=(traced.shares if traced else block if f"layer {block}" in self.nodes else "") or "",
        )
        if traced and self.sizes:
            node = replace(node, parameters="" if traced.shares else str(self.sizes.counts.get(name, Count())))
            node = replace(node, multiply_adds=multiply_adds(traced, TOKENS))
            if traced is not graph.embedding:  # type: ignore[union-attr]
                node = replace(node, shape=self.sizes.shape(name))
        self._add(node, name, path)
        if block in BLOCKS and BLOCKS[block].Conf.reads_branches:  # type: ignore[attr-defined]
            branches = self.draft.inputs.model_inputs if self.draft.inputs else ()
            for branch in traced.inputs if traced else branches:
                self.edges.append(Edge(f"branch {branch}", node.id, "", "B x T", True))
                self.owners[branch] = node.id  # others read it embedded
        for address in _texts(layer.get("inputs")):
            self._connect(address, node)

    def _add_teachers(self) -> None:
        """A box for each teacher, and one for what all of them say together."""
        for name, teacher in _object(self.document.get("teachers")).items():
            conf = _object(teacher)
            node = Node(f"teacher {name}", name, str(conf.get("type")), "teacher", _of_registry(TEACHERS, conf))
            absent = [at.message for at in self.absent if at.path.startswith(f"teachers.{name}")]
            self._add(replace(node, notes=absent), name, f"teachers.{name}")
        read = {address.partition(".")[0] for loss in self.losses for address in _texts(loss.get("inputs"))}
        if self.draft.teachers and (ALL in read or self.document.get("weighting")):
            conf = _object(self.document.get("weighting")) or {"type": "Uniform"}
            node = Node("weighting", "teachers", str(conf.get("type")), "teacher", _of_registry(WEIGHTINGS, conf))
            self._add(node, ALL, "weighting")
            for name in self.draft.teachers:
                self._connect(name, node)

    def _add_loss(self, index: int, loss: Mapping[str, JSON]) -> None:
        kind = str(loss.get("type"))
        weight = [("weight", _shown(loss["weight"]), False)] if "weight" in loss else []
        node = Node(f"loss {index}", kind, "loss", "loss", [*weight, *_of_registry(LOSSES, loss)])
        self._add(node, "", f"loss.losses[{index}]")
        for address in _texts(loss.get("inputs")):
            self._connect(address, node)

    def _add(self, node: Node, name: str, path: str) -> None:
        """A box at a place of the config, whose problems it shows."""
        here = [finding for finding in self.found.problems if _is_below(finding.path, path)]
        self.said += here
        problems = [f"{finding.path.removeprefix(path).lstrip('.') or path}: {finding.message}" for finding in here]
        self.nodes[node.id] = replace(node, problems=problems)
        if name:
            self.owners[name] = node.id

    def _connect(self, address: str, node: Node) -> None:
        """An edge from what an address names; a box for what is not there."""
        name, _, part = address.partition(".")
        if name not in self.owners:
            waiting = [one.get("layer_id") for one in _objects(self.document.get("architecture"))]
            if name in waiting:
                self.owners[name] = f"layer {name}"
            else:
                missing = Node(f"missing {name}", name, "not there", "missing")
                self.nodes[missing.id], self.owners[name] = missing, missing.id
        spec = self._spec(address)
        source = self.owners[name]
        label = part if source == f"layer {name}" or not source.startswith("layer ") else address
        shape = "" if spec is None else self._shape(address, spec)
        masked = spec is not None and not TOKEN_AXES.isdisjoint(spec.axes)
        self.edges.append(Edge(source, node.id, label, shape, masked))

    def _spec(self, address: str) -> Spec | None:
        name, _, rest = address.partition(".")
        if (teacher := self.teachers.get(name)) is not None:
            found: Spec | None = teacher.specs.get(teacher.canonical(rest))
            return found
        if self.found.problem is not None and address in (targets := self.found.problem.target_specs()):
            return targets[address]
        return self.graph.spec_at(address) if self.graph is not None else None

    def _shape(self, address: str, spec: Spec) -> str:
        of_model = self.sizes is not None and self.sizes.graph.spec_at(address) is not None
        return self.sizes.shape(address) if self.sizes is not None and of_model else str(spec)


def _grouped(nodes: Iterable[Node]) -> Iterable[Node]:
    """Layers whose ids begin with the same word make a group."""
    nodes = list(nodes)
    words = [node.title.split("_")[0] for node in nodes if node.id.startswith("layer ") and "_" in node.title]
    for node in nodes:
        word = node.title.split("_")[0]
        is_one = node.id.startswith("layer ") and "_" in node.title and words.count(word) >= GROUP
        yield replace(node, group=word) if is_one else node


def _settings(conf: core.conf.Conf, given: JSON) -> list[tuple[str, str, bool]]:
    """Every field of a Conf, and whether it is what it would be anyway."""
    return [(name, _shown(value), name not in _object(given)) for name, value in core.conf.to_json(conf).items()]


def _of_registry(registry: Any, section: Mapping[str, JSON]) -> list[tuple[str, str, bool]]:
    """The settings of what a section of the config names, as far as they are sound."""
    try:
        conf = core.conf.read(registry[section["type"]].Conf, section.get("conf") or {})
    except (KeyError, TypeError, ValueError):
        return _given(section.get("conf"))
    return _settings(conf, section.get("conf"))


def _given(conf: JSON) -> list[tuple[str, str, bool]]:
    return [(str(name), _shown(value), False) for name, value in _object(conf).items()]


def _shown(value: JSON) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith((f"{place}.", f"{place}["))


def _object(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, dict) else {}


def _objects(value: JSON) -> list[Mapping[str, JSON]]:
    return [*map(_object, value)] if isinstance(value, list) else []


def _texts(value: JSON) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
