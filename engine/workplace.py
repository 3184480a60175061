"""Where a trainer works: devices, batches, optimizer, assembled from a config."""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from core.config import ExperimentConf
from core.errors import UserError
from core.types import Batch
from engine.data import read_lengths
from engine.objective import Objective
from engine.optimizers import LearningRate, make_optimizer
from engine.parameter_groups import parameter_groups
from engine.predictor import pick_device, pick_precision
from engine.prefetch import prefetched
from engine.processes import Processes
from engine.teaching import TrainingSet
from engine.trainers.base import Workplace
from model_zoo.graph import Model
from text.batching import batches_of_tokens, grouped_batches, mixed_batches, training_batches


def arithmetic(conf: ExperimentConf) -> tuple[torch.device, str]:
    """The device and the precision of a training here. UserError where this machine does not have them."""
    device = pick_device(conf.training_params.device)
    precision = pick_precision(conf, device)
    if precision == "fp16" and device.type == "cpu":
        raise UserError("training_params.precision: fp16 needs a CUDA device. Use bf16 or fp32 on a CPU.")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError("training_params.precision: this CUDA device has no bf16. Use fp16, fp32 or auto.")
    return device, precision


def make_accelerator(conf: ExperimentConf) -> Accelerator:
    """Devices, processes and mixed precision by accelerate. UserError where this machine does not have them."""
    device, precision = arithmetic(conf)
    AcceleratorState._reset_state()  # accelerate keeps one for the process: the next training may want another
    known = {str(kind) for kind in get_available_trackers()}
    absent = [name for name in conf.outputs.trackers if name not in known]
    if absent:
        raise UserError(f"outputs.trackers: {absent[0]} is not installed here. Install its package, or leave it out.")
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=device.type == "cpu",
        log_with=[*conf.outputs.trackers] or None,
        project_dir=conf.outputs.save_base_dir,
    )


def make_workplace(
    conf: ExperimentConf,
    model: Model,
    objective: Objective,
    sets: Sequence[TrainingSet],
    processes: Processes,
    source: str = "",
) -> Workplace:
    """What the trainer of a config works with, at the start of a training. ConfigError for idle parameter groups.

    sets  the training rows first, then those without targets
    """
    if conf.outputs.histograms and processes.is_sharded:
        raise UserError("outputs.histograms: of weights that are spread over processes none are made. Leave it out.")
    training, accelerator = conf.training_params, processes.accelerator
    weights = [*model.weights(), *objective.learned()]
    optimizer = make_optimizer(training.optimizer, parameter_groups(training.optimizer, weights, source))
    group_by = next((term.group_by for term in objective.terms if term.group_by is not None), None)
    labelled = sets[0].rows
    groups = None if group_by is None else labelled.targets[group_by]
    device, addresses = accelerator.device, objective.addresses
    alone = -1 - np.arange(sum(len(part.rows.lengths) for part in sets[1:]))  # a row without target is its own group
    firsts = np.cumsum([0, *(len(part.rows.lengths) for part in sets)])

    lengths_of_sets = [read_lengths(model.steps, part.rows) for part in sets]

    @functools.lru_cache(maxsize=1)
    def batches_of(epoch: int) -> list[np.ndarray]:
        size, found = training.batch_size * processes.count, []
        for first, part, lengths in zip(firsts, sets, lengths_of_sets, strict=False):
            if training.batch_tokens is not None:
                made = batches_of_tokens(lengths, training.batch_tokens * processes.count, training.seed, epoch)
            elif groups is None or part is not sets[0]:
                made = training_batches(lengths, size, training.seed, epoch)
            else:
                made = grouped_batches(lengths, groups, size, training.seed, epoch)
            found.append([first + batch for batch in made] if first else made)
        return found[0] if len(found) == 1 else mixed_batches(found, training.seed, epoch)

    def batches(examples: Sequence[np.ndarray]) -> Iterator[Batch]:
        numbers = [int(np.searchsorted(firsts, these[0], side="right")) - 1 for these in examples]
        orders = [these - firsts[number] for number, these in zip(numbers, examples, strict=True)]
        made = [
            part.rows.batches([order for at, order in zip(numbers, orders, strict=True) if at == number], addresses)
            for number, part in enumerate(sets)
        ]
        with_stored = (
            sets[number].teaching.before(next(made[number]), order)
            for number, order in zip(numbers, orders, strict=True)
        )
        for number, order, batch in zip(numbers, orders, prefetched(with_stored, device), strict=True):
            yield sets[number].teaching.after(batch, order)

    updates = math.ceil(len(batches_of(0)) / training.accumulation_steps)  # every epoch has as many
    for layer in model.inner_layers() if training.compile else ():
        layer.compile(dynamic=True)
    objective = objective.to(device)
    if len(sets) > 1 or not model.all_learn_from(objective.addresses):
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=True)
    prepared_model, prepared_optimizer = accelerator.prepare(model.to(device), optimizer)
    vectors = [weight for weight in model.vectors() if weight.requires_grad]
    if training.adversarial and not vectors:
        sentence = "moves vectors of words or pieces that are trained, but here are none. Leave it out."
        raise UserError(f"training_params.adversarial: {sentence}")
    average = None
    if training.ema is not None and processes.is_sharded:
        raise UserError("training_params.ema: an average needs whole weights, but FSDP shares them out. Leave it out.")
    if training.ema is not None:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(training.ema))  # type: ignore[no-untyped-call]
    return Workplace(
        processes=processes,
        model=prepared_model,
        trained=cast(Model, prepared_model) if processes.is_sharded else model,
        objective=objective,
        optimizer=prepared_optimizer,
        learning_rate=LearningRate.of(
            training, optimizer.defaults["lr"], training.max_epoch and updates * training.max_epoch
        ),
        batches=batches,
        conf=training,
        batches_of=batches_of,
        groups=None if groups is None else np.concatenate([groups, alone]),
        average=average,
        vectors=vectors,
    )
