"""Pooling2D: the largest or mean value of every window of token pairs."""

from typing import Literal

from block_zoo.base import BLOCKS, Block
from block_zoo.grid import WindowsConf, both_axes, grid_mask, pool_windows, window_mask, windows_spec
from block_zoo.masking import POOLS, zero_padding
from core.conf import PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class Pooling2D(Block):
    """The largest or mean value of every window of token pairs, or of the whole grid.

    Shape: B x T x S x D -> B x T' x S' x D; B x T x S -> B x T' x S'. T' = (T + 2 padding - window_size) / stride + 1,
    rounded down; a text shorter than the window gives one place. S' likewise. Without window_size both are 1.
    Masking: only real pairs are pooled; the mask shrinks with T and S; the output is zero at padding.
    `{"layer_id": "pooled", "layer": "Pooling2D", "conf": {"window_size": 2, "stride": 2}, "inputs": ["grid"]}`
    Reference: Pang et al. 2016, Text Matching as Image Recognition, section "Hierarchical Convolution".
    """

    class Conf(WindowsConf):
        pool_type: Literal["max", "mean"] = "max"
        """The largest value, or the mean."""
        window_size: PositiveInt | list[PositiveInt] | None = None
        """Tokens in a window; [along the first text, along the second] where they differ; null = the whole grid."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.window_size is None:
                return
            if any(edge >= size for edge, size in zip(self.paddings(), both_axes(self.window_size), strict=True)):
                raise ValueError(f"padding {self.padding} must be less than window_size {self.window_size}.")

        def notices(self, is_output: bool) -> dict[str, str]:
            if self.window_size is not None:
                return {}
            idle = {"stride": self.strides() != (1, 1), "padding": self.paddings() != (0, 0)}
            sentence = "has no effect. Without window_size the whole grid is pooled."
            return {name: sentence for name, is_set in idle.items() if is_set}

        def output_spec(self, grid: Spec) -> Spec:
            grid.expect("BTS", "BTSD")
            if self.window_size is None:
                return grid.resized(T=1, S=1)
            window = both_axes(self.window_size)
            return grid.resized(grid.axes, **windows_spec(grid, window, self.strides(), self.paddings()))

    def __init__(self, conf: Conf, grid: Spec) -> None:
        super().__init__()
        self.conf = conf

    def forward(self, grid: Features) -> Features:
        conf, mask_BTS = self.conf, grid_mask(grid)
        if conf.window_size is None:
            mask_BN = None if mask_BTS is None else mask_BTS.flatten(1)
            pooled = POOLS[conf.pool_type](grid.values.flatten(1, 2), mask_BN, 1)[:, None, None]
            return Features(pooled, None if mask_BN is None else mask_BN.any(1)[:, None, None])
        window, stride, padding = both_axes(conf.window_size), conf.strides(), conf.paddings()
        has_features = grid.values.ndim == 4
        values_BTSD = grid.values if has_features else grid.values.unsqueeze(-1)
        pooled_BTSD = pool_windows(conf.pool_type, values_BTSD, mask_BTS, window, stride, padding)
        if mask_BTS is not None:
            mask_BTS = window_mask(mask_BTS, pooled_BTSD.shape[1:3], window, stride, padding)
        pooled = pooled_BTSD if has_features else pooled_BTSD.squeeze(-1)
        return Features(zero_padding(pooled, mask_BTS), mask_BTS)
