"""Activations by name."""

from torch import nn

from core.conf import Activation


def activation(name: Activation | None) -> nn.Module:
    """The activation of torch.nn with this name; None = the identity."""
    module: nn.Module = nn.Identity() if name is None else getattr(nn, name)()
    return module
