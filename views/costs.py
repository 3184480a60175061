"""Multiply-adds of a layer, counted while it computes."""

import warnings
from contextlib import suppress

import torch
from torch.utils.flop_counter import FlopCounterMode

from block_zoo.masking import length_mask
from core.types import Features, Spec
from model_zoo.graph import TOKEN_AXES, Layer


def multiply_adds(layer: Layer, tokens: int) -> int | None:
    """Of one row whose texts have so many tokens: those of matrix products, convolutions and attention, a half of the
    operations that torch counts. None where the layer does not compute without its data.
    """
    inputs = [_features(spec, tokens) for spec in layer.input_specs]
    calls = [[one] for one in inputs] if layer.conf.reads_branches else [inputs]
    with suppress(Exception), warnings.catch_warnings(action="ignore"), torch.no_grad():
        block = layer.conf.build(*layer.input_specs).eval()
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:  # counts no LSTM
            for read in calls:
                block(*read)
        return counter.get_total_flops() // 2
    return None


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
