"""Losses of a number against yes or no.

One number per row against two labels speaks for the label with id 1, the rarer in train; one per row and label says
whether the row has this label (dataset_type multi_label).
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from core.conf import PositiveFloat
from core.types import Features, Spec
from losses.base import LOSSES
from losses.row_loss import (
    LabelWeights,
    RangedLoss,
    ReducedConf,
    RowLoss,
    check_label_scores,
    check_label_weights,
    check_one_per_row,
    check_two_labels,
    check_values,
    label_weights,
    logits_of,
    one_per_row,
    order_notice,
    reduced,
)


def _check_binary(output: Spec, target: Spec) -> None:
    """ValueError unless the layer gives one number for each row of a target of two labels."""
    check_two_labels(target)
    check_one_per_row(output, " For one score for each label take CrossEntropyLoss.")


def _check_yes_or_no(output: Spec, target: Spec) -> None:
    """The same, or one number for each row and label of a target of any number of labels."""
    check = check_label_scores if target.axes == "BC" else _check_binary
    check(output, target)


def _like_target(values: Tensor, target: Tensor) -> Tensor:
    """`values` in float32 and in the shape of the target: B, or B x C."""
    return one_per_row(values, target) if target.dim() == 1 else values.float()


@LOSSES.register
class BCEWithLogitsLoss(RowLoss):
    """Binary cross-entropy of a logit: -w y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)).

    Shape: logits B x 1 or B, target ids B -> scalar; or B x C and bool of B x C, and the mean is over rows and labels.
    Of a layer that ends in sigmoid it takes the logits.

        {"type": "BCEWithLogitsLoss", "conf": {"pos_weight": 3.0}, "inputs": ["output", "label"]}

    Reference: torch.nn.BCEWithLogitsLoss.
    """

    class Conf(ReducedConf):
        reads_logits: ClassVar = True
        pos_weight: PositiveFloat | LabelWeights = None
        """Weight of the rows whose label has id 1, or that have a label: one number, or for each label by name or in
        the order of ids. null = 1."""

        def check(self, output: Spec, target: Spec) -> None:
            _check_yes_or_no(output, target)
            if isinstance(self.pos_weight, list | dict):
                if target.axes != "BC":
                    raise ValueError("pos_weight must be one number where each row has one of two labels.")
                check_label_weights("pos_weight", self.pos_weight, output, target)

        def notices(self, output: Spec, target: Spec) -> dict[str, str]:  # type: ignore[override]
            return order_notice("pos_weight", self.pos_weight, target)

    conf: Conf
    pos_weight: Tensor | None

    def __init__(self, conf: Conf, output: Spec, target: Spec) -> None:
        super().__init__(conf, output, target)
        self.register_buffer("pos_weight", label_weights(conf.pos_weight, target), persistent=False)

    def forward(self, output: Features, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            _like_target(logits_of(output), target),
            target.float(),
            pos_weight=self.pos_weight,
            reduction=self.conf.reduction,
        )


@LOSSES.register
class BCELoss(RangedLoss):
    """Binary cross-entropy of a probability: -y log p - (1 - y) log(1 - p).

    Shape: probabilities B x 1 or B, target B: ids of two labels, or numbers from 0 to 1 -> scalar; or B x C and bool of
    B x C, and the mean is over rows and labels. Where the layer also gives the logits behind its sigmoid, they are
    used: they do not saturate. With labels they must be there, because without them what a layer gives is decoded as a
    logit.

        {"type": "BCELoss", "inputs": ["output", "label"]}

    Reference: torch.nn.BCELoss.
    """

    class Conf(ReducedConf):
        reads_logits: ClassVar = True

        def check(self, output: Spec, target: Spec) -> None:
            if not target.ids and target.axes != "BC":
                check_values(output, target)
                return
            _check_yes_or_no(output, target)
            if "logits" not in output.parts:
                raise ValueError("needs the logits of a layer that ends in sigmoid. Take BCEWithLogitsLoss.")

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        target_B = target.float()
        wrong_B = self.wrong_rows(target_B, "BCELoss needs targets from 0 to 1", 1)
        if "logits" in output.parts:
            logits_B = _like_target(logits_of(output), target)
            losses_B = F.binary_cross_entropy_with_logits(logits_B, target_B, reduction="none")
            return self.as_number(losses_B, wrong_B)
        probabilities_B = _like_target(output.values, target)
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
            _check_binary(output, target)

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        scores_B = one_per_row(logits_of(output), target)
        return reduced(F.softplus(-(2 * target - 1) * scores_B), self.conf.reduction)  # exp alone would overflow
