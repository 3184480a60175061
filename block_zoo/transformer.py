"""Transformer: layers of self-attention and position-wise networks."""

import dataclasses
from typing import ClassVar, Literal

from torch import nn

from block_zoo.base import BLOCKS, Block
from block_zoo.feed_forward import FeedForward
from block_zoo.masking import zero_padding
from block_zoo.multi_head_attention import HeadsConf, MultiHeadAttention
from block_zoo.position_embedding import PositionEmbedding
from core.conf import PositiveInt
from core.types import Features, Spec


@BLOCKS.register
class Transformer(Block):
    """The encoder of a transformer: layers of self-attention and a position-wise network.

    Each of the two is added to what it reads, and the sum is normalised.

    Shape: B x T x D -> the same; parts `layer_1` to `layer_n`, the output of every layer: the same.
    Masking: padding gets no attention; the output is zero at padding.
    `{"layer_id": "read", "layer": "Transformer", "conf": {"attention_conf": {"n_head": 4}}, "inputs": ["question"]}`
    Reference: Vaswani et al. 2017, Attention Is All You Need, section 3; Xiong et al. 2020 (norm_first).
    """

    class Conf(Block.Conf):
        family: ClassVar[str] = "encoder"
        aliases: ClassVar = {"n_layer": "num_layers"}
        ignored: ClassVar = {
            "attention": "Every layer has MultiHeadAttention.",
            "mlp": "Every layer has FeedForward.",
            "layernorm_1": "Every layer has LayerNorm.",
            "layernorm1_conf": "LayerNorm has no settings.",
            "layernorm_2": "Every layer has LayerNorm.",
            "layernorm2_conf": "LayerNorm has no settings.",
        }
        num_layers: PositiveInt = 12
        """Layers on top of each other."""
        attention_conf: HeadsConf = dataclasses.field(default_factory=HeadsConf)
        """num_heads, attn_dropout, resid_dropout and scale, as those of MultiHeadAttention."""
        mlp_conf: FeedForward.Conf = dataclasses.field(default_factory=FeedForward.Conf)
        """hidden_factor, activation and dropout, as those of FeedForward."""
        positions: Literal["none", "sinusoidal", "learned", "rotary"] = "sinusoidal"
        """What tells the place of a token: vectors added to it, or queries and keys rotated by it."""
        max_positions: PositiveInt = 512
        """Tokens of the longest text, for learned positions."""
        norm_first: bool = False
        """Whether normalisation comes before attention and network, and once more at the end, instead of after them."""
        causal: bool = False
        """Whether a token reads only itself and those before it."""

        @property
        def attention(self) -> MultiHeadAttention.Conf:
            """The settings of the attention of every layer."""
            heads = {field.name: getattr(self.attention_conf, field.name) for field in dataclasses.fields(HeadsConf)}
            return MultiHeadAttention.Conf(**heads, causal=self.causal, rotary=self.positions == "rotary")

        @property
        def embedding(self) -> PositionEmbedding.Conf | None:
            """The settings of the vectors of positions."""
            if self.positions in ("learned", "sinusoidal"):
                return PositionEmbedding.Conf(positions=self.positions, max_positions=self.max_positions)
            return None

        def output_spec(self, states: Spec) -> Spec:
            spec = self.attention.output_spec(states)
            if self.embedding is not None:
                self.embedding.output_spec(states)
            return dataclasses.replace(spec, parts={f"layer_{i}": spec for i in range(1, self.num_layers + 1)})

    def __init__(self, conf: Conf, states: Spec) -> None:
        super().__init__()
        self.positions = None if conf.embedding is None else conf.embedding.build(states)
        self.layers = nn.ModuleList(TransformerLayer(conf, states) for _ in range(conf.num_layers))
        self.norm = nn.LayerNorm(states.size("D")) if conf.norm_first else None

    def forward(self, states: Features) -> Features:
        if self.positions is not None:
            states = self.positions(states)
        parts = {}
        for number, layer in enumerate(self.layers, start=1):
            states = layer(states)
            parts[f"layer_{number}"] = states.values
        if self.norm is None:
            return states.with_values(states.values, **parts)
        return states.with_values(zero_padding(self.norm(states.values), states.mask), **parts)


class TransformerLayer(nn.Module):
    """One layer: self-attention, then a position-wise network."""

    def __init__(self, conf: Transformer.Conf, states: Spec) -> None:
        super().__init__()
        self.norm_first = conf.norm_first
        self.attention = MultiHeadAttention(conf.attention, states)
        self.feed_forward = FeedForward(conf.mlp_conf, states)
        self.norms = nn.ModuleList(nn.LayerNorm(states.size("D")) for _ in range(2))

    def forward(self, states: Features) -> Features:
        """The states after attention and network, zero at padding."""
        for block, norm in zip((self.attention, self.feed_forward), self.norms, strict=True):
            values_BTD = states.values
            if self.norm_first:
                values_BTD = values_BTD + block(states.with_values(norm(values_BTD))).values
            else:
                values_BTD = norm(values_BTD + block(states).values)
            states = states.with_values(zero_padding(values_BTD, states.mask))
        return states
