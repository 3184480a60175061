"""LSTMCharEmbedding: words read character by character."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from block_zoo.base import CHAR_EMBEDDINGS, Block
from block_zoo.cnn_char_embedding import character_table, real_words
from block_zoo.masking import real_index, scatter_real
from block_zoo.recurrent import RecurrentLayer, last_states
from core.conf import PositiveInt, Rate
from core.types import Features, Spec

_GROUPS = 4
"""Groups of words of like length: few words are long, and all would be padded to the longest."""


@CHAR_EMBEDDINGS.register
class LSTMCharEmbedding(Block):
    """An LSTM over the characters of a word: its last states, of both directions side by side.

    Shape: ids B x T x K -> B x T x dim.
    Masking: only the characters of a word are read; the output is zero at padding.
    `{"layer": "Embedding", "conf": {"char": {"cols": ["word_char"], "type": "LSTMCharEmbedding", "dim": 50}}}`
    Reference: Lample et al. 2016, Neural Architectures for Named Entity Recognition, section 4.1.
    """

    class Conf(Block.Conf):
        ignored: ClassVar = {"padding": "a word is read without its padding"}
        dim: PositiveInt = 50
        """Features of a word; even where both directions share them."""
        embedding_matrix_dim: PositiveInt = 30
        """Features of a character."""
        dropout: Rate = 0.2
        """Dropout on the characters."""
        bidirect_flag: bool = True
        """Whether the word is read in both directions."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.bidirect_flag and self.dim % 2:
                raise ValueError(f"dim must be even when both directions share it, got {self.dim}.")

        def output_spec(self, chars: Spec) -> Spec:
            chars.expect("BTK").size("V")
            return chars.resized("BTD", D=self.dim)

    def __init__(self, conf: Conf, chars: Spec) -> None:
        super().__init__()
        self.dim = conf.dim
        self.table = character_table(chars.size("V"), conf.embedding_matrix_dim)
        self.dropout = nn.Dropout(conf.dropout)
        hidden = conf.dim // 2 if conf.bidirect_flag else conf.dim
        self.bidirectional = conf.bidirect_flag
        self.lstm = RecurrentLayer(nn.LSTM, conf.embedding_matrix_dim, hidden, conf.bidirect_flag)

    def forward(self, chars: Features) -> Features:
        rows, size, _ = chars.values.shape
        index_N = real_index(chars)
        words_NK = real_words(chars.values, index_N)
        if not len(words_NK):
            return chars.with_values(self.table.weight.new_zeros(rows, size, self.dim))
        # Words of like length are read together. Their lengths are needed on the host: on a GPU this waits once.
        lengths_N, order_N = (words_NK != 0).sum(1).cpu().sort()
        parts = zip(order_N.chunk(_GROUPS), lengths_N.chunk(_GROUPS), strict=True)
        last = [self._last(words_NK[part.to(words_NK.device), : int(lengths[-1])]) for part, lengths in parts]
        last_ND = torch.cat(last)[order_N.argsort().to(words_NK.device)]
        return chars.with_values(scatter_real(last_ND, index_N, rows, size))

    def _last(self, words_NK: Tensor) -> Tensor:
        """The last states for words."""
        mask_NK = words_NK != 0
        return last_states(self.lstm(self.dropout(self.table(words_NK)), mask_NK), mask_NK, self.bidirectional)
