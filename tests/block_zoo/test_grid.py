from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from block_zoo import Conv, Conv2D, Expand_plus, Interaction, Match, Pooling1D, Pooling2D
from block_zoo.convolution import MaskedBatchNorm
from block_zoo.masking import length_mask
from core.config import LayerConf
from core.types import Features, Spec
from model_zoo.graph import Answered, Model, trace

TEXT = Spec("BTD", {"D": 4})
GRID = Spec("BTSD", {"D": 4})
LENGTHS_T, LENGTHS_S = torch.tensor([3, 5, 1]), torch.tensor([2, 1, 6])
MASK_BTS = length_mask(LENGTHS_T, 5)[:, :, None] & length_mask(LENGTHS_S, 6)[:, None]


def pair() -> tuple[Features, Features]:
    x = Features(torch.randn(3, 5, 4), length_mask(LENGTHS_T, 5), LENGTHS_T)
    return x, Features(torch.randn(3, 6, 4), length_mask(LENGTHS_S, 6), LENGTHS_S)


def grid() -> Features:
    return Features(torch.randn(3, 5, 6, 4), MASK_BTS)


def texts() -> list[tuple[int, int, int]]:
    """Row and its real lengths."""
    return list(zip(range(3), LENGTHS_T.tolist(), LENGTHS_S.tolist(), strict=True))


MATCHES: dict[str, Any] = {
    "general": lambda block, a, b: (a @ block.project.weight.T @ b)[None],
    "dot": lambda _, a, b: (a * b).sum()[None],
    "cos": lambda _, a, b: (a @ b / (a.norm() * b.norm()))[None],
    "mul": lambda _, a, b: a * b,
    "plus": lambda _, a, b: a + b,
    "minus": lambda _, a, b: a - b,
    "concat": lambda _, a, b: torch.cat([a, b]),
}


@pytest.mark.parametrize("kind", MATCHES)
def test_interaction_equals_a_loop_over_pairs_of_tokens(kind):
    block: Any = Interaction.Conf(matching_type=kind).build(TEXT, TEXT)
    x, y = pair()
    output = block(x, y)
    assert output.mask is not None and torch.equal(output.mask, MASK_BTS)
    assert not output.values[~MASK_BTS].any()
    for row, t, s in MASK_BTS.nonzero().tolist():
        torch.testing.assert_close(output.values[row, t, s], MATCHES[kind](block, x.values[row, t], y.values[row, s]))


def test_interaction_of_texts_of_different_size():
    other = Spec("BTD", {"T": 7, "D": 3})
    assert str(Interaction.Conf(matching_type="general").output_spec(TEXT, other)) == "B x T x 7 x 1"
    assert str(Interaction.Conf(matching_type="concat").output_spec(TEXT, other)) == "B x T x 7 x 7"
    for kind in ("dot", "cos", "mul", "plus", "minus"):
        with pytest.raises(ValueError, match="same size D, but they are B x T x 4 and B x 7 x 3"):
            Interaction.Conf(matching_type=kind).output_spec(TEXT, other)


def test_interaction_drops_pairs_out_while_it_trains():
    block = Interaction.Conf(matching_type="plus", dropout=0.5).build(TEXT, TEXT)
    x, y = (Features(torch.rand(3, 20, 4) + 1) for _ in "xy")
    assert (block.train()(x, y).values == 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert not (block.eval()(x, y).values == 0).any()


@pytest.mark.parametrize("activation", ["PReLU", None])
def test_match_equals_a_loop_over_pairs_of_tokens(activation):
    block: Any = Match.Conf(activation=activation).build(TEXT, TEXT)
    x, y = pair()
    output = block(x, y)
    for row, t, s in MASK_BTS.nonzero().tolist():
        expected = block.project(x.values[row, t]) @ block.project(y.values[row, s])
        torch.testing.assert_close(output.values[row, t, s], expected)


def test_sums_of_two_convolved_texts_are_a_convolution_over_the_windows_of_both():
    # Hu et al. 2014, ARC-II: one weight for the two windows side by side.
    bare: dict[str, Any] = {"window_size": 2, "output_channel_num": 3, "batch_norm": False, "activation": None}
    left, right = (Conv.Conf(**bare).build(TEXT) for _ in "xy")
    x, y = pair()
    output = Expand_plus.Conf().build(TEXT, TEXT)(left(x), right(y)).values
    weight = torch.cat([block.conv.weight.permute(0, 2, 1).flatten(1) for block in (left, right)], 1)  # type: ignore
    bias = left.conv.bias + right.conv.bias  # type: ignore
    windows = torch.cat([x.values[0, 1:3].flatten(), y.values[0, :2].flatten()])
    torch.testing.assert_close(output[0, 1, 0], weight @ windows + bias)


def small_enough(size: int, window: int, padding: int) -> int:
    """Zeros that a text needs to be as long as a window."""
    return max(0, window - size - 2 * padding)


@pytest.mark.parametrize("stride", [1, [2, 1], 3])
@pytest.mark.parametrize(
    ("window", "padding"), [([1, 1], [0, 0]), ([3, 2], [0, 1]), ([2, 4], [1, 0]), ([3, 3], [1, 1])]
)
def test_valid_convolution_of_a_grid_equals_torch_run_on_each_pair_of_texts(window, padding, stride):
    conf = Conv2D.Conf(window_size=window, padding=padding, stride=stride, batch_norm=False, activation="Tanh")
    block: Any = conf.build(GRID)
    inputs = grid()
    output = block(inputs)
    for row, t, s in texts():
        image = inputs.values[row, :t, :s].permute(2, 0, 1)
        short = [small_enough(*sizes) for sizes in zip((t, s), window, padding, strict=True)]
        image = F.pad(image, (0, short[1], 0, short[0]))
        expected = F.conv2d(image, block.conv.weight, block.conv.bias, stride, padding).tanh().permute(1, 2, 0)
        high, wide = expected.shape[:2]
        torch.testing.assert_close(output.values[row, :high, :wide], expected)
        assert output.mask[row, :high, :wide].all() and output.mask[row].sum() == high * wide
    assert not output.values[~output.mask].any()


@pytest.mark.parametrize("window", [[1, 2], [3, 4], [2, 7]])
def test_same_convolution_of_a_grid_gives_one_place_for_every_pair(window):
    conf = Conv2D.Conf(window_size=window, padding_type="SAME", batch_norm=False, activation=None)
    block: Any = conf.build(GRID)
    inputs = grid()
    output = block(inputs)
    assert torch.equal(output.mask, MASK_BTS)
    for row, t, s in texts():
        image = inputs.values[row, :t, :s].permute(2, 0, 1)
        edges = [edge for size in reversed(window) for edge in ((size - 1) // 2, size // 2)]
        expected = F.conv2d(F.pad(image, edges), block.conv.weight, block.conv.bias).permute(1, 2, 0)
        torch.testing.assert_close(output.values[row, :t, :s], expected)


def test_convolution_of_a_grid_normalises_before_the_activation():
    block: Any = Conv2D.Conf(window_size=1, padding_type="SAME", activation="ReLU").build(GRID).train()
    inputs = grid()
    real = inputs.values[MASK_BTS] @ block.conv.weight[:, :, 0, 0].T
    expected = F.batch_norm(real, None, None, training=True).relu()
    torch.testing.assert_close(block(inputs).values[MASK_BTS], expected)


def test_batch_norm_of_a_grid_has_the_statistics_and_gradients_of_its_real_pairs():
    ours, torchs = MaskedBatchNorm(4), nn.BatchNorm1d(4)
    values = torch.randn(3, 5, 6, 4, requires_grad=True)
    weights = torch.randn(3, 5, 6, 4)
    output, expected = ours.over_grid(values, MASK_BTS), torchs(values[MASK_BTS])
    torch.testing.assert_close(output[MASK_BTS], expected)
    assert not output[~MASK_BTS].any()
    torch.testing.assert_close(ours.running_mean, torchs.running_mean)
    torch.testing.assert_close(ours.running_var, torchs.running_var)
    (came,) = torch.autograd.grad((output * weights).sum(), values)
    (wanted,) = torch.autograd.grad((expected * weights[MASK_BTS]).sum(), values)
    torch.testing.assert_close(came, wanted)


@pytest.mark.parametrize("real", [0, 1])
def test_batch_norm_of_fewer_than_two_pairs_uses_what_it_knows(real):
    norm = MaskedBatchNorm(4)
    mask = torch.zeros(2, 3, 3, dtype=torch.bool)
    mask[0, 0, 0] = bool(real)
    values = torch.randn(2, 3, 3, 4)
    trained = norm.train().over_grid(values, mask)
    torch.testing.assert_close(trained, norm.eval().over_grid(values, mask))
    assert norm.running_mean is not None and not norm.running_mean.any()


def pooled(pool_type: str, image: torch.Tensor, window: Any, stride: Any, padding: Any) -> torch.Tensor:
    if pool_type == "max":
        return F.max_pool2d(image, window, stride, padding)
    return F.avg_pool2d(image, window, stride, padding, count_include_pad=False)


@pytest.mark.parametrize("stride", [1, [2, 1], 3])
@pytest.mark.parametrize(("window", "padding"), [([1, 1], [0, 0]), ([3, 2], [0, 1]), ([2, 4], [1, 2])])
@pytest.mark.parametrize("pool_type", ["max", "mean"])
def test_pooling_of_a_grid_equals_torch_run_on_each_pair_of_texts(pool_type, window, padding, stride):
    block = Pooling2D.Conf(pool_type=pool_type, window_size=window, padding=padding, stride=stride).build(GRID)
    # All negative: a zero of the padding would win every maximum.
    inputs = Features(-torch.rand(3, 5, 6, 4) - 1, MASK_BTS)
    output = block(inputs)
    assert output.mask is not None
    for row, t, s in texts():
        fits = [min(size + 2 * edge, wide) for size, edge, wide in zip((t, s), padding, window, strict=True)]
        image = inputs.values[row, :t, :s].permute(2, 0, 1)
        if fits == window:
            expected = pooled(pool_type, image, window, stride, padding).permute(1, 2, 0)
            high, wide = expected.shape[:2]
            torch.testing.assert_close(output.values[row, :high, :wide], expected)
            assert output.mask[row, :high, :wide].all() and output.mask[row].sum() == high * wide
    assert not output.values[~output.mask].any()


@pytest.mark.parametrize("pool_type", ["max", "mean"])
def test_pooling_of_a_grid_smaller_than_the_window_takes_what_is_there(pool_type):
    inputs = Features(-torch.rand(1, 2, 3, 4) - 1)
    output = Pooling2D.Conf(pool_type=pool_type, window_size=5, padding=1).build(GRID)(inputs).values
    whole = inputs.values.amax((1, 2)) if pool_type == "max" else inputs.values.mean((1, 2))
    assert output.shape == (1, 1, 1, 4)
    torch.testing.assert_close(output[:, 0, 0], whole)


@pytest.mark.parametrize("pool_type", ["max", "mean"])
def test_pooling_without_a_window_takes_the_whole_grid(pool_type):
    inputs = Features(-torch.rand(3, 5, 6, 4) - 1, MASK_BTS)
    conf = Pooling2D.Conf(pool_type=pool_type)
    values = conf.build(GRID)(inputs).values
    assert str(conf.output_spec(GRID)) == "B x 1 x 1 x 4"
    for row, t, s in texts():
        real = inputs.values[row, :t, :s].flatten(0, 1)
        torch.testing.assert_close(values[row, 0, 0], real.amax(0) if pool_type == "max" else real.mean(0))


@pytest.mark.parametrize("parts", [[2, 3], [7, 1], 2])
@pytest.mark.parametrize("pool_type", ["max", "mean"])
def test_dynamic_pooling_equals_torch_run_on_each_pair_of_texts(pool_type, parts):
    adaptive: Any = F.adaptive_max_pool2d if pool_type == "max" else F.adaptive_avg_pool2d
    inputs = Features(-torch.rand(3, 5, 6, 4) - 1, MASK_BTS)
    conf = Pooling2D.Conf(pool_type=pool_type, output_size=parts)
    values = conf.build(GRID)(inputs).values
    assert str(conf.output_spec(GRID)) == " x ".join(map(str, ["B", *values.shape[1:]]))
    for row, t, s in texts():
        expected = adaptive(inputs.values[row, :t, :s].permute(2, 0, 1), parts).permute(1, 2, 0)
        torch.testing.assert_close(values[row], expected)


@pytest.mark.parametrize("pool_type", ["max", "mean"])
@pytest.mark.parametrize(("window", "stride", "padding"), [(1, 1, 0), (2, 1, 1), (4, 3, 2)])
def test_pooling_of_windows_of_tokens_equals_torch_run_on_each_text(pool_type, window, stride, padding):
    conf = Pooling1D.Conf(pool_type=pool_type, window_size=window, stride=stride, padding=padding)
    x, _ = pair()
    inputs = Features(-x.values.abs() - 1, x.mask, x.lengths)
    output = conf.build(TEXT)(inputs)
    assert output.lengths is not None
    for row, length in enumerate(LENGTHS_T.tolist()):
        text = inputs.values[row, :length].T
        expected = pooled(pool_type, text[:, None], (1, window), (1, stride), (0, padding))[:, 0].T
        torch.testing.assert_close(output.values[row, : len(expected)], expected)
        assert output.lengths[row] == len(expected)


MATCH_PYRAMID: list[tuple[str, str, list[str], dict[str, Any]]] = [
    ("grid", "Interaction", ["question", "answer"], {"matching_type": "dot"}),
    ("conv", "Conv2D", ["grid"], {"window_size": [3, 2], "padding": [1, 0], "output_channel_num": 5}),
    ("pooled", "Pooling2D", ["conv"], {"window_size": 2, "stride": 2}),
    ("flat", "Flatten", ["pooled"], {}),
    ("output", "Linear", ["flat"], {"hidden_dim": [7, "#target#"]}),
]


def match_pyramid(**fixed: int) -> Any:
    embedding = LayerConf(layer="Embedding", conf={"word": {"cols": ["question_text", "answer_text"], "dim": 6}})
    layers = [
        LayerConf(layer_id=name, layer=block, inputs=inputs, conf=conf, output_layer_flag=name == "output")
        for name, block, inputs, conf in MATCH_PYRAMID
    ]
    ids = Spec("BT", {"V": 11}, ids=True)
    branches = {
        name: Spec("BT", {"T": fixed[name]} if fixed else {}, {f"{name}_text": ids}, ids=True)
        for name in ("question", "answer")
    }
    return trace([embedding, *layers], branches, Answered({"label": 3}))


def test_match_pyramid_of_fixed_lengths_infers_its_sizes_and_runs():
    graph = match_pyramid(question=8, answer=10)
    assert graph.findings == []
    assert [str(graph.specs[name]) for name in ("grid", "conv", "pooled", "flat")] == [
        "B x 8 x 10 x 1", "B x 8 x 9 x 5", "B x 4 x 4 x 5", "B x 80",
    ]  # fmt: skip
    ids = {name: torch.randint(1, 11, (3, size)) for name, size in (("question", 8), ("answer", 10))}
    inputs = {
        name: Features(ids[name], length_mask(lengths, ids[name].shape[1]), lengths, {f"{name}_text": ids[name]})
        for name, lengths in (("question", LENGTHS_T), ("answer", LENGTHS_S))
    }
    outputs = Model(graph)(inputs)
    assert outputs["output"].values.shape == (3, 3)
    for name in ("grid", "conv", "pooled", "flat"):
        assert outputs[name].values.shape[1:] == tuple(graph.specs[name].sizes[a] for a in graph.specs[name].axes[1:])


def test_match_pyramid_of_free_lengths_says_what_flatten_misses():
    (finding,) = match_pyramid().findings
    assert str(finding) == (
        "architecture[4].inputs: Flatten needs a known size of T (see fixed_lengths), but the input is B x T x S x 5."
    )


@pytest.mark.parametrize(
    ("cls", "conf", "complaint"),
    [
        (Conv2D, {"window_size": [3, 3, 3]}, "window_size must be one number or two"),
        (Conv2D, {"stride": [1]}, "stride must be one number or two"),
        (Conv2D, {"padding": [0, 1], "padding_type": "SAME"}, r"padding \[0, 1\] is for padding_type VALID"),
        (Pooling2D, {"window_size": [3, 2], "padding": [1, 2]}, "must be less than window_size"),
        (Pooling2D, {"stride": 2}, "stride and padding need a window_size"),
        (Pooling2D, {"window_size": 2, "output_size": 3}, "output_size 3 is for pooling without a window_size"),
        (Pooling2D, {"output_size": [3]}, "output_size must be one number or two"),
        (Pooling1D, {"window_size": 2, "padding": 2}, "padding 2 must be less than window_size 2"),
    ],
)
def test_windows_that_cannot_be_are_refused(cls, conf, complaint):
    with pytest.raises(ValueError, match=complaint):
        cls.Conf(**conf)
