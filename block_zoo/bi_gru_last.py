"""BiGRULast: a bidirectional GRU, its last states."""

from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.recurrent import Recurrent, RecurrentConf, at_the_end
from core.types import Features, Spec


@BLOCKS.register
class BiGRULast(Block):
    """A bidirectional GRU: the last states of its top layer, forward at the last token and backward at the first.

    Shape: B x T x D -> B x 2H, H units per direction.
    Masking: padded tokens are skipped in both directions, an empty text gives zeros.
    `{"layer_id": "question_vector", "layer": "BiGRULast", "conf": {"hidden_dim": 64}, "inputs": ["question"]}`
    Reference: Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder, section 2.3.
    """

    class Conf(RecurrentConf):
        def output_spec(self, states: Spec) -> Spec:
            return at_the_end(self, states)

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.recurrent = Recurrent(nn.GRU, conf, states)

    def forward(self, states: Features) -> Features:
        _, last_BD = self.recurrent(states)
        return Features(last_BD)
