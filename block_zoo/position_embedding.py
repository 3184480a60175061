"""PositionEmbedding: adds to every token where it stands."""

from typing import ClassVar, Literal

import torch
from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.masking import zero_padding
from block_zoo.positions import sinusoids
from core.conf import PositiveInt
from core.errors import UserError
from core.types import Features, Spec


@BLOCKS.register
class PositionEmbedding(Block):
    """The sum of every token and a vector of its position, learnt or of sines and cosines.

    Shape: B x T x D -> the same.
    Masking: every token for itself; the output is zero at padding.
    `{"layer_id": "placed", "layer": "PositionEmbedding", "conf": {"positions": "sinusoidal"}, "inputs": ["question"]}`
    Reference: Vaswani et al. 2017, Attention Is All You Need, section 3.5; Devlin et al. 2019, BERT (learned).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "embedding"

        positions: Literal["learned", "sinusoidal"] = "learned"
        """Vectors that are learnt, or sines and cosines."""
        max_positions: PositiveInt = 512
        """Tokens of the longest text, for learned positions; sinusoidal ones have no end."""

        def output_spec(self, states: Spec) -> Spec:
            states.expect("BTD").size("D")
            if self.positions == "learned" and states.sizes.get("T", 0) > self.max_positions:
                raise ValueError(f"learns {self.max_positions} positions (max_positions), but the input is {states}.")
            return states.resized()

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.table = None
        if conf.positions == "learned":
            self.table = nn.Embedding(conf.max_positions, states.size("D"))
            nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, states: Features) -> Features:
        size, dim = states.values.shape[1:]
        if self.table is None:
            positions_TD = sinusoids(size, dim, states.values.device)
        else:
            positions_TD = self.table(self._places(states, self.table.num_embeddings))
        return states.with_values(zero_padding(states.values + positions_TD.to(states.values.dtype), states.mask))

    @staticmethod
    def _places(states: Features, known: int) -> torch.Tensor:
        """The positions of the tokens; padding may reach beyond those that are known."""
        size = states.values.shape[1]
        if size > known and (longest := int(states.host_lengths().max())) > known:
            raise UserError(
                f"a text has {longest} tokens, but max_positions is {known}. Raise it, cut texts with max_lengths, or "
                "take positions without an end (sinusoidal)."
            )
        return torch.arange(size, device=states.values.device).clamp(max=known - 1)
