"""A stand-in for NeuronBlocks in plain PyTorch: the student of model_zoo/classification/bilstm_att_conv.json.

NeuronBlocks needs a PyTorch of 2019, so speed.py compares with this file instead. It has the layers and sizes of our
model (speed.py asserts that the numbers of parameters are equal) and works as NeuronBlocks does:

- random batches without length buckets, every row padded to 32 tokens (its config: 30 and two marks), the padding
  counted as tokens (`lengths` says so; speed.py also measures real lengths, which is kinder);
- rows sorted by length, packed, run through the LSTM and sorted back;
- dense Adam, tensor by tensor (neither fused nor multi-tensor), in fp32;
- prediction in file order, padded likewise, under `torch.no_grad()`.

Where the two differ, the stand-in is the faster one: NeuronBlocks pads and masks row by row in Python and copies every
output to numpy in training. Only the batch norm after the convolutions, which both of ours have, is missing there.

It is a library; `python -m benchmarks.speed` runs it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

WIDTH = 32
"""Tokens of every row."""
WINDOWS = (3, 2, 1)


@dataclass(frozen=True)
class Rows:
    """Rows padded once: ids N x 32, lengths and targets of N."""

    ids: Tensor
    lengths: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.ids)


class StandIn(nn.Module):
    """Embedding, BiLSTM with bilinear self-attention, three convolutions with max pooling, two layers, sigmoid."""

    def __init__(self, vocabulary: int, dim: int = 300, hidden: int = 128, channels: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim, padding_idx=0)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.attention = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2 * hidden, 2 * hidden)))
        self.convs = nn.ModuleList([nn.Conv1d(2 * hidden, channels, window) for window in WINDOWS])
        self.activations = nn.ModuleList([nn.PReLU() for _ in self.convs])
        self.norms = nn.ModuleList([nn.BatchNorm1d(channels) for _ in self.convs])
        self.head = nn.Sequential(
            nn.Linear(3 * channels, 256), nn.BatchNorm1d(256), nn.PReLU(),
            nn.Linear(256, 128), nn.BatchNorm1d(128), nn.PReLU(),
            nn.Linear(128, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The scores of B."""
        packed = pack_padded_sequence(self.embedding(ids_BT), lengths_B, batch_first=True, enforce_sorted=False)
        states_BTD, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=ids_BT.shape[1])
        scores_BTS = states_BTD.matmul(self.attention).bmm(states_BTD.transpose(1, 2))
        scores_BTS = scores_BTS + (scores_BTS == 0).float() * -10000
        attended_BTD = scores_BTS.softmax(-1).bmm(states_BTD)
        pooled = []
        for window, conv, activation, norm in zip(WINDOWS, self.convs, self.activations, self.norms, strict=True):
            mask_BT = torch.arange(ids_BT.shape[1]) < lengths_B[:, None]  # each layer makes its own
            masked_BDT = (attended_BTD * mask_BT[:, :, None]).transpose(1, 2)
            around = window - 1
            convolved_BDT = conv(F.pad(masked_BDT, (around // 2, around - around // 2)))
            pooled.append(norm(activation(convolved_BDT)).amax(2))
        answers: Tensor = self.head(torch.cat(pooled, 1)).squeeze(1)
        return answers


class Learner:
    """Trains and answers with a StandIn."""

    def __init__(self, model: StandIn, rows: Rows, batch_size: int, rate: float, clip: float, show: int) -> None:
        """clip: largest norm of the gradient, not above 0 = none; show: steps between two looks at the loss."""
        self.model, self.rows, self.batch_size, self.clip, self.show = model, rows, batch_size, clip, show
        self.optimizer = torch.optim.Adam(model.parameters(), lr=rate, foreach=False, fused=False)
        self.random = np.random.default_rng(1)

    def epoch(self) -> float:
        """One epoch in random order; the last loss that was looked at."""
        self.model.train()
        shown = float("nan")
        for step, indices in enumerate(self._batches(torch.from_numpy(self.random.permutation(len(self.rows)))), 1):
            scores_B = self.model(self.rows.ids[indices], self.rows.lengths[indices])
            loss = F.mse_loss(scores_B, self.rows.targets[indices])
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if self.clip > 0:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step()
            if step % self.show == 0:
                shown = loss.item()
        return shown

    def answers(self) -> np.ndarray:
        """The scores of every row, in file order."""
        self.model.eval()
        with torch.no_grad():
            parts = [
                self.model(self.rows.ids[i], self.rows.lengths[i]) for i in self._batches(torch.arange(len(self.rows)))
            ]
        return torch.cat(parts).numpy()

    def _batches(self, order: Tensor) -> Iterator[Tensor]:
        yield from order.split(self.batch_size)  # type: ignore[no-untyped-call]
