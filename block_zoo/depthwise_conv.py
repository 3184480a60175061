"""DepthwiseConv: a convolution along the tokens that keeps features apart, then mixes them token by token."""

from typing import ClassVar

from torch import nn

from block_zoo.activation import activation
from block_zoo.base import BLOCKS, Block
from block_zoo.convolution import MaskedBatchNorm, around_token, convolve
from block_zoo.masking import zero_padding
from core.conf import Activation, PositiveInt, Rate
from core.types import Features, Spec


@BLOCKS.register
class DepthwiseConv(Block):
    """A depthwise-separable convolution: each feature by itself around every token, then all features of each token.

    Then activation -> dropout -> batch norm, as in Conv, with window_size D + D D' weights instead of window_size D D'.

    Shape: B x T x D -> B x T x D', D' = output_channel_num.
    Masking: padding counts as zeros, and not at all in batch norm; the output is zero at padding.
    `{"layer_id": "local", "layer": "DepthwiseConv", "conf": {"window_size": 5}, "inputs": ["question"]}`
    Reference: Kaiser et al. 2018, Depthwise Separable Convolutions for Neural Machine Translation, section 2.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "convolution"

        window_size: PositiveInt = 3
        """Tokens in a window."""
        output_channel_num: PositiveInt = 16
        """Features that come out."""
        batch_norm: bool = True
        """Whether the output is normalised over the batch."""
        activation: Activation | None = "ReLU"
        """Activation after the convolution; null = none."""
        dropout: Rate = 0.0
        """Dropout after the activation."""

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BTD").size("D")
            return states.resized(D=self.output_channel_num)

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        dim = states.size("D")
        # The bias of the second convolution makes one of the first superfluous.
        self.depthwise = nn.Conv1d(dim, dim, conf.window_size, groups=dim, bias=False)
        self.pointwise = nn.Linear(dim, conf.output_channel_num)
        self.activation = activation(conf.activation)
        self.dropout = nn.Dropout(conf.dropout)
        self.batch_norm = MaskedBatchNorm(conf.output_channel_num) if conf.batch_norm else None

    def forward(self, states: Features) -> Features:
        values_BTD = zero_padding(states.values, states.mask)
        convolved_BTD = convolve(self.depthwise, values_BTD, *around_token(self.depthwise.kernel_size[0]))
        tokens = states.with_values(self.dropout(self.activation(self.pointwise(convolved_BTD))))
        if self.batch_norm is not None:
            return tokens.with_values(self.batch_norm.over_tokens(tokens))
        return tokens.with_values(zero_padding(tokens.values, tokens.mask))
