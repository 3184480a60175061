from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from block_zoo import HighwayLinear, LayerNorm, Linear
from block_zoo.convolution import MaskedBatchNorm
from core.types import Features, Spec

VECTOR = Spec("BD", {"D": 4})
SEQUENCE = Spec("BTD", {"D": 4})


def kinds(conf: Linear.Conf, spec: Spec = VECTOR) -> list[type]:
    block: Any = conf.build(spec)
    return [type(layer) for layer in block.layers]


def test_by_default_batch_norm_and_activation_follow_every_layer():
    layer = [nn.Linear, MaskedBatchNorm, nn.PReLU]
    assert kinds(Linear.Conf(hidden_dim=[3, 2])) == layer * 2


def test_output_layer_has_no_activation_unless_asked_for():
    hidden = [nn.Linear, MaskedBatchNorm, nn.PReLU]
    assert kinds(Linear.Conf(hidden_dim=[3, -1]).resolved({"#target#": 2}, is_output=True)) == [*hidden, nn.Linear]
    asked = Linear.Conf(hidden_dim=-1, activation="Sigmoid", batch_norm=False, last_hidden_activation=True)
    block: Any = asked.resolved({"#target#": 1}, is_output=True).build(VECTOR)
    assert [type(layer) for layer in (*block.layers, block.squash)] == [nn.Linear, nn.Sigmoid]
    assert kinds(Linear.Conf(hidden_dim=3).resolved({"#target#": 2}, is_output=False)) == hidden


def test_a_sigmoid_stays_in_the_output_layer_because_it_gives_the_answer_a_range():
    conf = Linear.Conf(hidden_dim=[3, 1], activation="Sigmoid").resolved({}, is_output=True)
    assert 0 < conf.build(VECTOR).eval()(Features(100 * torch.randn(1, 4))).values.item() < 1
    assert conf.notices(True) == {}


@pytest.mark.parametrize(("activation", "low", "high"), [("Tanh", -1, 1), ("Softplus", 0, torch.inf)])
def test_an_output_layer_that_is_its_only_layer_keeps_an_activation_that_gives_a_range(activation, low, high):
    alone = Linear.Conf(hidden_dim=1, activation=activation).resolved({}, is_output=True)
    values = alone.build(VECTOR).eval()(Features(100 * torch.randn(50, 4))).values
    assert low <= values.min() and values.max() <= high
    assert kinds(Linear.Conf(hidden_dim=[3, 2], activation=activation).resolved({}, is_output=True))[-1] is nn.Linear


def test_an_activation_that_no_layer_has_is_noticed():
    for conf in (Linear.Conf(activation="ReLU"), Linear.Conf(activation="Tanh", last_hidden_activation=False)):
        said = conf.resolved({}, is_output=True).notices(True)
        assert said == {"activation": "has no effect. The only layer is the last one, which has no activation."}
    assert Linear.Conf(hidden_dim=[3, 2], activation="ReLU").resolved({}, is_output=True).notices(True) == {}


def test_another_activation_of_the_answer_is_noticed():
    conf = Linear.Conf(last_hidden_activation=True)
    assert "PReLU" in conf.resolved({}, is_output=True).notices(True)["last_hidden_activation"]
    assert conf.notices(False) == Linear.Conf().resolved({}, is_output=True).notices(True) == {}


def test_batch_norm_is_for_vectors_only():
    assert kinds(Linear.Conf(hidden_dim=3), SEQUENCE) == [nn.Linear, nn.PReLU]


def test_number_of_labels_is_filled_in():
    conf = Linear.Conf(hidden_dim=["#target#", 8, -1])
    assert conf.resolved({"#target#": 5}, is_output=True).hidden_dim == [5, 8, 5]
    assert conf.resolved({"#target#": 5}, is_output=True).output_spec(VECTOR) == Spec("BD", {"D": 5})


def test_minus_one_is_refused_elsewhere():
    with pytest.raises(ValueError, match="hidden_dim -1 as the output layer only"):
        Linear.Conf(hidden_dim=-1).resolved({"#target#": 5}, is_output=False).output_spec(VECTOR)
    with pytest.raises(ValueError, match="before the last place"):
        Linear.Conf(hidden_dim=[-1, 3])


@pytest.mark.parametrize("hidden_dim", [0, -2, [3, 0], [2.5], [True]])
def test_widths_that_are_none_are_refused(hidden_dim):
    with pytest.raises(ValueError, match="hidden_dim"):
        Linear.Conf(hidden_dim=hidden_dim)


def test_softmax_keeps_its_logits():
    block: Any = Linear.Conf(hidden_dim=3, last_hidden_softmax=True, last_hidden_activation=False).build(VECTOR)
    x = torch.randn(2, 4)
    output = block(Features(x))
    logits = F.linear(x, block.layers[0].weight, block.layers[0].bias)
    torch.testing.assert_close(output.parts["logits"], logits)
    torch.testing.assert_close(output.values, logits.exp() / logits.exp().sum(1, keepdim=True))


def test_sigmoid_keeps_its_logits():
    conf = Linear.Conf(hidden_dim=1, activation="Sigmoid", batch_norm=False, last_hidden_activation=True)
    block: Any = conf.build(VECTOR)
    x = torch.randn(2, 4)
    output = block(Features(x))
    logits = F.linear(x, block.layers[0].weight, block.layers[0].bias)
    assert conf.output_spec(VECTOR).parts == {"logits": Spec("BD", {"D": 1})}
    torch.testing.assert_close(output.parts["logits"], logits)
    torch.testing.assert_close(output.values, 1 / (1 + (-logits).exp()))


def test_keep_dim_false_drops_a_single_feature():
    conf = Linear.Conf(hidden_dim=1, keep_dim=False)
    assert conf.output_spec(SEQUENCE) == Spec("BT")
    assert conf.build(SEQUENCE)(Features(torch.randn(2, 3, 4))).values.shape == (2, 3)
    assert conf.notices(False) == {}


def test_keep_dim_false_leaves_several_features_alone_and_is_noticed():
    conf = Linear.Conf(hidden_dim=2, keep_dim=False)
    assert conf.output_spec(SEQUENCE) == Spec("BTD", {"D": 2})
    assert conf.build(SEQUENCE)(Features(torch.randn(2, 3, 4))).values.shape == (2, 3, 2)
    assert list(conf.notices(False)) == ["keep_dim"]


def test_highway_gate_carries_or_transforms():
    block: Any = HighwayLinear.Conf(activation="ReLU").build(VECTOR)
    layer = block.layers[0]
    x = torch.randn(3, 4)
    changed = F.linear(x, layer.weight[:4], layer.bias[:4]).relu()
    gate = F.linear(x, layer.weight[4:], layer.bias[4:]).sigmoid()
    torch.testing.assert_close(block(Features(x)).values, gate * x + (1 - gate) * changed)
    nn.init.constant_(layer.bias[4:], 50.0)
    torch.testing.assert_close(block(Features(x)).values, x)


def test_layer_norm_gives_mean_0_and_variance_1():
    values = LayerNorm.Conf().build(Spec("BTD", {"D": 64}))(Features(5 * torch.randn(2, 3, 64) + 2)).values
    torch.testing.assert_close(values.mean(-1), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.var(-1, correction=0), torch.ones(2, 3), atol=1e-4, rtol=0)


def test_the_labels_of_a_target_by_its_name():
    conf = Linear.Conf(hidden_dim=["#topic#", 3])
    assert conf.resolved({"#target#": 2, "#topic#": 7}, is_output=False).hidden_dim == [7, 3]
    with pytest.raises(ValueError, match="hidden_dim '#topic#'"):
        conf.resolved({"#target#": 2, "#topics#": 7}, is_output=False).output_spec(VECTOR)
