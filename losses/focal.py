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
    check_label_weights,
    class_scores,
    label_weights,
    order_notice,
    reduced,
)

Share = Annotated[float, Range(minimum=0, maximum=1)]


@LOSSES.register
class FocalLoss(RowLoss):
    """Cross-entropy with less weight on easy rows: -alpha[y] (1 - p[y])^gamma log p[y], for any number of labels.

    Shape: logits B x C, target ids B -> scalar; or B x T x C and B x T; the mean is over rows, or tokens. Of a layer
    that ends in softmax it takes the logits.

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

    def forward(self, output: Features, target: Tensor) -> Tensor:
        logits_NC, target_N = class_scores(output, target, self.of_places)
        real_N, target_N = target_N != NO_TARGET, target_N.clamp(min=0)
        log_p_N = F.log_softmax(logits_NC, dim=-1).gather(1, target_N[:, None]).squeeze(1)
        # The bound keeps the gradient of the power finite where p is 1 and gamma below 1.
        miss_N = -torch.expm1(log_p_N).clamp(max=-1e-12)
        losses_N = -(miss_N**self.conf.gamma) * log_p_N * real_N
        if self.alpha is not None:
            losses_N = losses_N * self.alpha[target_N]
        return reduced(losses_N, self.conf.reduction, real_N.float())
