"""BiQRNN: a bidirectional quasi-recurrent network, its states at every token."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from block_zoo.base import BLOCKS, Block
from block_zoo.convolution import convolve
from block_zoo.masking import zero_padding
from block_zoo.recurrent import RecurrentConf, over_time
from block_zoo.scan import linear_scan
from core.conf import Rate
from core.types import Features, Spec


@BLOCKS.register
class BiQRNN(Block):
    """Convolutions make candidates z and gates f, o of all tokens at once; c_t = f c_(t-1) + (1 - f) z, h_t = o c_t.

    Shape: B x T x D -> B x T x 2H, H units per direction.
    Masking: padding is skipped in both directions, backward begins at the last token; the output is zero at padding.
    `{"layer_id": "states", "layer": "BiQRNN", "conf": {"hidden_dim": 64, "window": 2}, "inputs": ["question"]}`
    Reference: Bradbury et al. 2017, Quasi-Recurrent Neural Networks, equations 1, 4 (fo-pooling) and 6 (zoneout).
    """

    class Conf(RecurrentConf):
        window: Literal[1, 2] = 1
        """Tokens that the gates of a token are made of: itself, or also the one before it in reading direction."""
        zoneout: Rate = 0.0
        """The share of units that keep their state at a token."""

        def output_spec(self, states: Spec) -> Spec:
            return over_time(self, states)

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        sizes = [states.size("D"), *[2 * conf.hidden_dim] * (conf.num_layers - 1)]
        self.layers = nn.ModuleList(QRNNLayer(size, conf) for size in sizes)
        self.dropout = nn.Dropout(conf.dropout)

    def forward(self, states: Features) -> Features:
        values_BTD = zero_padding(states.values, states.mask)
        for number, layer in enumerate(self.layers):
            values_BTD = layer(self.dropout(values_BTD) if number > 0 else values_BTD, states.mask)
        return states.with_values(self.dropout(values_BTD) if len(self.layers) == 1 else values_BTD)


class QRNNLayer(nn.Module):
    """One layer in both directions."""

    def __init__(self, dim: int, conf: BiQRNN.Conf) -> None:
        super().__init__()
        self.forward_gates = nn.Conv1d(dim, 3 * conf.hidden_dim, conf.window)
        self.backward_gates = nn.Conv1d(dim, 3 * conf.hidden_dim, conf.window)
        self.zoneout = conf.zoneout

    def forward(self, values_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        """The states of tokens that are zero at padding, zero at padding too."""
        before = self.forward_gates.kernel_size[0] - 1
        ahead_BTD = self._pooled(convolve(self.forward_gates, values_BTD, before, 0), mask_BT, backward=False)
        back_BTD = self._pooled(convolve(self.backward_gates, values_BTD, 0, before), mask_BT, backward=True)
        return zero_padding(torch.cat([ahead_BTD, back_BTD], -1), mask_BT)

    def _pooled(self, gates_BTD: Tensor, mask_BT: Tensor | None, backward: bool) -> Tensor:
        candidates_BTD, forget_BTD, output_BTD = gates_BTD.chunk(3, -1)
        # Sums over many tokens are in float32. Nothing enters at padding, so a state that comes from there is zero.
        new_BTD = F.dropout((-forget_BTD.float()).sigmoid(), self.zoneout, self.training) * (1 - self.zoneout)
        entering_BTD = zero_padding(new_BTD * candidates_BTD.tanh(), mask_BT)
        states_BTD = linear_scan(1 - new_BTD, entering_BTD, backward)
        return output_BTD.sigmoid() * states_BTD.to(output_BTD.dtype)
