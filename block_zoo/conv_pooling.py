"""ConvPooling: convolutions of several window sizes, each pooled over the text (TextCNN)."""

import dataclasses
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from block_zoo.activation import activation
from block_zoo.base import BLOCKS, Block
from block_zoo.convolution import MaskedBatchNorm, convolve, over_windows
from block_zoo.masking import POOLS, zero_padding
from core.conf import Activation, NonNegativeInt, PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class ConvPooling(Block):
    """For each window size: convolution along the tokens -> batch norm -> activation -> pooling over the text.

    Shape: B x T x D -> B x (output_channel_num * number of window sizes).
    Masking: only windows within the text are pooled; a text shorter than a window has one, filled up with zeros;
    an empty text gives zeros. Padding does not count in batch norm.
    `{"layer_id": "cnn", "layer": "ConvPooling", "conf": {"window_sizes": [1, 2, 3]}, "inputs": ["question"]}`
    Reference: Kim 2014, Convolutional Neural Networks for Sentence Classification, equations 2 to 4.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "convolution"
        aliases: ClassVar = {"window_size": "window_sizes"}
        ignored: ClassVar = {
            "input_channel_num": "The channels are the features that come in.",
            "pool_axis": "Pooling is over the tokens of the text.",
        }
        window_sizes: PositiveInt | list[PositiveInt] = dataclasses.field(default_factory=lambda: [1, 2, 3])
        """Tokens in a window, one convolution for each."""
        output_channel_num: PositiveInt = 16
        """Features of each convolution."""
        stride: PositiveInt = 1
        """Tokens from one window to the next."""
        padding: NonNegativeInt = 0
        """Zeros at both ends of a text."""
        batch_norm: bool = True
        """Whether the convolutions are normalised over the batch, before the activation."""
        activation: Activation | None = "ReLU"
        """Activation after the convolution; null = none."""
        pool_type: Literal["max", "mean"] = "max"
        """How the windows of a text become one vector."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.windows:
                raise ValueError("window_sizes is empty.")

        @property
        def windows(self) -> list[int]:
            return [self.window_sizes] if isinstance(self.window_sizes, int) else self.window_sizes

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BTD").size("D")
            return states.resized("BD", D=self.output_channel_num * len(self.windows))

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.conf = conf
        dim, channels = states.size("D"), conf.output_channel_num
        # Batch norm subtracts the mean, and a bias with it.
        self.convs = nn.ModuleList(
            nn.Conv1d(dim, channels, window, conf.stride, bias=not conf.batch_norm) for window in conf.windows
        )
        self.batch_norms = nn.ModuleList(MaskedBatchNorm(channels) for _ in conf.windows if conf.batch_norm)
        self.activation = activation(conf.activation)

    def forward(self, states: Features) -> Features:
        values_BTD = zero_padding(states.values, states.mask)
        return Features(torch.cat([self._pooled(branch, values_BTD, states) for branch in range(len(self.convs))], 1))

    def _pooled(self, branch: int, values_BTD: Tensor, states: Features) -> Tensor:
        conf, conv = self.conf, self.convs[branch]
        assert isinstance(conv, nn.Conv1d)
        convolved_BTD = convolve(conv, values_BTD, conf.padding, conf.padding)
        windows = over_windows(states, convolved_BTD, conv.kernel_size[0], conf.stride, conf.padding)
        windows_BTD = windows.values
        if conf.batch_norm:
            batch_norm = self.batch_norms[branch]
            assert isinstance(batch_norm, MaskedBatchNorm)
            windows_BTD = batch_norm.over_tokens(windows)
        return POOLS[conf.pool_type](self.activation(windows_BTD), windows.mask, 1)
