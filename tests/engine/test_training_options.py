"""Options of training against what their papers say, computed another way."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny_encoders import write_encoder

from core.config import LayerConf, OptimizerConf, ParameterGroupConf
from core.errors import ConfigError
from core.types import Features, Frames, Spec
from engine.optimizers import make_optimizer
from engine.parameter_groups import parameter_groups
from engine.trainers.standard import attacked
from losses.disagreement import disagreement
from model_zoo.graph import Answered, Model, Weight, trace
from text.batching import batches_of_tokens


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Model:
    conf = {"model": str(write_encoder(tmp_path_factory.mktemp("encoder"))), "pooling": "pretrained"}
    layers = [
        LayerConf(layer_id="encoder", layer="PretrainedEncoder", conf=conf, inputs=["text"]),
        LayerConf(
            layer_id="output", layer="Linear", conf={"hidden_dim": 2}, inputs=["encoder"], output_layer_flag=True
        ),
    ]
    branches = {"text": Spec("BT", {"V": 40}, ids=True, frames=Frames())}
    return Model(trace(layers, branches, Answered({"label": 2}, {"output": "label"})))


def test_the_rate_falls_with_the_depth_of_an_encoder_and_norms_and_biases_do_not_decay(model):
    conf = OptimizerConf(name="AdamW", params={"lr": 0.1, "weight_decay": 0.01}, layer_decay=0.5)
    optimizer = make_optimizer(conf, parameter_groups(conf, model.weights()))
    found = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    weights = {name: parameter for name, _, parameter in model.weights()}
    assert len(found) == len(weights)
    for name, parameter in weights.items():
        layer = next((number for number in range(4) if f".layer.{number}." in name), None)
        above = 0 if name.startswith("output.") or ".pooler." in name else 5 if layer is None else 4 - layer
        decay = 0.0 if name.endswith("bias") or "LayerNorm" in name else 0.01
        assert found[id(parameter)] == pytest.approx((0.1 * 0.5**above, decay)), name


def test_a_weight_has_the_arguments_of_the_first_group_that_matches_it(model):
    groups = [
        ParameterGroupConf(match=["output"], params={"lr": 1.0}),
        ParameterGroupConf(match=["*.bias", "output"], params={"lr": 2.0}),
    ]
    conf = OptimizerConf(name="SGD", params={"lr": 0.1}, groups=groups)
    optimizer = make_optimizer(conf, parameter_groups(conf, model.weights()))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, _, parameter in model.weights():
        wanted = 1.0 if name.startswith("output.") else 2.0 if name.endswith(".bias") else 0.1
        assert rates[id(parameter)] == wanted, name


@pytest.mark.parametrize("name", ["AdamW", "NAdam", "SGD"])
def test_arguments_that_the_config_leaves_out_are_those_of_the_optimizer(model, name):
    defaults = getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(1))]).defaults
    conf = OptimizerConf(name=name, layer_decay=0.5)
    optimizer = make_optimizer(conf, parameter_groups(conf, model.weights()))
    found = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    for _, depth, parameter in model.weights():
        decay = 0.0 if parameter.ndim < 2 else defaults["weight_decay"]
        assert found[id(parameter)] == pytest.approx((defaults["lr"] * 0.5**depth, decay))


def test_a_group_that_matches_nothing_is_refused_with_the_layers(model):
    groups = [
        ParameterGroupConf(match=["output", "encodr", "encoder.layer.3.*"], params={"lr": 1.0}),
        ParameterGroupConf(match=["output.*"], params={"lr": 2.0}),
    ]
    with pytest.raises(ConfigError) as caught:
        parameter_groups(OptimizerConf(name="SGD", groups=groups), model.weights(), "a.json")
    assert "groups[0].match: no trained weight is called encodr. Did you mean 'encoder'?" in str(caught.value)
    assert "weight is called encoder.layer.3.*. Such are encoder.encoder.encoder.layer.3." in str(caught.value)
    assert "groups[1].match: names no weight that is not in an earlier group." in str(caught.value)


def test_a_group_of_weights_that_are_frozen_is_refused_as_such():
    frozen = Weight("encoder.weight", 0, torch.nn.Parameter(torch.ones(1), requires_grad=False))
    trained = Weight("output.weight", 0, torch.nn.Parameter(torch.ones(1)))
    conf = OptimizerConf(name="SGD", groups=[ParameterGroupConf(match=["encoder"], params={})])
    with pytest.raises(ConfigError, match="no trained weight is called encoder. Those of this name are frozen."):
        parameter_groups(conf, [frozen, trained])


def test_a_group_that_names_no_layer_is_refused_at_the_check(door, task):
    task.config["training_params"]["optimizer"]["groups"] = [{"match": ["Embedding", "outptu"], "params": {}}]
    code, _, err = door("train", "--conf_path", task.path, "--check")
    assert code == 2 and "groups[0].match: no layer is called outptu. Did you mean 'output'?" in err


def test_groups_and_decay_that_have_no_effect_are_told_with_their_place(door, task):
    groups = [{"match": ["output.wieght"], "params": {}}]
    task.config["training_params"]["optimizer"] |= {"layer_decay": 0.9, "groups": groups}
    code, _, err = door("train", "--conf_path", task.path)
    assert code == 2
    assert "training_params.optimizer.layer_decay: has no effect. No layer is a pretrained encoder." in err
    assert f"{task.path}: 1 problem" in err and "training_params.optimizer.groups[0].match: no trained" in err


def test_disagreement_is_the_divergence_both_ways_and_ignores_padding():
    labels, logits = Spec("BT", labels=("a", "b", "c")), torch.randn(4, 5, 3)
    mask = torch.tensor([5, 2, 5, 2])[:, None] > torch.arange(5)
    found = disagreement(Features(logits, mask), labels)
    p, q = logits[:2].log_softmax(-1), logits[2:].log_softmax(-1)
    real = mask[:2]
    both = F.kl_div(p[real], q[real], log_target=True, reduction="sum") + F.kl_div(
        q[real], p[real], log_target=True, reduction="sum"
    )
    torch.testing.assert_close(found, both / 7)
    places = disagreement(Features(logits[..., :1], mask), Spec("B", places=True))
    first, second = (logits[:2, :, 0].masked_fill(~real, -1e9), logits[2:, :, 0].masked_fill(~real, -1e9))
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    terms = [F.kl_div(a, b, log_target=True, reduction="batchmean") for a, b in ((p, q), (q, p))]
    torch.testing.assert_close(places, terms[0] + terms[1])
    yes = disagreement(Features(torch.tensor([[0.3], [-0.8]])), Spec("B", labels=("no", "yes")))
    a, b = (
        torch.distributions.Bernoulli(logits=torch.tensor(0.3)),
        torch.distributions.Bernoulli(logits=torch.tensor(-0.8)),
    )
    torch.testing.assert_close(yes, torch.distributions.kl_divergence(a, b) + torch.distributions.kl_divergence(b, a))
    assert disagreement(Features(torch.tensor([[1.0], [4.0]])), Spec("B")) == 9
    of_sigmoid = Features(torch.tensor([[0.5], [0.75]]), parts={"logits": torch.tensor([[0.0], [1.1]])})
    assert disagreement(of_sigmoid, Spec("B")) == 0.0625  # numbers are what the model says


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_second_pass_that_agrees_with_the_first_changes_nothing(door, task, reduction):
    task.config["architecture"][2]["conf"]["dropout"] = 0.0
    task.config["loss"]["losses"][0]["conf"] = {"reduction": reduction}
    task.config["training_params"] |= {"max_epoch": 1, "optimizer": {"name": "SGD", "params": {"lr": 0.01}}}
    assert door("train", "--conf_path", task.path)[0] == 0
    plain = load_file(task.run / "weights.safetensors")
    task.config["training_params"]["r_drop"] = 2.0
    assert door("train", "--conf_path", task.path, "--force")[0] == 0
    for name, value in load_file(task.run / "weights.safetensors").items():
        torch.testing.assert_close(value, plain[name], rtol=1e-4, atol=1e-6)


def test_vectors_are_attacked_along_their_gradient_and_come_back_exactly():
    weight = torch.nn.Parameter(torch.randn(5, 3))
    before = weight.detach().clone()
    (weight**3).sum().backward()
    with attacked([weight, torch.nn.Parameter(torch.ones(2))], 0.7):
        step = weight.detach() - before
        assert step.norm() == pytest.approx(0.7, rel=1e-4)
        assert weight.grad is not None
        assert F.cosine_similarity(step.flatten(), weight.grad.flatten(), 0) == pytest.approx(1.0)
    assert torch.equal(weight.detach(), before)


def test_an_attack_on_vectors_that_are_not_trained_is_refused(door, task):
    task.config["architecture"][0]["conf"]["word"]["fix_weight"] = True
    task.config["training_params"]["adversarial"] = 0.5
    code, _, err = door("train", "--conf_path", task.path)
    assert code == 2 and "training_params.adversarial: moves vectors of words or pieces that are trained" in err
    assert not task.run.exists()


def test_batches_of_tokens_hold_every_row_once_within_the_limit_and_are_as_many_in_every_epoch():
    lengths = np.random.default_rng(0).integers(1, 60, 500)
    lengths[7] = 300
    epochs = [batches_of_tokens(lengths, 256, 3, epoch) for epoch in range(4)]
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(range(500))
        assert all(len(batch) * lengths[batch].max() <= 256 or list(batch) == [7] for batch in batches)
    assert len({len(batches) for batches in epochs}) == 1
    assert any(not np.array_equal(a, b) for a, b in zip(epochs[0], epochs[1], strict=True))
    assert sum(map(len, epochs[0])) / len(epochs[0]) > 256 / 60


def test_the_run_keeps_the_moving_average_of_the_weights(door, task, monkeypatch):
    from engine.trainers.standard import Standard

    after, update = [], Standard._update

    def noted(self, window, epoch):
        rate = update(self, window, epoch)
        after.append({name: value.clone() for name, value in self.place.model.state_dict().items()})
        return rate

    monkeypatch.setattr(Standard, "_update", noted)
    task.config["training_params"] |= {"max_epoch": 1, "ema": 0.75}
    assert door("train", "--conf_path", task.path)[0] == 0
    kept = load_file(task.run / "weights.safetensors")
    average = after[0]
    for weights in after[1:]:
        average = {name: 0.75 * average[name] + 0.25 * value for name, value in weights.items()}
    assert len(after) > 3
    for name, value in kept.items():
        torch.testing.assert_close(value, average[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("option", [{"ema": 0.9}, {"r_drop": 1.0}, {"adversarial": 0.5}, {"batch_tokens": 64}])
def test_options_train_and_go_on_exactly_where_they_stopped(door, task, option):
    task.config["training_params"] |= {**option, "max_epoch": 2}
    assert door("train", "--conf_path", task.path)[0] == 0
    whole = json.loads((task.run / "scores.json").read_text())
    plain = (task.run / "weights.safetensors").read_bytes()
    task.config["training_params"]["max_epoch"] = 1
    assert door("train", "--conf_path", task.path, "--force")[0] == 0
    task.config["training_params"]["max_epoch"] = 2
    assert door("train", "--conf_path", task.path, "--resume")[0] == 0
    assert json.loads((task.run / "scores.json").read_text()) == whole
    assert (task.run / "weights.safetensors").read_bytes() == plain


def test_an_attack_follows_the_gradient_of_its_own_batch():
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.tensor([1.0, 5.0, 0.0])
    with attacked([weight], 2.0, [torch.tensor([1.0, 2.0, 0.0])]):
        assert weight.tolist() == [0.0, 2.0, 0.0]
    with attacked([weight], 1.0, [None]):
        torch.testing.assert_close(weight.detach(), weight.grad / 26**0.5)
    assert weight.tolist() == [0.0, 0.0, 0.0]
