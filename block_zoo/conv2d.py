"""Conv2D: a convolution over the pairs of tokens of two texts."""

from typing import ClassVar, Literal

from torch import nn

from block_zoo.activation import activation
from block_zoo.base import BLOCKS, Block
from block_zoo.convolution import MaskedBatchNorm, padding_notice
from block_zoo.grid import WindowsConf, both_axes, convolve_grid, grid_mask, window_mask, windows_spec
from block_zoo.masking import zero_padding
from core.conf import Activation, PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class Conv2D(Block):
    """A convolution over a grid of token pairs: windows -> batch norm -> activation.

    Shape: B x T x S x D (or B x T x S) -> B x T' x S' x D', D' = output_channel_num. SAME: T' = T / stride, rounded up.
    VALID: T' = (T + 2 padding - window_size) / stride + 1, rounded down; a text shorter than the window gives one
    place. S' likewise.
    Masking: padding counts as zeros, and not at all in batch norm; the mask shrinks with T and S; the output is zero
    at padding.
    `{"layer_id": "patterns", "layer": "Conv2D", "conf": {"window_size": [3, 5]}, "inputs": ["grid"]}`
    Reference: Pang et al. 2016, Text Matching as Image Recognition, section "Hierarchical Convolution".
    """

    class Conf(WindowsConf):
        family: ClassVar[str] = "convolution"
        ignored: ClassVar = {"input_channel_num": "The channels are the features that come in."}
        window_size: PositiveInt | list[PositiveInt] = 3
        """Tokens in a window; [along the first text, along the second] where they differ."""
        padding_type: Literal["VALID", "SAME"] = "VALID"
        """VALID: windows lie within the padded grid; SAME: one window around every pair, with stride 1."""
        output_channel_num: PositiveInt = 16
        """Features that come out."""
        batch_norm: bool = True
        """Whether the output is normalised over the batch, before the activation."""
        activation: Activation | None = "ReLU"
        """Activation after the convolution; null = none."""

        def notices(self, is_output: bool, *inputs: Spec) -> dict[str, str]:
            return padding_notice(self.padding, self.padding_type)

        def counted(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
            """Window, stride and padding by which places are counted: SAME has one for every stride-th token."""
            if self.padding_type == "SAME":
                return (1, 1), self.strides(), (0, 0)
            return both_axes(self.window_size), self.strides(), self.paddings()

        def output_spec(self, grid: Spec) -> Spec:
            if grid.expect("BTS", "BTSD").axes == "BTSD":
                grid.size("D")
            return grid.resized("BTSD", **windows_spec(grid, *self.counted()), D=self.output_channel_num)

    def __init__(self, conf: Conf, grid: Spec) -> None:
        super().__init__()
        self.conf = conf
        # Batch norm subtracts the mean, and a bias with it.
        self.conv = nn.Conv2d(
            grid.sizes.get("D", 1), conf.output_channel_num, both_axes(conf.window_size), conf.strides(),
            bias=not conf.batch_norm,
        )  # fmt: skip
        self.batch_norm = MaskedBatchNorm(conf.output_channel_num) if conf.batch_norm else None
        self.activation = activation(conf.activation)

    def forward(self, grid: Features) -> Features:
        mask_BTS = grid_mask(grid)
        values_BTSD = zero_padding(grid.values, mask_BTS)
        if values_BTSD.ndim == 3:
            values_BTSD = values_BTSD.unsqueeze(-1)
        before = after = self.conf.paddings()
        if self.conf.padding_type == "SAME":
            # For even windows the extra zero stands behind the text, as in Conv.
            high, wide = both_axes(self.conf.window_size)
            before, after = ((high - 1) // 2, (wide - 1) // 2), (high // 2, wide // 2)
        convolved_BTSD = convolve_grid(self.conv, values_BTSD, before, after)
        if mask_BTS is not None:
            mask_BTS = window_mask(mask_BTS, convolved_BTSD.shape[1:3], *self.conf.counted())
        if self.batch_norm is not None:
            convolved_BTSD = self.batch_norm.over_grid(convolved_BTSD, mask_BTS)
        return Features(zero_padding(self.activation(convolved_BTSD), mask_BTS), mask_BTS)
