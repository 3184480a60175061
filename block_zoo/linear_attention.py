"""LinearAttention: the tokens of a text weighted by learnt attention."""

import dataclasses
from typing import ClassVar

from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import masked_softmax, zero_padding
from core.conf import PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class LinearAttention(Block):
    """The sum of the tokens weighted by a = softmax over T of x w, or of w tanh(V x) with a hidden layer V.

    Shape: B x T x D -> B x D, with keep_dim B x T x D; part `attention`: B x T.
    Masking: padding gets no attention; an empty text gives zeros.
    `{"layer_id": "question_vector", "layer": "LinearAttention", "inputs": ["question"]}`
    Reference: Yang et al. 2016, Hierarchical Attention Networks for Document Classification, equations 5 to 7.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "attention"

        keep_dim: bool = False
        """Whether the weighted tokens stay apart instead of being added up."""
        attention_weight_dim: PositiveInt | None = None
        """Hidden units of the attention; null = the score of a token is x w."""

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BTD").size("D")
            spec = states.resized() if self.keep_dim else states.resized("BD")
            return dataclasses.replace(spec, parts={"attention": states.resized("BT")})

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.conf = conf
        dim, hidden = states.size("D"), conf.attention_weight_dim
        if hidden is None:
            self.score = nn.Sequential(nn.Linear(dim, 1, bias=False))
        else:
            self.score = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, 1, bias=False))

    def forward(self, states: Features) -> Features:
        values_BTD = zero_padding(states.values, states.mask)
        attention_BT = masked_softmax(self.score(values_BTD).squeeze(-1), states.mask)
        if self.conf.keep_dim:
            return states.with_values(values_BTD * attention_BT.unsqueeze(-1), attention=attention_BT)
        pooled_BD = (attention_BT.unsqueeze(1) @ values_BTD.to(attention_BT.dtype)).squeeze(1)
        return Features(pooled_BD, parts={"attention": attention_BT})
