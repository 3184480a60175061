"""BiGRU: a bidirectional GRU, its states at every token."""

from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.recurrent import Recurrent, RecurrentConf, over_time
from core.types import Features, Spec


@BLOCKS.register
class BiGRU(Block):
    """A bidirectional GRU: its states at every token.

    Shape: B x T x D -> B x T x 2H, H units per direction.
    Masking: padded tokens are skipped in both directions, an empty text gives zeros; the output is zero at padding.
    `{"layer_id": "question_states", "layer": "BiGRU", "conf": {"hidden_dim": 64}, "inputs": ["question"]}`
    Reference: Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder, section 2.3.
    """

    class Conf(RecurrentConf):
        def output_spec(self, states: Spec) -> Spec:
            return over_time(self, states)

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.recurrent = Recurrent(nn.GRU, conf, states)

    def forward(self, states: Features) -> Features:
        states_BTD, _ = self.recurrent(states)
        return states.with_values(states_BTD)
