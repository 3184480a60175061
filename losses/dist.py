"""DIST: a student learns the relations between probabilities, not the probabilities."""

import torch
from torch import Tensor
from torch.nn import functional as F

from core.conf import NonNegativeFloat, PositiveFloat
from core.ramp import Ramp, number
from core.types import Features, Spec
from losses.base import LOSSES
from losses.soft_target import ScoresLoss
from losses.teacher_loss import answered, two_sided
from losses.teacher_scores import LabelScoresConf

SMALLEST = 1e-6
"""Differences between probabilities that are smaller than this count as none."""


@LOSSES.register
class DISTLoss(ScoresLoss):
    """beta (1 - correlation over the labels of a row) + gamma (1 - correlation of a label over the rows of the batch).

    The correlation is Pearson's, between the probabilities of student and teacher, so that a teacher may be much surer
    than its student. Of tags the first is over the labels of each token, and the second over all tokens, of which those
    of a text count together as one row. Both are multiplied by the square of the temperature.

    Shape: B x C, or B x T x C, and the same of the teacher -> scalar.

        {"type": "DISTLoss", "conf": {"beta": 2.0, "gamma": 2.0}, "inputs": ["output", "big"]}

    Reference: Huang et al. 2022, Knowledge Distillation from A Stronger Teacher, section 3.
    """

    class Conf(LabelScoresConf):
        beta: NonNegativeFloat | Ramp = 1.0
        """Weight of the correlation over the labels of a row."""
        gamma: NonNegativeFloat | Ramp = 1.0
        """Weight of the correlation of a label over the rows of the batch."""
        temperature: PositiveFloat | Ramp = 1.0
        """What all scores are divided by."""

        def check(self, student: Spec, teacher: Spec) -> None:
            super().check(student, teacher)
            if teacher.axes == "B":
                raise ValueError("needs a teacher that scores labels; this one gives a number. Take ScoreMSELoss.")

        def notices(self, student: Spec, teacher: Spec) -> dict[str, str]:  # type: ignore[override]
            if teacher.labels is None or len(teacher.labels) > 2:
                return {}
            return {"conf.beta": "has no effect: two probabilities have a correlation of 1 or -1."}

    conf: Conf

    def rows(self, student: Features, teacher: Features) -> Tensor:
        temperature = number(self.conf.temperature)
        both, counted_B = self.answers(student, teacher), answered(teacher)
        if self.teacher.axes == "BC":
            ours, theirs = ((z.squeeze(-1) / temperature).sigmoid() for z in (both.student, both.teacher))
        else:
            ours, theirs = ((two_sided(z) / temperature).softmax(-1) for z in (both.student, both.teacher))
        over_labels_B = both.per_row((_directions(ours) * _directions(theirs)).sum(-1))
        weights = counted_B.float()
        if both.mask is not None:
            weights = both.mask * (weights / both.mask.sum(1).clamp(min=1)).unsqueeze(1)
        shares = (_directions_over_rows(ours, weights) * _directions_over_rows(theirs, weights)).mean(-1)
        over_rows_B = shares.reshape(len(shares), -1).sum(1) * counted_B.sum()  # their mean is the correlation
        losses_B = number(self.conf.beta) * (1 - over_labels_B) + number(self.conf.gamma) * (1 - over_rows_B)
        return losses_B * temperature**2


def _directions(values: Tensor) -> Tensor:
    """The values of the last axis less their mean, at length 1: a product of two sums up to their correlation."""
    return F.normalize(values - values.mean(-1, keepdim=True), dim=-1, eps=SMALLEST)


def _directions_over_rows(values: Tensor, weights: Tensor) -> Tensor:
    """The same for each label, over all weighted rows or tokens."""
    axes = tuple(range(weights.dim()))
    weights = weights.unsqueeze(-1)
    mean = (values * weights).sum(axes) / weights.sum().clamp(min=1)
    centred = (values - mean) * weights.sqrt()
    return centred / torch.linalg.vector_norm(centred, dim=axes).clamp(min=SMALLEST)
