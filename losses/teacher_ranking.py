"""Losses on how a teacher scores the rows of a group, such as the answers to one question."""

from typing import ClassVar

import torch
from torch import Tensor

from core.conf import PositiveFloat
from core.ramp import Ramp, number
from core.types import Features, Spec
from losses.base import LOSSES, Loss
from losses.ranking import check_ranking, differences, ranking_scores, ranks_first_label, same_group
from losses.soft_target import kl
from losses.teacher_loss import LOWEST, TeacherLoss, answered, check_answers, scores_of


class GroupsConf(Loss.Conf):
    """The Conf of a loss on the scores that the rows of each group have from student and teacher.

    Scores of two labels count by their difference, and numbers are the better, the higher.
    """

    reads_logits: ClassVar = True
    reads_groups: ClassVar = True


def both_answered(groups_B: Tensor, teacher: Features) -> Tensor:
    """same_BB, whether two rows are of one group and both have an answer of the teacher."""
    counted_B = answered(teacher)
    return same_group(groups_B) & counted_B & counted_B[:, None]


def check_teacher_scores(teacher: Spec) -> None:
    """ValueError unless the teacher gives one score for each row, or one for each of two labels."""
    if teacher.places or teacher.axes not in ("B", "BD") or (scores_of(teacher) or 1) > 2:
        raise ValueError(f"needs a teacher with one score, or two, for each row, but this one gives {teacher}.")


@LOSSES.register
class MarginMSELoss(TeacherLoss):
    """The squared difference between student and teacher of how far apart two rows of a group are.

    It is the mean over all pairs whose targets differ. The scale of the scores counts, their level does not.

    Shape: scores B x 1 or B (of two labels also B x 2), the same of the teacher, target B: numbers or ids of two
    labels -> scalar.

        {"type": "MarginMSELoss", "inputs": ["output", "big", "label"]}

    Reference: Hofstätter et al. 2020, Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge
    Distillation, its Margin-MSE.
    """

    class Conf(GroupsConf):
        def check(self, student: Spec, teacher: Spec, target: Spec) -> None:
            check_ranking(student, target)
            check_teacher_scores(teacher)

    def __init__(self, conf: Conf, student: Spec, teacher: Spec, target: Spec) -> None:
        super().__init__(conf, student, teacher, target)
        self.is_opposed = ranks_first_label(target) and teacher.labels is None
        self.of_numbers = not target.ids

    def rows(self, student: Features, teacher: Features, target: Tensor, groups: Tensor) -> Tensor:
        ours_B, theirs_B = (ranking_scores(scores, self.of_numbers) for scores in (student, teacher))
        same_BB = both_answered(groups, teacher)
        pairs_BB = same_BB & (target[:, None] != target)
        margins_BB = differences(-theirs_B if self.is_opposed else theirs_B)
        losses_BB = (differences(ours_B) - margins_BB).square() * pairs_BB
        return losses_BB.sum(1) * answered(teacher).sum() / pairs_BB.sum().clamp(min=1)


@LOSSES.register
class ListKLLoss(TeacherLoss):
    """Which row of a group comes first: KL(teacher | student) of the softmax over its rows, the mean over all groups.

    Rows that the teacher did not answer are not in the list, and a list of one row does not count. The loss is
    multiplied by the square of the temperature.

    Shape: scores B x 1 or B (of two labels also B x 2), the same of the teacher -> scalar.

        {"type": "ListKLLoss", "conf": {"temperature": 2.0}, "inputs": ["output", "big"]}

    Reference: Cao et al. 2007, Learning to Rank: From Pairwise Approach to Listwise Approach, with its top one
    probability, of a teacher as in Ren et al. 2021, RocketQAv2, section 3.
    """

    class Conf(GroupsConf):
        temperature: PositiveFloat | Ramp = 1.0
        """What all scores are divided by: above 1, rows that are not the best count more."""

        def check(self, student: Spec, teacher: Spec) -> None:
            check_teacher_scores(teacher)
            check_answers(student, teacher)

    conf: Conf

    def __init__(self, conf: Conf, student: Spec, teacher: Spec) -> None:
        super().__init__(conf, student, teacher)
        self.sign = -1 if ranks_first_label(teacher) else 1

    def rows(self, student: Features, teacher: Features, groups: Tensor) -> Tensor:
        temperature = number(self.conf.temperature)
        same_BB = both_answered(groups, teacher)
        ours_BB, theirs_BB = (
            (self.sign * ranking_scores(scores) / temperature).expand_as(same_BB).where(same_BB, LOWEST).log_softmax(-1)
            for scores in (student, teacher)
        )
        size_B = same_BB.sum(1)
        is_list_B = size_B > 1
        lists = (is_list_B / size_B.clamp(min=1)).sum()
        losses_B = kl(theirs_BB, ours_BB) * is_list_B / size_B.clamp(min=1)
        return losses_B * answered(teacher).sum() / torch.where(lists > 0, lists, 1) * temperature**2
