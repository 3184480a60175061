from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import core.conf
from block_zoo import Conv, ConvPooling, DepthwiseConv
from block_zoo.convolution import MaskedBatchNorm
from block_zoo.masking import length_mask
from core.types import Features, Spec

SPEC = Spec("BTD", {"D": 4})
LENGTHS = torch.tensor([3, 7, 1, 5])


def texts() -> Features:
    return Features(torch.randn(4, 7, 4), length_mask(LENGTHS, 7), LENGTHS)


def windows(conv: nn.Conv1d, text_TD: torch.Tensor, left: int, right: int) -> torch.Tensor:
    """The convolution of one unpadded text by a loop over its windows, T x channels."""
    padded = F.pad(text_TD, (0, 0, left, right))
    window, stride = conv.kernel_size[0], conv.stride[0]
    if len(padded) < window:
        padded = F.pad(padded, (0, 0, 0, window - len(padded)))
    starts = range(0, len(padded) - window + 1, stride)
    bias = 0 if conv.bias is None else conv.bias
    return torch.stack([torch.einsum("odw,wd->o", conv.weight, padded[s : s + window]) + bias for s in starts])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("window", "padding"), [(1, 0), (2, 0), (3, 1), (4, 0), (5, 2), (1, 2)])
def test_valid_convolution_equals_a_loop_over_the_windows_of_each_text(window, padding, stride):
    conf = Conv.Conf(window_size=window, padding=padding, stride=stride, batch_norm=False, activation=None)
    block: Any = conf.build(SPEC)
    inputs = texts()
    output = block(inputs)
    assert output.mask is not None and output.lengths is not None
    for row, length in enumerate(LENGTHS.tolist()):
        expected = windows(block.conv, inputs.values[row, :length], padding, padding)
        assert output.lengths[row] == len(expected) == output.mask[row].sum()
        torch.testing.assert_close(output.values[row, : len(expected)], expected)
        assert not output.values[row, len(expected) :].any()


@pytest.mark.parametrize("window", [1, 2, 3, 4, 6])
def test_same_convolution_gives_one_state_for_every_token(window):
    conf = Conv.Conf(window_size=window, padding_type="SAME", batch_norm=False, activation="Tanh")
    block: Any = conf.build(SPEC)
    inputs = texts()
    output = block(inputs)
    assert output.lengths is inputs.lengths
    for row, length in enumerate(LENGTHS.tolist()):
        text_1DT = inputs.values[row : row + 1, :length].mT
        expected = F.conv1d(F.pad(text_1DT, ((window - 1) // 2, window // 2)), block.conv.weight, block.conv.bias)
        torch.testing.assert_close(output.values[row, :length], expected[0].T.tanh())


@pytest.mark.parametrize(("length", "stride", "expected"), [(8, 1, 8), (8, 3, 3), (9, 3, 3), (10, 3, 4)])
def test_same_convolution_rounds_the_number_of_strides_up(length, stride, expected):
    conf = Conv.Conf(window_size=4, stride=stride, padding_type="SAME")
    spec = Spec("BTD", {"T": length, "D": 4})
    assert conf.output_spec(spec).sizes["T"] == expected
    assert conf.build(spec)(Features(torch.randn(2, length, 4))).values.shape == (2, expected, 16)


def test_padding_with_same_changes_nothing_and_is_noticed():
    plain, padded = (Conv.Conf(padding_type="SAME", padding=padding, batch_norm=False) for padding in (0, 2))
    block, other = plain.build(SPEC), padded.build(SPEC)
    other.load_state_dict(block.state_dict())
    inputs = texts()
    torch.testing.assert_close(other(inputs).values, block(inputs).values)
    assert list(padded.notices(False)) == ["padding"] and plain.notices(False) == {}


def test_batch_norm_of_padded_texts_has_the_statistics_of_their_real_tokens():
    inputs = texts()
    assert inputs.mask is not None
    ours, torchs = MaskedBatchNorm(4), nn.BatchNorm1d(4)
    real = inputs.values[inputs.mask]
    expected = torchs(real)
    output = ours.over_tokens(inputs)
    torch.testing.assert_close(output[inputs.mask], expected)
    torch.testing.assert_close(ours.running_mean, torchs.running_mean)
    torch.testing.assert_close(ours.running_var, torchs.running_var)
    assert not output[~inputs.mask].any()


def test_batch_norm_takes_a_single_row_while_training():
    row = torch.randn(1, 4)
    norm = MaskedBatchNorm(4)
    torch.testing.assert_close(norm.train()(row), norm.eval()(row))


@pytest.mark.parametrize("window", [1, 2, 3, 6])
def test_depthwise_convolution_equals_a_loop_over_features(window):
    conf = DepthwiseConv.Conf(window_size=window, batch_norm=False, activation="Tanh")
    block: Any = conf.build(SPEC)
    inputs = texts()
    output = block(inputs)
    assert output.mask is inputs.mask and output.lengths is inputs.lengths
    for row, length in enumerate(LENGTHS.tolist()):
        padded_DT = F.pad(inputs.values[row, :length].T, ((window - 1) // 2, window // 2))
        features = [
            F.conv1d(padded_DT[d].view(1, 1, -1), block.depthwise.weight[d : d + 1]).flatten() for d in range(4)
        ]
        torch.testing.assert_close(output.values[row, :length], block.pointwise(torch.stack(features, 1)).tanh())


def test_depthwise_convolution_of_rank_one_kernels_is_that_of_torch():
    ours: Any = DepthwiseConv.Conf(window_size=3, batch_norm=False, activation=None, output_channel_num=5).build(SPEC)
    kernels = ours.pointwise.weight.unsqueeze(-1) * ours.depthwise.weight.squeeze(1)
    inputs = torch.randn(2, 7, 4)
    expected = F.conv1d(inputs.mT, kernels, ours.pointwise.bias, padding=1).mT
    torch.testing.assert_close(ours(Features(inputs)).values, expected)


def test_depthwise_convolution_normalises_real_tokens_after_the_activation():
    block: Any = DepthwiseConv.Conf(activation="Tanh").build(SPEC).train()
    plain: Any = DepthwiseConv.Conf(activation="Tanh", batch_norm=False).build(SPEC)
    plain.load_state_dict(block.state_dict(), strict=False)
    inputs = texts()
    assert inputs.mask is not None
    expected = F.batch_norm(plain(inputs).values[inputs.mask], None, None, training=True)
    torch.testing.assert_close(block(inputs).values[inputs.mask], expected)


@pytest.mark.parametrize("pool_type", ["max", "mean"])
def test_conv_pooling_equals_a_loop_over_the_windows_of_each_text(pool_type):
    conf = ConvPooling.Conf(
        window_sizes=[1, 2, 5], stride=2, padding=1, batch_norm=False, activation="ReLU", pool_type=pool_type
    )
    block: Any = conf.build(SPEC)
    inputs = texts()
    values = block(inputs).values
    assert values.shape == (4, 3 * 16)
    for row, length in enumerate(LENGTHS.tolist()):
        states = [windows(conv, inputs.values[row, :length], 1, 1).relu() for conv in block.convs]
        pooled = [state.amax(0) if pool_type == "max" else state.mean(0) for state in states]
        torch.testing.assert_close(values[row], torch.cat(pooled))


def test_conv_pooling_normalises_before_the_activation():
    block: Any = ConvPooling.Conf(window_sizes=2, activation="ReLU").build(SPEC).train()
    inputs = texts()
    real = [windows(block.convs[0], inputs.values[row, :length], 0, 0) for row, length in enumerate(LENGTHS.tolist())]
    normed = F.batch_norm(torch.cat(real), None, None, training=True).relu()
    expected = torch.stack([part.amax(0) for part in normed.split([len(states) for states in real])])
    torch.testing.assert_close(block(inputs).values, expected)


def test_window_size_is_another_name_of_window_sizes():
    assert core.conf.read(ConvPooling.Conf, {"window_size": 4}).windows == [4]
