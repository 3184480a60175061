"""Losses of one number per row against a number."""

from torch import Tensor
from torch.nn import functional as F

from core.conf import NonNegativeFloat, PositiveFloat
from core.types import Features, Spec
from losses.base import LOSSES
from losses.row_loss import RangedLoss, ReducedConf, RowLoss, check_values, one_per_row


class ValueConf(ReducedConf):
    """The Conf of a loss on numbers."""

    def check(self, output: Spec, target: Spec) -> None:
        check_values(output, target)


@LOSSES.register
class MSELoss(RowLoss):
    """Squared error: (x - y)^2.

    Shape: values B x 1 or B, target B -> scalar.

        {"type": "MSELoss", "inputs": ["output", "score"]}

    Reference: torch.nn.MSELoss.
    """

    class Conf(ValueConf):
        pass

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        return F.mse_loss(one_per_row(output.values, target), target.float(), reduction=self.conf.reduction)


@LOSSES.register
class L1Loss(RowLoss):
    """Absolute error: |x - y|.

    Shape: values B x 1 or B, target B -> scalar.

        {"type": "L1Loss", "inputs": ["output", "score"]}

    Reference: torch.nn.L1Loss.
    """

    class Conf(ValueConf):
        pass

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        return F.l1_loss(one_per_row(output.values, target), target.float(), reduction=self.conf.reduction)


@LOSSES.register
class SmoothL1Loss(RowLoss):
    """Squared near zero, absolute beyond: (x - y)^2 / (2 beta) where |x - y| < beta, else |x - y| - beta / 2.

    Shape: values B x 1 or B, target B -> scalar.

        {"type": "SmoothL1Loss", "conf": {"beta": 0.5}, "inputs": ["output", "score"]}

    Reference: Girshick 2015, Fast R-CNN, equation 3; torch.nn.SmoothL1Loss.
    """

    class Conf(ValueConf):
        beta: NonNegativeFloat = 1.0
        """Error at which the square turns into the line; 0 is L1Loss."""

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        values_B = one_per_row(output.values, target)
        return F.smooth_l1_loss(values_B, target.float(), beta=self.conf.beta, reduction=self.conf.reduction)


@LOSSES.register
class HuberLoss(RowLoss):
    """Squared near zero, absolute beyond: (x - y)^2 / 2 where |x - y| < delta, else delta (|x - y| - delta / 2).

    Shape: values B x 1 or B, target B -> scalar.

        {"type": "HuberLoss", "conf": {"delta": 2.0}, "inputs": ["output", "score"]}

    Reference: Huber 1964; torch.nn.HuberLoss.
    """

    class Conf(ValueConf):
        delta: PositiveFloat = 1.0
        """Error at which the square turns into the line."""

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        values_B = one_per_row(output.values, target)
        return F.huber_loss(values_B, target.float(), delta=self.conf.delta, reduction=self.conf.reduction)


@LOSSES.register
class PoissonNLLLoss(RangedLoss):
    """Negative log-likelihood of a count under a Poisson distribution: x - y log x; exp(x) - y x where x is a log.

    Shape: rates B x 1 or B, target counts B -> scalar.

        {"type": "PoissonNLLLoss", "inputs": ["output", "count"]}

    Reference: torch.nn.PoissonNLLLoss, whose log_input is true by default. What a layer gives is also what is
    predicted and scored, so here it is a rate by default: end the layer with the activation Softplus.
    """

    class Conf(ValueConf):
        log_input: bool = False
        """Whether the layer gives the logarithm of the rate; it is also what is then predicted."""
        full: bool = False
        """Add the Stirling term, which does not depend on the model."""
        eps: PositiveFloat = 1e-8
        """Added to a rate before its logarithm is taken."""

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        values_B, target_B = one_per_row(output.values, target), target.float()
        wrong_B = self.wrong_rows(target_B, "PoissonNLLLoss needs counts of at least 0")
        if not self.conf.log_input:
            sentence = "PoissonNLLLoss needs rates of at least 0 (or log_input)"
            wrong_B = wrong_B | self.wrong_rows(values_B, sentence)
        losses_B = F.poisson_nll_loss(
            values_B,
            target_B,
            log_input=self.conf.log_input,
            full=self.conf.full,
            eps=self.conf.eps,
            reduction="none",
        )
        return self.as_number(losses_B, wrong_B)
