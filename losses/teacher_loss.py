"""What losses on a teacher share: which rows it answered, how its answers and the student's become comparable."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from core.errors import UserError
from core.types import Features, Spec
from losses.base import Loss
from losses.row_loss import logits_of

LOWEST = -1e9
"""A score that has no share in a softmax at any temperature: finite, as infinities have no difference."""


class TeacherLoss(Loss):
    """A loss of what a student gives for rows and what a teacher gave for them; rows without it do not count.

    A subclass defines `rows`. Where several teachers are weighted, the objective weighs what `rows` gives. Of a loss on
    how rows are related that is the share of each row, so that the mean over the rows is the loss.
    """

    conf: Loss.Conf

    def __init__(self, conf: Loss.Conf, *inputs: Spec) -> None:
        super().__init__()
        conf.check(*inputs)
        self.conf = conf

    def forward(self, student: Features, teacher: Features, *more: Any) -> Tensor:
        losses_B, counted_B = self.rows(student, teacher, *more), answered(teacher)
        return (losses_B * counted_B).sum() / counted_B.sum().clamp(min=1)

    def rows(self, *inputs: Any, **_: Any) -> Tensor:
        """The loss of each row, losses_B in float32; that of a row without an answer is any finite number.

        Subclasses name their inputs: student, teacher, what else they read, groups_B last.
        """
        raise AssertionError(f"{type(self).__qualname__} does not define rows")


def answered(teacher: Features) -> Tensor:
    """counted_B, which rows the teacher answered: those with a token, or a value, that is real."""
    if teacher.mask is None:
        return torch.ones(len(teacher.values), dtype=torch.bool, device=teacher.values.device)
    return teacher.mask if teacher.mask.dim() == 1 else teacher.mask.any(1)


class Both(NamedTuple):
    """What student and teacher gave, comparable: B x D or B x E x D in float32, and which elements E count, mask_BE.

    An element is a token, or one of the labels that a row may have together, which has one score. Of answers D are the
    classes, and D = 1 is the score of the second of two labels, or a number.
    """

    student: Tensor
    teacher: Tensor
    mask: Tensor | None

    def per_row(self, losses: Tensor) -> Tensor:
        """losses_B from one loss for each row or element: the mean over the elements that count."""
        if losses.dim() == 1:
            return losses
        return mean_of_real(losses, self.mask)


def mean_of_real(values: Tensor, mask_BE: Tensor | None) -> Tensor:
    """The mean of each row of B x E or B x E x D over its real elements; 0 where there are none."""
    if mask_BE is None:
        return values.mean(1)
    real = mask_BE.reshape(mask_BE.shape + (1,) * (values.dim() - 2))
    return values.masked_fill(~real, 0).sum(1) / real.sum(1).clamp(min=1)


def shared_tokens(student: Features, teacher: Features) -> Tensor:
    """Which tokens both read, mask_BT up to the end of the shorter of the two."""
    tokens = min(student.values.shape[1], teacher.values.shape[1])
    return student.real_mask()[:, :tokens] & teacher.real_mask()[:, :tokens]


def same_tokens(student: Features, teacher: Features) -> Tensor:
    """The same of inner states: each token of one is that of the other, up to where one of them cuts its texts.

    UserError where texts have other numbers of tokens, so that both read other pieces.
    """
    if student.lengths is not None and teacher.lengths is not None:
        ours, theirs = student.lengths, teacher.lengths
        cut = torch.minimum(ours.max(), theirs.max())
        differ = (ours.clamp(max=cut) != theirs.clamp(max=cut)) & (theirs > 0)
        if differ.any():
            row = int(differ.nonzero()[0])
            counts = f"{theirs[row]} tokens in a text where the student reads {ours[row]}"
            raise UserError(f"the teacher reads {counts}: states of tokens need one tokenizer for both.")
    return shared_tokens(student, teacher)


def widened(values: Tensor, tokens: int) -> Tensor:
    """B x T or B x T x C with zeros for the tokens that are not there."""
    return F.pad(values, (0, 0) * (values.dim() - 2) + (0, tokens - values.shape[1]))


def answers(student: Features, teacher: Features, target: Spec) -> Both:
    """Comparable logits of a student and a teacher whose answer has the spec `target`; numbers as they are given.

    Where only one of them has a single score for two labels, both get two. Of a text those tokens count that both read;
    where these are the classes, the others can be no answer.
    """
    ours, theirs = logits_of(student), logits_of(teacher)
    if target.axes == "BC":
        return Both(ours.unsqueeze(-1), theirs.unsqueeze(-1), None)
    if target.places or target.axes == "BTD":
        mask_BT = shared_tokens(student, teacher)
        ours, theirs = (scores[:, : mask_BT.shape[1]] for scores in (ours, theirs))
        if not target.places:
            return Both(ours, theirs, mask_BT)
        ours, theirs = (scores.flatten(1).masked_fill(~mask_BT, LOWEST) for scores in (ours, theirs))
        return Both(ours, theirs, None)
    if is_number(target):
        ours, theirs = (features.values.float() for features in (student, teacher))
    ours, theirs = (scores.reshape(len(scores), -1) for scores in (ours, theirs))
    if ours.shape != theirs.shape:
        ours, theirs = two_sided(ours), two_sided(theirs)
    return Both(ours, theirs, None)


def is_number(spec: Spec) -> bool:
    """Whether an answer is a number, which means what it says: it has no logits, even if it comes of a sigmoid."""
    single = spec.axes == "B" or (spec.axes == "BD" and spec.sizes.get("D") == 1)
    return single and spec.labels is None and not spec.ids and not spec.places


def two_sided(logits: Tensor) -> Tensor:
    """Scores of no and yes (... x 2) whose softmax is the sigmoid of a single one (... x 1); more as they are."""
    return torch.cat([-logits / 2, logits / 2], -1) if logits.shape[-1] == 1 else logits


def check_answers(student: Spec, teacher: Spec) -> None:
    """ValueError unless the layer gives one score for each score of the teacher."""
    if teacher.places:
        if student.expect("BTD", "BT").sizes.get("D", 1) != 1:
            raise ValueError(f"needs one score for each token, as the teacher gives, but the layer gives {student}.")
        return
    wanted, given = scores_of(teacher), scores_of(student)
    is_row = teacher.axes in ("B", "BD")
    student.expect("BTD" if teacher.axes == "BTD" else "BD", *(["B"] if is_row and wanted in (1, 2) else []))
    is_single = is_row and teacher.labels is not None and {given, wanted} == {1, 2}
    if None not in (given, wanted) and given != wanted and not is_single:
        named = f" ({', '.join(teacher.labels)})" if teacher.labels else ""
        raise ValueError(f"needs {wanted} scores, as the teacher gives{named}, but the layer gives {given}.")


def scores_of(spec: Spec) -> int | None:
    """How many scores a row or a token has; None where that is not known."""
    return 1 if spec.axes in ("B", "BT") else spec.sizes.get(spec.axes[-1])
