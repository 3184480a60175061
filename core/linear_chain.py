"""Inference in linear-chain CRFs: partition function, score of a path, best path, marginals.

A chain of T tokens over C tags gives the tags y the score  start[y_1] + sum_t emissions[t, y_t]
+ sum_t transitions[y_(t-1), y_t] + end[y_T]; its probability is exp(score) / Z. Texts are padded on the right; an empty
text has one path, of score 0.

Recursions run in probabilities scaled by their maximum at each token (Rabiner 1989, section V.A), in float64: a step is
one matrix product of all rows. A scan in log(T) steps would multiply C x C matrices instead of vectors, which takes
twenty times longer at 20 tags.

Reference: Lafferty et al. 2001, Conditional Random Fields; Rabiner 1989, A Tutorial on Hidden Markov Models.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from core.types import Features

PARTS = ("transitions", "start", "end")
"""Parts of Features whose values are emissions: C x C (from, to), C, C."""


@dataclass(frozen=True)
class Chain:
    """What scores tags: emissions B x T x C, right-padded mask B x T, transitions C x C (from, to), start C, end C."""

    emissions: Tensor
    mask: Tensor
    transitions: Tensor
    start: Tensor
    end: Tensor

    @classmethod
    def of(cls, features: Features) -> "Chain":
        """The chain that a CRF layer gave."""
        return cls(features.values, features.real_mask(), *(features.parts[name] for name in PARTS))

    def divided(self, temperature: float) -> "Chain":
        """The chain with all scores divided."""
        emissions, transitions, start, end = (
            scores / temperature for scores in (self.emissions, self.transitions, self.start, self.end)
        )
        return Chain(emissions, self.mask, transitions, start, end)

    def last_token(self) -> Tensor:
        """The place of the last token; 0 for an empty text."""
        return (self.mask.sum(1) - 1).clamp(min=0)


def log_partition(chain: Chain) -> Tensor:
    """log Z of B in float32, differentiable once."""
    log_z_B: Tensor = _LogPartition.apply(  # type: ignore[no-untyped-call]
        chain.emissions, chain.mask, chain.transitions, chain.start, chain.end
    )
    return log_z_B


def path_score(chain: Chain, tags_BT: Tensor) -> Tensor:
    """The score of these tags, of B in float32; tags at padding mean nothing."""
    mask_BT, tags_BT = chain.mask, tags_BT.clamp(min=0)
    emitted_BT = chain.emissions.float().gather(2, tags_BT.unsqueeze(2)).squeeze(2)
    moved_BT = chain.transitions.float()[tags_BT[:, :-1], tags_BT[:, 1:]]
    last_B = tags_BT.gather(1, chain.last_token().unsqueeze(1)).squeeze(1)
    ends_B = chain.start.float()[tags_BT[:, 0]] + chain.end.float()[last_B]
    inside_B = (emitted_BT * mask_BT).sum(1) + (moved_BT * mask_BT[:, 1:]).sum(1)
    return inside_B + ends_B * mask_BT[:, 0]


def expected_score(chain: Chain, probabilities_BTC: Tensor) -> Tensor:
    """The mean score of B in float32 of paths whose tags are drawn one by one with these probabilities."""
    drawn_BTC = probabilities_BTC.float() * chain.mask.unsqueeze(2)
    emitted_B = (drawn_BTC * chain.emissions.float()).sum((1, 2))
    moved_B = ((drawn_BTC[:, :-1] @ chain.transitions.float()) * drawn_BTC[:, 1:]).sum((1, 2))
    rows_B = torch.arange(len(drawn_BTC), device=drawn_BTC.device)
    ends_B = drawn_BTC[:, 0] @ chain.start.float() + drawn_BTC[rows_B, chain.last_token()] @ chain.end.float()
    return emitted_B + moved_B + ends_B


def best_path(chain: Chain) -> Tensor:
    """The tags of B x T with the highest score, by Viterbi's algorithm; 0 at padding."""
    emissions_BTC, mask_BT = chain.emissions.float(), chain.mask
    transitions_CC = chain.transitions.float()
    scores_BC = chain.start.float() + emissions_BTC[:, 0]
    stay_C = torch.arange(scores_BC.shape[1], device=scores_BC.device)
    came_from = []
    for at in range(1, emissions_BTC.shape[1]):
        best_BC, from_BC = (scores_BC.unsqueeze(2) + transitions_CC).max(1)
        real_B1 = mask_BT[:, at, None]
        scores_BC = torch.where(real_B1, best_BC + emissions_BTC[:, at], scores_BC)
        came_from.append(torch.where(real_B1, from_BC, stay_C))
    tags_B = (scores_BC + chain.end.float()).argmax(1)
    path = [tags_B]
    for from_BC in reversed(came_from):
        tags_B = from_BC.gather(1, tags_B.unsqueeze(1)).squeeze(1)
        path.append(tags_B)
    return torch.stack(path[::-1], 1) * mask_BT


def marginals(chain: Chain) -> Tensor:
    """The probability of each tag at each token, B x T x C in float32; zeros at padding. No gradient."""
    with torch.no_grad():
        return _Sweep(chain).marginals().float()


class _Sweep:
    """The forward and the backward recursion, both in one loop over the tokens: the second reads the text reversed."""

    def __init__(self, chain: Chain) -> None:
        self.mask_BT, last_B = chain.mask, chain.last_token()
        emissions_BTC = chain.emissions.double()
        top_BT = emissions_BTC.amax(2)
        self.emitted_BTC = (emissions_BTC - top_BT.unsqueeze(2)).exp()
        self.moved_CC = chain.transitions.double().exp()
        places_T = torch.arange(emissions_BTC.shape[1], device=last_B.device)
        self.reversed_BT1 = (last_B[:, None] - places_T).abs().unsqueeze(2)  # its own inverse on real tokens
        emitted_2BTC = torch.stack([self.emitted_BTC, self._reverse(self.emitted_BTC)])
        moved_2CC = torch.stack([self.moved_CC, self.moved_CC.t()])
        ends_2C = torch.stack([chain.start, chain.end]).double().exp()
        state_2BC, scales, states = ends_2C.unsqueeze(1).expand(-1, len(last_B), -1), [], []
        for at in range(emissions_BTC.shape[1]):
            state_2BC = (state_2BC if not at else torch.bmm(state_2BC, moved_2CC)) * emitted_2BTC[:, :, at]
            scale_2B1 = state_2BC.amax(2, keepdim=True)
            state_2BC = state_2BC / scale_2B1
            scales.append(scale_2B1)
            states.append(state_2BC)
        self.forward_BTC, backward_BTC = torch.stack(states, 2)
        self.backward_BTC = self._reverse(backward_BTC)  # the emission of its own token included
        scale_BT = torch.cat(scales, 2)[0].log() + top_BT
        at_end_BC = self.forward_BTC[torch.arange(len(last_B), device=last_B.device), last_B]
        log_z_B = (scale_BT * self.mask_BT).sum(1) + (at_end_BC @ ends_2C[1]).log()
        self.log_z_B = torch.where(self.mask_BT[:, 0], log_z_B, 0)

    def marginals(self) -> Tensor:
        both_BTC = self.forward_BTC * self.backward_BTC / self.emitted_BTC.clamp(min=torch.finfo(torch.float64).tiny)
        return both_BTC / both_BTC.sum(2, keepdim=True) * self.mask_BT.unsqueeze(2)

    def expected_moves(self, weights_B: Tensor) -> Tensor:
        """How often each transition is taken, summed over tokens and weighted rows."""
        before_BSC, after_BSC = self.forward_BTC[:, :-1], self.backward_BTC[:, 1:]
        total_BS = ((before_BSC @ self.moved_CC) * after_BSC).sum(2)
        weights_BS = weights_B.unsqueeze(1) * self.mask_BT[:, 1:] / total_BS
        return self.moved_CC * torch.einsum("bsc,bsd->cd", before_BSC * weights_BS.unsqueeze(2), after_BSC)

    def _reverse(self, values_BTC: Tensor) -> Tensor:
        return values_BTC.gather(1, self.reversed_BT1.expand_as(values_BTC))


class _LogPartition(torch.autograd.Function):
    """log Z, whose gradients are the marginals: Lafferty et al. 2001, section 5."""

    @staticmethod
    def forward(
        ctx: Any, emissions_BTC: Tensor, mask_BT: Tensor, transitions_CC: Tensor, start_C: Tensor, end_C: Tensor
    ) -> Tensor:
        ctx.sweep = _Sweep(Chain(emissions_BTC, mask_BT, transitions_CC, start_C, end_C))
        ctx.dtypes = emissions_BTC.dtype, transitions_CC.dtype, start_C.dtype, end_C.dtype
        log_z_B: Tensor = ctx.sweep.log_z_B.float()
        return log_z_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_B: Tensor) -> tuple[Tensor | None, ...]:
        sweep, weights_B = ctx.sweep, gradient_B.double()
        marginals_BTC = sweep.marginals() * weights_B[:, None, None]
        last_B = (sweep.mask_BT.sum(1) - 1).clamp(min=0)
        end_BC = marginals_BTC[torch.arange(len(last_B), device=last_B.device), last_B]
        gradients = marginals_BTC, sweep.expected_moves(weights_B), marginals_BTC[:, 0].sum(0), end_BC.sum(0)
        emissions, transitions, start, end = (g.to(dtype) for g, dtype in zip(gradients, ctx.dtypes, strict=True))
        return emissions, None, transitions, start, end
