import math
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

import core.conf
from core.config import OptimizerConf, ScheduleConf, TrainingConf
from engine.optimizers import LearningRate, check_optimizer, make_optimizer


def rate(base=0.1, total=100, **conf):
    training = TrainingConf(optimizer=OptimizerConf(name="SGD"), max_epoch=1, **conf)
    return LearningRate.of(training, base, total)


def test_decay_by_epoch_starts_where_the_config_says():
    factor = rate(lr_decay=0.5, epoch_start_lr_decay=2).factor
    assert [factor(0, epoch) for epoch in range(5)] == [1, 1, 0.5, 0.25, 0.125]


def test_the_floor_stops_the_decay_but_never_raises_the_rate():
    assert rate(base=0.1, lr_decay=0.1, minimum_lr=0.05).factor(0, 3) == pytest.approx(0.5)
    assert rate(base=0.01, lr_decay=0.1, minimum_lr=0.05).factor(0, 3) == pytest.approx(1.0)


def test_warm_up_grows_to_one_and_then_the_schedule_falls_to_zero():
    linear = rate(schedule=ScheduleConf(name="linear", warmup_steps=10)).factor
    assert [linear(step, 0) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert linear(10, 0) == 1.0
    assert linear(55, 0) == pytest.approx(0.5)
    assert linear(100, 0) == 0.0
    cosine = rate(schedule=ScheduleConf(name="cosine")).factor
    assert cosine(25, 0) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_warmup_ratio_is_a_share_of_all_steps():
    factor = rate(schedule=ScheduleConf(warmup_ratio=0.2)).factor
    assert factor(9, 0) == pytest.approx(0.5)
    assert factor(20, 0) == 1.0


def test_the_fused_form_is_used_where_torch_has_one_and_gives_the_same_weights():
    def after(params):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(7))
        optimizer = make_optimizer(OptimizerConf(name="Adam", params={"lr": 0.1, **params}), [weight])
        for _ in range(5):
            (weight**2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return weight.detach(), optimizer.defaults.get("fused")

    fused, is_fused = after({})
    plain, _ = after({"foreach": False})
    assert is_fused
    torch.testing.assert_close(fused, plain)


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({"name": "Adm"}, "training_params.optimizer.name: torch.optim has no optimizer 'Adm'. Did you mean 'Adam'?"),
        (
            {"name": "Adam", "params": {"weight_decy": 1}},
            "training_params.optimizer.params.weight_decy: unknown argument of Adam. Did you mean 'weight_decay'?",
        ),
        ({"name": "Adam", "params": {"lr": -1}}, "training_params.optimizer.params: Adam refuses them: Invalid"),
        (
            {"name": "SGD", "params": {"lr": "fast"}},
            'training_params.optimizer.params.lr: must be a number, got "fast".',
        ),
        (
            {"name": "Adam", "params": {"weight_decay": None}},
            "training_params.optimizer.params.weight_decay: must be a number, got null.",
        ),
        (
            {"name": "Adam", "params": {"amsgrad": "yes"}},
            'training_params.optimizer.params.amsgrad: must be true or false, got "yes".',
        ),
        (
            {"name": "Adam", "params": {"betas": [0.9]}},
            "training_params.optimizer.params.betas: must be a list of 2 numbers, got [0.9].",
        ),
        (
            {"name": "Adam", "params": {"capturable": True}},
            "training_params.optimizer.params: Adam refuses them: If capturable=True, params",
        ),
        (
            {"name": "SGD", "params": {"lr": 0.1, "differentiable": True}},
            "training_params.optimizer.params: SGD refuses them: a leaf Variable that requires grad",
        ),
        (
            {"name": "SparseAdam", "params": {"lr": 0.1}},
            "training_params.optimizer.name: SparseAdam cannot train a model here: SparseAdam does not support dense",
        ),
        (
            {"name": "LBFGS", "params": {"lr": 0.1}},
            "training_params.optimizer.name: LBFGS cannot train a model here: it computes the loss several times",
        ),
        (
            {"name": "AdamW", "groups": [{"match": ["output"], "params": {"learning_rate": 0.1}}]},
            "training_params.optimizer.groups[0].params.learning_rate: unknown argument of AdamW.",
        ),
        (
            {"name": "AdamW", "groups": [{"match": ["output"], "params": {"lr": "fast"}}]},
            'training_params.optimizer.groups[0].params.lr: must be a number, got "fast".',
        ),
        (
            {"name": "AdamW", "groups": [{"match": ["output"], "params": {"lr": -1}}]},
            "training_params.optimizer.groups[0].params: AdamW refuses them: Invalid",
        ),
    ],
)
def test_a_wrong_optimizer_is_refused(conf, expected):
    (finding,) = check_optimizer(core.conf.read(OptimizerConf, conf))
    assert str(finding).startswith(expected)


class OfMatrices(torch.optim.Optimizer):
    """As Muon, which older versions of torch lack."""

    def __init__(self, params, lr=1e-3):
        super().__init__(params, {"lr": lr})
        if any(weight.ndim != 2 for group in self.param_groups for weight in group["params"]):
            raise ValueError("Muon only supports 2D parameters")


def test_an_optimizer_of_matrices_only_is_refused(monkeypatch):
    monkeypatch.setattr(torch.optim, "Muon", getattr(torch.optim, "Muon", OfMatrices), raising=False)
    (finding,) = check_optimizer(OptimizerConf(name="Muon"))
    assert str(finding).startswith("training_params.optimizer.name: Muon cannot train a model here: Muon only supports")


def test_what_is_not_refused_trains():
    accepted = []
    for name in torch.optim.__all__:
        params = {"eps": [None, 0.001]} if name == "Adafactor" else {"lr": 1}
        conf = OptimizerConf(name=name, params=params)
        if check_optimizer(conf):
            continue
        accepted.append(name)
        layer = torch.nn.Linear(3, 2)
        optimizer = make_optimizer(conf, layer.parameters())
        layer(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    assert {"SGD", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "RMSprop", "Rprop", "RAdam"} <= set(accepted)


def test_the_check_does_not_wait_for_the_compiler_of_torch():
    code = (
        "import sys\n"
        "from core.config import OptimizerConf\n"
        "from engine.optimizers import check_optimizer\n"
        f"for name in {torch.optim.__all__}: check_optimizer(OptimizerConf(name=name))\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "False"
