"""BiLSTMAtt: a bidirectional LSTM whose states attend to each other."""

import torch
from torch import nn

from block_zoo.attention import attend, attended_spec
from block_zoo.base import BLOCKS, Block
from block_zoo.recurrent import Recurrent, RecurrentConf, over_time
from core.types import Features, Spec


@BLOCKS.register
class BiLSTMAtt(Block):
    """A bidirectional LSTM with bilinear self-attention: softmax(H W H') H over its states H.

    Shape: B x T x D -> B x T x 2H, H units per direction; part `attention`: B x T x S, S = T.
    Masking: padded tokens are skipped by the LSTM, get no attention and give zeros.
    `{"layer_id": "attended", "layer": "BiLSTMAtt", "conf": {"hidden_dim": 64}, "inputs": ["question"]}`
    Reference: Luong et al. 2015, Effective Approaches to Attention-based NMT, equation 8 (general), within one text.
    """

    class Conf(RecurrentConf):
        def output_spec(self, states: Spec) -> Spec:
            hidden = over_time(self, states)
            return attended_spec(hidden, hidden, hidden.size("D"))

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.recurrent = Recurrent(nn.LSTM, conf, states)
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2 * conf.hidden_dim, 2 * conf.hidden_dim)))

    def forward(self, states: Features) -> Features:
        hidden_BTD, _ = self.recurrent(states)
        hidden = states.with_values(hidden_BTD)
        return attend(hidden_BTD @ self.weight @ hidden_BTD.transpose(1, 2), hidden, hidden)
