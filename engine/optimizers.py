"""Optimizers of torch.optim by name, and the learning rate as a function of step and epoch."""

import inspect
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from core.conf import JSON
from core.config import OptimizerConf, ScheduleConf, TrainingConf
from core.errors import Finding, did_you_mean, known_names

PATH = "training_params.optimizer"
FUSED = (torch.optim.Adam, torch.optim.AdamW)
"""Those whose fused form can also train weights that are shared out between processes."""


def _classes() -> dict[str, type[torch.optim.Optimizer]]:
    return {
        name: cls
        for name, cls in vars(torch.optim).items()
        if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
    }


def check_optimizer(conf: OptimizerConf) -> list[Finding]:
    """What is wrong with an optimizer's name and arguments."""
    classes = _classes()
    if conf.name not in classes:
        hint = did_you_mean(conf.name, classes) or known_names(classes)
        return [Finding(f"{PATH}.name", f"torch.optim has no optimizer '{conf.name}'.{hint}")]
    cls = classes[conf.name]
    if wrong := _wrong_arguments(cls, conf.params, f"{PATH}.params"):
        return wrong
    if reason := _trial(cls, {}):
        return [Finding(f"{PATH}.name", f"{conf.name} cannot train a model here: {reason}.")]
    if reason := _trial(cls, conf.params):
        return [Finding(f"{PATH}.params", f"{conf.name} refuses them: {reason}.")]
    findings = []
    for index, group in enumerate(conf.groups):
        path = f"{PATH}.groups[{index}].params"
        if wrong := _wrong_arguments(cls, group.params, path):
            findings += wrong
        elif reason := _trial(cls, {**conf.params, **group.params}):
            findings.append(Finding(path, f"{conf.name} refuses them: {reason}."))
    return findings


def _wrong_arguments(cls: type[torch.optim.Optimizer], params: Mapping[str, JSON], path: str) -> list[Finding]:
    """The arguments that an optimizer does not know, or else those of the wrong kind."""
    arguments = inspect.signature(cls).parameters
    accepted = set(arguments) - {"params"}
    unknown = [name for name in params if name not in accepted]
    if unknown:
        return [
            Finding(
                f"{path}.{name}",
                f"unknown argument of {cls.__name__}.{did_you_mean(name, accepted) or known_names(accepted)}",
            )
            for name in unknown
        ]
    kinds = {name: _kind(value, arguments[name].default) for name, value in params.items()}
    return [
        Finding(f"{path}.{name}", f"must be {kind}, got {json.dumps(params[name])}.")
        for name, kind in kinds.items()
        if kind
    ]


def arguments_of(conf: OptimizerConf) -> dict[str, Any]:
    """The arguments of an optimizer, those that the config leaves out included."""
    parameters = inspect.signature(_classes()[conf.name]).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name != "params"} | conf.params


def make_optimizer(conf: OptimizerConf, groups: Iterable[nn.Parameter | dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimizer of weights, or of groups of them; Adam and AdamW in their fused form unless the config says
    otherwise.
    """
    return _made(_classes()[conf.name], conf.params, groups)


def _kind(value: JSON, default: Any) -> str:
    """What the value of an argument must be in the place of such a default; "" where it may be so."""

    def is_number(item: JSON) -> bool:
        return isinstance(item, int | float) and not isinstance(item, bool)

    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, tuple):
        fits = isinstance(value, list) and len(value) == len(default)
        fits = fits and all(is_number(item) or item is old is None for item, old in zip(value, default, strict=True))
        return "" if fits else f"a list of {len(default)} numbers"
    return "a number" if is_number(default) and not is_number(value) else ""


def _trial(cls: type[torch.optim.Optimizer], params: Mapping[str, JSON]) -> str:
    """Why an optimizer cannot make one step over a matrix and a vector in host memory; "" if it can."""
    if inspect.signature(cls.step).parameters["closure"].default is inspect.Parameter.empty:
        return "it computes the loss several times for each step, which training does not do"
    # Unwrapped, because what torch puts around these two imports its compiler, which takes about a second.
    bare = type(cls.__name__, (cls,), {"add_param_group": inspect.unwrap(cls.add_param_group)})
    weights = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    try:
        optimizer = _made(bare, params, weights)
        with torch.set_grad_enabled(optimizer.defaults.get("differentiable", False)):
            inspect.unwrap(cls.step)(optimizer)
    except Exception as error:  # each optimizer has its own ways
        return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return ""


def _made(
    cls: type[torch.optim.Optimizer], params: Mapping[str, JSON], groups: Iterable[nn.Parameter | dict[str, Any]]
) -> torch.optim.Optimizer:
    arguments: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in params.items()
    }
    if cls in FUSED and not {"fused", "foreach", "differentiable", "capturable"} & set(arguments):
        arguments["fused"] = True
    trained: Any = [group for group in groups if isinstance(group, dict) or group.requires_grad]
    return cls(trained, **arguments)


@dataclass(frozen=True)
class LearningRate:
    """The factor on the optimizer's learning rate: warm-up and schedule by step, decay by epoch."""

    schedule: ScheduleConf
    total_steps: int | None
    """None where nobody knows how long the training is."""
    decay: float
    decay_from: int
    floor: float
    """Smallest factor that the decay by epoch gives, at most 1."""

    @classmethod
    def of(cls, conf: TrainingConf, base: float, total_steps: int | None) -> "LearningRate":
        """From the config; `base` is the optimizer's own learning rate."""
        floor = min(1.0, conf.minimum_lr / base) if base > 0 else 0.0
        return cls(conf.schedule, total_steps, conf.lr_decay, max(1, conf.epoch_start_lr_decay), floor)

    def progress(self, step: int) -> float:
        """The share of the training that is done before the update `step`; 0 where nobody knows how long it is."""
        return step / self.total_steps if self.total_steps else 0.0

    def factor(self, step: int, epoch: int) -> float:
        """For the update `step` (from 0) in `epoch` (from 0)."""
        decays = max(0, epoch - self.decay_from + 1)
        by_epoch = self.decay**decays
        if self.decay < 1:
            by_epoch = max(by_epoch, self.floor)
        return by_epoch * self._by_step(step)

    def _by_step(self, step: int) -> float:
        total = self.total_steps or 0
        warmup = max(self.schedule.warmup_steps, round(self.schedule.warmup_ratio * total))
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, total - warmup)
        if self.schedule.name == "linear":
            return max(0.0, 1.0 - progress)
        if self.schedule.name == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        if self.schedule.name == "polynomial":
            return float(max(0.0, 1.0 - progress) ** self.schedule.power)
        return 1.0
