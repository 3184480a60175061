"""What a trainer is given and what it gives back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn
from torch.optim.swa_utils import AveragedModel

import core.conf
from core.config import ExperimentConf, TrainingConf
from core.registry import Registry
from core.types import Batch
from engine.objective import Objective
from engine.optimizers import LearningRate
from engine.processes import Processes
from model_zoo.graph import Model

TRAINERS = Registry("trainer")


@dataclass
class Progress:
    """Where a training stands: enough, with weights, optimizer and random state, to go on exactly."""

    epoch: int = 0
    batch: int = 0
    """Batches of this epoch that are done."""
    step: int = 0
    """Updates of the weights that are done."""
    best_score: float | None = None
    last_gain: float | None = None
    """The last validation score, negative where less is better."""
    validations_without_gain: int = 0
    finished: bool = False


@dataclass(frozen=True)
class Report:
    """What a trainer yields: the mean training loss since the last report; `validate` asks for a validation now."""

    step: int
    epoch: int
    loss: float
    learning_rate: float
    rows_per_second: float
    validate: bool = False
    more: Mapping[str, float] = field(default_factory=dict)
    """What else is worth a record, by name."""


@dataclass
class Workplace:
    """All that a trainer works with; the experiment assembles it."""

    processes: Processes
    model: torch.nn.Module
    """As it is called: maybe wrapped to share gradients between processes."""
    trained: Model
    """The same as it is kept."""
    objective: Objective
    optimizer: AcceleratedOptimizer
    learning_rate: LearningRate
    batches: Callable[[Sequence[np.ndarray]], Iterator[Batch]]
    """Lists of rows -> their batches on the device, with all that the objective reads."""
    conf: TrainingConf
    batches_of: Callable[[int], list[np.ndarray]]
    """Epoch -> its batches of all processes as arrays of row indices, a pure function of seed and epoch."""
    groups: np.ndarray | None = None
    """The group of each row, where a loss reads groups: they stay together."""
    progress: Progress = field(default_factory=Progress)
    kept: dict[str, Any] = field(default_factory=dict)
    """What a trainer has of its own that must be kept to go on: objects with state_dict and load_state_dict."""
    average: AveragedModel | None = None
    """The moving average of the weights, where the config wants one."""
    vectors: Sequence[nn.Parameter] = ()
    """The trained vectors of words and pieces that the model looks up."""

    @property
    def answering(self) -> Model:
        """The model that is validated and kept: the average, where there is one."""
        return self.trained if self.average is None else cast(Model, self.average.module)


def make_trainer(conf: ExperimentConf, place: Workplace) -> Any:
    """The trainer of a config."""
    trainer_class: Any = TRAINERS[conf.trainer.type]
    return trainer_class(core.conf.read(trainer_class.Conf, conf.trainer.conf), place)
