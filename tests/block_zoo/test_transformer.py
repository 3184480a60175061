import math
from typing import Any

import pytest
import torch
from torch import nn

import core.conf
from block_zoo import FeedForward, MultiHeadAttention, PositionEmbedding, Transformer
from block_zoo.masking import length_mask
from block_zoo.positions import rotated, sinusoids
from core.errors import UserError
from core.types import Features, Spec

SPEC = Spec("BTD", {"D": 8})
CPU = torch.device("cpu")
LENGTHS_T, LENGTHS_S = torch.tensor([3, 5, 1]), torch.tensor([2, 6, 4])


def texts(lengths: torch.Tensor = LENGTHS_T, dim: int = 8) -> Features:
    size = int(lengths.max())
    return Features(torch.randn(len(lengths), size, dim), length_mask(lengths, size), lengths)


def torchs_attention(block: Any, dim: int) -> nn.MultiheadAttention:
    """The attention of torch with the weights of a block."""
    torchs = nn.MultiheadAttention(8, 2, kdim=dim, vdim=dim, batch_first=True).eval()
    key, value = block.key_value.weight.chunk(2)
    weights = {
        "in_proj_bias": torch.cat([block.query.bias, block.key_value.bias]),
        "out_proj.weight": block.output.weight,
        "out_proj.bias": block.output.bias,
    }
    if dim == 8:
        weights["in_proj_weight"] = torch.cat([block.query.weight, key, value])
    else:
        weights |= {"q_proj_weight": block.query.weight, "k_proj_weight": key, "v_proj_weight": value}
    torchs.load_state_dict(weights)
    return torchs


@pytest.mark.parametrize("causal", [False, True])
def test_self_attention_equals_that_of_torch(causal):
    block: Any = MultiHeadAttention.Conf(num_heads=2, causal=causal).build(SPEC).eval()
    x = texts()
    assert x.mask is not None
    future = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.bool) if causal else None
    expected, _ = torchs_attention(block, 8)(
        x.values, x.values, x.values, key_padding_mask=~x.mask, attn_mask=future if causal else None
    )
    output = block(x)
    torch.testing.assert_close(output.values[x.mask], expected[x.mask])
    assert output.mask is x.mask and output.lengths is x.lengths


@pytest.mark.parametrize("dim", [8, 5])
def test_cross_attention_equals_that_of_torch(dim):
    block: Any = MultiHeadAttention.Conf(num_heads=2).build(SPEC, Spec("BTD", {"D": dim})).eval()
    x, memory = texts(), texts(LENGTHS_S, dim)
    assert x.mask is not None and memory.mask is not None
    expected, _ = torchs_attention(block, dim)(x.values, memory.values, memory.values, key_padding_mask=~memory.mask)
    torch.testing.assert_close(block(x, memory).values[x.mask], expected[x.mask])


@pytest.mark.parametrize("scale", [True, False])
def test_scores_are_divided_by_the_square_root_of_the_features_of_a_head(scale):
    block: Any = MultiHeadAttention.Conf(num_heads=1, scale=scale).build(SPEC).eval()
    x = Features(torch.randn(1, 4, 8))
    keys, values = block.key_value(x.values[0]).chunk(2, -1)
    scores = block.query(x.values[0]) @ keys.T / (math.sqrt(8) if scale else 1)
    torch.testing.assert_close(block(x).values[0], block.output(scores.softmax(-1) @ values))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_to_read_gives_zeros_and_gradients_without_nan(dtype):
    block: Any = MultiHeadAttention.Conf(num_heads=2, resid_dropout=0.0).build(SPEC, SPEC).to(dtype)
    x = texts()
    x = x.with_values(x.values.to(dtype))
    nothing = torch.tensor([0, 2, 0])
    memory = Features(torch.randn(3, 2, 8, dtype=dtype, requires_grad=True), length_mask(nothing, 2), nothing)
    values = block(x, memory).values
    assert not values[[0, 2]].any() and values[1].all()
    values.sum().backward()
    assert memory.values.grad is not None and memory.values.grad.isfinite().all()
    assert not memory.values.grad[[0, 2]].any()
    assert all(parameter.grad.isfinite().all() for parameter in block.parameters())


def test_rotary_attention_knows_distances_alone():
    queries, keys = torch.randn(6), torch.randn(6)
    q, k = (rotated(vector.expand(1, 1, 20, 6))[0, 0] for vector in (queries, keys))
    scores = q @ k.T
    for distance in (-5, 0, 3):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[0].expand_as(diagonal))
    assert scores[0, 0] != pytest.approx(scores[0, 3].item())


def test_rotation_turns_pairs_by_the_angles_of_the_paper():
    states = torch.randn(5, 4)
    turned = rotated(states[None, None])[0, 0]
    for t in range(5):
        for pair, angle in ((0, t), (1, t / 100)):
            matrix = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            torch.testing.assert_close(turned[t, [pair, pair + 2]], matrix @ states[t, [pair, pair + 2]])


def test_rotary_positions_change_scores_and_nothing_else():
    plain, rotary = (MultiHeadAttention.Conf(num_heads=2, rotary=rotary) for rotary in (False, True))
    a, b = plain.build(SPEC).eval(), rotary.build(SPEC).eval()
    b.load_state_dict(a.state_dict())
    same = Features(torch.randn(1, 1, 8).expand(1, 6, 8))
    torch.testing.assert_close(a(same).values, b(same).values)
    x = Features(torch.randn(1, 6, 8))
    assert not torch.allclose(a(x).values, b(x).values, atol=1e-3)


def test_sinusoids_are_those_of_the_paper():
    table = sinusoids(7, 5, CPU)
    for t in range(7):
        for d in range(5):
            angle = t / 10000 ** (d // 2 * 2 / 5)
            assert table[t, d].item() == pytest.approx(math.cos(angle) if d % 2 else math.sin(angle), abs=1e-5)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_positions_are_added_to_real_tokens(positions):
    block: Any = PositionEmbedding.Conf(positions=positions, max_positions=5).build(SPEC)
    table = sinusoids(5, 8, CPU) if positions == "sinusoidal" else block.table.weight
    x = texts()
    assert x.mask is not None
    values = block(x).values
    for row, length in enumerate(LENGTHS_T.tolist()):
        torch.testing.assert_close(values[row, :length], x.values[row, :length] + table[:length])
    assert not values[~x.mask].any()


def test_padding_may_reach_beyond_the_learned_positions_but_texts_may_not():
    conf = PositionEmbedding.Conf(positions="learned", max_positions=4)
    block, short, long = conf.build(SPEC), torch.tensor([4, 2]), torch.tensor([5, 2])
    assert block(Features(torch.randn(2, 6, 8), length_mask(short, 6), short)).values.shape == (2, 6, 8)
    with pytest.raises(UserError, match="a text has 5 tokens, but max_positions is 4"):
        block(Features(torch.randn(2, 6, 8), length_mask(long, 6), long))
    with pytest.raises(ValueError, match=r"learns 4 positions \(max_positions\), but the input is B x 6 x 8"):
        conf.output_spec(Spec("BTD", {"T": 6, "D": 8}))


def test_feed_forward_is_the_equation_of_the_paper():
    block: Any = FeedForward.Conf(hidden_factor=3, activation="ReLU").build(Spec("BD", {"D": 4})).eval()
    first, second = block.layers[0], block.layers[2]
    assert first.weight.shape == (12, 4)
    x = torch.randn(2, 4)
    expected = (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(block(Features(x)).values, expected)


def torchs_layer(layer: Any, norm_first: bool) -> nn.TransformerEncoderLayer:
    """The layer of torch with the weights of ours."""
    torchs = nn.TransformerEncoderLayer(8, 2, 32, activation="gelu", batch_first=True, norm_first=norm_first)
    torchs.self_attn = torchs_attention(layer.attention, 8)
    pairs = [
        (torchs.linear1, layer.feed_forward.layers[0]),
        (torchs.linear2, layer.feed_forward.layers[2]),
        (torchs.norm1, layer.norms[0]),
        (torchs.norm2, layer.norms[1]),
    ]
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    return torchs.eval()


def randomise(block: nn.Module) -> Any:
    """Other weights and biases than those that norms begin with."""
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    return block.eval()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_equals_the_encoder_layers_of_torch(norm_first, causal):
    conf = Transformer.Conf(
        num_layers=3,
        attention_conf=MultiHeadAttention.Conf(num_heads=2),
        positions="none",
        norm_first=norm_first,
        causal=causal,
    )
    block, x = randomise(conf.build(SPEC)), texts()
    assert x.mask is not None
    output, values = block(x), x.values
    future = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.bool) if causal else None
    for number, layer in enumerate(block.layers, start=1):
        values = torchs_layer(layer, norm_first)(values, src_mask=future, src_key_padding_mask=~x.mask)
        torch.testing.assert_close(output.parts[f"layer_{number}"][x.mask], values[x.mask], rtol=1e-4, atol=1e-4)
    expected = block.norm(values) if norm_first else values
    torch.testing.assert_close(output.values[x.mask], expected[x.mask], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("positions", ["none", "sinusoidal", "learned", "rotary"])
def test_order_of_tokens_matters_exactly_where_positions_are_known(positions):
    conf = Transformer.Conf(num_layers=1, attention_conf=MultiHeadAttention.Conf(num_heads=2), positions=positions)
    block, values = randomise(conf.build(SPEC)), torch.randn(1, 5, 8)
    forwards, backwards = block(Features(values)).values, block(Features(values.flip(1))).values.flip(1)
    assert torch.allclose(forwards, backwards, atol=1e-4) == (positions == "none")


def test_causal_transformer_does_not_see_what_follows():
    conf = Transformer.Conf(num_layers=2, attention_conf=MultiHeadAttention.Conf(num_heads=2), causal=True)
    block, values = randomise(conf.build(SPEC)), torch.randn(2, 5, 8)
    whole, begun = block(Features(values)).values, block(Features(values[:, :3])).values
    torch.testing.assert_close(whole[:, :3], begun)


def test_every_setting_of_neuronblocks_is_read():
    conf = core.conf.read(
        Transformer.Conf,
        {
            "attention": "MultiHeadAttention",
            "attention_conf": {"n_head": 4, "scale": False, "attn_dropout": 0.2, "resid_dropout": 0.3},
            "layernorm_1": "LayerNorm",
            "layernorm1_conf": {},
            "mlp": "MLP",
            "mlp_conf": {"dropout": 0.4},
            "layernorm_2": "LayerNorm",
            "layernorm2_conf": {},
            "n_layer": 2,
        },
    )
    block: Any = conf.build(SPEC)
    assert len(block.layers) == 2
    attention = block.layers[1].attention
    assert attention.conf == MultiHeadAttention.Conf(num_heads=4, scale=False, attn_dropout=0.2, resid_dropout=0.3)
    assert attention.dropout.p == 0.3 and block.layers[1].feed_forward.layers[-1].p == 0.4
    assert core.conf.read(Transformer.Conf, core.conf.to_json(conf)) == conf


@pytest.mark.parametrize(
    ("conf", "specs", "complaint"),
    [
        (MultiHeadAttention.Conf(), [SPEC], "needs a size D that num_heads 12 divides, but the input is B x T x 8"),
        (Transformer.Conf(), [SPEC], "num_heads 12 divides"),
        (MultiHeadAttention.Conf(num_heads=8, rotary=True), [SPEC], "rotates pairs of features"),
        (MultiHeadAttention.Conf(num_heads=2, causal=True), [SPEC, SPEC], "within one text, but it has two inputs"),
        (
            Transformer.Conf(positions="learned", max_positions=3),
            [Spec("BTD", {"T": 4, "D": 12})],
            "learns 3 positions",
        ),
        (FeedForward.Conf(), [Spec("BT")], "expects B x D or"),
    ],
)
def test_what_does_not_fit_is_refused(conf, specs, complaint):
    with pytest.raises(ValueError, match=complaint):
        conf.output_spec(*specs)
