"""A student and a policy that chooses its teachers, trained in turns."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor

import core.conf
from core.conf import NonNegativeInt, PositiveFloat, PositiveInt, Rate
from core.types import Batch
from distillation.policy import Choice
from distillation.policy import Reinforced as Policy
from engine.trainers.base import TRAINERS, Workplace
from engine.trainers.standard import Standard


@TRAINERS.register
class Reinforced(Standard):
    """The student learns from the teachers that a policy chooses row by row; the policy from how the student then does.

    First the student learns from the mean of all teachers, while the policy learns to choose each teacher as often as
    it is right. Then they take turns: in an episode the student learns from the chosen teachers, then the policy is
    rewarded for its choices by the student's losses on the rows of the last update, measured after it.

    Rewards: 1 = -CE on the labels; 2 = -CE - distillation loss; 3 = gamma * reward 2 + (1 - gamma) * the last
    validation score, negative where less is better. The default update is REINFORCE: the gradient of the logarithm of
    the probability of what was chosen, times how far the reward is above its moving mean in units of its moving
    deviation. The paper's update is the gradient of the probabilities, times the reward as it is.

        {"type": "Reinforced", "conf": {"average_epochs": 2, "episode": 8, "reward": 1}}

    Reference: Yuan et al. 2021, Reinforced Multi-Teacher Selection for Knowledge Distillation, section 3; Williams
    1992, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning. The start of the
    policy and the baseline are ours.
    """

    class Conf(core.conf.Conf):
        weighting: ClassVar = "Reinforced"

        def complaint(self, weighting: Policy.Conf, has_validation: bool) -> str:
            """What is missing for these settings, or ""."""
            if self.reward == 3 and not has_validation:
                return "reward 3 reads validation scores: inputs.data_paths.valid_data_path is missing."
            if self.update == "paper" and weighting.selection == "weights":
                return "the paper's update is for a choice of teachers: set weighting.conf.selection to choice."
            return ""

        average_epochs: NonNegativeInt = 1
        """Epochs in which the student learns from the mean of all teachers, before the policy chooses."""
        episode: PositiveInt = 8
        """Updates of the student for one of the policy."""
        reward: Literal[1, 2, 3] = 1
        """What the policy is rewarded for."""
        gamma: Rate = 0.5
        """In reward 3 the weight of the losses beside that of the validation score."""
        update: Literal["reinforce", "paper"] = "reinforce"
        """How rewards change the policy."""
        learning_rate: PositiveFloat = 0.01
        """That of the policy (Adam; plain gradient ascent for the paper's update)."""
        baseline_decay: Rate = 0.9
        """Decay of the moving mean and deviation of the rewards."""

    def __init__(self, conf: Conf, place: Workplace) -> None:
        super().__init__(Standard.Conf(), place)
        self.settings = conf
        self.policy = cast(Policy, place.objective.weighting)
        optimizer = torch.optim.SGD if conf.update == "paper" else torch.optim.Adam
        self.optimizer = optimizer(self.policy.parameters(), lr=conf.learning_rate)
        self.episode: list[tuple[Choice, float]] = []
        """What was chosen, and how much the rows of this process count in the mean over all processes."""
        self.updates = 0
        """Of the student, in this episode."""
        self.latest: Batch | None = None
        """The batch that was taught last: in a second pass over it the same teachers teach."""
        self.rewards = _Rewards(conf.baseline_decay)
        self.seconds = 0.0
        self.since = time.perf_counter()
        place.kept |= {"policy optimizer": self.optimizer, "rewards": self.rewards, "episode": self}

    def _update(self, window: list[tuple[Batch, float]], epoch: int) -> float:
        is_choosing = epoch >= self.settings.average_epochs
        self.policy.mode = "draw" if is_choosing else "average"
        rate = super()._update(window, epoch)
        self.latest = None
        began = time.perf_counter()
        labelled = [(batch, share) for batch, share in window if batch.targets]
        if not labelled:
            return rate  # nobody knows who is right here
        batch, share = labelled[-1]
        if is_choosing:
            self.updates += 1
            if self.updates == self.settings.episode:
                self._learn(self._reward(batch, share))
                self.episode, self.updates = [], 0
        else:
            self._imitate(batch, share * self.place.processes.count)
        self.seconds += time.perf_counter() - began
        return rate

    def _loss(self, batch: Batch, share: float) -> Tensor:
        """What a batch costs; what is chosen for its rows is remembered where it can be rewarded."""
        if self.policy.mode != "average":
            self.policy.mode = "again" if batch is self.latest else "draw"
        found = super()._loss(batch, share)
        if self.policy.mode == "draw" and batch.targets:
            assert self.policy.choice is not None
            self.episode.append((self.policy.choice, share * self.place.processes.count))
        self.latest = batch
        return found

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """As the student answers, without dropout, moving statistics and records."""
        parts = self.place.model, self.place.objective
        for part in parts:
            part.eval()
        yield
        for part in parts:
            part.train()

    def _reward(self, batch: Batch, share: float) -> Tensor:
        """What the student is worth after the episode: a scalar, the same in all processes."""
        self.policy.mode = "again"
        place, settings = self.place, self.settings
        read, counted = self._copied(batch, share)
        with torch.no_grad(), self._answering():
            hard, soft = place.objective.hard_and_soft(place.model(read.inputs, self.read), read, counted)
        reward = -hard if settings.reward == 1 else -hard - soft
        if settings.reward == 3:
            gain = place.progress.last_gain
            known = gain if gain is not None and math.isfinite(gain) else 0.0
            reward = settings.gamma * reward + (1 - settings.gamma) * known
        return place.processes.summed(reward * share)

    def _learn(self, reward: Tensor) -> None:
        """One update of the policy for the choices of an episode."""
        advantage = self.rewards.advantage(reward)
        self.optimizer.zero_grad()
        if self.settings.update == "paper":
            gains = [self.policy.probability(choice).mean() * weight * reward for choice, weight in self.episode]
        else:
            gains = [self.policy.log_probability(choice).mean() * weight * advantage for choice, weight in self.episode]
        torch.autograd.backward(-torch.stack(gains).mean())
        self._step()

    def _imitate(self, batch: Batch, weight: float) -> None:
        """One update of the policy towards the teachers who are right; `weight` is that of the rows of this process."""
        with torch.no_grad():
            needs_student = any(address not in batch.teachers for address in self.policy.conf.reads.values())
            with self._answering() if needs_student else nullcontext():
                outputs = self.place.model(batch.inputs, self.read) if needs_student else {}
            lesson = self.place.objective.lesson(outputs, batch)
        self.optimizer.zero_grad()
        torch.autograd.backward(self.policy.imitation(lesson) * weight)
        self._step()

    def _step(self) -> None:
        self.place.processes.average_gradients(self.policy.parameters())
        self.optimizer.step()

    def told(self) -> Mapping[str, float]:
        """The mean reward, what teachers cost by the label, and the share of the time that the policy took."""
        spent = self.seconds + self.policy.seconds
        found = {"time share of policy": spent / max(time.perf_counter() - self.since, 1e-9)}
        self.seconds, self.policy.seconds, self.since = 0.0, 0.0, time.perf_counter()
        return {**found, **self.policy.told(), **self.rewards.told()}

    def state_dict(self) -> dict[str, Any]:
        """The choices of the episode so far, of each process; all must ask for them."""
        mine = [
            ({name: part.cpu() for name, part in asdict(choice).items()}, weight) for choice, weight in self.episode
        ]
        return {"choices": self.place.processes.gathered([mine]), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with them."""
        processes, self.updates = self.place.processes, state["updates"]
        self.episode = [
            (Choice(**{name: part.to(processes.accelerator.device) for name, part in parts.items()}), weight)
            for parts, weight in state["choices"][processes.number]
        ]


class _Rewards:
    """The moving mean and deviation of rewards, on the device."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.mean = self.square = self.weight = torch.zeros(())
        self.waiting: list[Tensor] = []

    def advantage(self, reward: Tensor) -> Tensor:
        """How far a reward is above the mean of those before it, in units of their deviation; 0 for the first."""
        mean, weight = self.mean.to(reward), self.weight.to(reward)
        centre = mean / weight.clamp(min=1e-12)
        spread = (self.square.to(reward) / weight.clamp(min=1e-12) - centre.square()).clamp(min=1e-12).sqrt()
        found = torch.where(weight > 0, (reward - centre) / (spread + 1e-3), 0.0)
        self.mean = self.decay * mean + (1 - self.decay) * reward
        self.square = self.decay * self.square.to(reward) + (1 - self.decay) * reward.square()
        self.weight = self.decay * weight + (1 - self.decay)
        self.waiting.append(reward)
        return found.clamp(-3, 3)

    def told(self) -> dict[str, float]:
        """The mean of the rewards since this was asked last."""
        waiting, self.waiting = self.waiting, []
        return {"reward": float(torch.stack(waiting).mean())} if waiting else {}

    def state_dict(self) -> dict[str, Any]:
        """Mean, square and weight."""
        return {"mean": self.mean, "square": self.square, "weight": self.weight}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with them."""
        self.mean, self.square, self.weight = state["mean"], state["square"], state["weight"]
