"""Pooling1D: the largest or mean state of every window of tokens."""

from typing import ClassVar, Literal

from block_zoo.base import BLOCKS, Block
from block_zoo.convolution import over_windows, window_count
from block_zoo.grid import pool_windows
from block_zoo.masking import zero_padding
from core.conf import NonNegativeInt, PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class Pooling1D(Block):
    """The largest or mean value of every window of tokens.

    Shape: B x T x D -> B x T' x D, T' = (T + 2 padding - window_size) / stride + 1, rounded down; a text shorter than
    the window gives one state.
    Masking: only real tokens are pooled; mask and lengths shrink with T; the output is zero at padding.
    `{"layer_id": "shorter", "layer": "Pooling1D", "conf": {"window_size": 2, "stride": 2}, "inputs": ["question"]}`
    Reference: Hu et al. 2014, Convolutional Neural Network Architectures for Matching Natural Language Sentences,
    section 2 (max-pooling).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "pooling"

        pool_type: Literal["max", "mean"] = "max"
        """The largest value, or the mean."""
        window_size: PositiveInt = 3
        """Tokens in a window."""
        stride: PositiveInt = 1
        """Tokens from one window to the next."""
        padding: NonNegativeInt = 0
        """Places without a token at both ends of a text, less than window_size."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.padding >= self.window_size:
                raise ValueError(f"padding {self.padding} must be less than window_size {self.window_size}.")

        def output_spec(self, states: Spec) -> Spec:
            spec = states.expect("BTD").resized()
            if "T" not in spec.sizes:
                return spec
            return spec.resized(T=window_count(spec.sizes["T"], self.window_size, self.stride, self.padding))

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.conf = conf

    def forward(self, states: Features) -> Features:
        conf = self.conf
        mask_BTS = None if states.mask is None else states.mask[:, :, None]
        pooled_BTSD = pool_windows(
            conf.pool_type, states.values[:, :, None], mask_BTS, (conf.window_size, 1), (conf.stride, 1),
            (conf.padding, 0),
        )  # fmt: skip
        windows = over_windows(states, pooled_BTSD.squeeze(2), conf.window_size, conf.stride, conf.padding)
        return windows.with_values(zero_padding(windows.values, windows.mask))
