"""EncoderDecoder: labels of tokens, each read with the label before it in mind."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import nn

import core.conf
from block_zoo.base import BLOCKS, Block
from block_zoo.masking import masked_softmax, zero_padding
from block_zoo.recurrent import Recurrent, RecurrentConf
from core.conf import PositiveInt, Rate
from core.types import Features, Spec


class DecoderConf(core.conf.Conf):
    """The settings of the decoder."""

    hidden_dim: PositiveInt = 128
    """Hidden units."""
    dropout: Rate = 0.0
    """Dropout between the layers and on the states that labels are read from."""
    num_layers: PositiveInt = 1
    """Layers on top of each other."""
    decoder_emb_dim: PositiveInt = 100
    """Features of a label that is fed back."""
    decoder_vocab_size: PositiveInt | None = None
    """Labels; null = those of the target."""


@BLOCKS.register
class EncoderDecoder(Block):
    """A bidirectional LSTM reads the text, then an LSTM labels its tokens one by one.

    At each token the decoder gets the encoder's state there, what it attends to in all of them, and the label that it
    gave the token before: its own most likely one, in training as well. So its steps cannot run at once: the loop over
    the tokens lies in the model. The output is logits.

    Shape: B x T x D -> B x T x C, C labels.
    Masking: the encoder skips padding and the decoder does not attend to it; the output is zero at padding.
    `{"layer_id": "output", "layer": "EncoderDecoder", "inputs": ["sentence"], "output_layer_flag": true}`
    Reference: Liu and Lane 2016, Attention-Based RNN Models for Joint Intent Detection and Slot Filling, section 3.1
    (attention and aligned inputs); Bahdanau et al. 2015, appendix A.1.2 (scores) and A.2.2 (first state).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "labels"
        ignored: ClassVar = {
            "encoder": "The encoder is always a bidirectional LSTM (SLUEncoder).",
            "decoder": "The decoder is always an LSTM with attention and aligned inputs (SLUDecoder).",
        }
        encoder_conf: RecurrentConf = dataclasses.field(default_factory=RecurrentConf)
        """hidden_dim, dropout and num_layers, as those of BiLSTM."""
        decoder_conf: DecoderConf = dataclasses.field(default_factory=DecoderConf)
        """hidden_dim, dropout, num_layers, and decoder_emb_dim: the features of a label that is fed back."""

        def resolved(self, sizes: Mapping[str, int], is_output: bool) -> Self:
            size = self.decoder_conf.decoder_vocab_size or sizes.get("#target#")
            return dataclasses.replace(
                self, decoder_conf=dataclasses.replace(self.decoder_conf, decoder_vocab_size=size)
            )

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BTD").size("D")
            if self.decoder_conf.decoder_vocab_size is None:
                raise ValueError("needs decoder_vocab_size in its decoder_conf, the number of labels.")
            return states.resized(D=self.decoder_conf.decoder_vocab_size)

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        decoder, hidden, encoded = conf.decoder_conf, conf.decoder_conf.hidden_dim, 2 * conf.encoder_conf.hidden_dim
        classes = conf.output_spec(states).size("D")
        self.encoder = Recurrent(nn.LSTM, conf.encoder_conf, states)
        self.begin = nn.Linear(encoded // 2, decoder.num_layers * hidden)
        self.table = nn.Embedding(classes + 1, decoder.decoder_emb_dim)  # the last row stands before the first label
        self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(encoded, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.lstm = nn.LSTM(
            decoder.decoder_emb_dim + 2 * encoded,
            hidden,
            decoder.num_layers,
            batch_first=True,
            dropout=decoder.dropout if decoder.num_layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(decoder.dropout)
        self.label = nn.Linear(hidden, classes)

    def forward(self, states: Features) -> Features:
        encoded_BSD, last_BD = self.encoder(states)
        keys_BSH = self.key(encoded_BSD)
        hidden_BD = self.begin(last_BD.chunk(2, -1)[1]).tanh()
        hidden = hidden_BD.view(len(hidden_BD), self.lstm.num_layers, -1).transpose(0, 1).contiguous()
        memory = (hidden, torch.zeros_like(hidden))
        label_BD = self.table.weight[-1].expand(len(hidden_BD), -1)
        logits = []
        for aligned_BD in encoded_BSD.unbind(1):
            scores_BS = self.score((self.query(memory[0][-1]).unsqueeze(1) + keys_BSH).tanh()).squeeze(-1)
            attention_BS = masked_softmax(scores_BS, states.mask)
            context_BD = (attention_BS.unsqueeze(1) @ encoded_BSD.to(attention_BS.dtype)).squeeze(1)
            state_BTD, memory = self.lstm(torch.cat([label_BD, aligned_BD, context_BD], -1).unsqueeze(1), memory)
            logits.append(self.label(self.dropout(state_BTD.squeeze(1))))
            label_BD = self.table(logits[-1].argmax(-1))
        return states.with_values(zero_padding(torch.stack(logits, 1), states.mask))
