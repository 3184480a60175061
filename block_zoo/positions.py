"""Where tokens stand: sinusoids to add to them, and the rotation of queries and keys."""

import math

import torch
from torch import Tensor


def angles(size: int, dim: int, device: torch.device) -> Tensor:
    """t / 10000^(2i / dim) for `size` tokens t and half as many i as there are features, T x D/2 in float32."""
    steps_D = torch.arange(0, dim, 2, device=device) * (-math.log(10000) / dim)
    return torch.arange(size, device=device).unsqueeze(1) * steps_D.exp()


def sinusoids(size: int, dim: int, device: torch.device) -> Tensor:
    """Sine and cosine of the angles in turn, T x D.

    Reference: Vaswani et al. 2017, Attention Is All You Need, section 3.5.
    """
    angles_TD = angles(size, dim, device)
    return torch.stack([angles_TD.sin(), angles_TD.cos()], -1).flatten(1)[:, :dim]


def rotated(states_BATD: Tensor) -> Tensor:
    """Every feature of the first half and its partner in the second, turned by the angle of their token.

    Reference: Su et al. 2021, RoFormer, equation 34 (there partners are neighbours).
    """
    size, dim = states_BATD.shape[-2:]
    angles_TD = angles(size, dim, states_BATD.device)
    cos_TD, sin_TD = angles_TD.cos().to(states_BATD.dtype), angles_TD.sin().to(states_BATD.dtype)
    first_BATD, second_BATD = states_BATD.chunk(2, -1)
    return torch.cat([first_BATD * cos_TD - second_BATD * sin_TD, second_BATD * cos_TD + first_BATD * sin_TD], -1)
