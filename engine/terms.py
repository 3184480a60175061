"""The losses of a config, each checked at the addresses that it reads: the terms of the objective."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import core.conf
import core.ramp
from core.config import LossConf
from core.errors import Finding, did_you_mean, known_names
from core.ramp import Ramp
from core.types import Spec
from distillation import WEIGHTINGS
from distillation.base import ALL, Teacher, answer_spec
from distillation.weighting import Weighting
from engine.draft import Draft
from losses import LOSSES
from losses.base import Loss
from losses.teacher_loss import TeacherLoss, is_number
from model_zoo.graph import Graph

INPUTS = {"output": "the layer", "student": "the layer", "target": "the target column", "teacher": "the teacher"}
"""Parameter of a loss -> what is to stand there."""
Teachers = Mapping[str, Teacher | None]
"""Name -> a teacher; None where what the config says of it is not sound."""


@dataclass(frozen=True)
class Weighing:
    """How several teachers are weighed: by whom, their names, the target that tells who is right, their answers, what
    else is read.
    """

    conf: Weighting.Conf
    names: tuple[str, ...]
    target: str
    spec: Spec
    reads: tuple[str, ...]
    specs: tuple[Spec, ...]

    def build(self) -> Weighting:
        """The weighting. ValueError where its settings do not fit the teachers."""
        return self.conf.build(self.names, self.spec, self.specs)


@dataclass(frozen=True)
class Term:
    """One loss that fits: its Conf, its addresses, the specs that stand there, its factor, the column of its groups.

    targets   the columns of the data that it reads
    teacher   the one of several who are weighed that it reads
    weighing  how they are weighed
    """

    name: str
    conf: Loss.Conf
    inputs: tuple[str, ...]
    specs: tuple[Spec, ...]
    weight: float | Ramp
    group_by: str | None
    targets: frozenset[str] = frozenset()
    teacher: str | None = None
    weighing: Weighing | None = None


@dataclass(frozen=True)
class _Scene:
    """What the addresses of losses may name."""

    graph: Graph
    targets: Mapping[str, Spec]
    group_by: str | None
    teachers: Teachers

    def canonical(self, address: str) -> str:
        """The one address of what a teacher gives."""
        name, _, rest = address.partition(".")
        teacher = self.teachers.get(name)
        if teacher is None:
            return address
        rest = teacher.canonical(rest)
        return f"{name}.{rest}" if rest else name

    def spec(self, address: str, path: str) -> Spec | None:
        """What stands at an address; None where it names nothing sound, which is noted as a problem."""
        graph, name = self.graph, address.partition(".")[0]
        if name in graph.names and address in (*self.targets, self.group_by):
            graph.refuse(path, f"'{name}' is a column of the data and a layer or input; rename one.")
        if name in self.teachers:
            return self._of_teacher(name, address.partition(".")[2], path)
        if address not in self.targets:
            known = {*self.targets, *self.teachers, *([ALL] if self.teachers else [])}
            if sentence := graph.reference_problem(address, known):
                graph.refuse(path, sentence)
        return self.targets.get(address) or graph.spec_at(address)

    def can_be_weighed(self, names: Sequence[str], path: str) -> bool:
        """Whether each of these teachers has one answer, by which it is weighed; if not, that is noted as a problem."""
        return None not in [self._of_teacher(name, "", path) for name in names]

    def mixed_up(self, addresses: Sequence[str]) -> str | None:
        """A sentence where a layer that answers one target is to learn what a teacher says to another."""
        layer, *others = addresses
        ours = self.graph.outputs.get(layer)
        for address in others:
            name, _, rest = address.partition(".")
            teacher = self.teachers.get(name)
            found = teacher.answers.items() if teacher is not None else ()
            theirs = [column for column, own in found if own == teacher.canonical(rest)]  # type: ignore[union-attr]
            if ours and theirs and ours not in theirs and ours in dict(found):
                return f"'{layer}' answers {ours}, but '{address}' is what the teacher says to {theirs[0]}."
        return None

    def _of_teacher(self, name: str, rest: str, path: str) -> Spec | None:
        teacher = self.teachers[name]
        if teacher is None:
            return None
        found = teacher.specs.get(teacher.canonical(rest))
        if found is None:
            known = [address for address in teacher.specs if address and "." not in address]
            what = f"'{rest}'" if rest else "one answer of its own"
            hint = did_you_mean(rest, teacher.specs) or known_names(known)
            self.graph.refuse(path, f"teacher '{name}' does not have {what}.{hint}")
        return found


def trace_losses(
    draft: Draft, graph: Graph, targets: Mapping[str, Spec], group_by: str | None, teachers: Teachers | None
) -> list[Term]:
    """The terms of the sum; what does not fit is added to the graph's findings.

    teachers  None = not at hand, as where a trained model is used: losses that read them are left out
    """
    losses, section = draft.losses, draft.loss
    factors = section.weights if section is not None else None
    if factors is not None and len(factors) != len(losses):
        graph.refuse("loss.weights", f"{len(factors)} weights for {len(losses)} losses.")
        factors = None
    scene = _Scene(graph, targets, group_by, teachers or {})
    if taken := [name for name in scene.teachers if name in (*graph.names, *targets, group_by)]:
        for name in taken:
            graph.refuse(f"teachers.{name}", "is the name of a layer, an input or a column, too; rename one.")
        return []
    weighing = _weighing(draft, scene) if teachers else None
    terms: list[Term | None] = []
    for index, conf in enumerate(losses):
        read = {address.partition(".")[0] for address in conf.inputs} if conf is not None else set()
        if conf is None or (teachers is None and not read.isdisjoint({ALL, *draft.teachers})):
            continue
        path, factor = f"loss.losses[{index}]", factors[index] if factors else 1.0
        if ALL not in read or not draft.teachers:
            terms.append(_trace_loss(conf, path, factor, scene))
        elif weighing is not None and scene.can_be_weighed(weighing.names, path):
            for name in weighing.names:
                inputs = [f"{name}{a.removeprefix(ALL)}" if a.partition(".")[0] == ALL else a for a in conf.inputs]
                term = _trace_loss(replace(conf, inputs=inputs), path, factor, scene)
                terms.append(term and replace(term, teacher=name, weighing=weighing))
    sound = [term for term in terms if term is not None]
    if weighing is not None and weighing.conf.trainer and all(issubclass(t.conf.owner, TeacherLoss) for t in sound):
        graph.refuse("loss", "the policy is rewarded for losses on targets, but there is none.")
    if draft.training is not None and draft.training.r_drop and sound and not any(term.targets for term in sound):
        graph.refuse("training_params.r_drop", "compares answers to a target, but no loss reads one.")
    reads_targets = bool(terms) and all(term is not None and term.targets for term in terms)
    if teachers is not None and draft.inputs is not None and reads_targets:
        sentence = "teaches nothing: every loss reads a target. Let one read teachers alone, such as SoftTargetLoss."
        if draft.inputs.data_paths.unlabelled_data_path is not None:
            graph.refuse("inputs.data_paths.unlabelled_data_path", sentence)
        if draft.inputs.augmentation is not None:
            graph.refuse("inputs.augmentation", sentence)
    if draft.training is not None and draft.training.max_epoch is None and any(map(_moves, sound)):
        graph.refuse("training_params.max_epoch", "is missing, but a number of the losses moves until the end.")
    if teachers is not None and not graph.findings and None not in terms:
        graph.notices += [Finding(*notice) for notice in _unread(sound, graph, targets)]
        graph.notices += [Finding(*notice) for notice in _idle_teachers(draft, sound, teachers)]
    return sound


def _moves(term: Term) -> bool:
    return isinstance(term.weight, Ramp) or core.ramp.moves(term.conf)


def _weighing(draft: Draft, scene: _Scene) -> Weighing | None:
    """How the teachers are weighed; None where that is not sound, which is noted as a problem."""
    conf = draft.weighting
    if conf is None:
        return None
    try:
        read: Weighting.Conf = core.conf.read(WEIGHTINGS[conf.type].Conf, conf.conf)  # type: ignore[attr-defined]
    except ValueError as error:
        scene.graph.findings.append(Finding.of(error, "weighting.conf"))
        return None
    names = read.teachers or list(scene.teachers)
    for name in names:
        if name not in scene.teachers:
            hint = did_you_mean(name, scene.teachers) or known_names(scene.teachers)
            scene.graph.refuse("weighting.conf.teachers", f"no teacher is called '{name}'.{hint}")
            return None
    if read.reads_scores and draft.inputs is not None and draft.inputs.data_paths.valid_data_path is None:
        sentence = f"{conf.type} reads validation scores: inputs.data_paths.valid_data_path is missing."
        scene.graph.refuse("weighting", sentence)
        return None
    target = next(iter(scene.targets), "")
    found = [scene.spec(address, f"weighting.conf.{field}") for field, address in read.reads.items()]
    specs = tuple(spec for spec in found if spec is not None)
    if len(specs) < len(found):
        return None
    reads = tuple(map(scene.canonical, read.reads.values()))
    weighing = Weighing(read, tuple(names), target, answer_spec(scene.targets[target]), reads, specs)
    try:
        weighing.build()
    except ValueError as error:
        scene.graph.findings.append(Finding.of(error, "weighting.conf"))
        return None
    return weighing


def _trace_loss(conf: LossConf, path: str, factor: float, scene: _Scene) -> Term | None:
    """The term of one loss; None where it does not fit."""
    graph, targets, group_by = scene.graph, scene.targets, scene.group_by
    if conf.type not in LOSSES:
        graph.refuse(f"{path}.type", LOSSES.unknown(conf.type))
        return None
    found = [scene.spec(address, f"{path}.inputs[{place}]") for place, address in enumerate(conf.inputs)]
    specs = tuple(spec for spec in found if spec is not None)
    if len(specs) < len(conf.inputs):
        return None
    if (first := conf.inputs[0].partition(".")[0] if conf.inputs else "") in scene.teachers:
        graph.refuse(f"{path}.inputs", f"what the student gives comes first, then teacher '{first}'.")
        return None
    if conf.inputs and conf.inputs[0] in targets and conf.inputs[-1] not in targets:
        graph.refuse(f"{path}.inputs", "the layer comes first, then the target column.")
        return None
    if issubclass(LOSSES[conf.type], TeacherLoss) and conf.inputs[1:2] and conf.inputs[1] in targets:
        graph.refuse(f"{path}.inputs[1]", f"'{conf.inputs[1]}' is a target column; {conf.type} reads a teacher there.")
        return None
    if issubclass(LOSSES[conf.type], TeacherLoss) and conf.inputs[1:2]:
        second = conf.inputs[1].partition(".")[0]
        if second not in (*scene.teachers, ALL):
            graph.refuse(f"{path}.inputs[1]", f"'{second}' is no teacher; {conf.type} reads one there.")
            return None
    loss_conf: type[Loss.Conf] = LOSSES[conf.type].Conf  # type: ignore[attr-defined]
    try:
        read: Loss.Conf = core.conf.read(loss_conf, conf.conf)
        for progress in (0.0, 1.0):
            core.ramp.at(read, progress)
    except ValueError as error:
        graph.findings.append(Finding.of(error, f"{path}.conf"))
        return None
    wanted = inspect.signature(read.check)
    try:
        wanted.bind(*specs)
    except TypeError:
        *names, last = (INPUTS.get(name, name.replace("_", " ")) for name in wanted.parameters)
        named, many = f"{', '.join(names)} and {last}", {2: "two", 3: "three", 4: "four"}[len(names) + 1]
        graph.refuse(f"{path}.inputs", f"{conf.type} takes {many} addresses: {named}.")
        return None
    try:
        read.check(*specs)
    except ValueError as error:
        graph.refuse(path, str(error))
        return None
    if sentence := scene.mixed_up(conf.inputs):
        graph.refuse(f"{path}.inputs", sentence)
        return None
    if loss_conf.reads_groups and group_by is None:
        sentence = "needs to know which rows belong together: name their column in inputs.group_by."
        graph.refuse(path, f"{conf.type} {sentence}")
    idle = [*core.conf.notices(loss_conf, conf.conf, f"{path}.conf")]
    idle += [(f"{path}.{place}", sentence) for place, sentence in read.notices(*specs).items()]
    of_number = issubclass(LOSSES[conf.type], TeacherLoss) and is_number(specs[1])
    if loss_conf.reads_logits and "logits" in specs[0].parts and not of_number:
        sentence = f"'{conf.inputs[0]}' gives probabilities; {conf.type} takes the scores before them."
        idle.append((f"{path}.inputs[0]", sentence))
    graph.notices += [Finding(*notice) for notice in idle]
    inputs = tuple(map(scene.canonical, conf.inputs))
    weight = conf.weight if isinstance(conf.weight, Ramp) else conf.weight * factor
    if isinstance(weight, Ramp):
        weight = replace(weight, start=weight.start * factor, end=weight.end * factor)
    group = group_by if loss_conf.reads_groups else None
    columns = frozenset(
        address for address in (*conf.inputs, group) if address is not None and address in (*targets, group)
    )
    return Term(conf.type, read, inputs, specs, weight, group, columns)


def _unread(terms: Sequence[Term], graph: Graph, targets: Mapping[str, Spec]) -> Iterator[tuple[str, str]]:
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


def _idle_teachers(draft: Draft, terms: Sequence[Term], teachers: Teachers) -> Iterator[tuple[str, str]]:
    """(path, sentence) of teachers and of a weighting that change nothing, and of teachers that are in doubt."""
    addresses = {
        address for term in terms for address in (*term.inputs, *(term.weighing.reads if term.weighing else ()))
    }
    read = {address.partition(".")[0] for address in addresses}
    members = {name for teacher in teachers.values() if teacher is not None for name in teacher.members}
    for name, teacher in teachers.items():
        if name not in read | members:
            yield f"teachers.{name}", "has no effect. No loss reads it."
        elif teacher is not None and teacher.doubt:
            yield f"teachers.{name}.conf", teacher.doubt
        conf = draft.teachers[name]
        if teacher is not None and teacher.members and conf is not None and conf.online:
            yield f"teachers.{name}.online", "has no effect. Each of its members answers as that one's says."
    weighed = next((term.weighing.names for term in terms if term.weighing), ())
    if draft.weighting is not None and draft.weighting.type != "Uniform" and len(weighed) < 2:
        only = f"weighs '{weighed[0]}' alone." if weighed else f"has no effect. No loss reads '{ALL}'."
        yield "weighting", only
