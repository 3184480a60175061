"""Soft targets: a student learns the probabilities that a teacher gives to all labels."""

import math
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from core.conf import PositiveFloat
from core.linear_chain import PARTS, Chain, expected_score, log_partition
from core.ramp import Ramp, number
from core.types import Features, Spec
from losses.base import LOSSES, Loss
from losses.teacher_loss import Both, TeacherLoss, answers, check_answers, two_sided


class ScoresConf(Loss.Conf):
    """The Conf of a loss on the scores of all labels, as student and teacher give them."""

    reads_logits = True

    standardized: bool = False
    """Whether the scores of each row are shifted to mean 0 and scaled to standard deviation 1 first, so that only their
    form counts: for teachers whose scores differ in scale."""

    def check(self, student: Spec, teacher: Spec) -> None:
        check_answers(student, teacher)
        if self.standardized and teacher.places:
            raise ValueError("standardized is for scores of labels, but the teacher answers by places of tokens.")
        has_two = teacher.labels is not None and len(teacher.labels) < 3
        if self.standardized and (teacher.axes in ("B", "BC") or has_two):
            raise ValueError("standardized needs at least three labels: of two it leaves no more than which is higher.")


class ScoresLoss(TeacherLoss):
    """A loss on the scores of all labels, as student and teacher give them."""

    conf: ScoresConf

    def __init__(self, conf: ScoresConf, student: Spec, teacher: Spec, *more: Spec) -> None:
        super().__init__(conf, student, teacher, *more)
        self.teacher = teacher

    def answers(self, student: Features, teacher: Features) -> Both:
        """Comparable scores, standardised where the Conf asks for it."""
        both = answers(student, teacher, self.teacher)
        if self.conf.standardized:
            return Both(standardized(both.student), standardized(both.teacher), both.mask)
        return both


def standardized(logits: Tensor) -> Tensor:
    """Logits with mean 0 and standard deviation 1 over the classes.

    Reference: Sun et al. 2024, Logit Standardization in Knowledge Distillation, section 4.
    """
    centred = logits - logits.mean(-1, keepdim=True)
    return F.normalize(centred, dim=-1) * math.sqrt(logits.shape[-1])


@LOSSES.register
class SoftTargetLoss(ScoresLoss):
    """The student's probabilities of all labels against those of a teacher, both at a temperature, times its square.

    For tags and for sets of labels it is the mean over tokens or labels; for places in a text these are the labels. A
    CRF learns how likely the paths are whose tags are drawn one by one from the teacher's probabilities.

    Shape: B x C, or B x T x C, and the same of the teacher -> scalar.

        {"type": "SoftTargetLoss", "conf": {"temperature": 2.0}, "inputs": ["output", "big"]}

    Reference: Hinton et al. 2015, Distilling the Knowledge in a Neural Network, section 2; for tags Wang et al. 2020,
    Structure-Level Knowledge Distillation For Multilingual Sequence Labeling, section 3.2.
    """

    class Conf(ScoresConf):
        temperature: PositiveFloat | Ramp = 1.0
        """What all scores are divided by: above 1, labels that are not the best count more."""
        divergence: Literal["kl", "ce", "reverse_kl", "js"] = "kl"
        """KL(teacher | student); ce = cross-entropy, which has the same gradient; KL(student | teacher), which looks
        for the teacher's best labels only; js = Jensen and Shannon's, the mean of both against their mean."""
        temperature_squared: bool = True
        """Whether the loss is multiplied by the square of the temperature, so that gradients keep their size."""

        def check(self, student: Spec, teacher: Spec) -> None:
            super().check(student, teacher)
            if teacher.axes == "B":
                raise ValueError("needs a teacher that scores labels; this one gives a number. Take ScoreMSELoss.")
            if set(PARTS) <= set(student.parts) and (self.divergence not in ("kl", "ce") or self.standardized):
                raise ValueError("of a CRF knows the divergences kl and ce, and takes scores as they are.")

    conf: Conf

    def rows(self, student: Features, teacher: Features) -> Tensor:
        temperature = number(self.conf.temperature)
        scale = temperature**2 if self.conf.temperature_squared else 1.0
        if set(PARTS) <= set(student.parts):
            return self._paths(student, teacher, temperature) * scale
        both = self.answers(student, teacher)
        ours, theirs = ((two_sided(logits) / temperature).log_softmax(-1) for logits in (both.student, both.teacher))
        return both.per_row(self._divergence(ours, theirs)) * scale

    def _divergence(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Between log-probabilities, over the last axis."""
        if self.conf.divergence == "ce":
            return -(theirs.exp() * ours).sum(-1)
        if self.conf.divergence == "reverse_kl":
            return kl(ours, theirs)
        if self.conf.divergence == "js":
            middle = torch.logaddexp(ours, theirs) - math.log(2)
            return (kl(ours, middle) + kl(theirs, middle)) / 2
        return kl(theirs, ours)

    def _paths(self, student: Features, teacher: Features, temperature: float) -> Tensor:
        """The divergence of the student's paths from those that the teacher's tags make, for each token."""
        chain, both = Chain.of(student).divided(temperature), self.answers(student, teacher)
        assert both.mask is not None
        theirs_BTC = (both.teacher / temperature).log_softmax(-1)
        tokens = theirs_BTC.shape[1]
        read = replace(chain, emissions=chain.emissions[:, :tokens], mask=both.mask)
        entropy_B = -(theirs_BTC.exp() * theirs_BTC).sum(-1).masked_fill(~both.mask, 0).sum(1)
        loss_B = log_partition(read) - expected_score(read, theirs_BTC.exp())
        return (loss_B - (entropy_B if self.conf.divergence == "kl" else 0)) / both.mask.sum(1).clamp(min=1)


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p | q) over the last axis."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)
