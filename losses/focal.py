"""Focal loss: cross-entropy that looks away from rows which are already right."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from core.conf import NonNegativeFloat
from core.types import NO_TARGET, Features, Spec
from losses.base import LOSSES
from losses.row_loss import (
    LabelWeights,
    ReducedConf,
    RowLoss,
    check_class_scores,
    check_label_scores,
    check_label_weights,
    class_scores,
    label_weights,
    logits_of,
    reduced,
)


@LOSSES.register
class FocalLoss(RowLoss):
    """Cross-entropy with less weight on easy rows: -alpha[y] (1 - p[y])^gamma log p[y], for any number of labels.

    Shape: logits B x C, target ids B -> scalar; or B x T x C and B x T; the mean is over rows, or tokens. Or B x C and
    bool of B x C: p is then the sigmoid, or 1 - it, and the mean over rows and labels. Of a layer that ends in softmax
    or sigmoid it takes the logits.

        {"type": "FocalLoss", "conf": {"gamma": 2.0, "alpha": {"0": 0.25, "1": 0.75}}, "inputs": ["output", "label"]}

    Reference: Lin et al. 2017, Focal Loss for Dense Object Detection, equation 5.
    """

    class Conf(ReducedConf):
        reads_logits: ClassVar = True
        gamma: NonNegativeFloat = 2.0
        """How strongly easy rows are played down; 0 is cross-entropy."""
        alpha: LabelWeights = None
        """Weight of each label: by name or a list in the order of ids. null = 1."""

        def check(self, output: Spec, target: Spec) -> None:
            if target.axes == "BC":
                check_label_scores(output, target)
            else:
                check_class_scores(output, target, takes_tokens=True)
            check_label_weights("alpha", self.alpha, output, target)

    conf: Conf
    alpha: Tensor | None

    def __init__(self, conf: Conf, output: Spec, target: Spec) -> None:
        super().__init__(conf, output, target)
        self.of_places = target.places
        self.register_buffer("alpha", label_weights(conf.alpha, target), persistent=False)
        self.has_label_sets = target.axes == "BC"

    def forward(self, output: Features, target: Tensor) -> Tensor:
        if self.has_label_sets:
            logits_BC = logits_of(output)
            losses_BC = self._losses(F.logsigmoid(torch.where(target, logits_BC, -logits_BC)))
            return reduced(losses_BC if self.alpha is None else losses_BC * self.alpha, self.conf.reduction)
        logits_NC, target_N = class_scores(output, target, self.of_places)
        real_N, target_N = target_N != NO_TARGET, target_N.clamp(min=0)
        losses_N = self._losses(F.log_softmax(logits_NC, dim=-1).gather(1, target_N[:, None]).squeeze(1)) * real_N
        if self.alpha is not None:
            losses_N = losses_N * self.alpha[target_N]
        return reduced(losses_N, self.conf.reduction, real_N.float())

    def _losses(self, log_p: Tensor) -> Tensor:
        """By the log probability of what is right, without alpha."""
        # The bound keeps the gradient of the power finite where p is 1 and gamma below 1.
        miss = -torch.expm1(log_p).clamp(max=-1e-12)
        return -(miss**self.conf.gamma) * log_p
