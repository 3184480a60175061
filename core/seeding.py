"""Random numbers as a function of the seed."""

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def generator(*key: int) -> np.random.Generator:
    """A numpy generator that depends on `key` alone, for example (seed, epoch)."""
    return np.random.default_rng(key)
