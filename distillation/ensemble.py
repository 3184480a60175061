"""Ensemble: several teachers who answer as one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.conf import NonNegativeFloat
from core.errors import known_names
from core.types import Features, Spec
from distillation.base import TEACHERS, Classroom, JointTeacher, answer_spec
from losses.teacher_loss import LOWEST, answered, two_sided, widened


@TEACHERS.register
class Ensemble(JointTeacher):
    """The mean of what other teachers answer: of their probabilities, or of their numbers.

    It answers where one of them does; then the mean is over those that do. Where there are answers to several targets,
    as the start and the end of an answer, it has one to each: `all.start_label`, `all.end_label`.

        {"all": {"type": "Ensemble", "conf": {"teachers": ["bert", "roberta"]}}}

    Reference: Hinton et al. 2015, Distilling the Knowledge in a Neural Network, section 1; the one average teacher of
    Yang et al. 2020 (1avg-o-1).
    """

    class Conf(JointTeacher.Conf):
        teachers: list[str]
        """Names of teachers that stand before it."""
        weights: list[NonNegativeFloat] | None = None
        """One weight for each; null = all alike."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if len(self.teachers) < 2 or len(set(self.teachers)) < len(self.teachers):
                raise ValueError("teachers must name two or more, none twice.")
            if self.weights is not None and (len(self.weights) != len(self.teachers) or not any(self.weights)):
                raise ValueError(f"weights must be {len(self.teachers)} numbers, not all 0, got {self.weights}.")

    def __init__(self, conf: Conf, classroom: Classroom) -> None:
        for name in conf.teachers:
            if name not in classroom.others:
                raise ValueError(f"no teacher before it is called '{name}'.{known_names(classroom.others)}")
            if classroom.others[name].members:
                raise ValueError(f"'{name}' is made of other teachers itself: name those.")
        told = [classroom.others[name].answers for name in conf.teachers]
        columns = [column for column in classroom.targets if all(column in answers for answers in told)]
        if not columns:
            raise ValueError(f"there is no target that all of {', '.join(conf.teachers)} answer.")
        self.members = conf.teachers
        self.shares = conf.weights
        self.answers = {column: column if len(columns) > 1 else "" for column in columns}
        self.specs = {address: answer_spec(classroom.targets[column]) for column, address in self.answers.items()}

    def combined(self, answers: Sequence[Features], address: str = "") -> Features:
        """The mean over those that are there, over the tokens that all of them read."""
        return mean_answer(answers, self.specs[address], self.shares)


def mean_answer(answers: Sequence[Features], spec: Spec, weights: Sequence[float] | None = None) -> Features:
    """The mean of K answers of this spec where they are there: of their probabilities, as logits, or of their numbers.

    Of texts those tokens count that all read who have an answer.
    """
    present_KB = torch.stack([answered(answer) for answer in answers])
    shares_K = torch.tensor(weights or [1.0] * len(answers)).to(present_KB.device, non_blocking=True)
    present_KB &= shares_K[:, None] > 0
    weights_KB = present_KB * shares_K[:, None]
    weights_KB = weights_KB / weights_KB.sum(0).clamp(min=1e-12)
    values, mask = [answer.values.float() for answer in answers], present_KB.any(0)
    if "T" in spec.axes:
        tokens = max(scores.shape[1] for scores in values)
        values = [widened(scores, tokens) for scores in values]
        read_KBT = torch.stack([widened(answer.real_mask(), tokens) for answer in answers])
        mask = (read_KBT | ~present_KB[:, :, None]).all(0) & mask[:, None]
    if spec.places:
        values = [scores.masked_fill(~mask, LOWEST) for scores in values]
    each = torch.stack(values)
    mean = _mean(each, weights_KB.view(*weights_KB.shape, *[1] * (each.dim() - 2)), spec.axes)
    return Features(mean, mask, mask.sum(1) if mask.dim() > 1 else None)


def _mean(values: Tensor, weights: Tensor, axes: str) -> Tensor:
    """Over the first axis: of numbers, or of probabilities, whose logits come out."""
    if axes == "B":
        return (weights * values).sum(0)
    if axes == "BC":
        values, weights = two_sided(values.unsqueeze(-1)), weights.unsqueeze(-1)
    logs = (values.log_softmax(-1) + weights.log()).logsumexp(0).clamp(min=torch.finfo(torch.float16).min)
    return logs[..., 1] - logs[..., 0] if axes == "BC" else logs
