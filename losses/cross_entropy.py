"""Losses on the probability of the right label."""

from typing import Annotated, ClassVar

from torch import Tensor
from torch.nn import functional as F

from core.conf import Range
from core.linear_chain import PARTS
from core.types import NO_TARGET, Features, Spec
from losses.base import LOSSES
from losses.row_loss import WeightedConf, WeightedLoss, class_scores, reduced


class ClassConf(WeightedConf):
    """The Conf of a loss on the probability of the right label."""

    takes_tokens: ClassVar = True

    ignore_index: int = NO_TARGET
    """Label id whose rows do not count."""

    def notices(self, output: Spec, target: Spec) -> dict[str, str]:  # type: ignore[override]
        said = super().notices(output, target)
        if (target.axes == "BT" or target.places) and self.ignore_index != NO_TARGET:
            said["conf.ignore_index"] = "has no effect. Padding has no label here, and never counts."
        if set(PARTS) <= set(output.parts):
            said["inputs[0]"] = "is a CRF, whose transitions learn nothing from scores of single tokens. Take CRFLoss."
        return said


class ClassLoss(WeightedLoss):
    """A loss on the probability of the right label; its mean divides by the weights of the rows that count."""

    def __init__(self, conf: ClassConf, output: Spec, target: Spec) -> None:
        super().__init__(conf, output, target)
        self.of_places = target.places
        self.ignored_id = NO_TARGET if target.axes == "BT" or target.places else conf.ignore_index

    def as_number(self, losses_N: Tensor, target_N: Tensor) -> Tensor:
        """The losses of rows as one number."""
        counted_N = target_N != self.ignored_id
        weights_N = counted_N.float() if self.weight is None else self.weight[target_N * counted_N] * counted_N
        return reduced(losses_N, self.conf.reduction, weights_N)


@LOSSES.register
class CrossEntropyLoss(ClassLoss):
    """Negative log probability of the right label: -w[y] log softmax(z)[y]; the mean divides by the sum of weights.

    Shape: logits B x C, target ids B -> scalar; or B x T x C and B x T; or B x T x 1 and B, the place of a token. Of a
    layer that ends in softmax it takes the logits.

        {"type": "CrossEntropyLoss", "conf": {"weight": {"0": 0.1, "1": 0.9}}, "inputs": ["output", "label"]}

    Reference: torch.nn.CrossEntropyLoss; label smoothing by Szegedy et al. 2016, section 7.
    """

    class Conf(ClassConf):
        label_smoothing: Annotated[float, Range(minimum=0, maximum=1)] = 0.0
        """Share of the target that is spread evenly over all labels."""

        def check(self, output: Spec, target: Spec) -> None:
            super().check(output, target)
            if target.places and self.label_smoothing:
                raise ValueError("label_smoothing belongs to labels, but this target holds places of tokens.")

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        logits_NC, target_N = class_scores(output, target, self.of_places)
        losses_N = F.cross_entropy(
            logits_NC,
            target_N,
            weight=self.weight,
            ignore_index=self.ignored_id,
            reduction="none",
            label_smoothing=self.conf.label_smoothing,
        )
        return self.as_number(losses_N, target_N)


@LOSSES.register
class NLLLoss(ClassLoss):
    """Negative log-likelihood of the right label: -w[y] log p[y]; the mean divides by the sum of weights.

    Shape: log-probabilities B x C, target ids B -> scalar; or B x T x C and B x T; or B x T x 1 and B, the place of a
    token. log_softmax leaves log-probabilities as they are, so it is applied to whatever the layer gives: logits and
    the logits behind a softmax are right, too.

        {"type": "NLLLoss", "inputs": ["output", "label"]}

    Reference: torch.nn.NLLLoss.
    """

    class Conf(ClassConf):
        pass

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        logits_NC, target_N = class_scores(output, target, self.of_places)
        losses_N = F.nll_loss(
            F.log_softmax(logits_NC, dim=-1),
            target_N,
            weight=self.weight,
            ignore_index=self.ignored_id,
            reduction="none",
        )
        return self.as_number(losses_N, target_N)
