"""MultiHeadOutput: one output layer for each teacher of a student."""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.linear import Width, check_filled_in, filled_in
from core.types import Features, Spec


@BLOCKS.register
class MultiHeadOutput(Block):
    """The student of several teachers: heads that each learn from one of them, and answer together by their mean.

    A loss on `layer.name` trains one head. A softmax of the output is the mean of the softmaxes of the heads.

    Shape: B x D -> B x C, the logarithm of the mean probability of each label; a part for each head: its logits, B x C.
    Masking: none needed.
    `{"layer_id": "out", "layer": "MultiHeadOutput", "conf": {"heads": ["gold", "bert"]}, "inputs": ["vector"]}`
    Reference: Yang et al. 2019, Model Compression with Multi-Task Knowledge Distillation for Web-scale Question
    Answering System (MKDM); Yang et al. 2020, Model Compression with Two-stage Multi-teacher Knowledge Distillation for
    Web Question Answering System, equations 1 to 3 and 6.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "labels"

        heads: list[str]
        """Names of the heads, one for each teacher, and one for the labels where they are learnt, too."""
        hidden_dim: Width = "#target#"
        """Scores that each head gives; "#target#", or -1 in the output layer = the number of labels."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.heads or "" in self.heads or len(set(self.heads)) < len(self.heads):
                raise ValueError(f"heads must be one name or more, none twice and none empty, got {self.heads}.")
            if "logits" in self.heads:
                raise ValueError("heads cannot have one called 'logits': losses would take it for the whole layer.")

        def resolved(self, sizes: Mapping[str, int], is_output: bool) -> Self:
            return dataclasses.replace(self, hidden_dim=filled_in(self.hidden_dim, sizes, is_output))

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BD").size("D")
            check_filled_in([self.hidden_dim])
            assert isinstance(self.hidden_dim, int)
            if self.hidden_dim == 1:
                raise ValueError(
                    "needs two scores or more from each head: the probability of a single one is always 1."
                )
            scores = states.resized(D=self.hidden_dim)
            return dataclasses.replace(scores, parts=dict.fromkeys(self.heads, scores))

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        assert isinstance(conf.hidden_dim, int)
        self.names = conf.heads
        self.heads = nn.Linear(states.size("D"), len(conf.heads) * conf.hidden_dim)

    def forward(self, states: Features) -> Features:
        logits = self.heads(states.values).chunk(len(self.names), -1)
        log_probabilities = torch.stack(logits).float().log_softmax(-1)
        mean_BC = log_probabilities.logsumexp(0) - math.log(len(self.names))
        return Features(mean_BC, parts=dict(zip(self.names, logits, strict=True)))
