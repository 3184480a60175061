"""Blocks wired by a config: first traced (specs through the whole graph, every problem at once), then built."""

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import core.conf
from block_zoo.base import BLOCKS, Block
from core.config import LayerConf
from core.errors import Finding, UserError, did_you_mean, known_names
from core.types import Features, Spec, lookup

TOKEN_AXES = frozenset("TSK")
"""Axes over the tokens or characters of a text."""


@dataclass(frozen=True)
class Layer:
    """A layer that fits where it stands: its block's Conf, resolved, and the specs that it gets and gives."""

    id: str
    block: str
    conf: Block.Conf
    inputs: tuple[str, ...]
    input_specs: tuple[Spec, ...]
    output_spec: Spec
    shares: str | None = None
    """The layer whose weights this one uses."""


@dataclass(frozen=True)
class Answered:
    """The target columns that output layers answer.

    sizes   target column -> the size of its answer
    layers  output layer -> the column that it answers
    """

    sizes: Mapping[str, int]
    layers: Mapping[str, str] = field(default_factory=dict)

    def placeholders(self, layer: str) -> dict[str, int]:
        """What sizes of answers stand for in the settings of a layer: "#column#", and "#target#" where it is clear."""
        named = {f"#{column}#": size for column, size in self.sizes.items()}
        column = self.layers.get(layer) or (next(iter(self.sizes)) if len(self.sizes) == 1 else None)
        return named if column is None else {**named, "#target#": self.sizes[column]}


class Weight(NamedTuple):
    """A weight of a model: its name, its layers from the top where its block has several, the tensor."""

    name: str
    depth: int
    parameter: nn.Parameter


@dataclass
class Graph:
    """The traced architecture: layers in the order of computation, specs by address, what is wrong."""

    branches: Mapping[str, Spec]
    embedding: Layer | None = None
    layers: list[Layer] = field(default_factory=list)
    specs: dict[str, Spec] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    """Output layer -> the target column that it answers."""
    findings: list[Finding] = field(default_factory=list)
    notices: list[Finding] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """Every branch and layer id, also of layers that are not sound."""
    read: set[str] = field(default_factory=set)
    """Every address that a layer or a loss reads."""

    def refuse(self, path: str, message: str) -> None:
        """Note a problem."""
        self.findings.append(Finding(path, message))

    def reference_problem(self, address: str, also: Collection[str] = ()) -> str:
        """The sentence for an address that names nothing, or an empty string (also when its layer is not sound)."""
        layer, _, part = address.partition(".")
        if layer not in self.names:
            known = {*self.names, *also}
            return f"no layer or input is called '{address}'.{did_you_mean(address, known) or known_names(known)}"
        parts = self.specs[layer].parts if layer in self.specs else {part: None}
        if part and part not in parts:
            conf = next((traced.conf for traced in self.layers if traced.id == layer), None)
            inner = known_names(parts) if parts else " It has no inner states."
            said = (conf.about_part(part) if conf is not None else "") or did_you_mean(part, parts) or inner
            return f"'{layer}' has no inner state '{part}'.{said}"
        return ""

    def spec_at(self, address: str) -> Spec | None:
        """The spec of an address; None where its layer is not sound."""
        layer, _, part = address.partition(".")
        spec = self.specs.get(layer)
        return spec.parts.get(part) if spec is not None and part else spec


def trace(
    confs: Sequence[LayerConf | None],
    branches: Mapping[str, Spec],
    answered: Answered,
    also_used: Collection[str] = (),
    ids: Sequence[str | None] = (),
) -> Graph:
    """Follow the specs through the architecture. Pure: no weight is made.

    None stands for a layer that the schema refused; `ids` gives the names of those, so that references to them are not
    reported as well. `also_used` are addresses that losses read.
    """
    branches = {name: _counting(spec, frozenset([name])) for name, spec in branches.items()}
    graph = Graph(branches, names=set(branches))
    known_ids = [conf.layer_id if conf else (ids[i] if i < len(ids) else None) for i, conf in enumerate(confs)]
    graph.names |= {name for name in known_ids if name}
    readers: dict[int, tuple[LayerConf, Block.Conf, str | None]] = {}
    for index, conf in enumerate(confs):
        refused = {known_ids[earlier] for earlier in range(index) if confs[earlier] is None}
        if conf is not None and conf.layer not in refused and (read := _read_layer(graph, confs, index, conf)):
            readers[index] = (conf, *read)
    _embed(graph, confs, readers)
    _check_names(graph, confs)
    for index in _in_order(graph, readers):
        _trace_layer(graph, index, *readers[index], answered)
    _leave_out_unread(graph, confs, also_used)
    return graph


def _read_layer(
    graph: Graph, confs: Sequence[LayerConf | None], index: int, conf: LayerConf
) -> tuple[Block.Conf, str | None] | None:
    """The block's Conf and the layer that it shares weights with."""
    path, first = f"architecture[{index}]", source_of(confs, index, conf)
    name, fields, shares = first.layer, first.conf or {}, None
    if first is not conf:
        shares = first.layer_id
        if conf.conf:
            graph.refuse(f"{path}.conf", f"has no place here: the layer shares weights and conf of '{conf.layer}'.")
    if name not in BLOCKS:
        earlier = [layer.layer_id for layer in confs[:index] if layer is not None and layer.layer_id]
        hint = did_you_mean(conf.layer, [*BLOCKS, *earlier]) or known_names(BLOCKS)
        graph.refuse(f"{path}.layer", f"no block and no earlier layer is called '{conf.layer}'.{hint}")
        return None
    block_conf: type[Block.Conf] = BLOCKS[name].Conf  # type: ignore[attr-defined]
    try:
        read: Block.Conf = core.conf.read(block_conf, fields)
    except ValueError as error:
        graph.findings.append(Finding.of(error, f"{path}.conf"))
        return None
    if shares is None:
        graph.notices += [Finding(*notice) for notice in core.conf.notices(block_conf, fields, f"{path}.conf")]
    return read, shares


def source_of(confs: Sequence[LayerConf | None], index: int, conf: LayerConf) -> LayerConf:
    """The layer whose weights a layer has: itself, or where it names an earlier layer, that one's."""
    while conf.layer not in BLOCKS:
        named = [i for i, layer in enumerate(confs[:index]) if layer is not None and layer.layer_id == conf.layer]
        if not named:
            break
        index = named[-1]
        conf = confs[index]  # type: ignore[assignment]
    return conf


def _embed(graph: Graph, confs: Sequence[LayerConf | None], readers: dict[int, Any]) -> None:
    """Apply the layer that reads the branches; others see their embedded form, or pieces as an encoder reads them."""
    of_pieces = {branch: spec for branch, spec in graph.branches.items() if spec.frames is not None}
    of_words = {branch: spec for branch, spec in graph.branches.items() if spec.frames is None}
    graph.specs |= of_pieces
    for index in [index for index, (_, block_conf, _) in readers.items() if block_conf.reads_branches]:
        conf, block_conf, _ = readers.pop(index)
        if index != 0:
            graph.refuse(f"architecture[{index}].layer", f"{conf.layer} is the first layer, and there is only one.")
            continue
        for branch, spec in of_words.items():
            try:
                graph.specs[branch] = _counting(block_conf.output_spec(spec), spec.texts)
            except ValueError as error:
                graph.refuse("architecture[0].conf", f"branch '{branch}': {error}")
        sound = [graph.specs[branch] for branch in of_words if branch in graph.specs]
        if sound:
            graph.embedding = Layer(
                conf.layer_id or conf.layer, conf.layer, block_conf, tuple(of_words), tuple(of_words.values()), sound[0]
            )
    if graph.embedding is None and of_words and any(block_conf.reads_pieces for _, block_conf, _ in readers.values()):
        for branch in of_words if len(readers) == len(confs) else ():  # the others may read it
            graph.refuse(f"inputs.model_inputs.{branch}", "no encoder reads it, and there is no Embedding.")
    elif confs and confs[0] is not None and graph.embedding is None and 0 in readers and of_words:
        graph.refuse("architecture[0].layer", "the first layer must be the Embedding.")


def _reads_branches(conf: LayerConf) -> bool:
    return conf.layer in BLOCKS and BLOCKS[conf.layer].Conf.reads_branches  # type: ignore[attr-defined]


def _check_names(graph: Graph, confs: Sequence[LayerConf | None]) -> None:
    seen: dict[str, int] = {}
    for index, conf in enumerate(confs):
        if conf is None or _reads_branches(conf):
            continue
        path = f"architecture[{index}].layer_id"
        if not conf.layer_id:
            graph.refuse(path, f"this {conf.layer} layer needs a layer_id.")
        elif conf.layer_id in seen:
            graph.refuse(path, f"'{conf.layer_id}' is already the id of architecture[{seen[conf.layer_id]}].")
        elif conf.layer_id in graph.branches:
            graph.refuse(path, f"'{conf.layer_id}' is already the name of a branch of inputs.model_inputs.")
        elif "." in conf.layer_id:
            graph.refuse(path, f"'{conf.layer_id}' has a dot: dots separate a layer from its inner states.")
        else:
            seen[conf.layer_id] = index


def _in_order(graph: Graph, readers: Mapping[int, tuple[LayerConf, Block.Conf, str | None]]) -> list[int]:
    """Indices so that every layer comes after those it reads; unknown references and cycles are reported."""
    index_of: dict[str, int] = {}
    for index, (conf, _, _) in readers.items():
        index_of.setdefault(conf.layer_id or "", index)
    waits: dict[int, set[int]] = {}
    for index, (conf, _, shares) in readers.items():
        waits[index] = {index_of[shares]} if shares in index_of else set()
        if not conf.inputs:
            graph.refuse(f"architecture[{index}].inputs", "a layer needs at least one input.")
        for place, address in enumerate(conf.inputs):
            if sentence := graph.reference_problem(address.partition(".")[0]):
                graph.refuse(f"architecture[{index}].inputs[{place}]", sentence)
            elif address.partition(".")[0] in index_of:
                waits[index].add(index_of[address.partition(".")[0]])
    order: list[int] = []
    while ready := [index for index, needed in waits.items() if not needed]:
        order += ready
        waits = {index: needed - set(ready) for index, needed in waits.items() if index not in ready}
    if waits:
        start = index = min(waits)
        walked: list[int] = []
        while index not in walked:
            walked.append(index)
            index = min(waits[index])
        loop = walked[walked.index(index) :]
        ids = [readers[i][0].layer_id or "" for i in [*loop, loop[0]]]
        graph.refuse(f"architecture[{loop[0] if loop else start}].inputs", f"a cycle: {' <- '.join(ids)}.")
    return order


def _trace_layer(
    graph: Graph, index: int, conf: LayerConf, block_conf: Block.Conf, shares: str | None, answered: Answered
) -> None:
    path = f"architecture[{index}]"
    for place, address in enumerate(conf.inputs):
        known = address.partition(".")[0] in graph.names  # others were reported with the order
        if known and (sentence := graph.reference_problem(address)):
            graph.refuse(f"{path}.inputs[{place}]", sentence)
    found = [graph.spec_at(address) for address in conf.inputs]
    inputs = [spec for spec in found if spec is not None]
    if not conf.layer_id or len(inputs) < len(found) or not inputs:
        return
    block_conf = block_conf.resolved(answered.placeholders(conf.layer_id), conf.output_layer_flag)
    block = block_conf.owner.__name__
    wanted = inspect.signature(block_conf.output_spec)
    try:
        wanted.bind(*inputs)
    except TypeError:
        names = ", ".join(wanted.parameters)
        graph.refuse(f"{path}.inputs", f"{block} takes {len(wanted.parameters)} ({names}), got {len(inputs)}.")
        return
    try:
        texts = frozenset[str]().union(*(spec.texts for spec in inputs if "T" in spec.axes))
        output = _counting(block_conf.output_spec(*inputs), texts)
    except ValueError as error:
        graph.refuse(f"{path}.inputs", f"{block} {error}")
        return
    if shares is not None:
        source = next((layer for layer in graph.layers if layer.id == shares), None)
        if source is None:
            return
        if [_static(spec) for spec in source.input_specs] != [_static(spec) for spec in inputs]:
            if _sizes(source):
                have, got = (" and ".join(map(str, specs)) for specs in (source.input_specs, inputs))
                sentence = f"shares the weights of '{shares}', whose input is {have}, but gets {got}."
                graph.refuse(f"{path}.inputs", sentence)
                return
            shares = None  # there are no weights
    if conf.conf:
        said = block_conf.notices(conf.output_layer_flag, *inputs).items()
        graph.notices += [Finding(f"{path}.conf.{field}", sentence) for field, sentence in said]
    graph.specs[conf.layer_id] = output
    graph.layers.append(Layer(conf.layer_id, block, block_conf, tuple(conf.inputs), tuple(inputs), output, shares))
    if conf.output_layer_flag:
        graph.outputs[conf.layer_id] = answered.layers.get(conf.layer_id, "")


def _counting(spec: Spec, texts: frozenset[str]) -> Spec:
    """A spec and its parts with the texts whose tokens they count, where they do not say so themselves."""
    parts = {name: _counting(part, texts) for name, part in spec.parts.items()}
    return replace(spec, parts=parts, texts=spec.texts or (texts if "T" in spec.axes else spec.texts))


def _static(spec: Spec) -> tuple[str, dict[str, int]]:
    """What weights depend on: everything but the lengths of texts."""
    return spec.axes, {axis: size for axis, size in spec.sizes.items() if axis not in TOKEN_AXES}


def _leave_out_unread(graph: Graph, confs: Sequence[LayerConf | None], also_used: Collection[str]) -> None:
    """Drop the layers and branches that no output and no loss needs, each with a notice."""
    if not any(conf is None or conf.output_layer_flag for conf in confs):
        graph.refuse("architecture", 'no layer has "output_layer_flag": true.')
    if None in confs or graph.findings:
        return
    needed = {address.partition(".")[0] for address in (*graph.outputs, *also_used)}
    for layer in reversed(graph.layers):
        if layer.id in needed:
            needed |= {address.partition(".")[0] for address in (*layer.inputs, layer.shares or layer.id)}
    for index, conf in enumerate(confs):
        if conf is not None and conf.layer_id in graph.specs and conf.layer_id not in needed:
            sentence = f"has no effect. Nothing that gives an answer reads '{conf.layer_id}', so it is left out."
            graph.notices.append(Finding(f"architecture[{index}]", sentence))
    for branch in graph.branches:
        if branch not in needed:
            sentence = "has no effect. Nothing that gives an answer reads this branch."
            graph.notices.append(Finding(f"inputs.model_inputs.{branch}", sentence))
    graph.layers = [layer for layer in graph.layers if layer.id in needed]
    graph.read = {*also_used, *(address for layer in graph.layers for address in layer.inputs)}
    if graph.embedding is not None:
        read = {branch: graph.branches[branch] for branch in graph.embedding.inputs if branch in needed}
        graph.embedding = replace(graph.embedding, inputs=tuple(read), input_specs=tuple(read.values()))


def parameter_counts(graph: Graph) -> dict[str, int]:
    """Parameters of each layer; shared ones count once. No weight is made."""
    return {layer.id: 0 if layer.shares else sum(_sizes(layer)) for layer in _with_embedding(graph)}


def _sizes(layer: Layer) -> list[int]:
    """Sizes of the parameters of a layer, which is built on the meta device."""
    with torch.device("meta"), WithoutInit():
        return [parameter.numel() for parameter in layer.conf.build(*layer.input_specs).parameters()]


class WithoutInit(TorchFunctionMode):
    """Skips the initialisation of weights, for which torch would import its compiler on the meta device (a second)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return next(iter((*args, *kwargs.values())))
        return func(*args, **kwargs)


def _with_embedding(graph: Graph) -> Iterable[Layer]:
    return [*([graph.embedding] if graph.embedding else []), *graph.layers]


class Model(nn.Module):
    """The blocks of a sound graph. `forward(inputs)` gives every layer's output by its id; branches are embedded.

    Under autocast, layers that give answers and those that read no tokens still compute in single precision: scores
    that differ in their third digit only would be equal in bf16, and such layers are cheap.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        assert not graph.findings
        self.steps = graph.layers
        self.outputs = graph.outputs
        self.exact = {
            layer.id
            for layer in graph.layers
            if layer.id in graph.outputs or all(TOKEN_AXES.isdisjoint(spec.axes) for spec in layer.input_specs)
        }
        embedding = graph.embedding
        self.embedded = embedding.inputs if embedding is not None else ()
        self.pieces = [branch for branch in graph.branches if branch in graph.read and branch not in self.embedded]
        self.embedding = None if embedding is None else embedding.conf.build(*embedding.input_specs)
        self.blocks = nn.ModuleDict()
        for layer in graph.layers:
            if layer.shares is None:
                self.blocks[_key(layer.id)] = layer.conf.build(*layer.input_specs)
        self._compute(graph.read)

    def restrict(self, addresses: Collection[str]) -> None:
        """Compute only what gives these addresses; all weights stay."""
        read, needed = {*addresses}, []
        for layer in reversed(self.steps):
            if any(address.partition(".")[0] == layer.id for address in read):
                needed.append(layer)
                read |= {*layer.inputs}
        branches = {address.partition(".")[0] for address in read}
        self.steps = needed[::-1]
        self.embedded = tuple(branch for branch in self.embedded if branch in branches)
        self.pieces = [branch for branch in self.pieces if branch in branches]
        self._compute(read)

    def _compute(self, read: Collection[str]) -> None:
        """Tell blocks which of their inner states somebody reads."""
        parts: dict[str, set[str]] = {name: set() for name in self.blocks}
        for layer in self.steps:
            starts = f"{layer.id}."
            parts[_key(layer.shares or layer.id)] |= {a.removeprefix(starts) for a in read if a.startswith(starts)}
        for name, block in self.blocks.items():
            block.wanted = frozenset(parts[name])  # type: ignore[assignment]

    def forward(self, inputs: Mapping[str, Features], wanted: Collection[str] | None = None) -> dict[str, Features]:
        """Branch -> ids (Features with one part per column) to layer or branch -> Features, all or those wanted."""
        outputs = {branch: inputs[branch] for branch in self.pieces}
        if self.embedding is not None:
            outputs |= {branch: self.embedding(inputs[branch]) for branch in self.embedded}
        for layer in self.steps:
            block = self.blocks[_key(layer.shares or layer.id)]
            read = [lookup(outputs, address) for address in layer.inputs]
            try:
                outputs[layer.id] = _in_single_precision(block, read) if layer.id in self.exact else block(*read)
            except UserError as error:
                raise UserError(f"layer '{layer.id}' ({layer.block}): {error}") from error
            except Exception as error:
                error.add_note(f"in layer '{layer.id}' ({layer.block})")
                raise
        return outputs if wanted is None else {name: outputs[name] for name in outputs if name in wanted}

    def rows_by_id(self) -> dict[str, str]:
        """Weights whose rows belong to the ids of a vocabulary, with the cluster of these ids."""
        if self.embedding is None:
            return {}
        return {f"embedding.{name}": cluster for name, cluster in self.embedding.rows_by_id().items()}  # type: ignore[operator]

    def rows_by_hash(self) -> dict[str, str]:
        """Weights whose rows belong to hashes of the ids of a vocabulary, with the cluster of these ids."""
        if self.embedding is None:
            return {}
        return {f"embedding.{name}": cluster for name, cluster in self.embedding.rows_by_hash().items()}  # type: ignore[operator]

    def load_pretrained(self) -> list[str]:
        """Blocks take over the pretrained weights that their Confs name; a sentence for each that did."""
        return [said for block in self.blocks.values() if (said := block.load_pretrained())]  # type: ignore[operator]

    def weights(self) -> Iterator[Weight]:
        """Every weight by the name that a user knows: that of its layer first, or Embedding."""
        for name, parameter in self.named_parameters():
            room, _, inside = name.partition(".")
            if room == "embedding":
                yield Weight(f"Embedding.{inside}", 0, parameter)
            else:
                layer, _, inside = inside.partition(".")
                depth = self.blocks[layer].depth(inside)  # type: ignore[operator]
                yield Weight(f"{layer.removesuffix(':')}.{inside}", depth, parameter)

    def all_learn_from(self, addresses: Collection[str]) -> bool:
        """Whether every layer is read as a whole by those who end at these addresses, so that all weights learn."""
        read = {*addresses}
        for layer in reversed(self.steps):
            if layer.id not in read:
                return False
            read |= {*layer.inputs}
        return read.issuperset(self.embedded)

    def inner_layers(self) -> list[nn.Module]:
        """The layers of which deep blocks are stacks, recurrent ones aside: these run in kernels of their own."""
        stacks = [module for module in self.modules() if isinstance(module, nn.ModuleList)]
        layers = [layer for stack in stacks for layer in stack if any(layer.children())]
        return [layer for layer in layers if not any(isinstance(part, nn.RNNBase) for part in layer.modules())]

    @property
    def _no_split_modules(self) -> list[str]:
        """Their classes, by the name that accelerate asks for: FSDP gathers the weights of one such layer at a time."""
        return sorted({type(layer).__name__ for layer in self.inner_layers()})

    def vectors(self) -> list[nn.Parameter]:
        """The vectors of words and pieces that the model looks up."""
        blocks = [module for module in self.modules() if isinstance(module, Block)]
        return [weight for block in blocks for weight in block.vectors()]


def _in_single_precision(block: nn.Module, read: Sequence[Features]) -> Features:
    """What a block gives without autocast; with it where its weights are gathered in less (FSDP)."""
    kind = read[0].values.device.type
    exact = torch.is_autocast_enabled(kind) and all(weight.dtype == torch.float32 for weight in block.parameters())
    with torch.autocast(kind, enabled=False) if exact else nullcontext():
        found: Features = block(*[features.float() if exact else features for features in read])
    return found


def owner_of(weight: str) -> str:
    """Whose a weight of a model is: the id of its layer, or a part of the embedding."""
    room, *places = weight.split(".")
    return places[0].removesuffix(":") if room == "blocks" else places[0 if places[0] != "tables" else 1]


def _key(layer_id: str) -> str:
    """The name of a layer's module: apart from every attribute that torch modules have (`keys`, `type`, ...)."""
    return f"{layer_id}:"
