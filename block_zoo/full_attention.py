"""FullAttention: attention between two texts that looks at everything known about their words."""

from typing import ClassVar

import torch
from torch import nn

from block_zoo.activation import activation
from block_zoo.attention import attend, attended_spec
from block_zoo.base import BLOCKS, Block
from block_zoo.masking import over_same_tokens, same_size, same_tokens
from core.conf import Activation, PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class FullAttention(Block):
    """Fully-aware attention: softmax(f(U X~) W f(U Y~)') Y, X~ and Y~ the history of the words, W diagonal.

    The history of a word is all that lower layers made of it, side by side (Concat3D); of x it needs the tokens only.

    Shape: x B x T x D, y B x S x E, x_history B x T x H, y_history B x S x H -> B x T x E; part `attention`: B x T x S.
    Masking: padding of y gets no attention; the output has the mask of x and is zero at its padding.
    `{"layer_id": "read", "layer": "FullAttention", "inputs": ["passage", "question", "passage_all", "question_all"]}`
    Reference: Huang et al. 2018, FusionNet, section 3.1 (symmetric form with nonlinearity).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "attention"

        hidden_dim: PositiveInt = 128
        """Features of the projections U X~ and U Y~."""
        activation: Activation | None = "ReLU"
        """The activation f; null = none."""

        def output_spec(self, x: Spec, y: Spec, x_history: Spec, y_history: Spec) -> Spec:
            for text, history in ((x, x_history), (y, y_history)):
                same_tokens(text.expect("BTD"), history)
            same_size(x_history, y_history)
            return attended_spec(x, y, y.size("D"))

    def __init__(self, conf: Conf, x: Spec, y: Spec, x_history: Spec, y_history: Spec) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(x_history.size("D"), conf.hidden_dim, bias=False), activation(conf.activation)
        )
        self.diagonal = nn.Parameter(torch.ones(conf.hidden_dim))

    def forward(self, x: Features, y: Features, x_history: Features, y_history: Features) -> Features:
        (_, history_BTD), x_tokens = over_same_tokens("FullAttention", x, x_history)
        (values_BSD, history_BSD), y_tokens = over_same_tokens("FullAttention", y, y_history)
        scores_BTS = (self.project(history_BTD) * self.diagonal) @ self.project(history_BSD).transpose(1, 2)
        return attend(scores_BTS, x_tokens, y_tokens.with_values(values_BSD))
