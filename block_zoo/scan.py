"""Linear recurrences along the tokens of a text, in steps whose number grows with the logarithm of its length."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def linear_scan(decay_BTD: Tensor, inputs_BTD: Tensor, backward: bool = False) -> Tensor:
    """c_t = decay_t * c_(t-1) + inputs_t from c = 0 before the first token; backward: of c_(t+1), from the last one.

    Reference: Blelloch 1990, Prefix Sums and Their Applications, section 1.4.
    """
    states_BTD: Tensor = _LinearScan.apply(decay_BTD, inputs_BTD, backward)  # type: ignore[no-untyped-call]
    return states_BTD


class _LinearScan(torch.autograd.Function):
    """Its gradient is the same recurrence the other way round, so only its results are kept for it."""

    @staticmethod
    def forward(ctx: Any, decay_BTD: Tensor, inputs_BTD: Tensor, backward: bool) -> Tensor:
        states_BTD = inputs_BTD.clone()
        _accumulate(_links(decay_BTD, backward), states_BTD, backward)
        ctx.save_for_backward(decay_BTD, states_BTD)
        ctx.backward_in_time = backward
        return states_BTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BTD: Tensor) -> tuple[Tensor, Tensor, None]:
        decay_BTD, states_BTD = ctx.saved_tensors
        of_inputs_BTD, of_decay_BTD = gradient_BTD.clone(), torch.zeros_like(decay_BTD)
        _accumulate(_links(decay_BTD, ctx.backward_in_time), of_inputs_BTD, not ctx.backward_in_time)
        if ctx.backward_in_time:
            of_decay_BTD[:, :-1] = of_inputs_BTD[:, :-1] * states_BTD[:, 1:]
        else:
            of_decay_BTD[:, 1:] = of_inputs_BTD[:, 1:] * states_BTD[:, :-1]
        return of_decay_BTD, of_inputs_BTD, None


def _links(decay_BTD: Tensor, backward: bool) -> Tensor:
    """The factor between every two neighbours."""
    return decay_BTD[:, :-1] if backward else decay_BTD[:, 1:]


def _accumulate(links_BTD: Tensor, states_BTD: Tensor, backward: bool) -> None:
    """In place: of every two states the later takes in the earlier; the later ones accumulate; the rest take in theirs.

    Pairs begin at `first`: a state without a partner comes last in time.
    """
    size = states_BTD.shape[1]
    if size < 2:
        return
    first = size % 2 if backward else 0
    later_BTD = _take_in(links_BTD, states_BTD, first, backward)
    within_BTD, between_BTD = links_BTD[:, first::2], links_BTD[:, first + 1 : size - 2 : 2]
    _accumulate(between_BTD * (within_BTD[:, :-1] if backward else within_BTD[:, 1:]), later_BTD, backward)
    _take_in(links_BTD, states_BTD, 1 - first, backward)


def _take_in(links_BTD: Tensor, states_BTD: Tensor, first: int, backward: bool) -> Tensor:
    """Add to the later state of every pair from `first` on what the earlier passes on; the later states."""
    left_BTD, right_BTD = states_BTD[:, first:-1:2], states_BTD[:, first + 1 :: 2]
    early_BTD, late_BTD = (right_BTD, left_BTD) if backward else (left_BTD, right_BTD)
    return late_BTD.addcmul_(links_BTD[:, first::2], early_BTD)
