"""train.py with the weights shared out between processes of a CPU.

accelerate offers FSDP for GPUs only; torch shares weights out over gloo as well.
"""

import sys

from accelerate import Accelerator, FullyShardedDataParallelPlugin, PartialState
from accelerate.utils import DistributedType

import engine.training
import train
from core.command_line import run_door
from engine.workplace import make_accelerator


def sharding(accelerator: Accelerator) -> Accelerator:
    """The accelerator as `accelerate launch --use_fsdp --fsdp_version 2` sets it up on GPUs."""
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=True
    )
    accelerator.state.fsdp_plugin = plugin
    accelerator.state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    return accelerator


engine.training.make_accelerator = lambda conf: sharding(make_accelerator(conf))  # type: ignore[attr-defined]
sys.exit(run_door(train.main))
