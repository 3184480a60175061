"""Decoupled distillation: the right label and the order of the others are learnt apart."""

import torch
from torch import Tensor

from core.conf import NonNegativeFloat, PositiveFloat
from core.ramp import Ramp, number
from core.types import Features, Spec
from losses.base import LOSSES
from losses.row_loss import check_label_target
from losses.soft_target import ScoresConf, ScoresLoss, kl
from losses.teacher_loss import LOWEST, two_sided


@LOSSES.register
class DecoupledLoss(ScoresLoss):
    """alpha KL of how likely the right label is + beta KL of how likely the others are among themselves.

    Both are KL(teacher | student) at a temperature, times its square; without a right label (a token that does not
    count) the loss is 0. With alpha 1, and for beta the teacher's probability of the wrong labels, it would be
    SoftTargetLoss.

    Shape: B x C, or B x T x C, the same of the teacher, target ids B, or B x T -> scalar.

        {"type": "DecoupledLoss", "conf": {"beta": 2.0, "temperature": 4.0}, "inputs": ["output", "big", "label"]}

    Reference: Zhao et al. 2022, Decoupled Knowledge Distillation, equation 7.
    """

    class Conf(ScoresConf):
        alpha: NonNegativeFloat | Ramp = 1.0
        """Weight of the right label against all others together."""
        beta: NonNegativeFloat | Ramp = 8.0
        """Weight of the others among themselves."""
        temperature: PositiveFloat | Ramp = 4.0
        """What all scores are divided by."""

        def check(self, student: Spec, teacher: Spec, target: Spec) -> None:  # type: ignore[override]
            super().check(student, teacher)
            if teacher.places or teacher.axes not in ("BD", "BTD"):
                raise ValueError("needs a teacher that scores labels of which one is right. Take SoftTargetLoss.")
            check_label_target(target, takes_tokens=True)
            target.expect("BT" if teacher.axes == "BTD" else "B")
            if target.places:
                raise ValueError("needs a target of labels, but this one holds places of tokens. Take SoftTargetLoss.")

        def notices(self, student: Spec, teacher: Spec, target: Spec) -> dict[str, str]:  # type: ignore[override]
            if teacher.labels is None or len(teacher.labels) > 2:
                return {}
            return {"conf.beta": "has no effect: of two labels there is only one that is wrong."}

    conf: Conf

    def rows(self, student: Features, teacher: Features, target: Tensor) -> Tensor:
        temperature = number(self.conf.temperature)
        both = self.answers(student, teacher)
        target = target[:, : both.student.shape[1]] if target.dim() == 2 else target
        ours, theirs = (_decoupled(two_sided(z) / temperature, target) for z in (both.student, both.teacher))
        of_right, of_wrong = (kl(p, q) for p, q in zip(theirs, ours, strict=True))
        losses = number(self.conf.alpha) * of_right + number(self.conf.beta) * of_wrong
        return both.per_row(losses.masked_fill(target < 0, 0)) * temperature**2


def _decoupled(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the right label and of all others (... x 2), and those of the others among themselves."""
    right = target.unsqueeze(-1) == torch.arange(logits.shape[-1], device=logits.device)
    wrong = logits.masked_fill(right, LOWEST)
    of_all = logits.masked_fill(~right, LOWEST).logsumexp(-1), wrong.logsumexp(-1)
    return torch.stack(of_all, -1).log_softmax(-1), wrong.log_softmax(-1)
