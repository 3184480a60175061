"""Pooling2D: the largest or mean value of every window of token pairs."""

from typing import ClassVar, Literal

from block_zoo.base import BLOCKS, Block
from block_zoo.grid import WindowsConf, both_axes, grid_mask, pool_parts, pool_windows, window_mask, windows_spec
from block_zoo.masking import zero_padding
from core.conf import PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class Pooling2D(Block):
    """The largest or mean value of every window of token pairs, or of every part of the grid (dynamic pooling).

    Shape: B x T x S x D -> B x T' x S' x D; B x T x S -> B x T' x S'. T' = (T + 2 padding - window_size) / stride + 1,
    rounded down; a text shorter than the window gives one place. S' likewise. Without window_size they are output_size:
    the grid of every row is cut into so many parts of nearly the same size, however large it is; where there are more
    parts than tokens, neighbours have the same one.
    Masking: only real pairs are pooled; the mask shrinks with T and S; the output is zero at padding.
    `{"layer_id": "pooled", "layer": "Pooling2D", "conf": {"window_size": 2, "stride": 2}, "inputs": ["grid"]}`
    Reference: Pang et al. 2016, Text Matching as Image Recognition, section "Hierarchical Convolution"; Socher et al.
    2011, Dynamic Pooling and Unfolding Recursive Autoencoders for Paraphrase Detection, section 4 (output_size).
    """

    class Conf(WindowsConf):
        family: ClassVar[str] = "pooling"

        pool_type: Literal["max", "mean"] = "max"
        """The largest value, or the mean."""
        window_size: PositiveInt | list[PositiveInt] | None = None
        """Tokens in a window; [along the first text, along the second] where they differ; null = see output_size."""
        output_size: PositiveInt | list[PositiveInt] = 1
        """Without a window_size: places that come out, [along the first text, along the second] where they differ."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.window_size is None:
                return
            if self.output_size != 1:
                raise ValueError(f"output_size {self.output_size} is for pooling without a window_size.")
            if any(edge >= size for edge, size in zip(self.paddings(), both_axes(self.window_size), strict=True)):
                raise ValueError(f"padding {self.padding} must be less than window_size {self.window_size}.")

        def notices(self, is_output: bool, *inputs: Spec) -> dict[str, str]:
            if self.window_size is not None:
                return {}
            idle = {"stride": self.strides() != (1, 1), "padding": self.paddings() != (0, 0)}
            sentence = "has no effect. Without window_size the whole grid is pooled."
            return {name: sentence for name, is_set in idle.items() if is_set}

        def output_spec(self, grid: Spec) -> Spec:
            grid.expect("BTS", "BTSD")
            if self.window_size is None:
                high, wide = both_axes(self.output_size)
                return grid.resized(T=high, S=wide)
            window = both_axes(self.window_size)
            return grid.resized(grid.axes, **windows_spec(grid, window, self.strides(), self.paddings()))

    def __init__(self, conf: Conf, grid: Spec) -> None:
        super().__init__()
        self.conf = conf

    def forward(self, grid: Features) -> Features:
        conf, mask_BTS = self.conf, grid_mask(grid)
        has_features = grid.values.ndim == 4
        values_BTSD = grid.values if has_features else grid.values.unsqueeze(-1)
        if conf.window_size is None:
            pooled_BTSD = pool_parts(conf.pool_type, values_BTSD, mask_BTS, both_axes(conf.output_size))
            if mask_BTS is not None:
                mask_BTS = mask_BTS.any(2).any(1)[:, None, None].expand(pooled_BTSD.shape[:3])
        else:
            window, stride, padding = both_axes(conf.window_size), conf.strides(), conf.paddings()
            pooled_BTSD = pool_windows(conf.pool_type, values_BTSD, mask_BTS, window, stride, padding)
            if mask_BTS is not None:
                mask_BTS = window_mask(mask_BTS, pooled_BTSD.shape[1:3], window, stride, padding)
        pooled = pooled_BTSD if has_features else pooled_BTSD.squeeze(-1)
        return Features(zero_padding(pooled, mask_BTS), mask_BTS)
