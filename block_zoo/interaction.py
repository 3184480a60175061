"""Interaction: every token of one text beside every token of another."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from block_zoo.base import BLOCKS, Block
from block_zoo.calculate_distance import directions
from block_zoo.grid import grid_spec, over_pairs
from block_zoo.masking import same_size
from core.conf import Rate
from core.types import Features, Spec


@BLOCKS.register
class Interaction(Block):
    """The matching matrix: what x_i and y_j have to do with each other, for every pair of tokens of two texts.

    Shape: x B x T x D, y B x S x E -> B x T x S x D': D' = 1 for general (x W y'), dot and cos; D for mul, plus and
    minus; D + E for concat. All but general and concat need D = E.
    Masking: the output has a mask of B x T x S and is zero where either token is padding.
    `{"layer_id": "grid", "layer": "Interaction", "conf": {"matching_type": "dot"}, "inputs": ["question", "answer"]}`
    Reference: Pang et al. 2016, Text Matching as Image Recognition, section "Matching Matrix".
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "attention"

        matching_type: Literal["general", "dot", "cos", "mul", "plus", "minus", "concat"] = "general"
        """What stands at a pair of tokens: x W y', x y', their cosine, x * y, x + y, x - y, or x beside y."""
        dropout: Rate = 0.0
        """Dropout of the output."""

        def output_spec(self, x: Spec, y: Spec) -> Spec:
            dims = [text.expect("BTD").size("D") for text in (x, y)]
            match self.matching_type:
                case "concat":
                    return grid_spec(x, y, sum(dims))
                case "mul" | "plus" | "minus":
                    return grid_spec(x, y, same_size(x, y))
                case "dot" | "cos":
                    same_size(x, y)
            return grid_spec(x, y, 1)

    def __init__(self, conf: Conf, x: Spec, y: Spec) -> None:
        super().__init__()
        self.matching_type = conf.matching_type
        self.project = nn.Linear(x.size("D"), y.size("D"), bias=False) if conf.matching_type == "general" else None
        self.dropout = nn.Dropout(conf.dropout)

    def forward(self, x: Features, y: Features) -> Features:
        return over_pairs(self.dropout(self._grid(x.values, y.values)), x, y)

    def _grid(self, x_BTD: Tensor, y_BSD: Tensor) -> Tensor:
        if self.project is not None:
            x_BTD = self.project(x_BTD)
        if self.matching_type == "cos":
            with torch.autocast(x_BTD.device.type, enabled=False):  # in bf16 the cosine of equal tokens is not 1
                return (directions(x_BTD) @ directions(y_BSD).transpose(1, 2)).unsqueeze(-1)
        if self.matching_type in ("general", "dot"):
            return (x_BTD @ y_BSD.transpose(1, 2)).unsqueeze(-1)
        x_BTSD, y_BTSD = x_BTD[:, :, None], y_BSD[:, None]
        match self.matching_type:
            case "mul":
                return x_BTSD * y_BTSD
            case "plus":
                return x_BTSD + y_BTSD
            case "minus":
                return x_BTSD - y_BTSD
        pairs = (-1, x_BTD.shape[1], y_BSD.shape[1], -1)
        return torch.cat([x_BTSD.expand(pairs), y_BTSD.expand(pairs)], -1)
