"""Losses of one number per row against two labels: the number speaks for the label with id 1, the rarer in train."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from core.conf import PositiveFloat
from core.types import Features, Spec
from losses.base import LOSSES
from losses.row_loss import (
    RangedLoss,
    ReducedConf,
    RowLoss,
    check_one_per_row,
    check_two_labels,
    logits_of,
    one_per_row,
    reduced,
)


@LOSSES.register
class BCEWithLogitsLoss(RowLoss):
    """Binary cross-entropy of a logit: -w y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)).

    Shape: logits B x 1 or B, target ids B -> scalar. Of a layer that ends in sigmoid it takes the logits.

        {"type": "BCEWithLogitsLoss", "conf": {"pos_weight": 3.0}, "inputs": ["output", "label"]}

    Reference: torch.nn.BCEWithLogitsLoss.
    """

    class Conf(ReducedConf):
        reads_logits: ClassVar = True
        pos_weight: PositiveFloat | None = None
        """Weight of the rows whose label has id 1. null = 1."""

        def check(self, output: Spec, target: Spec) -> None:
            check_one_per_row(output)
            check_two_labels(target)

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        weight = self.conf.pos_weight
        logits_B = one_per_row(logits_of(output), target)
        return F.binary_cross_entropy_with_logits(
            logits_B,
            target.float(),
            pos_weight=None if weight is None else logits_B.new_tensor(weight),
            reduction=self.conf.reduction,
        )


@LOSSES.register
class BCELoss(RangedLoss):
    """Binary cross-entropy of a probability: -y log p - (1 - y) log(1 - p).

    Shape: probabilities B x 1 or B, target B: ids of two labels, or numbers from 0 to 1 -> scalar. Where the layer
    also gives the logits behind its sigmoid, they are used: they do not saturate. With labels they must be there,
    because without them what a layer gives is decoded as a logit.

        {"type": "BCELoss", "inputs": ["output", "label"]}

    Reference: torch.nn.BCELoss.
    """

    class Conf(ReducedConf):
        reads_logits: ClassVar = True

        def check(self, output: Spec, target: Spec) -> None:
            check_one_per_row(output)
            target.expect("B")
            if target.ids:
                check_two_labels(target)
                if "logits" not in output.parts:
                    raise ValueError("needs the logits of a layer that ends in sigmoid. Take BCEWithLogitsLoss.")

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        target_B = target.float()
        wrong_B = self.wrong_rows(target_B, "BCELoss needs targets from 0 to 1", 1)
        if "logits" in output.parts:
            logits_B = one_per_row(logits_of(output), target)
            losses_B = F.binary_cross_entropy_with_logits(logits_B, target_B, reduction="none")
            return self.as_number(losses_B, wrong_B)
        probabilities_B = one_per_row(output.values, target)
        highest = 1 + 1e-6  # what adds up probabilities may round up
        wrong_B = wrong_B | self.wrong_rows(probabilities_B, "BCELoss needs probabilities from 0 to 1", highest)
        # torch would end in an error of its own; on a GPU that is a device assert which names nothing.
        sound_B, target_B = probabilities_B.masked_fill(wrong_B, 0).clamp(max=1), target_B.masked_fill(wrong_B, 0)
        with torch.autocast(probabilities_B.device.type, enabled=False):  # which refuses this function
            losses_B = F.binary_cross_entropy(sound_B, target_B, reduction="none")
        return self.as_number(losses_B, wrong_B)


@LOSSES.register
class SoftMarginLoss(RowLoss):
    """Logistic loss of a score: log(1 + exp(-t s)) with t = -1 for label id 0 and 1 for id 1.

    Shape: scores B x 1 or B, target ids B -> scalar. Of a layer that ends in sigmoid it takes the logits.

        {"type": "SoftMarginLoss", "inputs": ["output", "label"]}

    Reference: torch.nn.SoftMarginLoss.
    """

    class Conf(ReducedConf):
        reads_logits: ClassVar = True

        def check(self, output: Spec, target: Spec) -> None:
            check_one_per_row(output)
            check_two_labels(target)

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        scores_B = one_per_row(logits_of(output), target)
        return reduced(F.softplus(-(2 * target - 1) * scores_B), self.conf.reduction)  # exp alone would overflow
