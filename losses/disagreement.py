"""R-Drop: how far two passes with different dropout disagree."""

from torch import Tensor
from torch.nn import functional as F

from core.types import Features, Spec
from losses.row_loss import logits_of
from losses.teacher_loss import LOWEST


def disagreement(output: Features, target: Spec) -> Tensor:
    """The mean over rows (or tokens, or labels of a row) of KL(p | q) + KL(q | p), p and q what the two passes say.

    output  the answers for rows that stand in the batch twice, all of them before all of them again
    target  what they answer: labels of rows or tokens, sets of labels, places of tokens; for numbers it is the squared
            difference instead

    Reference: Liang et al. 2021, R-Drop: Regularized Dropout for Neural Networks, equation 2.
    """
    if target.labels is None and not target.places:
        one, other = output.values.float().chunk(2)
        return (one - other).square().mean()
    logits = logits_of(output)
    mask = output.mask
    if target.places:
        logits = logits.squeeze(-1) if logits.ndim == 3 else logits
        if mask is not None:
            logits, mask = logits.masked_fill(~mask, LOWEST), None
    first, second = logits.chunk(2)
    if target.axes == "BC" or logits.ndim == 1 or logits.shape[-1] == 1:
        return ((first.sigmoid() - second.sigmoid()) * (first - second)).mean()
    differing = first.softmax(-1) - second.softmax(-1)
    divergence = (differing * (F.log_softmax(first, -1) - F.log_softmax(second, -1))).sum(-1)
    if mask is None:
        return divergence.mean()
    real = mask.chunk(2)[0]
    return divergence.masked_fill(~real, 0).sum() / real.sum().clamp(min=1)
