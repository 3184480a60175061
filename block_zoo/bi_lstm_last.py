"""BiLSTMLast: a bidirectional LSTM, its last states."""

from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.recurrent import Recurrent, RecurrentConf, at_the_end
from core.types import Features, Spec


@BLOCKS.register
class BiLSTMLast(Block):
    """A bidirectional LSTM: the last states of its top layer, forward at the last token and backward at the first.

    Shape: B x T x D -> B x 2H, H units per direction.
    Masking: padded tokens are skipped in both directions, an empty text gives zeros.
    `{"layer_id": "question_vector", "layer": "BiLSTMLast", "conf": {"hidden_dim": 64}, "inputs": ["question"]}`
    Reference: Hochreiter and Schmidhuber 1997, Long Short-Term Memory; Graves and Schmidhuber 2005 (both directions).
    """

    class Conf(RecurrentConf):
        def output_spec(self, states: Spec) -> Spec:
            return at_the_end(self, states)

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.recurrent = Recurrent(nn.LSTM, conf, states)

    def forward(self, states: Features) -> Features:
        _, last_BD = self.recurrent(states)
        return Features(last_BD)
