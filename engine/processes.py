"""The processes that train together: what each of them reads, and what they tell each other."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import DistributedType, broadcast, gather_object
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """One process among those that `accelerate launch` or torchrun started; alone it is all of them."""

    accelerator: Accelerator

    @property
    def count(self) -> int:
        """How many train together."""
        return self.accelerator.num_processes

    @property
    def number(self) -> int:
        """Which one this is, from 0."""
        return self.accelerator.process_index

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.accelerator.is_main_process

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds a part of the weights only (FSDP), so that a model answers in all at once."""
        return self.accelerator.distributed_type == DistributedType.FSDP

    def __str__(self) -> str:
        accelerator = self.accelerator
        precision = {"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision)
        return f"{self.count} process{'es' * (self.count > 1)}, {accelerator.device.type}, {precision}"

    def share(self, batch: np.ndarray, groups: np.ndarray | None = None) -> tuple[np.ndarray, float]:
        """The rows of a batch that this process reads, and their share of the gradient.

        Groups stay whole. Where there are fewer rows than processes, the others read a row that does not count.
        """
        if self.count == 1:
            return batch, 1.0
        place = np.arange(len(batch)) if groups is None else np.unique(groups[batch], return_inverse=True)[1]
        mine = batch[place % self.count == self.number]
        return (mine, len(mine) / len(batch)) if len(mine) else (batch[:1], 0.0)

    def gathered(self, items: Sequence[Any]) -> list[Any]:
        """The items of all processes, in the order of the processes, in each of them."""
        return list(gather_object(list(items))) if self.count > 1 else list(items)

    def wait(self) -> None:
        """Until all are here."""
        self.accelerator.wait_for_everyone()

    def agreed(self, said: bool) -> bool:
        """Whether any process says so."""
        return any(self.gathered([said])) if self.count > 1 else said

    def summed(self, values: Tensor) -> Tensor:
        """The sum of the values of all processes."""
        total: Tensor = self.accelerator.reduce(values, "sum") if self.count > 1 else values
        return total

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give all processes the mean of their gradients, for weights outside of the model that they train together."""
        for parameter in parameters if self.count > 1 else ():
            if parameter.grad is not None:
                parameter.grad = self.accelerator.reduce(parameter.grad, "mean")

    def share_buffers(self, model: nn.Module) -> None:
        """Give each process what the first has counted, such as the running means of a batch norm."""
        if self.count > 1:
            broadcast(list(model.buffers()))

    def weights(self, model: nn.Module) -> Mapping[str, Tensor]:
        """The weights of a model, whole, in the first process."""
        found: Mapping[str, Tensor] = self.accelerator.get_state_dict(model) if self.is_sharded else model.state_dict()
        return found

    def state(self, model: nn.Module, optimizer: AcceleratedOptimizer) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The state of a model and of its optimizer, whole, in the first process."""
        if not self.is_sharded:
            return model.state_dict(), optimizer.state_dict()
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict  # late: costs a second

        return get_state_dict(
            model, optimizer.optimizer, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
        )

    def restore(self, model: nn.Module, optimizer: AcceleratedOptimizer, weights: Any, moments: Any) -> None:
        """Take over what `state` gave."""
        if not self.is_sharded:
            model.load_state_dict(weights)
            optimizer.load_state_dict(moments)
            return
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

        whole = StateDictOptions(full_state_dict=True)
        set_state_dict(model, optimizer.optimizer, model_state_dict=weights, optim_state_dict=moments, options=whole)

    def own_random_numbers(self) -> None:
        """Let dropout differ between processes; the first keeps its numbers, as if it were alone."""
        if self.number:
            torch.manual_seed(torch.initial_seed() + self.number)


def leave() -> None:
    """End this process at once, if it is one of several; for the end of a command that went well.

    Threads of gloo that still hold a tensor abort an interpreter that ends (pytorch/pytorch#179291), and
    DistributedDataParallel keeps them alive, so that destroy_process_group does not end them.
    """
    if torch.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
