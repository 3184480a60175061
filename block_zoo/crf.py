"""CRF: what ties the tags of neighbouring tokens to each other."""

from typing import ClassVar

import torch
from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import zero_padding
from core.linear_chain import PARTS
from core.types import Features, Spec


@BLOCKS.register
class CRF(Block):
    """The potentials of a linear-chain CRF: the scores of each token, and learned scores for neighbouring tags.

    CRFLoss learns from them; sequence tagging decodes them by Viterbi's algorithm.
    Shape: B x T x D -> B x T x D (D = tags); parts `transitions`: D x D (from, to), `start`: D, `end`: D.
    Masking: the output is zero at padding, and no path runs through it.
    `{"layer_id": "output", "layer": "CRF", "inputs": ["scores"], "output_layer_flag": true}`
    Reference: Lafferty et al. 2001, Conditional Random Fields; Lample et al. 2016, Neural Architectures for NER, 2.2.
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "labels"

        ignored = {"START_TAG": "The start has scores of its own.", "STOP_TAG": "The end has scores of its own."}

        def output_spec(self, scores: Spec) -> Spec:
            size = {"D": scores.expect("BTD").size("D")}
            transitions, start, end = PARTS
            parts = {transitions: Spec("CD", {**size, "C": size["D"]}), start: Spec("D", size), end: Spec("D", size)}
            return Spec("BTD", scores.sizes, parts)

    def __init__(self, conf: Conf, scores: Spec) -> None:
        super().__init__()
        tags = scores.size("D")
        sizes = dict(zip(PARTS, ((tags, tags), (tags,), (tags,)), strict=True))
        self.potentials = nn.ParameterDict(
            {name: torch.empty(size).uniform_(-0.1, 0.1) for name, size in sizes.items()}
        )

    def forward(self, scores: Features) -> Features:
        return scores.with_values(zero_padding(scores.values, scores.mask), **dict(self.potentials.items()))
