"""What the recurrent blocks share: their settings, and the one way an LSTM or GRU runs over padded texts."""

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from block_zoo.base import Block
from block_zoo.masking import zero_padding
from core.conf import PositiveInt, Rate
from core.types import Features, Spec


class RecurrentConf(Block.Conf):
    """The settings of every bidirectional recurrent block."""

    hidden_dim: PositiveInt = 128
    """Hidden units per direction; the block gives twice as many features."""
    dropout: Rate = 0.0
    """Dropout between the layers; with a single layer, on its states."""
    num_layers: PositiveInt = 1
    """Layers on top of each other."""


class Recurrent(nn.Module):
    """A bidirectional LSTM or GRU over the real tokens of padded texts."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], conf: RecurrentConf, states: Spec) -> None:
        super().__init__()
        between, after = (conf.dropout, 0.0) if conf.num_layers > 1 else (0.0, conf.dropout)
        self.rnn = kind(
            states.size("D"), conf.hidden_dim, conf.num_layers, batch_first=True, dropout=between, bidirectional=True
        )
        self.dropout = nn.Dropout(after)

    def forward(self, states: Features) -> tuple[Tensor, Tensor]:
        """The states at every token (B x T x 2H) and the last states of the top layer (B x 2H)."""
        states_BTD, last_BD = run(self.rnn, states)
        return self.dropout(states_BTD), self.dropout(last_BD)


def run(rnn: nn.LSTM | nn.GRU, inputs: Features) -> tuple[Tensor, Tensor]:
    """States at every token, and the last states of the top layer: both directions side by side where there are two.

    Lengths lie in host memory, so packing never waits for the device. An empty text gives zeros.
    """
    lengths = inputs.host_lengths()
    size = inputs.values.shape[1]
    shortest = int(lengths.min())
    if shortest == size:
        states_BTD, hidden = rnn(inputs.values)
    else:
        packed = pack_padded_sequence(inputs.values, lengths.clamp(min=1), batch_first=True, enforce_sorted=False)
        packed_states, hidden = rnn(packed)
        states_BTD, _ = pad_packed_sequence(packed_states, batch_first=True, total_length=size)
    top = (hidden[0] if isinstance(hidden, tuple) else hidden)[-2 if rnn.bidirectional else -1 :]
    last_BD = top.transpose(0, 1).flatten(1)
    if shortest == 0:
        real_B = (lengths > 0).to(last_BD.device, non_blocking=True)
        return zero_padding(states_BTD, real_B), zero_padding(last_BD, real_B)
    return states_BTD, last_BD


def over_time(conf: RecurrentConf, states: Spec) -> Spec:
    """The spec of the states at every token."""
    states.expect("BTD").size("D")
    return states.resized(D=2 * conf.hidden_dim)


def at_the_end(conf: RecurrentConf, states: Spec) -> Spec:
    """The spec of the last states."""
    states.expect("BTD").size("D")
    return states.resized("BD", D=2 * conf.hidden_dim)
