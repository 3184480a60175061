"""What losses on a teacher share: which rows it answered, how its answers and the student's become comparable."""

from typing import NamedTuple

import torch
from torch import Tensor

from core.types import Features, Spec
from losses.base import Loss
from losses.row_loss import logits_of


class TeacherLoss(Loss):
    """A loss of what a student gives for rows and what a teacher gave for them; rows without it do not count.

    A subclass defines `rows`. Where several teachers are weighted, the objective weighs what `rows` gives.
    """

    def forward(self, student: Features, teacher: Features, *more: Tensor) -> Tensor:
        losses_B, counted_B = self.rows(student, teacher, *more), answered(teacher)
        return (losses_B * counted_B).sum() / counted_B.sum().clamp(min=1)

    def rows(self, student: Features, teacher: Features, *more: Tensor) -> Tensor:
        """The loss of each row, losses_B in float32; that of a row without an answer is any finite number."""
        raise NotImplementedError


def answered(teacher: Features) -> Tensor:
    """counted_B, which rows the teacher answered: those with a token, or a value, that is real."""
    if teacher.mask is None:
        return torch.ones(len(teacher.values), dtype=torch.bool, device=teacher.values.device)
    return teacher.mask if teacher.mask.dim() == 1 else teacher.mask.any(1)


class Answers(NamedTuple):
    """The scores of both over the same classes, B x C or B x E x C in float32, and which elements E count, mask_BE.

    An element is a token, or one of the labels that a row may have together, which has one score. C = 1 is the score of
    the second of two labels, or a number.
    """

    student: Tensor
    teacher: Tensor
    mask: Tensor | None

    def per_row(self, losses: Tensor) -> Tensor:
        """losses_B from one loss for each row or element: the mean over the elements that count."""
        if losses.dim() == 1:
            return losses
        return mean_of_real(losses, self.mask)


def mean_of_real(values_BE: Tensor, mask_BE: Tensor | None) -> Tensor:
    """The mean of each row over its real elements; 0 where there are none."""
    if mask_BE is None:
        return values_BE.mean(1)
    return values_BE.masked_fill(~mask_BE, 0).sum(1) / mask_BE.sum(1).clamp(min=1)


def answers(student: Features, teacher: Features, target: Spec) -> Answers:
    """Comparable logits of a student and a teacher whose answer has the spec `target`.

    Where only one of them has a single score for two labels, both get two. Of a text those tokens count that both read.
    """
    if target.places:
        return _over_places(student, teacher)
    ours, theirs = logits_of(student), logits_of(teacher)
    if target.axes == "BC":
        return Answers(ours.unsqueeze(-1), theirs.unsqueeze(-1), None)
    if target.axes == "BTD":
        tokens = min(ours.shape[1], theirs.shape[1])
        mask_BT = student.real_mask()[:, :tokens] & teacher.real_mask()[:, :tokens]
        return Answers(ours[:, :tokens], theirs[:, :tokens], mask_BT)
    ours, theirs = (scores.reshape(len(scores), -1) for scores in (ours, theirs))
    if ours.shape != theirs.shape:
        ours, theirs = two_sided(ours), two_sided(theirs)
    return Answers(ours, theirs, None)


def two_sided(logits: Tensor) -> Tensor:
    """Scores of no and yes (... x 2) whose softmax is the sigmoid of a single one (... x 1); more as they are."""
    return torch.cat([-logits / 2, logits / 2], -1) if logits.shape[-1] == 1 else logits


def _over_places(student: Features, teacher: Features) -> Answers:
    """The tokens of a text as classes; those that one of the two does not read can be no answer."""
    ours, theirs = (
        f.values.float().squeeze(-1) if f.values.dim() == 3 else f.values.float() for f in (student, teacher)
    )
    tokens = min(ours.shape[1], theirs.shape[1])
    mask_BT = student.real_mask()[:, :tokens] & teacher.real_mask()[:, :tokens]
    lowest = torch.finfo(ours.dtype).min / 4  # finite: infinities have no difference
    return Answers(
        ours[:, :tokens].masked_fill(~mask_BT, lowest), theirs[:, :tokens].masked_fill(~mask_BT, lowest), None
    )


def check_answers(student: Spec, teacher: Spec) -> None:
    """ValueError unless the layer gives one score for each score of the teacher."""
    if teacher.places or teacher.axes == "BTD":
        student.expect("BTD", *(["BT"] if teacher.places else []))
    elif teacher.axes == "B":
        student.expect("B", "BD")
    else:
        student.expect("BD", *(["B"] if teacher.sizes.get("D") in (1, 2) else []))
    if teacher.places:
        return
    wanted = teacher.sizes.get("C" if teacher.axes == "BC" else "D", 1 if teacher.axes == "B" else None)
    given = student.sizes.get("D", 1)
    is_single = given == 1 and wanted == 2 and teacher.axes == "BD"
    if wanted is not None and given != wanted and not is_single:
        named = f" ({', '.join(teacher.labels)})" if teacher.labels else ""
        raise ValueError(f"needs {wanted} scores, as the teacher gives{named}, but the layer gives {given}.")
