"""Losses that want the right label ahead by a margin."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from core.types import Features
from losses.base import LOSSES
from losses.row_loss import WeightedConf, WeightedLoss, logits_of


@LOSSES.register
class MultiMarginLoss(WeightedLoss):
    """Multi-class hinge loss: sum over i != y of w[y] max(0, margin - z[y] + z[i])^p, divided by C.

    Shape: scores B x C, target ids B -> scalar. Of a layer that ends in softmax it takes the logits.

        {"type": "MultiMarginLoss", "conf": {"p": 2}, "inputs": ["output", "label"]}

    Reference: Crammer & Singer 2001; torch.nn.MultiMarginLoss.
    """

    class Conf(WeightedConf):
        p: Literal[1, 2] = 1
        """Exponent of the hinge."""
        margin: float = 1.0
        """How far the right label should be ahead."""

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        return F.multi_margin_loss(
            logits_of(output),
            target,
            p=self.conf.p,
            margin=self.conf.margin,
            weight=self.weight,
            reduction=self.conf.reduction,
        )
