"""Multiply-adds of a layer, counted while it computes."""

import warnings
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from block_zoo.masking import length_mask
from core.types import Features, Spec
from model_zoo.graph import TOKEN_AXES, Layer, WithoutInit


def multiply_adds(layer: Layer, tokens: int) -> int | None:
    """Of one row whose texts have so many tokens: those of matrix products, convolutions and attention, a half of the
    operations that torch counts. None where the layer does not compute without its data.
    """
    inputs = [_features(spec, tokens) for spec in layer.input_specs]
    calls = [[one] for one in inputs] if layer.conf.reads_branches else [inputs]
    with warnings.catch_warnings(action="ignore"), torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            with WithoutInit():
                block = layer.conf.build(*layer.input_specs).eval()
            # an LSTM of mkldnn, or a fused attention, would be one operation
            with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH), _Counter() as counter:
                for read in calls:
                    block(*read)
        except (RuntimeError, ValueError, IndexError):
            return None
        return counter.operations // 2


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations as torch's own FlopCounterMode does, without the seconds that its imports take."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: for what is not compiled, torch need not import its compiler (three seconds)."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=found)
        return found


def _features(spec: Spec, tokens: int) -> Features:
    """Ones in the shape of a spec, all tokens real."""
    sizes = [1, *(spec.sizes.get(axis, tokens) for axis in spec.axes[1:])]
    values = torch.ones(sizes, dtype=torch.long if spec.ids else torch.float)
    if not TOKEN_AXES.intersection(spec.axes):
        return Features(values)
    lengths = torch.tensor([sizes[1]])
    inner = {name: _features(part, tokens) for name, part in spec.parts.items()}
    mask = length_mask(lengths, sizes[1]) if spec.axes[2:3] != "S" else torch.ones(sizes[:3], dtype=torch.bool)
    return Features(values, mask, lengths, {name: part.values for name, part in inner.items()}, inner)
