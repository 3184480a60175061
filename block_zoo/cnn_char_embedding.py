"""CNNCharEmbedding: words from windows of their characters."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from block_zoo.activation import activation
from block_zoo.base import CHAR_EMBEDDINGS, Block
from block_zoo.convolution import convolve, window_counts
from block_zoo.masking import length_mask, masked_max, real_index, scatter_real
from core.conf import Activation, NonNegativeInt, PositiveInt, Rate
from core.types import Features, Spec


@CHAR_EMBEDDINGS.register
class CNNCharEmbedding(Block):
    """Convolutions along the characters of a word, each pooled to its largest value.

    Shape: ids B x T x K -> B x T x (sum of dim), one convolution for each entry of dim.
    Masking: only windows within the word are pooled; a word shorter than a window has one, filled up with zeros;
    the output is zero at padding.
    `{"layer": "Embedding", "conf": {"char": {"cols": ["word_char"], "type": "CNNCharEmbedding", "dim": 30}}}`
    Reference: dos Santos and Zadrozny 2014, Learning Character-level Representations for POS Tagging, equations 2 to 3.
    """

    class Conf(Block.Conf):
        ignored: ClassVar = {"input_channel_num": "A word has one channel."}
        dim: PositiveInt | list[PositiveInt] = 30
        """Features of the convolution, or of each convolution."""
        embedding_matrix_dim: PositiveInt = 30
        """Features of a character."""
        window_size: PositiveInt | list[PositiveInt] = 3
        """Characters in a window, for all convolutions or for each."""
        stride: PositiveInt | list[PositiveInt] = 1
        """Characters from one window to the next, for all convolutions or for each."""
        padding: NonNegativeInt = 0
        """Zeros at both ends of a word."""
        activation: Activation | None = "ReLU"
        """Activation after the convolution; null = none."""
        dropout: Rate = 0.0
        """Dropout on the characters."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self.branches  # noqa: B018 (raises for lists that do not fit)

        @property
        def branches(self) -> list[tuple[int, int, int]]:
            """(features, window, stride) of every convolution."""
            dims = [self.dim] if isinstance(self.dim, int) else self.dim
            if not dims:
                raise ValueError("dim is empty.")
            settings = []
            for name, value in (("window_size", self.window_size), ("stride", self.stride)):
                values = [value] if isinstance(value, int) else value
                if len(values) not in (1, len(dims)):
                    raise ValueError(f"{name} has {len(values)} entries, but dim has {len(dims)}.")
                settings.append(values * len(dims) if len(values) == 1 else values)
            return list(zip(dims, *settings, strict=True))

        def output_spec(self, chars: Spec) -> Spec:
            chars.expect("BTK").size("V")
            return chars.resized("BTD", D=sum(dim for dim, _, _ in self.branches))

    def __init__(self, conf: Conf, chars: Spec) -> None:
        super().__init__()
        self.conf = conf
        self.table = character_table(chars.size("V"), conf.embedding_matrix_dim)
        self.dropout = nn.Dropout(conf.dropout)
        self.convs = nn.ModuleList(
            nn.Conv1d(conf.embedding_matrix_dim, dim, window, stride) for dim, window, stride in conf.branches
        )
        self.activation = activation(conf.activation)

    def forward(self, chars: Features) -> Features:
        rows, size, _ = chars.values.shape
        index_N = real_index(chars)
        words_NK = real_words(chars.values, index_N)
        chars_NKE = self.dropout(self.table(words_NK))
        lengths_N = (words_NK != 0).sum(1)
        pooled = []
        for conv, (_, window, stride) in zip(self.convs, self.conf.branches, strict=True):
            assert isinstance(conv, nn.Conv1d)
            windows_NKD = self.activation(convolve(conv, chars_NKE, self.conf.padding, self.conf.padding))
            counts_N = window_counts(lengths_N, window, stride, self.conf.padding)
            pooled.append(masked_max(windows_NKD, length_mask(counts_N, windows_NKD.shape[1])))
        return chars.with_values(scatter_real(torch.cat(pooled, 1), index_N, rows, size))


def character_table(size: int, dim: int) -> nn.Embedding:
    """Vectors of characters, row 0 = padding. Uniform with variance 1/dim, after Ma and Hovy 2016, section 3.2."""
    table = nn.Embedding(size, dim, padding_idx=0)
    nn.init.uniform_(table.weight[1:], -math.sqrt(3 / dim), math.sqrt(3 / dim))
    return table


def real_words(chars_BTK: Tensor, index_N: Tensor | None) -> Tensor:
    """The characters of the real words, N x K."""
    words_NK = chars_BTK.flatten(0, 1)
    return words_NK if index_N is None else words_NK[index_N]
