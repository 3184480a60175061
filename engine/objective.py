"""What training minimises: the losses of a config, each with its addresses and its weight, added up."""

import functools
import operator
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

import core.ramp
from core.errors import UserError
from core.ramp import Ramp
from core.types import Batch, Features, Outputs, lookup
from distillation.weighting import Lesson, groups_of
from engine.terms import Term
from losses.disagreement import disagreement
from losses.teacher_loss import TeacherLoss, answered
from model_zoo.graph import Weight

WEIGHT_OF = "weight of "
"""So begins what the mean weight of a teacher is called in records."""
MOST_GROUPS = 22
"""Groups of rows at most for which the weights of teachers are told apart."""


class Objective(nn.Module):
    """The weighted sum of losses."""

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self.terms = terms
        self.losses = nn.ModuleList([term.conf.build(*term.specs) for term in terms])
        self.weights = [term.weight.at(0.0) if isinstance(term.weight, Ramp) else term.weight for term in terms]
        self.weighing = next((term.weighing for term in terms if term.weighing is not None), None)
        self.weighting = None if self.weighing is None else self.weighing.build()
        self.shares: list[Tensor] = []
        """The mean weight of each teacher in the batches since `told`."""
        self.by_group: Tensor | None = None
        """Of each teacher and group of rows the sum of its weights since `told_by_group`, and the rows: 2 x K x G."""

    @property
    def addresses(self) -> set[str]:
        """All that the losses and the weighting of teachers read."""
        read = {address for term in self.terms for address in term.inputs}
        read |= {term.group_by for term in self.terms if term.group_by is not None}
        if self.weighing is not None:
            read |= {*self.weighing.names, *self.weighing.reads, self.weighing.target}
        return read

    @property
    def layers(self) -> set[str]:
        """The layers whose outputs they need; what else a model computes teaches it nothing."""
        return {address.partition(".")[0] for address in self.addresses}

    def learned(self) -> Iterator[Weight]:
        """What losses learn themselves, such as projections."""
        for number, loss in enumerate(self.losses):
            for name, parameter in loss.named_parameters():
                yield Weight(f"loss[{number}].{name}", 0, parameter)

    def move_to(self, progress: float) -> None:
        """Set the numbers that move to what they are when this share of the training is done."""
        for at, (term, loss) in enumerate(zip(self.terms, self.losses, strict=True)):
            if isinstance(term.weight, Ramp):
                self.weights[at] = term.weight.at(progress)
            if core.ramp.moves(term.conf):
                loss.conf = core.ramp.at(term.conf, progress)  # type: ignore[assignment]

    def forward(self, outputs: Outputs, batch: Batch, share: float = 1.0) -> Tensor:
        """A scalar in float32; a sum over rows stands for that of all rows, of which this share is in the batch."""
        return _added([value for _, value in self._values(outputs, batch, share)])

    def hard_and_soft(self, outputs: Outputs, batch: Batch, share: float = 1.0) -> tuple[Tensor, Tensor]:
        """The same in two parts: the losses on targets, and those on teachers."""
        found: dict[bool, list[Tensor]] = {True: [], False: []}
        for loss, value in self._values(outputs, batch, share):
            found[isinstance(loss, TeacherLoss)].append(value)
        return _added(found[False]), _added(found[True])

    def _values(self, outputs: Outputs, batch: Batch, share: float) -> Iterator[tuple[nn.Module, Tensor]]:
        """The losses and their terms of the sum; where a batch has no targets, only those that read none."""
        weights_BK = self._teacher_weights(outputs, batch)
        for term, loss, weight in zip(self.terms, self.losses, self.weights, strict=True):
            if not term.targets <= batch.targets.keys():
                continue
            inputs = [self._at(address, outputs, batch) for address in term.inputs]
            if term.group_by is not None:
                inputs.append(batch.targets[term.group_by])
            try:
                if term.teacher is None:
                    value = loss(*inputs)
                else:
                    assert weights_BK is not None and self.weighing is not None
                    value = _weighed(loss, inputs, weights_BK[:, self.weighing.names.index(term.teacher)])  # type: ignore[arg-type]
            except UserError as error:
                raise UserError(f"{term.name} of {' and '.join(term.inputs)}: {error}") from error
            weight = weight / share if term.conf.is_sum else weight
            yield loss, value if weight == 1 else value * weight

    def _at(self, address: str, outputs: Outputs, batch: Batch) -> Features | Tensor:
        if address in batch.targets:
            return batch.targets[address]
        return batch.teachers[address] if address in batch.teachers else lookup(outputs, address)

    def _teacher_weights(self, outputs: Outputs, batch: Batch) -> Tensor | None:
        """weights_BK of the teachers that are weighed, each for its share of the rows that have any teacher."""
        if self.weighting is None:
            return None
        with torch.no_grad():
            lesson = self.lesson(outputs, batch)
            given_BK, is_taught_B = self.weighting(lesson), lesson.present.any(1)
            weights_BK = given_BK / is_taught_B.sum().clamp(min=1)
            if not self.training:
                return weights_BK
            self.shares.append(weights_BK.sum(0))
            if lesson.has_one_label and len(groups_of(lesson.spec)) <= MOST_GROUPS:
                sums = lesson.by_group(given_BK)
                self.by_group = sums if self.by_group is None else self.by_group + sums
        return weights_BK

    def lesson(self, outputs: Outputs, batch: Batch) -> Lesson:
        """What the weighting of teachers looks at in a batch."""
        assert self.weighing is not None
        answers = [batch.teachers[name] for name in self.weighing.names]
        read = [self._at(address, outputs, batch) for address in self.weighing.reads]
        return Lesson(answers, batch.targets.get(self.weighing.target), self.weighing.spec, read)  # type: ignore[arg-type]

    def told(self) -> Mapping[str, float]:
        """The mean weight of each teacher since this was asked last. Waits for the device."""
        if self.weighing is None or not self.shares:
            return {}
        means = torch.stack(self.shares).mean(0).tolist()
        self.shares = []
        return {f"{WEIGHT_OF}{name}": mean for name, mean in zip(self.weighing.names, means, strict=True)}

    def told_by_group(self) -> Mapping[str, float]:
        """The same for the rows of each label, where there are not too many, and for those where the teacher is right
        or wrong. Waits for the device.
        """
        if self.weighing is None or self.by_group is None:
            return {}
        groups, (sums_KG, rows_KG) = groups_of(self.weighing.spec), self.by_group.tolist()
        self.by_group = None
        return {
            f"{WEIGHT_OF}{name}@{group}": total / rows
            for name, totals, counts in zip(self.weighing.names, sums_KG, rows_KG, strict=True)
            for group, total, rows in zip(groups, totals, counts, strict=True)
            if rows
        }

    def disagreement(self, outputs: Outputs) -> Tensor:
        """How far the answers for rows that stand in a batch twice differ: a scalar in float32."""
        found = [
            disagreement(lookup(outputs, term.inputs[0]), term.specs[1]) * weight
            for term, loss, weight in zip(self.terms, self.losses, self.weights, strict=True)
            if term.targets and not isinstance(loss, TeacherLoss)
        ]
        return torch.stack(found).sum()


def _added(values: Sequence[Tensor]) -> Tensor:
    return functools.reduce(operator.add, values) if values else torch.zeros(())


def _weighed(loss: TeacherLoss, inputs: list[Features | Tensor], weights_B: Tensor) -> Tensor:
    """The losses of the rows that the teacher answered, each with its weight there, added up."""
    losses_B = loss.rows(*inputs)
    return (losses_B * weights_B * answered(inputs[1])).sum()  # type: ignore[arg-type]
