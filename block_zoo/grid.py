"""What the blocks over pairs of tokens share: the grid of two texts, its mask, and the windows that lie in it."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from block_zoo.base import Block
from block_zoo.convolution import window_count, window_counts
from block_zoo.masking import POOLS, broadcast_mask, length_mask, zero_padding
from core.conf import NonNegativeInt, PositiveInt
from core.types import Features, Spec

Window = tuple[int, int]
"""Places along T and along S."""


def grid_spec(x: Spec, y: Spec, dim: int | None = None) -> Spec:
    """The spec of one number (`dim` None) or `dim` features for every pair of tokens of two texts."""
    texts = {"T": x.expect("BTD").sizes, "S": y.expect("BTD").sizes}
    sizes = {axis: known["T"] for axis, known in texts.items() if "T" in known}
    return Spec("BTS", sizes) if dim is None else Spec("BTSD", {**sizes, "D": dim})


def pair_mask(x: Features, y: Features) -> Tensor | None:
    """mask_BTS, True where a real token of x meets one of y; None where nothing is padded."""
    if x.mask is None and y.mask is None:
        return None
    return x.real_mask()[:, :, None] & y.real_mask()[:, None]


def over_pairs(values: Tensor, x: Features, y: Features) -> Features:
    """Values of B x T x S x ... over the pairs of tokens of two texts; zeros where either is padding."""
    mask_BTS = pair_mask(x, y)
    return Features(zero_padding(values, mask_BTS), mask_BTS)


def grid_mask(grid: Features) -> Tensor | None:
    """mask_BTS of a grid, whose own mask may be that of its first text only."""
    if grid.mask is None or grid.mask.ndim == 3:
        return grid.mask
    return grid.mask[:, :, None].expand(grid.values.shape[:3])


class WindowsConf(Block.Conf):
    """The Conf of a block that moves a window over a grid. Subclasses have a `window_size`, too."""

    stride: PositiveInt | list[PositiveInt] = 1
    """Tokens from one window to the next; [along the first text, along the second] where they differ."""
    padding: NonNegativeInt | list[NonNegativeInt] = 0
    """Places without a token around the grid; [along the first text, along the second] where they differ."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window_size", "stride", "padding", "output_size"):
            value = getattr(self, name, None)
            if isinstance(value, list) and len(value) != 2:
                raise ValueError(f"{name} must be one number or two ([first text, second text]), got {value}.")

    def strides(self) -> Window:
        """The stride along both texts."""
        return both_axes(self.stride)

    def paddings(self) -> Window:
        """The padding along both texts."""
        return both_axes(self.padding)


def both_axes(value: Any) -> Window:
    """A number for both axes, or one for each."""
    return (value[0], value[1]) if isinstance(value, list) else (value, value)


def windows_spec(grid: Spec, window: Window, stride: Window, padding: Window) -> dict[str, int]:
    """How many windows lie along T and S, where their sizes are known."""
    steps = zip("TS", window, stride, padding, strict=True)
    return {axis: window_count(grid.sizes[axis], *step) for axis, *step in steps if axis in grid.sizes}


def window_mask(mask_BTS: Tensor, sizes: Sequence[int], window: Window, stride: Window, padding: Window) -> Tensor:
    """mask_BTS of `sizes` windows over a grid: True for those that lie in the real pairs of their row."""
    lengths = (mask_BTS.any(2).sum(1), mask_BTS.any(1).sum(1))
    counts = [window_counts(*step) for step in zip(lengths, window, stride, padding, strict=True)]
    return length_mask(counts[0], sizes[0])[:, :, None] & length_mask(counts[1], sizes[1])[:, None]


def convolve_grid(conv: nn.Conv2d, grid_BTSD: Tensor, before: Window, after: Window) -> Tensor:
    """The convolution over T and S with zeros `before` and `after` them; small grids get zeros up to one window."""
    padded_BTSD = F.pad(grid_BTSD, _edges(grid_BTSD, conv.kernel_size, before, after))
    convolved_BDTS = F.conv2d(padded_BTSD.permute(0, 3, 1, 2), conv.weight, conv.bias, conv.stride)
    return convolved_BDTS.permute(0, 2, 3, 1)


def pool_windows(
    pool_type: str, grid_BTSD: Tensor, mask_BTS: Tensor | None, window: Window, stride: Window, padding: Window
) -> Tensor:
    """The largest or mean real value in every window over T and S."""
    edges = _edges(grid_BTSD, window, padding, padding)
    fill = torch.finfo(grid_BTSD.dtype).min if pool_type == "max" else 0.0
    if mask_BTS is not None:
        grid_BTSD = grid_BTSD.masked_fill(~broadcast_mask(mask_BTS, grid_BTSD), fill)
    padded_BDTS = F.pad(grid_BTSD, edges, value=fill).permute(0, 3, 1, 2)
    if pool_type == "max":
        return F.max_pool2d(padded_BDTS, window, stride).permute(0, 2, 3, 1)
    real_BTS = grid_BTSD.new_ones(grid_BTSD.shape[:3]) if mask_BTS is None else mask_BTS.to(grid_BTSD.dtype)
    real_BDTS = F.pad(real_BTS, edges[2:]).unsqueeze(1)
    sums_BDTS, counts_BDTS = (F.avg_pool2d(t, window, stride, divisor_override=1) for t in (padded_BDTS, real_BDTS))
    return (sums_BDTS / counts_BDTS.clamp(min=1)).permute(0, 2, 3, 1)


def pool_parts(pool_type: str, grid_BTSD: Tensor, mask_BTS: Tensor | None, parts: Window) -> Tensor:
    """The largest or mean real value in every part of a grid that is cut into `parts` along T and S, row by row.

    Part i of n runs from place i L / n, rounded down, to (i + 1) L / n, rounded up, L the real places of the row.
    """
    if mask_BTS is None:
        mask_BTS = torch.ones(grid_BTSD.shape[:3], dtype=torch.bool, device=grid_BTSD.device)
    for axis, count in enumerate(parts, start=1):
        values, lengths_B = grid_BTSD.movedim(axis, 1), mask_BTS.any(3 - axis).sum(1)
        size, shares_BN = values.shape[1], lengths_B.unsqueeze(1) * torch.arange(count + 1, device=mask_BTS.device)
        first_BN, behind_BN = shares_BN[:, :-1] // count, (shares_BN[:, 1:] + count - 1) // count
        index_BNW = first_BN.unsqueeze(2) + torch.arange(-(-size // count) + 1, device=mask_BTS.device)
        places = index_BNW.clamp(max=size - 1).flatten(1)[:, :, None, None].expand(-1, -1, *values.shape[2:])
        windows = values.gather(1, places).view(*index_BNW.shape, *values.shape[2:])
        grid_BTSD = POOLS[pool_type](windows, index_BNW < behind_BN.unsqueeze(2), 2).movedim(1, axis)
    return grid_BTSD


def _edges(grid_BTSD: Tensor, window: Iterable[int], before: Window, after: Window) -> list[int]:
    """What F.pad adds around T and S, so that at least one window fits."""
    edges = [0, 0]
    for size, wide, left, right in reversed(list(zip(grid_BTSD.shape[1:3], window, before, after, strict=True))):
        edges += [left, right + max(0, wide - (left + size + right))]
    return edges
