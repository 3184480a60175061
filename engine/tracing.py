"""The graph and the losses of a config, and which output layer answers which target."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import core.conf
from core.errors import Finding
from core.types import Frames, Spec
from distillation import WEIGHTINGS
from engine.draft import Draft, make_plan, unfitted_branches
from engine.terms import Teachers, Term, trace_losses
from model_zoo.graph import Answered, Graph, trace
from problems.base import Problem

UNFITTED_SIZE = 2
"""Stands for the number of labels and of vocabulary entries until the training rows are read."""


class _Unfitted(int):
    """A number of labels that only the training rows tell: computed with as a number, shown as the letter C."""

    def __str__(self) -> str:
        return "C"


def trace_all(
    draft: Draft, branches: Mapping[str, Spec], problem: Problem, teachers: Teachers | None = None
) -> tuple[Graph, list[Term]]:
    """Graph and losses with every problem in `graph.findings`. Without teachers, losses on them are left out."""
    answered, unclear = _answered(draft, problem)
    graph = trace(draft.layers, branches, answered, _read_by_losses(draft), draft.layer_ids)
    targets = problem.target_specs()
    terms = trace_losses(draft, graph, targets, problem.group_by, teachers)
    if not draft.losses:
        graph.refuse("loss", "names no loss.")
    if draft.training and draft.training.batch_tokens and any(term.group_by for term in terms):
        graph.refuse("training_params.batch_tokens", "counts tokens, but a loss needs whole groups in a batch.")
    for layer, column in graph.outputs.items():
        index = next(i for i, conf in enumerate(draft.layers) if conf is not None and conf.layer_id == layer)
        try:
            if column:
                problem.check_output(graph.specs[layer], column)
                next(traced.conf for traced in graph.layers if traced.id == layer).check_target(targets[column])
                _check_tokens(graph.specs[layer], targets[column])
        except ValueError as error:
            graph.refuse(f"architecture[{index}]", str(error))
    graph.findings += unclear
    return graph, terms


def _check_tokens(output: Spec, target: Spec) -> None:
    """ValueError where a layer answers the tokens of other texts than the target is about."""
    if output.texts and target.texts and not output.texts & target.texts:
        asked, given = (", ".join(sorted(spec.texts)) for spec in (target, output))
        raise ValueError(f"must answer the tokens of {asked}, but reads those of {given}.")


def trace_unfitted(
    draft: Draft, problem: Problem | None, are_branches_unsound: bool, teachers: Teachers | None = None
) -> Graph:
    """The graph before any data is read, of what is sound."""
    assert draft.inputs is not None
    if draft.is_read and not are_branches_unsound:
        branches = unfitted_branches(make_plan(draft), UNFITTED_SIZE)
    else:
        of_encoders = {branch for read, _, _ in draft.encoders for branch in read}
        branches = {
            branch: Spec("BT", ids=True, frames=Frames() if branch in of_encoders else None)
            for branch in draft.inputs.model_inputs
        }
        if draft.embedding:
            draft = replace(draft, layers=[None, *draft.layers[1:]])
    if problem is None:
        columns = draft.inputs.target if draft.inputs and draft.inputs.target else [""]
        any_target = Answered(
            dict.fromkeys(columns, UNFITTED_SIZE), {layer: columns[0] for layer in draft.layer_ids if layer}
        )
        return trace(draft.layers, branches, any_target, _read_by_losses(draft), draft.layer_ids)
    return trace_all(draft, branches, problem, teachers)[0]


def _answered(draft: Draft, problem: Problem, more: int = 0) -> tuple[Answered, list[Finding]]:
    """Which output layer answers which target, and what is not clear about it.

    A single output layer answers a single target. Of several, each answers the target with which a loss reads it, or
    with a teacher's answer to it (`big.label`).
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
            others = {address if address in sizes else address.partition(".")[2] for address in loss.inputs[1:]}
            read[first] |= others & sizes.keys()
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
            told = [f", or with a teacher's answer to it ({name}.{next(iter(sizes))})" for name in draft.teachers][:1]
            sentence = f"is an output layer, but no loss reads it together with a target ({', '.join(sizes)})"
            sentence = f"{sentence}{''.join(told)}."
        findings.append(Finding(places[layer], f"'{layer}' {sentence}"))
    for column in sizes:
        answering = [layer for layer in layers if layers[layer] == column]
        if len(answering) > 1:
            findings.append(Finding("architecture", f"{' and '.join(answering)} both answer target '{column}'."))
        elif not answering and not findings:
            findings.append(Finding("architecture", f"no output layer answers target '{column}'."))
    return Answered(sizes, layers), findings


def trace_more(draft: Draft, branches: Mapping[str, Spec], problem: Problem, more: int) -> Graph:
    """The graph as it would be with so many more labels of each target whose labels are not known yet."""
    return trace(draft.layers, branches, _answered(draft, problem, more)[0], _read_by_losses(draft))


def _read_by_losses(draft: Draft) -> list[str]:
    read = [address for conf in draft.losses if conf is not None for address in conf.inputs]
    weighting = draft.weighting
    with suppress(ValueError):  # as the check of the weighting will say
        if weighting is not None:
            conf = core.conf.read(WEIGHTINGS[weighting.type].Conf, weighting.conf)  # type: ignore[attr-defined]
            read += conf.reads.values()
    return read
