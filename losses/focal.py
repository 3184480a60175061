"""Focal loss: cross-entropy that looks away from rows which are already right."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from core.conf import NonNegativeFloat, Range
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
    order_notice,
    reduced,
)

Share = Annotated[float, Range(minimum=0, maximum=1)]


@LOSSES.register
class FocalLoss(RowLoss):
    """Cross-entropy with less weight on easy rows: -alpha[y] (1 - p[y])^gamma log p[y], for any number of labels.

    Shape: logits B x C, target ids B -> scalar; or B x T x C and B x T; or B x T x 1 and B, the place of a token; the
    mean is over rows, or tokens. Or B x C and bool of B x C: p is then the sigmoid, or 1 - it, and the mean over rows
    and labels. Of a layer that ends in softmax or sigmoid it takes the logits.

        {"type": "FocalLoss", "conf": {"gamma": 2.0, "alpha": {"0": 0.25, "1": 0.75}}, "inputs": ["output", "label"]}

    Reference: Lin et al. 2017, Focal Loss for Dense Object Detection, equations 3 and 5.
    """

    class Conf(ReducedConf):
        reads_logits: ClassVar = True
        gamma: NonNegativeFloat = 2.0
        """How strongly easy rows are played down; 0 is cross-entropy."""
        alpha: LabelWeights | Share = None
        """Weight of each label: by name or a list in the order of ids; or of two labels that of id 1, the other has
        1 - alpha. null = 1."""

        @property
        def weights(self) -> LabelWeights:
            """The weight of each label."""
            return [1 - self.alpha, self.alpha] if isinstance(self.alpha, float) else self.alpha

        def check(self, output: Spec, target: Spec) -> None:
            if target.axes == "BC":
                check_label_scores(output, target)
                if isinstance(self.alpha, float):
                    raise ValueError("alpha of a row with any number of labels is one weight for each label.")
            else:
                check_class_scores(output, target, takes_tokens=True)
            check_label_weights("alpha", self.weights, output, target)

        def notices(self, output: Spec, target: Spec) -> dict[str, str]:  # type: ignore[override]
            return order_notice("alpha", self.weights, target)

    conf: Conf
    alpha: Tensor | None

    def __init__(self, conf: Conf, output: Spec, target: Spec) -> None:
        super().__init__(conf, output, target)
        self.of_places = target.places
        self.register_buffer("alpha", label_weights(conf.weights, target), persistent=False)
        self.has_label_sets = target.axes == "BC"

    def forward(self, output: Features, target: Tensor) -> Tensor:
        if self.has_label_sets:
            logits_BC = logits_of(output)
            losses_BC = self._losses(F.logsigmoid(torch.where(target, logits_BC, -logits_BC)))
            return reduced(losses_BC if self.alpha is None else losses_BC * self.alpha, self.conf.reduction)
        logits_NC, target_N = class_scores(output, target, self.of_places)
        real_N, target_N = target_N != NO_TARGET, target_N.clamp(min=0)
        losses_N = self._losses(F.log_softmax(logits_NC, dim=-1).gather(1, target_N[:, None]).squeeze(1))
        losses_N = losses_N.masked_fill(~real_N, 0)
        if self.alpha is not None:
            losses_N = losses_N * self.alpha[target_N]
        return reduced(losses_N, self.conf.reduction, real_N.float())

    def _losses(self, log_p: Tensor) -> Tensor:
        """By the log probability of what is right, without alpha."""
        # The bound keeps the gradient of the power finite where p is 1 and gamma below 1.
        miss = -torch.expm1(log_p).clamp(max=-1e-12)
        return -(miss**self.conf.gamma) * log_p
