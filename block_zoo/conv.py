"""Conv: a convolution along the tokens of a text."""

from typing import ClassVar, Literal

from torch import nn

from block_zoo.activation import activation
from block_zoo.base import BLOCKS, Block
from block_zoo.convolution import MaskedBatchNorm, around_token, convolve, over_windows, padding_notice, window_count
from block_zoo.masking import zero_padding
from core.conf import Activation, NonNegativeInt, PositiveInt, Rate
from core.types import Features, Spec


@BLOCKS.register
class Conv(Block):
    """A convolution along the tokens: windows of tokens -> activation -> dropout -> batch norm.

    Shape: B x T x D -> B x T' x D', D' = output_channel_num. SAME: T' = T / stride, rounded up. VALID: T' =
    (T + 2 padding - window_size) / stride + 1, rounded down; a text shorter than the window gives one state.
    Masking: padding counts as zeros, and not at all in batch norm; mask and lengths shrink with T; the output is zero
    at padding.
    `{"layer_id": "local", "layer": "Conv", "conf": {"window_size": 3, "padding_type": "SAME"}, "inputs": ["question"]}`
    Reference: Collobert et al. 2011, Natural Language Processing (Almost) from Scratch, equation 6.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "convolution"
        ignored: ClassVar = {
            "remind_lengths": "Lengths always travel with the states.",
            "input_channel_num": "The channels are the features that come in.",
        }
        window_size: PositiveInt = 3
        """Tokens in a window."""
        stride: PositiveInt = 1
        """Tokens from one window to the next."""
        padding: NonNegativeInt = 0
        """Zeros at both ends of a text, for padding_type VALID; SAME pads by itself."""
        padding_type: Literal["VALID", "SAME"] = "VALID"
        """VALID: windows lie within the text; SAME: one window around every token, with stride 1."""
        output_channel_num: PositiveInt = 16
        """Features that come out."""
        batch_norm: bool = True
        """Whether the output is normalised over the batch."""
        activation: Activation | None = "ReLU"
        """Activation after the convolution; null = none."""
        dropout: Rate = 0.0
        """Dropout after the activation."""

        def notices(self, is_output: bool, *inputs: Spec) -> dict[str, str]:
            return padding_notice(self.padding, self.padding_type)

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BTD").size("D")
            spec = states.resized(D=self.output_channel_num)
            if "T" not in states.sizes:
                return spec
            length = states.sizes["T"]
            same = -(-length // self.stride)
            valid = window_count(length, self.window_size, self.stride, self.padding)
            return spec.resized(T=same if self.padding_type == "SAME" else valid)

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.conf = conf
        self.conv = nn.Conv1d(states.size("D"), conf.output_channel_num, conf.window_size, conf.stride)
        self.activation = activation(conf.activation)
        self.dropout = nn.Dropout(conf.dropout)
        self.batch_norm = MaskedBatchNorm(conf.output_channel_num) if conf.batch_norm else None

    def forward(self, states: Features) -> Features:
        conf, around = self.conf, self.conf.window_size - 1
        same = conf.padding_type == "SAME"
        # Windows start at every stride-th token of a text however long its neighbours are.
        left, right = around_token(conf.window_size) if same else (conf.padding, conf.padding)
        convolved = convolve(self.conv, zero_padding(states.values, states.mask), left, right)
        values_BTD = self.dropout(self.activation(convolved))

        tokens = states.with_values(values_BTD)
        if conf.stride > 1 or not (same or 2 * conf.padding == around):
            window = 1 if same else conf.window_size
            tokens = over_windows(states, values_BTD, window, conf.stride, 0 if same else conf.padding)
        if self.batch_norm is not None:
            return tokens.with_values(self.batch_norm.over_tokens(tokens))
        return tokens.with_values(zero_padding(values_BTD, tokens.mask))
