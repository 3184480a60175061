"""Gradient descent on the objective, epoch after epoch."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import islice, zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import core.conf
from core.errors import UserError
from core.types import Batch
from engine.processes import Processes
from engine.quick_dropout import QuickDropout
from engine.trainers.base import TRAINERS, Report, Workplace


class NaNLossError(UserError):
    """The loss is not a number any more; the last checkpoint is kept."""


@TRAINERS.register
class Standard:
    """One model, one objective: the ordinary training loop."""

    class Conf(core.conf.Conf):
        """No settings of its own: `training_params` has them all."""

    def __init__(self, conf: Conf, place: Workplace) -> None:
        self.place = place
        self.base_rates = [group["lr"] for group in place.optimizer.param_groups]
        self.read = place.objective.layers
        self.waiting = _Waiting()
        is_quick = place.processes.accelerator.device.type == "cpu" and not place.conf.compile
        self.dropout: AbstractContextManager[Any] = QuickDropout() if is_quick else nullcontext()

    def run(self) -> Iterator[Report]:
        """Train from `progress` on. A generator: validating, logging and saving happen outside, between two steps."""
        place, conf, progress = self.place, self.place.conf, self.place.progress
        if progress.finished:
            return
        for epoch in conf.epochs(progress.epoch):
            batches = place.batches_of(epoch)
            stops = _validation_stops(len(batches), conf.valid_times_per_epoch)
            shares = [place.processes.share(batch, place.groups) for batch in batches[progress.batch :]]
            made = zip(
                place.batches([rows for rows, _ in shares]),
                [share for _, share in shares],
                strict=True,
            )
            place.model.train()
            for start in range(progress.batch, len(batches), conf.accumulation_steps):
                window = list(islice(made, conf.accumulation_steps))
                with self.dropout:
                    rate = self._update(window, epoch)
                done = start + len(window)
                last = done == len(batches)
                progress.epoch, progress.batch, progress.step = (
                    (epoch + 1, 0, progress.step + 1) if last else (epoch, done, progress.step + 1)
                )
                by_steps = conf.steps_per_validation and progress.step % conf.steps_per_validation == 0
                validate = bool(last or by_steps or any(start < stop <= done for stop in stops))
                if validate or progress.step % conf.batch_num_to_show_results == 0:
                    report = self.waiting.report(place.processes, progress.step, epoch, rate, validate)
                    told = {**place.objective.told(), **(place.objective.told_by_group() if validate else {})}
                    yield replace(report, more={**told, **self.told()})
                    if progress.finished:
                        return
                    self.waiting = _Waiting()
                    place.model.train()

    def told(self) -> Mapping[str, float]:
        """What is worth a record beside the loss, by name."""
        return {}

    def _update(self, window: list[tuple[Batch, float]], epoch: int) -> float:
        """One update from the mean gradient of a window of batches, of each of which this process has a share of the
        rows; the learning rate that it used.

        Gradients are averaged over processes; weights make that the mean over the rows of all. The loss stays on the
        device until a report is due, so that no step waits for another.
        """
        place = self.place
        factor = place.learning_rate.factor(place.progress.step, epoch)
        for group, base in zip(place.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * factor
        place.objective.move_to(place.learning_rate.progress(place.progress.step))
        accelerator = place.processes.accelerator
        for number, (batch, share) in enumerate(window):
            weight = share * place.processes.count
            part = weight / len(window)
            loss = self._loss(batch, share)
            if number == 0:
                place.optimizer.zero_grad()  # just before backward: it gets the same memory again, still in the caches
            earlier = [_clone(vector.grad) for vector in place.vectors] if number and place.conf.adversarial else []
            accelerator.backward(loss if part == 1 else loss * part)
            if place.conf.adversarial:
                with attacked(place.vectors, place.conf.adversarial, earlier):
                    accelerator.backward(self._loss(batch, share) * part)
            self.waiting.add(loss * weight, batch.lines, place.progress.step + 1)
        place.processes.average_gradients(place.objective.losses.parameters())
        if place.conf.clip_grad_norm_max_norm > 0:
            learned = [*place.model.parameters(), *place.objective.losses.parameters()]
            accelerator.clip_grad_norm_(learned, place.conf.clip_grad_norm_max_norm)
        place.optimizer.step()
        if place.average is not None:
            place.average.update_parameters(place.trained)
        return max(self.base_rates) * factor

    def _loss(self, batch: Batch, share: float) -> Tensor:
        """What a batch costs; with R-Drop half of equation 4 of its paper, so that its weight changes no rate."""
        place = self.place
        batch, share = self._copied(batch, share)
        outputs = place.model(batch.inputs, self.read)
        found = place.objective(outputs, batch, share)
        return found + place.conf.r_drop / 4 * place.objective.disagreement(outputs) if place.conf.r_drop else found

    def _copied(self, batch: Batch, share: float) -> tuple[Batch, float]:
        """A batch and its share as the losses see them: with R-Drop every row is there twice."""
        share = share or 1.0  # no share: what it costs does not count
        return (batch.twice(), 2 * share) if self.place.conf.r_drop else (batch, share)


@contextmanager
def attacked(vectors: Sequence[nn.Parameter], size: float, earlier: Sequence[Tensor | None] = ()) -> Iterator[None]:
    """Vectors of words moved by a step of this norm in the direction that raises the loss most, by their gradients.

    earlier  the gradients that other batches have left there before, if any

    Reference: Miyato et al. 2017, Adversarial Training Methods for Semi-Supervised Text Classification, equation 5, for
    the table of vectors as a whole.
    """
    own = zip_longest(vectors, earlier)
    moved = [(w.data, w.grad if known is None else w.grad - known) for w, known in own if w.grad is not None]
    before = [data.clone() for data, _ in moved]
    for data, gradient in moved:
        data += size * gradient / gradient.norm().clamp(min=1e-12)
    yield
    for (data, _), kept in zip(moved, before, strict=True):
        data.copy_(kept)


def _clone(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.clone()


def _validation_stops(count: int, times: int | None) -> set[int]:
    """Batches after which to validate: `times` evenly spread over an epoch."""
    return {math.ceil(count * i / times) for i in range(1, times + 1)} if times else set()


class _Waiting:
    """Losses that nobody has looked at yet, with the lines of their batches."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.batches: list[tuple[int, np.ndarray]] = []
        self.since = time.perf_counter()

    def add(self, loss: Tensor, lines: np.ndarray, step: int) -> None:
        self.losses.append(loss.detach())
        self.batches.append((step, lines))

    def report(self, processes: Processes, step: int, epoch: int, rate: float, validate: bool) -> Report:
        """The report on them; NaNLossError where one is not finite."""
        values = (processes.summed(torch.stack(self.losses)) / processes.count).tolist()
        for value, (at, lines) in zip(values, self.batches, strict=True):
            if not math.isfinite(value):
                shown = ", ".join(map(str, np.sort(lines)[:20])) + (", ..." if len(lines) > 20 else "")
                raise NaNLossError(
                    f"the loss is {value} at step {at} (lines {shown} of the training file). "
                    "Lower the learning rate or set clip_grad_norm_max_norm. "
                    "The model of the last validation, if any, is kept."
                )
        rows = sum(len(lines) for _, lines in self.batches)
        rows_per_second = processes.count * rows / (time.perf_counter() - self.since)
        return Report(step, epoch, sum(values) / len(values), rate, rows_per_second, validate)
