"""A policy that chooses teachers for each row, learned by reinforcement."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import inside
from core.types import Spec
from distillation.weighting import WEIGHTINGS, Lesson, Weighting, alike, shared_out


@dataclass(frozen=True)
class Choice:
    """What a policy saw and did for the rows of a batch.

    state   B x F, what it saw of each row
    action  B x K, 1 = this teacher teaches, 0 = not; or the drawn scores whose softmax are the weights
    counts  B x K of bool, which teachers have an answer
    """

    state: Tensor
    action: Tensor
    counts: Tensor


@WEIGHTINGS.register
class Reinforced(Weighting):
    """Teachers chosen row by row by a logistic policy, which trainer Reinforced rewards for what the student learns.

    The state of a row is its vector, and of every teacher the probabilities, how sure it is, and their cost by the
    label; a linear layer for each teacher makes of it the probability that this one teaches. The student learns from
    the mean of those who are chosen.

        {"type": "Reinforced", "conf": {"vector": "big.encoder"}}

    Reference: Yuan et al. 2021, Reinforced Multi-Teacher Selection for Knowledge Distillation, section 3.2; weights
    instead of a choice after Yang et al. 2025, Multi-Teacher Knowledge Distillation with Reinforcement Learning for
    Visual Recognition.
    """

    class Conf(Weighting.Conf):
        trainer: ClassVar = "Reinforced"
        reads_target = True

        vector: str | None = None
        """The address of a vector of each row, of a layer or a teacher: `big.encoder`; null = the policy sees none."""
        selection: Literal["choice", "weights"] = "choice"
        """Whether each teacher teaches a row or not, or has a weight, drawn around what the policy says."""
        empty: Literal["none", "all"] = "none"
        """Who teaches a row for which nobody is chosen: none (the labels alone), or all alike."""

        @property
        def reads(self) -> Mapping[str, str]:
            return {} if self.vector is None else {"vector": self.vector}

    conf: Conf

    def __init__(self, conf: Conf, names: Sequence[str], answers: Spec, read: Sequence[Spec] = ()) -> None:
        super().__init__(conf, names, answers, read)
        with inside(".vector"):
            self.width = sum(spec.expect("BD").size("D") for spec in read)
        of_one = answers.sizes.get("C" if answers.axes == "BC" else "D", 1) * (answers.axes in ("BD", "BC")) + 2
        size = self.width + len(names) * of_one
        self.weight_KF = nn.Parameter(torch.zeros(len(names), size))
        self.bias_K = nn.Parameter(torch.zeros(len(names)))
        self.mode: Literal["average", "draw", "again"] = "average"
        """Whether all teach alike, those who are drawn, or those of the last time."""
        self.choice: Choice | None = None
        self.costs: list[Tensor] = []
        """What the answers of each teacher cost by the label, K, in the batches since `told`."""
        self.seconds = 0.0
        """What choosing took since then."""

    def states(self, lesson: Lesson) -> Tensor:
        """states_BF: the row's vector, what each teacher says, how sure it is, what that costs by the label; zeros of
        those without an answer.
        """
        vectors = [F.layer_norm(vector.values.float(), vector.values.shape[1:]) for vector in lesson.read]
        costs_BK1 = lesson.losses().unsqueeze(2)
        if lesson.spec.axes == "B":
            said_BKF = torch.stack([answer.values.float() for answer in lesson.answers], 1).unsqueeze(2)
        else:
            said_BKF = torch.stack(lesson.beliefs(), 1)
        of_teachers = torch.cat([said_BKF, costs_BK1], 2).masked_fill(~lesson.present.unsqueeze(2), 0)
        return torch.cat([*vectors, of_teachers.flatten(1)], 1)

    def scores(self, states_BF: Tensor) -> Tensor:
        """scores_BK; their sigmoid is the probability of being chosen."""
        return F.linear(states_BF, self.weight_KF, self.bias_K)

    @torch.no_grad()
    def weights(self, lesson: Lesson) -> Tensor:
        present_BK, began = lesson.present, time.perf_counter()
        if self.mode == "draw":
            states_BF = self.states(lesson)
            scores_BK = self.scores(states_BF)
            if self.conf.selection == "choice":
                action_BK = torch.bernoulli(scores_BK.sigmoid()) * present_BK
            else:
                action_BK = scores_BK + torch.randn_like(scores_BK)
            self.choice = Choice(states_BF, action_BK, present_BK)
            costs_BK = states_BF[:, self.width :].view(len(states_BF), len(self.names), -1)[:, :, -1]
            self.costs.append(costs_BK.sum(0) / present_BK.sum(0).clamp(min=1))
            self.seconds += time.perf_counter() - began
        if self.mode == "average" or self.choice is None:
            return alike(present_BK)
        if self.conf.selection == "weights":
            return shared_out(self.choice.action.softmax(1), present_BK)
        weights_BK = shared_out(self.choice.action, present_BK)
        return weights_BK if self.conf.empty == "all" else weights_BK * (self.choice.action.sum(1, keepdim=True) > 0)

    def told(self) -> Mapping[str, float]:
        """What the state said of each teacher since this was asked last: its mean cost by the label. Waits for the
        device.
        """
        if not self.costs:
            return {}
        means, self.costs = torch.stack(self.costs).mean(0).tolist(), []
        return {f"cost of {name}": mean for name, mean in zip(self.names, means, strict=True)}

    def log_probability(self, choice: Choice) -> Tensor:
        """The logarithm of the probability (or density) of what was done, B, with gradient."""
        scores_BK = self.scores(choice.state)
        if self.conf.selection == "choice":
            each_BK = -F.binary_cross_entropy_with_logits(scores_BK, choice.action, reduction="none")
        else:
            each_BK = -(choice.action - scores_BK).square() / 2
        return (each_BK * choice.counts).sum(1)

    def probability(self, choice: Choice) -> Tensor:
        """The sum over teachers of the probability of what was done, B, with gradient: the paper's update."""
        scores_BK = self.scores(choice.state)
        each_BK = torch.where(choice.action > 0, scores_BK.sigmoid(), (-scores_BK).sigmoid())
        return (each_BK * choice.counts).sum(1)

    def imitation(self, lesson: Lesson) -> Tensor:
        """How far the policy is from choosing each teacher as often as it is right: a scalar, with gradient."""
        with torch.no_grad():
            states_BF, right_BK = self.states(lesson), (-lesson.losses()).exp().clamp(max=1)
        losses_BK = F.binary_cross_entropy_with_logits(self.scores(states_BF), right_BK, reduction="none")
        return (losses_BK * lesson.present).sum() / lesson.present.sum().clamp(min=1)
