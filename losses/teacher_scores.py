"""Losses on the difference between a student's scores and those of a teacher."""

from torch import Tensor
from torch.nn import functional as F

from core.types import Features, Spec
from losses.base import LOSSES
from losses.soft_target import ScoresConf, ScoresLoss
from losses.teacher_loss import is_number, scores_of, two_sided


class LabelScoresConf(ScoresConf):
    """The Conf of a loss on scores that belong to labels, or are numbers."""

    def check(self, student: Spec, teacher: Spec) -> None:
        super().check(student, teacher)
        if teacher.places:
            raise ValueError(
                "needs scores of labels, but the teacher answers by places of tokens. Take SoftTargetLoss."
            )


@LOSSES.register
class LogitMSELoss(ScoresLoss):
    """The mean squared difference between the logits of student and teacher, without a temperature.

    Shape: B x C, or B x T x C, and the same of the teacher -> scalar.

        {"type": "LogitMSELoss", "inputs": ["out.bert", "bert"]}

    Reference: Yang et al. 2020, Model Compression with Two-stage Multi-teacher Knowledge Distillation for Web Question
    Answering System (TMKD), equation 4; Tang et al. 2019, Distilling Task-Specific Knowledge from BERT, equation 3.
    """

    class Conf(LabelScoresConf):
        pass

    def rows(self, student: Features, teacher: Features) -> Tensor:
        both = self.answers(student, teacher)
        return both.per_row((both.student - both.teacher).square().mean(-1))


@LOSSES.register
class ScoreMSELoss(ScoresLoss):
    """The mean squared difference between the probabilities of student and teacher; of numbers, between these.

    Of two labels it is the squared difference between the probabilities of the second one, as for a student that has a
    sigmoid and a file of scores from 0 to 1.

    Shape: B x C, or B x T x C, or B x 1, and the same of the teacher -> scalar.

        {"type": "ScoreMSELoss", "inputs": ["output", "bert"]}

    Reference: Gong et al. 2019, NeuronBlocks: Building Your NLP DNN Models Like Playing Lego, its distillation.
    """

    class Conf(LabelScoresConf):
        pass

    def __init__(self, conf: Conf, student: Spec, teacher: Spec) -> None:
        super().__init__(conf, student, teacher)
        self.is_number = is_number(teacher)

    def rows(self, student: Features, teacher: Features) -> Tensor:
        both = self.answers(student, teacher)
        if self.is_number:
            return (both.student - both.teacher).square().squeeze(-1)
        ours, theirs = (two_sided(logits).softmax(-1) for logits in (both.student, both.teacher))
        return both.per_row((ours - theirs).square().mean(-1))


@LOSSES.register
class LogitCosineLoss(ScoresLoss):
    """One minus the cosine between the logits of student and teacher, over all labels of a row or a token.

    Shape: B x C, or B x T x C, and the same of the teacher -> scalar.

        {"type": "LogitCosineLoss", "inputs": ["output", "big"]}

    Reference: torch.nn.functional.cosine_similarity.
    """

    class Conf(LabelScoresConf):
        def check(self, student: Spec, teacher: Spec) -> None:
            super().check(student, teacher)
            if 1 in (scores_of(student), scores_of(teacher)):
                raise ValueError("needs several scores: of single ones the cosine says no more than the sign.")

    def rows(self, student: Features, teacher: Features) -> Tensor:
        both = self.answers(student, teacher)
        if self.teacher.axes == "BC":
            return 1 - F.cosine_similarity(both.student.squeeze(-1), both.teacher.squeeze(-1))
        return both.per_row(1 - F.cosine_similarity(both.student, both.teacher, dim=-1))
