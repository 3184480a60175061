"""How much each of several teachers counts for a row: weighting blocks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import core.conf
from core.conf import NonNegativeFloat, PositiveFloat
from core.registry import Registry
from core.types import NO_TARGET, Features, Spec
from losses.teacher_loss import answered, mean_of_real, two_sided, widened

WEIGHTINGS = Registry("weighting")


@dataclass(frozen=True)
class Lesson:
    """What a weighting may look at: the answers of K teachers for the rows of a batch, and what is right.

    answers  of each teacher, in the form of `spec`
    target   ids or numbers; None where nobody knows
    spec     that of the answers
    read     what stands at the addresses that the weighting reads
    """

    answers: Sequence[Features]
    target: Tensor | None
    spec: Spec
    read: Sequence[Features] = ()

    @property
    def present(self) -> Tensor:
        """present_BK, which teachers have an answer."""
        return torch.stack([answered(answer) for answer in self.answers], 1)

    def log_probabilities(self) -> list[Tensor]:
        """Of each teacher over the last axis: B x C, B x T x C, or B x C x 2 for labels that stand together."""
        logits = [answer.values.float() for answer in self.answers]
        if self.spec.axes == "BC":
            logits = [two_sided(scores.unsqueeze(-1)) for scores in logits]
        return [scores.log_softmax(-1) for scores in logits]

    def losses(self) -> Tensor:
        """losses_BK in float32, what each answer costs by the label: cross-entropy, for numbers the squared error."""
        assert self.target is not None
        if self.spec.axes == "B":
            return torch.stack([(answer.values.float() - self.target).square() for answer in self.answers], 1)
        found = []
        for answer, logs in zip(self.answers, self.log_probabilities(), strict=True):
            target, mask = self.target, None
            if self.spec.axes == "BTD":
                tokens = min(target.shape[1], logs.shape[1])
                target, logs, mask = target[:, :tokens], logs[:, :tokens], answer.real_mask()[:, :tokens]
            flat = F.nll_loss(logs.flatten(0, -2), target.flatten().long(), reduction="none", ignore_index=NO_TARGET)
            each = flat.view(logs.shape[:-1])
            found.append(each if each.dim() == 1 else mean_of_real(each, mask))
        return torch.stack(found, 1)

    def beliefs(self) -> list[Tensor]:
        """Of each teacher what it says to a row, and how sure it is: B x (C + 1) for labels of rows, else B x 1."""
        found = []
        for answer, logs in zip(self.answers, self.log_probabilities(), strict=True):
            sure = logs.amax(-1).exp()
            if self.spec.axes == "BTD":
                sure = mean_of_real(sure, answer.mask)
            sure_B1 = (sure if sure.dim() == 1 else sure.mean(1)).unsqueeze(1)
            said = {"BD": logs.exp(), "BC": logs.exp()[..., -1]}.get(self.spec.axes)
            found.append(sure_B1 if said is None else torch.cat([said, sure_B1], 1))
        return found

    @property
    def has_one_label(self) -> bool:
        """Whether each row has one of known labels."""
        return self.target is not None and self.target.dim() == 1 and bool(self.spec.labels)

    def by_group(self, weights_BK: Tensor) -> Tensor:
        """Of each teacher and each of `groups_of` the sum of its weights, and how many rows count: 2 x K x G."""
        assert self.target is not None
        present_BK, target_B1 = self.present, self.target.unsqueeze(1)
        is_label_BC = target_B1 == torch.arange(len(self.spec.labels or ()), device=target_B1.device)
        of_labels_BKC = (is_label_BC & present_BK.any(1, keepdim=True)).unsqueeze(1).expand(-1, len(self.answers), -1)
        right_BK = torch.stack([answer.values.argmax(-1) for answer in self.answers], 1) == target_B1
        hits_BK2 = torch.stack([right_BK & present_BK, ~right_BK & present_BK], 2)
        groups_BKG = torch.cat([of_labels_BKC, hits_BK2], 2).to(weights_BK)
        return torch.stack([torch.einsum("bk,bkg->kg", weights_BK, groups_BKG), groups_BKG.sum(0)])


def groups_of(spec: Spec) -> list[str]:
    """The groups of rows for which the weights of a teacher are told: by their label, and by what it says to them."""
    return [*(spec.labels or ()), "where it is right", "where it is wrong"]


class Weighting(nn.Module, ABC):
    """Weights of teachers: `forward(lesson) -> weights_BK`, zero for those without an answer."""

    class Conf(core.conf.Conf):
        """What all weightings have."""

        teachers: list[str] | None = None
        """The teachers that are weighed; null = all."""
        reads_scores: ClassVar[bool] = False
        """Whether it has to know the score of each teacher on the validation rows."""
        reads_target: ClassVar[bool] = False
        """Whether it has to know what is right for a row."""
        trainer: ClassVar[str | None] = None
        """The trainer that it needs, and that needs it."""

        @property
        def reads(self) -> Mapping[str, str]:
            """Setting -> the address that it names, which is read beside the answers of the teachers."""
            return {}

        def build(self, names: Sequence[str], answers: Spec, read: Sequence[Spec] = ()) -> "Weighting":
            """The weighting of these teachers. ValueError where the settings do not fit them.

            answers  the spec of what they answer
            read     those of what stands at the addresses in `reads`
            """
            weighting: Weighting = self.owner(self, names, answers, read)
            return weighting

    def __init__(self, conf: Conf, names: Sequence[str], answers: Spec, read: Sequence[Spec] = ()) -> None:
        super().__init__()
        self.conf, self.names = conf, names

    def know(self, scores: Mapping[str, float]) -> None:
        """Teacher -> its score on the validation rows, the higher the better."""

    def forward(self, lesson: Lesson) -> Tensor:
        """Where a weighting reads the target and nobody knows it, all count alike."""
        present_BK = lesson.present
        if self.conf.reads_target and lesson.target is None:
            return alike(present_BK)
        return self.weights(lesson)

    @abstractmethod
    def weights(self, lesson: Lesson) -> Tensor:
        """weights_BK, zero for those without an answer."""


def shared_out(weights: Tensor, present_BK: Tensor) -> Tensor:
    """Weights that add up to 1 in every row, among those who are present; all alike where none of these has any."""
    kept_BK = weights * present_BK
    kept_BK = torch.where(kept_BK.sum(1, keepdim=True) > 0, kept_BK, present_BK.float())
    return kept_BK / kept_BK.sum(1, keepdim=True).clamp(min=torch.finfo(kept_BK.dtype).tiny)


def alike(present_BK: Tensor) -> Tensor:
    """The same weight for all who are present."""
    return shared_out(torch.ones_like(present_BK, dtype=torch.float32), present_BK)


@WEIGHTINGS.register
class Uniform(Weighting):
    """All teachers count alike.

        {"type": "Uniform"}

    Reference: the U-Ensemble of Yuan et al. 2021, Reinforced Multi-Teacher Selection for Knowledge Distillation.
    """

    def weights(self, lesson: Lesson) -> Tensor:
        return alike(lesson.present)


@WEIGHTINGS.register
class Fixed(Weighting):
    """Weights that the config gives.

        {"type": "Fixed", "conf": {"weights": {"big": 0.7, "small": 0.3}}}

    Reference: the W-Ensemble of Yuan et al. 2021.
    """

    class Conf(Weighting.Conf):
        weights: dict[str, NonNegativeFloat]
        """Teacher -> its weight."""

    def __init__(self, conf: Conf, names: Sequence[str], answers: Spec, read: Sequence[Spec] = ()) -> None:
        super().__init__(conf, names, answers, read)
        missing = [name for name in names if name not in conf.weights]
        unknown = [name for name in conf.weights if name not in names]
        if missing or unknown or not any(conf.weights.values()):
            raise ValueError(f"weights must name {', '.join(names)}, not all 0; got {', '.join(conf.weights)}.")
        self.register_buffer("weights_K", torch.tensor([conf.weights[name] for name in names]), persistent=False)

    weights_K: Tensor

    def weights(self, lesson: Lesson) -> Tensor:
        return shared_out(self.weights_K, lesson.present)


@WEIGHTINGS.register
class ByValidationScore(Weighting):
    """Teachers count by their score on the validation rows: softmax(score / temperature).

        {"type": "ByValidationScore", "conf": {"temperature": 0.05}}

    Reference: the weighted ensembles of Yuan et al. 2021; the temperature is ours.
    """

    class Conf(Weighting.Conf):
        reads_scores = True

        temperature: PositiveFloat = 0.05
        """The difference of scores that makes one teacher count e times as much as another."""

    conf: Conf

    def __init__(self, conf: Conf, names: Sequence[str], answers: Spec, read: Sequence[Spec] = ()) -> None:
        super().__init__(conf, names, answers, read)
        self.register_buffer("weights_K", torch.full((len(names),), 1 / len(names)), persistent=False)

    weights_K: Tensor

    def know(self, scores: Mapping[str, float]) -> None:
        found_K = torch.tensor([scores[name] for name in self.names])
        self.weights_K.copy_((found_K / self.conf.temperature).softmax(0))

    def weights(self, lesson: Lesson) -> Tensor:
        return shared_out(self.weights_K, lesson.present)


@WEIGHTINGS.register
class RandomOne(Weighting):
    """One teacher drawn by chance, for each batch or each row.

        {"type": "RandomOne"}

    Reference: the Rand-Single-Ensemble of Yuan et al. 2021.
    """

    class Conf(Weighting.Conf):
        per: Literal["batch", "row"] = "batch"
        """Whether all rows of a batch have the same teacher."""

    conf: Conf

    def weights(self, lesson: Lesson) -> Tensor:
        present_BK = lesson.present
        chances_BK = torch.rand(present_BK.shape if self.conf.per == "row" else present_BK.shape[1:])
        chances_BK = chances_BK.to(present_BK.device, non_blocking=True).masked_fill(~present_BK, -1)
        return shared_out(F.one_hot(chances_BK.argmax(1), present_BK.shape[1]).float(), lesson.present)


@WEIGHTINGS.register
class BestPerExample(Weighting):
    """For each row the teacher whose answer costs least by the label.

        {"type": "BestPerExample"}

    Reference: the Best-Single-Ensemble of Yuan et al. 2021.
    """

    class Conf(Weighting.Conf):
        reads_target = True

    def weights(self, lesson: Lesson) -> Tensor:
        losses_BK = lesson.losses().masked_fill(~lesson.present, torch.inf)
        return shared_out(F.one_hot(losses_BK.argmin(1), losses_BK.shape[1]).float(), lesson.present)


@WEIGHTINGS.register
class Confidence(Weighting):
    """A teacher counts the more, the less its answer costs by the label beside those of the others.

    w_k = (1 - softmax_k(cost)) / (K - 1).

        {"type": "Confidence"}

    Reference: Zhang et al. 2022, Confidence-Aware Multi-Teacher Knowledge Distillation (CA-MKD), equation 3.
    """

    class Conf(Weighting.Conf):
        reads_target = True

    def weights(self, lesson: Lesson) -> Tensor:
        losses_BK = lesson.losses().masked_fill(~lesson.present, -torch.inf)
        return shared_out(1 - losses_BK.softmax(1), lesson.present)


@WEIGHTINGS.register
class ByLoss(Weighting):
    """A teacher counts 1 / (1 + cost) of a K-th: the more its answer costs by the label, the less it says.

    These weights do not add up to 1: where all are wrong, all say less.

        {"type": "ByLoss"}

    Reference: Wu et al. 2021, One Teacher is Enough? Pre-trained Language Model Distillation from Multiple Teachers
    (MT-BERT), equation 2.
    """

    class Conf(Weighting.Conf):
        reads_target = True

    def weights(self, lesson: Lesson) -> Tensor:
        present_BK = lesson.present
        weights_BK = present_BK / (1 + lesson.losses().masked_fill(~present_BK, 0))
        return weights_BK / present_BK.sum(1, keepdim=True).clamp(min=1)


@WEIGHTINGS.register
class Agreement(Weighting):
    """A teacher counts the more, the nearer its answer is to the mean of all: exp(-divergence / temperature).

    The divergence is KL(mean | teacher), for numbers the squared difference. It needs no labels.

        {"type": "Agreement"}

    Reference: a soft vote of the majority; the formula is ours.
    """

    class Conf(Weighting.Conf):
        temperature: PositiveFloat = 0.1
        """The divergence that makes a teacher count e times less."""

    conf: Conf

    def weights(self, lesson: Lesson) -> Tensor:
        present_BK = lesson.present
        shares_BK = alike(present_BK)
        if lesson.spec.axes == "B":
            numbers_BK = torch.stack([answer.values.float() for answer in lesson.answers], 1)
            apart_BK = (numbers_BK - (shares_BK * numbers_BK).sum(1, keepdim=True)).square()
        else:
            logs = lesson.log_probabilities()
            longest = max(log.shape[1] for log in logs)
            stacked = torch.stack([widened(log, longest) for log in logs], 1)
            shares = shares_BK.view(*shares_BK.shape, *[1] * (stacked.dim() - 2))
            mean = (shares * stacked.exp()).sum(1, keepdim=True).clamp(min=1e-12)
            apart = (mean * (mean.log() - stacked)).sum(-1)
            if lesson.spec.axes == "BTD":  # what one has not read tells nothing of how near it is
                read_BKT = torch.stack([widened(answer.real_mask(), longest) for answer in lesson.answers], 1)
                shared_BT = (read_BKT | ~present_BK[:, :, None]).all(1)
                apart = torch.stack([mean_of_real(one, shared_BT) for one in apart.unbind(1)], 1)
            apart_BK = apart if apart.dim() == 2 else apart.mean(2)
        nearness_BK = (-apart_BK.masked_fill(~present_BK, torch.inf) / self.conf.temperature).softmax(1)
        return shared_out(nearness_BK, present_BK)
