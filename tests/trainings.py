"""Trainings of a task, as several tests look at them."""

import torch
from safetensors.torch import load_file


def trained(task, *overrides, **more) -> list[str]:
    """Train its config with these overrides; what was said."""
    from engine.experiment import load_experiment
    from engine.training import train

    said: list[str] = []
    train(load_experiment(task.path, overrides), said.append, **more)
    return said


def weights(task):
    """Those of the best model."""
    return load_file(task.run / "weights.safetensors")


def equal(first, second) -> bool:
    """Whether two sets of weights are the same."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
