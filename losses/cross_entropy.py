"""Losses on the probability of the right label."""

from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

from core.conf import Range
from core.types import Features
from losses.base import LOSSES
from losses.row_loss import WeightedConf, WeightedLoss, logits_of, reduced


class ClassConf(WeightedConf):
    """The Conf of a loss on the probability of the right label."""

    ignore_index: int = -100
    """Label id whose rows do not count."""


class ClassLoss(WeightedLoss):
    """A loss on the probability of the right label; its mean divides by the weights of the rows that count."""

    conf: ClassConf

    def as_number(self, losses_B: Tensor, target: Tensor) -> Tensor:
        """The losses of rows as one number."""
        counted_B = target != self.conf.ignore_index
        weights_B = counted_B.float() if self.weight is None else self.weight[target * counted_B] * counted_B
        return reduced(losses_B, self.conf.reduction, weights_B)


@LOSSES.register
class CrossEntropyLoss(ClassLoss):
    """Negative log probability of the right label: -w[y] log softmax(z)[y]; the mean divides by the sum of weights.

    Shape: logits B x C, target ids B -> scalar. Of a layer that ends in softmax it takes the logits.

        {"type": "CrossEntropyLoss", "conf": {"weight": {"0": 0.1, "1": 0.9}}, "inputs": ["output", "label"]}

    Reference: torch.nn.CrossEntropyLoss; label smoothing by Szegedy et al. 2016, section 7.
    """

    class Conf(ClassConf):
        label_smoothing: Annotated[float, Range(minimum=0, maximum=1)] = 0.0
        """Share of the target that is spread evenly over all labels."""

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        losses_B = F.cross_entropy(
            logits_of(output),
            target,
            weight=self.weight,
            ignore_index=self.conf.ignore_index,
            reduction="none",
            label_smoothing=self.conf.label_smoothing,
        )
        return self.as_number(losses_B, target)


@LOSSES.register
class NLLLoss(ClassLoss):
    """Negative log-likelihood of the right label: -w[y] log p[y]; the mean divides by the sum of weights.

    Shape: log-probabilities B x C, target ids B -> scalar. log_softmax leaves log-probabilities as they are, so it is
    applied to whatever the layer gives: logits and the logits behind a softmax are right, too.

        {"type": "NLLLoss", "inputs": ["output", "label"]}

    Reference: torch.nn.NLLLoss.
    """

    class Conf(ClassConf):
        pass

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        log_probabilities_BC = F.log_softmax(logits_of(output), dim=-1)
        losses_B = F.nll_loss(
            log_probabilities_BC,
            target,
            weight=self.weight,
            ignore_index=self.conf.ignore_index,
            reduction="none",
        )
        return self.as_number(losses_B, target)
