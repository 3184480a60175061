"""The loss of a conditional random field."""

from typing import Literal

from torch import Tensor

from core.linear_chain import PARTS, Chain, log_partition, path_score
from core.types import Features, Spec
from losses.base import LOSSES
from losses.row_loss import ReducedConf, RowLoss, check_label_target, reduced


@LOSSES.register
class CRFLoss(RowLoss):
    """Negative log-likelihood of the right path of a text: log Z - score(y).

    Shape: the potentials of a CRF layer, target ids B x T -> scalar.

        {"type": "CRFLoss", "inputs": ["output", "tags"]}

    Reference: Lafferty et al. 2001, Conditional Random Fields; Lample et al. 2016, equation 1.
    """

    class Conf(ReducedConf):
        reduction: Literal["mean", "sum"] = "sum"
        """How the losses of the texts become one number."""

        def check(self, output: Spec, target: Spec) -> None:
            if not set(PARTS) <= set(output.parts):
                raise ValueError("needs the output of a CRF layer. Take CrossEntropyLoss for scores of their own.")
            check_label_target(target, takes_tokens=True)
            target.expect("BT")
            if target.labels is not None and output.size("D") != len(target.labels):
                raise ValueError(f"needs {len(target.labels)} labels in the CRF layer, but it has {output.size('D')}.")

    conf: Conf

    def forward(self, output: Features, target: Tensor) -> Tensor:
        chain = Chain.of(output)
        return reduced(log_partition(chain) - path_score(chain, target), self.conf.reduction)
