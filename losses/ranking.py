"""Losses on the order of rows within their groups, such as the answers to one question."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from core.conf import NonNegativeFloat, PositiveFloat
from core.types import Features, Spec
from losses.base import LOSSES
from losses.row_loss import (
    ReducedConf,
    RowLoss,
    check_two_labels,
    check_values,
    logits_of,
    reduced,
)


class RankingConf(ReducedConf):
    """The Conf of a loss on the order of the rows of each group."""

    reads_logits: ClassVar = True
    reads_groups: ClassVar = True

    reduction: Literal["mean", "sum"] = "mean"
    """How the losses of the groups become one number; a group whose gains are all equal does not count."""

    def check(self, output: Spec, target: Spec) -> None:
        check_ranking(output, target)


class PairConf(RankingConf):
    """The Conf of a loss on the pairs of rows of one group that differ in gain."""

    reduction: Literal["mean", "sum"] = "mean"
    """How the losses of the pairs become one number."""


class RankingLoss(RowLoss):
    """A loss on the order of the rows of each group.

    The gain of a row is its target, where that is a number; else it is 1 for the positive label (label id 1, where the
    problem names none) and 0 for the other. Scores of two labels count by their difference.
    """

    def __init__(self, conf: RankingConf, output: Spec, target: Spec) -> None:
        super().__init__(conf, output, target)
        self.ranks_first_label = ranks_first_label(target)

    def scores_and_gains(self, output: Features, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both of B in float32."""
        scores_B, gains_B = ranking_scores(output), target.float()
        return (-scores_B, 1 - gains_B) if self.ranks_first_label else (scores_B, gains_B)


def check_ranking(output: Spec, target: Spec) -> None:
    """ValueError unless rows have a score, or one for each of two labels, and targets by which they can be ordered."""
    if not target.ids:
        check_values(output, target)
        return
    check_two_labels(target, "Grades are numbers: take dataset_type regression.")
    output.expect("BD", "B")
    if output.sizes.get("D", 1) > 2:
        raise ValueError(f"needs one score, or one for each of the two labels, but the layer gives {output}.")


def ranks_first_label(target: Spec) -> bool:
    """Whether the first of two labels is the positive one, so that rows are the better, the lower their score is."""
    return target.labels is not None and target.positive == target.labels[0]


def ranking_scores(output: Features, of_numbers: bool = False) -> Tensor:
    """scores_B in float32, from B or B x 1; of two labels, B x 2, how far the second is ahead.

    of_numbers  whether it is the numbers that count, not the logits that they come of
    """
    logits = output.values.float() if of_numbers else logits_of(output)
    if logits.shape[1:] == (2,):
        return logits[:, 1] - logits[:, 0]
    return logits.reshape(len(logits))


def same_group(groups_B: Tensor) -> Tensor:
    """same_BB, whether two rows are of one group."""
    return groups_B[:, None] == groups_B


def better(gains_B: Tensor, same_BB: Tensor) -> Tensor:
    """better_BB, whether row i should be ahead of row j: of its group, with a higher gain."""
    return same_BB & (gains_B[:, None] > gains_B)


def differences(values_B: Tensor) -> Tensor:
    """differences_BB, the value of row i less that of row j."""
    return values_B[:, None] - values_B


def has_order(better_BB: Tensor) -> Tensor:
    """bool of B, whether the group of a row has different gains; then each of its rows is in a pair."""
    return (better_BB | better_BB.T).any(1)


def groups_with_order(better_BB: Tensor, same_BB: Tensor) -> Tensor:
    """float32 of B, 1 for the first row of each group that has different gains, else 0."""
    return (has_order(better_BB) & ~same_BB.tril(-1).any(1)).float()


def ranks(values_B: Tensor, same_BB: Tensor) -> Tensor:
    """ranks_B from 1 in each group, the highest value first; of equal values the earlier row."""
    places_B = values_B.argsort(descending=True, stable=True).argsort()
    return 1 + (same_BB & (places_B < places_B[:, None])).sum(1)


@LOSSES.register
class PairwiseHingeLoss(RankingLoss):
    """Hinge loss of a pair of rows of one group: max(0, margin - (s_i - s_j)) where i has the higher gain.

    Shape: scores B x 1 or B (of two labels also B x 2), target B: numbers or ids of two labels -> scalar. Of a layer
    that ends in softmax or sigmoid it takes the logits.

        {"type": "PairwiseHingeLoss", "conf": {"margin": 0.5}, "inputs": ["output", "label"]}

    Reference: Herbrich et al. 2000, Large Margin Rank Boundaries for Ordinal Regression; Joachims 2002 (Ranking SVM).
    """

    class Conf(PairConf):
        margin: PositiveFloat = 1.0
        """How far the better row should be ahead."""

    conf: Conf

    def forward(self, output: Features, target: Tensor, groups: Tensor) -> Tensor:
        scores_B, gains_B = self.scores_and_gains(output, target)
        pairs_BB = better(gains_B, same_group(groups)).float()
        losses_BB = F.relu(self.conf.margin - differences(scores_B)) * pairs_BB
        return reduced(losses_BB, self.conf.reduction, pairs_BB)


@LOSSES.register
class RankNetLoss(RankingLoss):
    """Cross-entropy of the order of a pair of rows of one group: log(1 + exp(s_j - s_i)) where i has the higher gain.

    Shape: scores B x 1 or B (of two labels also B x 2), target B: numbers or ids of two labels -> scalar. Of a layer
    that ends in softmax or sigmoid it takes the logits.

        {"type": "RankNetLoss", "inputs": ["output", "label"]}

    Reference: Burges et al. 2005, Learning to Rank using Gradient Descent, equation 3, where the probability that row i
    ranks higher is 1.
    """

    class Conf(PairConf):
        pass

    conf: Conf

    def forward(self, output: Features, target: Tensor, groups: Tensor) -> Tensor:
        scores_B, gains_B = self.scores_and_gains(output, target)
        pairs_BB = better(gains_B, same_group(groups)).float()
        return reduced(F.softplus(-differences(scores_B)) * pairs_BB, self.conf.reduction, pairs_BB)


@LOSSES.register
class ListNetLoss(RankingLoss):
    """Cross-entropy of which row of a group comes first: -sum over its rows of softmax(gains) log softmax(scores).

    Shape: scores B x 1 or B (of two labels also B x 2), target B: numbers or ids of two labels -> scalar. Of a layer
    that ends in softmax or sigmoid it takes the logits.

        {"type": "ListNetLoss", "inputs": ["output", "label"]}

    Reference: Cao et al. 2007, Learning to Rank: From Pairwise Approach to Listwise Approach, with its top one
    probability.
    """

    class Conf(RankingConf):
        pass

    conf: Conf

    def forward(self, output: Features, target: Tensor, groups: Tensor) -> Tensor:
        scores_B, gains_B = self.scores_and_gains(output, target)
        same_BB = same_group(groups)
        better_BB = better(gains_B, same_BB)

        def log_softmax(values_B: Tensor) -> Tensor:
            return values_B - values_B.where(same_BB, -torch.inf).logsumexp(1)

        losses_B = -log_softmax(gains_B).exp() * log_softmax(scores_B) * has_order(better_BB)
        return reduced(losses_B, self.conf.reduction, groups_with_order(better_BB, same_BB))


@LOSSES.register
class LambdaLoss(RankingLoss):
    """RankNet's loss (base 2) of the pairs of a group, weighted by what the order of the two rows means for the NDCG.

    Rows at the present ranks i and j have the weight (rho + mu delta) |G_i - G_j|, where G is the gain divided by the
    best possible DCG of the group, D_r = log2(1 + r), rho = |1 / D_i - 1 / D_j| (rho |G_i - G_j| is how much the NDCG
    changes when the two are swapped) and delta = 1 / D_|i-j| - 1 / D_(|i-j|+1). Gains are the targets themselves, and
    those below 0 count as 0, as in the metric ndcg@K; the paper has 2^y - 1, which is the same for 0 and 1.

    Shape: scores B x 1 or B (of two labels also B x 2), target B: numbers or ids of two labels -> scalar. Of a layer
    that ends in softmax or sigmoid it takes the logits.

        {"type": "LambdaLoss", "conf": {"mu": 0.0}, "inputs": ["output", "label"]}

    Reference: Wang et al. 2018, The LambdaLoss Framework for Ranking Metric Optimization, NDCG-Loss2++; without delta
    LambdaRank, Burges et al. 2006.
    """

    class Conf(RankingConf):
        mu: NonNegativeFloat = 10.0
        """Weight of delta; 0 is LambdaRank."""

    conf: Conf

    def forward(self, output: Features, target: Tensor, groups: Tensor) -> Tensor:
        scores_B, gains_B = self.scores_and_gains(output, target)
        same_BB, gains_B = same_group(groups), gains_B.clamp(min=0)
        better_BB = better(gains_B, same_BB)
        best_B = (gains_B / torch.log2(1 + ranks(gains_B, same_BB))).where(same_BB, 0).sum(1)
        shares_B = gains_B / best_B.where(best_B > 0, 1)
        ranks_B = ranks(scores_B.detach(), same_BB)
        apart_BB = differences(ranks_B).abs().clamp(min=1)  # those 0 apart are no pair
        delta_BB = 1 / torch.log2(1 + apart_BB) - 1 / torch.log2(2 + apart_BB)
        rho_BB = differences(1 / torch.log2(1 + ranks_B)).abs()
        weights_BB = (rho_BB + self.conf.mu * delta_BB) * differences(shares_B) * better_BB
        losses_BB = weights_BB * F.softplus(-differences(scores_B)) / math.log(2)
        return reduced(losses_BB, self.conf.reduction, groups_with_order(better_BB, same_BB))
