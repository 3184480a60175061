"""Losses for any number of labels of each row (dataset_type multi_label)."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from core.types import Features, Spec
from losses.base import LOSSES
from losses.row_loss import (
    ReducedConf,
    RowLoss,
    WeightedConf,
    WeightedLoss,
    check_label_scores,
    check_label_weights,
    logits_of,
)


@LOSSES.register
class MultiLabelSoftMarginLoss(WeightedLoss):
    """Binary cross-entropy of each label: mean over labels of -w (y log sigmoid(z) + (1 - y) log(1 - sigmoid(z))).

    Shape: logits B x C, target bool of B x C -> scalar. Of a layer that ends in sigmoid it takes the logits.

        {"type": "MultiLabelSoftMarginLoss", "inputs": ["output", "topics"]}

    Reference: torch.nn.MultiLabelSoftMarginLoss.
    """

    class Conf(WeightedConf):
        def check(self, output: Spec, target: Spec) -> None:
            check_label_scores(output, target)
            check_label_weights("weight", self.weight, output, target)

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(
            logits_of(output), target.float(), weight=self.weight, reduction=self.conf.reduction
        )


@LOSSES.register
class MultiLabelMarginLoss(RowLoss):
    """Hinge loss of pairs: sum over labels y of the row and others i of max(0, 1 - z[y] + z[i]), divided by C.

    Shape: scores B x C, target bool of B x C -> scalar; 0 for rows with no label or with all. Of a layer that ends in
    sigmoid it takes the logits.

        {"type": "MultiLabelMarginLoss", "inputs": ["output", "topics"]}

    Reference: torch.nn.MultiLabelMarginLoss.
    """

    class Conf(ReducedConf):
        reads_logits: ClassVar = True

        def check(self, output: Spec, target: Spec) -> None:
            check_label_scores(output, target)

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        has_label_BC, ids_BC = target.byte().sort(dim=1, descending=True)
        listed_BC = torch.where(has_label_BC.bool(), ids_BC, -1)  # torch wants the ids of a row's labels, then -1
        return F.multilabel_margin_loss(logits_of(output), listed_BC, reduction=self.conf.reduction)
