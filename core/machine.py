"""What a machine is, as far as results depend on it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from core.conf import JSON


def this_machine() -> dict[str, JSON]:
    """Kind of processor and libraries, without names that say whose machine it is."""
    model = ""
    if (info := Path("/proc/cpuinfo")).exists():
        model = next((line for line in info.read_text().splitlines() if line.startswith("model name")), "")
    return {
        "processor": model.partition(":")[2].strip() or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }
