"""What training minimises: the losses of a config, each with its addresses and its weight, added up."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import core.conf
from core.config import LossConf, LossesConf
from core.errors import Finding
from core.types import Batch, Outputs, Spec, lookup
from losses import LOSSES
from losses.base import Loss
from losses.disagreement import disagreement
from model_zoo.graph import Graph


@dataclass(frozen=True)
class Term:
    """One loss that fits: its Conf, its addresses, the specs that stand there, its factor, the column of its groups."""

    name: str
    conf: Loss.Conf
    inputs: tuple[str, ...]
    specs: tuple[Spec, ...]
    weight: float
    group_by: str | None


def trace_losses(
    losses: list[LossConf | None],
    section: LossesConf | None,
    graph: Graph,
    targets: Mapping[str, Spec],
    group_by: str | None,
) -> list[Term]:
    """The terms of the sum; what does not fit is added to the graph's findings. None = refused by the schema."""
    factors = section.weights if section is not None else None
    if factors is not None and len(factors) != len(losses):
        graph.refuse("loss.weights", f"{len(factors)} weights for {len(losses)} losses.")
        factors = None
    terms = []
    for index, conf in enumerate(losses):
        if conf is not None:
            weight = conf.weight * (factors[index] if factors else 1.0)
            terms.append(_trace_loss(conf, f"loss.losses[{index}]", weight, graph, targets, group_by))
    sound = [term for term in terms if term is not None]
    if not graph.findings and len(sound) == len(losses):
        graph.notices += [Finding(*notice) for notice in _unread(sound, graph, targets)]
    return sound


def _trace_loss(
    conf: LossConf, path: str, weight: float, graph: Graph, targets: Mapping[str, Spec], group_by: str | None
) -> Term | None:
    """The term of one loss; None where it does not fit."""
    if conf.type not in LOSSES:
        graph.refuse(f"{path}.type", LOSSES.unknown(conf.type))
        return None
    specs = _specs(conf.inputs, f"{path}.inputs", graph, targets, group_by)
    if len(specs) < len(conf.inputs):
        return None
    if conf.inputs and conf.inputs[0] in targets and conf.inputs[-1] not in targets:
        graph.refuse(f"{path}.inputs", "the layer comes first, then the target column.")
        return None
    loss_conf: type[Loss.Conf] = LOSSES[conf.type].Conf  # type: ignore[attr-defined]
    try:
        read: Loss.Conf = core.conf.read(loss_conf, conf.conf)
    except ValueError as error:
        graph.refuse(f"{path}.conf", str(error))
        return None
    try:
        inspect.signature(read.check).bind(*specs)
    except TypeError:
        graph.refuse(f"{path}.inputs", f"{conf.type} takes two addresses, the layer and the target column.")
        return None
    try:
        read.check(*specs)
    except ValueError as error:
        graph.refuse(path, str(error))
        return None
    if loss_conf.reads_groups and group_by is None:
        sentence = "needs to know which rows belong together: name their column in inputs.group_by."
        graph.refuse(path, f"{conf.type} {sentence}")
    idle = [*core.conf.notices(loss_conf, conf.conf, f"{path}.conf")]
    idle += [(f"{path}.{place}", sentence) for place, sentence in read.notices(*specs).items()]
    if loss_conf.reads_logits and "logits" in specs[0].parts:
        sentence = f"'{conf.inputs[0]}' gives probabilities; {conf.type} takes the scores before them."
        idle.append((f"{path}.inputs[0]", sentence))
    graph.notices += [Finding(*notice) for notice in idle]
    return Term(conf.type, read, tuple(conf.inputs), specs, weight, group_by if loss_conf.reads_groups else None)


def _specs(
    addresses: Sequence[str], path: str, graph: Graph, targets: Mapping[str, Spec], group_by: str | None
) -> tuple[Spec, ...]:
    """What stands at the addresses of a loss; less than one for each where one names nothing sound."""
    found = []
    for place, address in enumerate(addresses):
        if address in (*targets, group_by) and address in graph.names:
            sentence = f"'{address}' is a column of the data and a layer or input; rename one."
            graph.refuse(f"{path}[{place}]", sentence)
        elif address not in targets and (sentence := graph.reference_problem(address, targets)):
            graph.refuse(f"{path}[{place}]", sentence)
        found.append(targets.get(address) or graph.spec_at(address))
    return tuple(spec for spec in found if spec is not None)


def _unread(terms: list[Term], graph: Graph, targets: Mapping[str, Spec]) -> Iterator[tuple[str, str]]:
    """(path, sentence) of target columns that teach nothing, and of parts of the answer that learn nothing."""
    readers = [*(term.inputs for term in terms), *(layer.inputs for layer in graph.layers)]
    read = {address for inputs in readers for address in inputs}
    for column in targets:
        if column not in read:
            yield "inputs.target", f"no loss reads '{column}', so nothing learns from it."
    for layer in graph.outputs:
        parts = {f"{layer}.{part}" for part in graph.specs[layer].parts}
        if layer not in read and parts & read:
            for address in sorted(parts - read):
                yield "loss.losses", f"no loss reads '{address}', so it learns nothing by itself."


class Objective(nn.Module):
    """The weighted sum of losses."""

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self.terms = terms
        self.losses = nn.ModuleList([term.conf.build(*term.specs) for term in terms])

    @property
    def addresses(self) -> set[str]:
        """All that the losses read."""
        read = {address for term in self.terms for address in term.inputs}
        return read | {term.group_by for term in self.terms if term.group_by is not None}

    @property
    def layers(self) -> set[str]:
        """The layers whose outputs they need; what else a model computes teaches it nothing."""
        return {address.partition(".")[0] for address in self.addresses}

    def forward(self, outputs: Outputs, batch: Batch, share: float = 1.0) -> Tensor:
        """A scalar in float32; a sum over rows stands for that of all rows, of which this share is in the batch."""
        total: Tensor | None = None
        for term, loss in zip(self.terms, self.losses, strict=True):
            inputs = [batch.targets[a] if a in batch.targets else lookup(outputs, a) for a in term.inputs]
            if term.group_by is not None:
                inputs.append(batch.targets[term.group_by])
            weight = term.weight / share if term.conf.is_sum else term.weight
            value = loss(*inputs) if weight == 1 else loss(*inputs) * weight
            total = value if total is None else total + value
        assert total is not None
        return total

    def disagreement(self, outputs: Outputs) -> Tensor:
        """How far the answers for rows that stand in a batch twice differ: a scalar in float32."""
        terms = [disagreement(lookup(outputs, term.inputs[0]), term.specs[1]) * term.weight for term in self.terms]
        return torch.stack(terms).sum()
