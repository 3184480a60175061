"""MultiHeadOutput: one output layer for each teacher of a student."""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from block_zoo.base import BLOCKS, Block
from block_zoo.linear import Width, check_filled_in, filled_in
from core.types import Features, Spec


@BLOCKS.register
class MultiHeadOutput(Block):
    """The student of several teachers: heads that each learn from one of them, and answer together by their mean.

    A loss on `layer.name` trains one head. A softmax of the output is the mean of the softmaxes of the heads; with
    `multi_label` a sigmoid of it is the mean of their sigmoids.

    Shape: B x D -> B x C, the logits of the mean probability of each label; a part for each head: its logits, B x C.
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
        multi_label: bool = False
        """Whether rows may have several labels, each with a probability of its own."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.heads or "" in self.heads or len(set(self.heads)) < len(self.heads):
                raise ValueError(f"heads must be one name or more, none twice and none empty, got {self.heads}.")
            if "logits" in self.heads:
                raise ValueError("heads cannot have one called 'logits': losses would take it for the whole layer.")

        def check_target(self, target: Spec) -> None:
            if self.multi_label != (target.axes == "BC"):
                of = "several labels of a row" if target.axes == "BC" else "one label of each row"
                raise ValueError(f"answers {of} here: set multi_label to {'false' if self.multi_label else 'true'}.")

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
        self.names, self.multi_label = conf.heads, conf.multi_label
        self.heads = nn.Linear(states.size("D"), len(conf.heads) * conf.hidden_dim)

    def forward(self, states: Features) -> Features:
        logits = self.heads(states.values).chunk(len(self.names), -1)
        logits_HBC = torch.stack(logits).float()
        if self.multi_label:
            mean_BC = _log_mean(F.logsigmoid(logits_HBC)) - _log_mean(F.logsigmoid(-logits_HBC))
        else:
            mean_BC = _log_mean(logits_HBC.log_softmax(-1))
        return Features(mean_BC, parts=dict(zip(self.names, logits, strict=True)))


def _log_mean(log_probabilities_HBC: Tensor) -> Tensor:
    """The logarithm of the mean over heads."""
    return log_probabilities_HBC.logsumexp(0) - math.log(len(log_probabilities_HBC))
