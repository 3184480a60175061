"""Losses against their formulas in numpy, against torch.nn, and at the edges where wrong answers hide."""

import inspect
import json
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.conf import annotations, field_docs, read
from core.errors import UserError
from core.types import Features, Spec
from losses import LOSSES, row_loss

LABELS = Spec("B", ids=True, labels=("0", "1", "2"))
TWO_LABELS = Spec("B", ids=True, labels=("0", "1"))
SETS = Spec("BC", {"C": 3}, labels=("0", "1", "2"))
NUMBERS = Spec("B")
SCORES = Spec("BD", {"D": 3})
ONE = Spec("BD", {"D": 1})
PROBABILITY = Spec("BD", {"D": 1}, parts={"logits": ONE})

OF_CLASSES = ["CrossEntropyLoss", "NLLLoss", "FocalLoss", "MultiMarginLoss"]
OF_TWO = ["BCEWithLogitsLoss", "BCELoss", "SoftMarginLoss"]
OF_SETS = ["MultiLabelMarginLoss", "MultiLabelSoftMarginLoss"]
OF_TAGS = ["CRFLoss"]
OF_NUMBERS = ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "PoissonNLLLoss"]
OF_GROUPS = ["LambdaLoss", "ListNetLoss", "PairwiseHingeLoss", "RankNetLoss"]
OF_TEACHERS = [
    *("LogitCosineLoss", "LogitMSELoss", "ScoreMSELoss", "SoftTargetLoss", "DecoupledLoss", "DISTLoss"),
    *("MarginMSELoss", "ListKLLoss", "HiddenMSELoss", "HiddenCosineLoss", "PKDLoss", "AttentionMSELoss"),
    *("AttentionKLLoss", "MiniLMLoss", "MiniLMv2Loss", "NSTLoss", "GramLoss", "RKDLoss", "SimilarityLoss"),
    "ContrastiveLoss",
]
OF_ROWS = [*OF_CLASSES, *OF_TWO, *OF_SETS, *OF_NUMBERS]


def conf_class(name: str) -> Any:
    loss: Any = LOSSES[name]
    return loss.Conf


def build(name, output, target, **conf):
    return conf_class(name)(**conf).build(output, target)


def specs(name):
    kinds = [(OF_CLASSES, (SCORES, LABELS)), (OF_TWO, (PROBABILITY, TWO_LABELS)), (OF_SETS, (SCORES, SETS))]
    return next((found for names, found in kinds if name in names), (ONE, NUMBERS))


def example(name, rows=6):
    """An output that the loss accepts (a leaf that wants a gradient) and a target."""
    torch.manual_seed(0)
    output, target = specs(name)
    values = torch.randn(rows, output.sizes["D"])
    if name in ("BCELoss", "PoissonNLLLoss"):
        values = values.sigmoid()
    count = len(target.labels or ())
    if name in OF_SETS:
        return values.requires_grad_(), torch.arange(rows)[:, None] % 3 == torch.arange(3)
    return values.requires_grad_(), torch.arange(rows) % count if count else torch.rand(rows)


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(-1, keepdims=True)


def test_catalogue_is_complete():
    assert LOSSES.names() == sorted([*OF_ROWS, *OF_TAGS, *OF_GROUPS, *OF_TEACHERS])


@pytest.mark.parametrize("name", OF_ROWS)
def test_loss_is_a_scalar_with_a_gradient(name):
    values, target = example(name)
    loss = build(name, *specs(name))(Features(values), target)
    loss.backward()
    assert loss.shape == () and loss.dtype == torch.float32
    assert torch.isfinite(values.grad).all() and (values.grad != 0).any(1).all()


@pytest.mark.parametrize("name", OF_ROWS)
def test_sum_is_the_mean_times_the_rows(name):
    values, target = example(name)
    mean, total = (
        build(name, *specs(name), reduction=reduction)(Features(values), target) for reduction in ("mean", "sum")
    )
    torch.testing.assert_close(total, mean * len(target))


@pytest.mark.parametrize("name", OF_ROWS)
def test_size_average_is_the_old_name_of_reduction(name):
    conf = conf_class(name)
    assert read(conf, {"size_average": True, "reduce": True}).reduction == "mean"
    assert read(conf, {"size_average": False}).reduction == "sum"


@pytest.mark.parametrize("name", OF_ROWS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_loss_is_computed_in_float32_under_autocast(name, dtype):
    values, target = example(name)
    half = values.detach().to(dtype)
    loss = build(name, *specs(name))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = loss(Features(half), target)
    assert under_autocast.dtype == torch.float32
    torch.testing.assert_close(under_autocast, loss(Features(half.float()), target))


@pytest.mark.parametrize("name", [*OF_TWO, *OF_NUMBERS])
def test_a_trailing_one_changes_nothing(name):
    values, target = example(name)
    loss = build(name, *specs(name))
    squeezed = build(name, Spec("B", parts=specs(name)[0].parts), specs(name)[1])
    torch.testing.assert_close(loss(Features(values), target), squeezed(Features(values.squeeze(1)), target))


@pytest.mark.parametrize("name", [*OF_CLASSES, *OF_TWO])
def test_logits_behind_probabilities_are_used(name):
    output, target_spec = specs(name)
    logits, target = torch.randn(5, output.sizes["D"]), torch.tensor([0, 1, 1, 0, 1])
    probabilities = logits.softmax(-1) if name in OF_CLASSES else logits.sigmoid()
    loss = build(name, output, target_spec)
    plain = Features(probabilities if name == "BCELoss" else logits)
    torch.testing.assert_close(
        loss(Features(probabilities, parts={"logits": logits}), target), loss(plain, target), rtol=1e-5, atol=1e-6
    )


def test_cross_entropy_by_hand():
    logits = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    weight, target = np.array([0.1, 0.9, 0.5]), np.array([0, 2])
    right = softmax(logits)[[0, 1], target]
    expected = -(weight[target] * np.log(right)).sum() / weight[target].sum()
    by_list = build("CrossEntropyLoss", SCORES, LABELS, weight=[0.1, 0.9, 0.5])
    by_label = build("CrossEntropyLoss", SCORES, LABELS, weight={"2": 0.5, "0": 0.1, "1": 0.9})
    for loss in (by_list, by_label):
        got = loss(Features(torch.tensor(logits)), torch.tensor(target))
        assert float(got) == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_smoothing_and_ignored_label():
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    loss = build("CrossEntropyLoss", SCORES, LABELS, label_smoothing=0.1, ignore_index=1)
    smooth = torch.full((4, 3), 0.1 / 3) + 0.9 * nn.functional.one_hot(target, 3)
    expected = -(smooth * logits.log_softmax(-1)).sum(1)[[0, 2]].mean()
    torch.testing.assert_close(loss(Features(logits), target), expected)


@pytest.mark.parametrize(
    ("name", "conf"),
    [
        ("CrossEntropyLoss", {"ignore_index": 0}),
        ("CrossEntropyLoss", {"weight": [0.0, 1.0, 1.0]}),
        ("CrossEntropyLoss", {"weight": [0.0, 1.0, 1.0], "label_smoothing": 0.1}),
        ("NLLLoss", {"ignore_index": 0}),
        ("NLLLoss", {"weight": [0.0, 1.0, 1.0]}),
        ("FocalLoss", {"alpha": [0.0, 1.0, 1.0]}),
        ("MultiMarginLoss", {"weight": [0.0, 1.0, 1.0]}),
    ],
)
def test_a_batch_of_rows_that_do_not_count_has_a_mean_of_zero(name, conf):
    logits = torch.randn(4, 3, requires_grad=True)
    loss = build(name, SCORES, LABELS, **conf)(Features(logits), torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and (logits.grad == 0).all()


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 0.0]])
@pytest.mark.parametrize("ignore_index", [-100, 1])
def test_the_mean_divides_by_the_weights_of_the_rows_that_count_as_in_torch(name, weight, ignore_index):
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 1, 0, 0])
    conf = {"ignore_index": ignore_index} | ({"label_smoothing": 0.2} if name == "CrossEntropyLoss" else {})
    wanted = getattr(nn, name)(weight=None if weight is None else torch.tensor(weight), **conf)
    given = logits if name == "CrossEntropyLoss" else logits.log_softmax(-1)
    loss = build(name, SCORES, LABELS, weight=weight, **conf)
    torch.testing.assert_close(loss(Features(logits), target), wanted(given, target))


def test_nll_takes_log_probabilities_as_they_are():
    log_probabilities, target = torch.randn(4, 3).log_softmax(-1), torch.tensor([0, 1, 2, 1])
    loss = build("NLLLoss", SCORES, LABELS, weight=[1.0, 2.0, 3.0])
    expected = nn.NLLLoss(weight=torch.tensor([1.0, 2.0, 3.0]))(log_probabilities, target)
    torch.testing.assert_close(loss(Features(log_probabilities), target), expected)


def test_focal_loss_by_hand():
    logits, target = np.array([[2.0, 0.0, -1.0], [0.5, 0.0, 0.5]]), np.array([0, 1])
    alpha = np.array([0.2, 0.3, 0.5])
    p = softmax(logits)[[0, 1], target]
    expected = (-alpha[target] * (1 - p) ** 1.5 * np.log(p)).mean()
    loss = build("FocalLoss", SCORES, LABELS, gamma=1.5, alpha={"0": 0.2, "1": 0.3, "2": 0.5})
    assert float(loss(Features(torch.tensor(logits)), torch.tensor(target))) == pytest.approx(expected, rel=1e-6)


def test_one_alpha_of_focal_loss_is_the_weight_of_the_rarer_of_two_labels():
    two = Spec("BD", {"D": 2})
    one, both = (build("FocalLoss", two, TWO_LABELS, alpha=alpha) for alpha in (0.25, {"0": 0.75, "1": 0.25}))
    logits, target = torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    torch.testing.assert_close(one(Features(logits), target), both(Features(logits), target))
    with pytest.raises(ValueError, match="alpha has 2 entries, but there are 3 labels"):
        conf_class("FocalLoss")(alpha=0.25).check(SCORES, LABELS)


def test_focal_loss_without_gamma_is_cross_entropy():
    values, target = example("FocalLoss")
    focal = build("FocalLoss", SCORES, LABELS, gamma=0.0)
    torch.testing.assert_close(focal(Features(values), target), nn.CrossEntropyLoss()(values, target))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_has_a_finite_gradient_where_rows_are_certain(gamma):
    logits = torch.tensor([[200.0, 0.0, 0.0], [-200.0, 0.0, 0.0]], requires_grad=True)
    build("FocalLoss", SCORES, LABELS, gamma=gamma)(Features(logits), torch.tensor([0, 0])).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    assert (logits.grad[1] != 0).any()


def test_binary_cross_entropy_by_hand():
    z, y = np.array([0.3, -2.0, 1.5]), np.array([1, 0, 0])
    p = 1 / (1 + np.exp(-z))
    plain = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    weighted = -(3 * y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    logits, target = torch.tensor(z)[:, None], torch.tensor(y)

    def run(name, values, **conf):
        return float(build(name, PROBABILITY, TWO_LABELS, **conf)(Features(values), target))

    assert run("BCEWithLogitsLoss", logits) == pytest.approx(plain, rel=1e-6)
    assert run("BCEWithLogitsLoss", logits, pos_weight=3.0) == pytest.approx(weighted, rel=1e-6)
    assert run("BCELoss", logits.sigmoid()) == pytest.approx(plain, rel=1e-6)
    assert run("SoftMarginLoss", logits) == pytest.approx(np.log1p(np.exp(-(2 * y - 1) * z)).mean(), rel=1e-6)


def test_bce_takes_soft_targets_of_a_regression():
    p, y = torch.tensor([[0.2], [0.7]]), torch.tensor([0.5, 0.9])
    expected = -(y * p[:, 0].log() + (1 - y) * (1 - p[:, 0]).log()).mean()
    torch.testing.assert_close(build("BCELoss", ONE, NUMBERS)(Features(p), y), expected)


def test_bce_refuses_logits_and_wild_targets_with_a_sentence():
    with pytest.raises(UserError, match=r"needs probabilities from 0 to 1, but its input runs from -1 to 3\."):
        build("BCELoss", PROBABILITY, TWO_LABELS)(Features(torch.tensor([[-1.0], [3.0]])), torch.tensor([0, 1]))
    with pytest.raises(UserError, match=r"needs targets from 0 to 1, but its input runs from 0 to 5\."):
        build("BCELoss", ONE, NUMBERS)(Features(torch.tensor([[0.5], [0.5]])), torch.tensor([0.0, 5.0]))


FITTING = Features(torch.tensor([[0.5], [0.5]]))


@pytest.mark.parametrize(
    ("name", "output", "target", "sentence"),
    [
        ("BCELoss", FITTING, [0.0, 7.0], "BCELoss needs targets from 0 to 1, but its input runs from 0 to 7."),
        (
            "BCELoss",
            Features(torch.tensor([[0.5], [0.5]]), parts={"logits": torch.zeros(2, 1)}),
            [0.0, 7.0],
            "BCELoss needs targets from 0 to 1, but its input runs from 0 to 7.",
        ),
        (
            "BCELoss",
            Features(torch.tensor([[0.5], [3.0]])),
            [0.0, 1.0],
            "BCELoss needs probabilities from 0 to 1, but its input runs from 0.5 to 3.",
        ),
        (
            "PoissonNLLLoss",
            FITTING,
            [2.0, -3.0],
            "PoissonNLLLoss needs counts of at least 0, but its input runs from -3 to 2.",
        ),
        (
            "PoissonNLLLoss",
            Features(torch.tensor([[-0.5], [0.5]])),
            [0.0, 1.0],
            "PoissonNLLLoss needs rates of at least 0 (or log_input), but its input runs from -0.5 to 0.5.",
        ),
    ],
)
def test_values_out_of_range_in_a_later_batch_are_met(monkeypatch, name, output, target, sentence):
    loss = build(name, ONE, NUMBERS)
    loss(FITTING, torch.tensor([0.0, 1.0]))
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        loss(output, torch.tensor(target))
    monkeypatch.setattr(row_loss, "refuse_values", lambda *_: None)  # as on a GPU, where nobody looks
    assert torch.isnan(loss(output, torch.tensor(target)))


@pytest.mark.parametrize("name", ["BCELoss", "PoissonNLLLoss"])
def test_a_model_that_gives_nan_has_a_loss_of_nan(name):
    values = torch.tensor([[0.5], [torch.nan]])
    assert torch.isnan(build(name, ONE, NUMBERS)(Features(values), torch.tensor([0.0, 1.0])))


def test_a_probability_that_rounding_raised_above_one_is_one():
    p = torch.tensor([[1 + 2**-23], [0.5]])
    assert build("BCELoss", ONE, NUMBERS)(Features(p), torch.tensor([1.0, 1.0])).item() == pytest.approx(
        math.log(2) / 2
    )


def test_soft_margin_does_not_overflow():
    loss = build("SoftMarginLoss", ONE, TWO_LABELS)
    assert float(loss(Features(torch.tensor([[-500.0]])), torch.tensor([1]))) == 500


@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin_by_hand(p):
    scores, target, weight = np.array([[0.1, 0.2, 0.9], [1.0, 3.0, 0.0]]), np.array([1, 1]), np.array([1, 0.5, 1])
    hinge = np.maximum(0, 2 - scores[[0, 1], target][:, None] + scores) ** p
    hinge[[0, 1], target] = 0
    expected = (weight[target][:, None] * hinge).sum(1).mean() / 3
    loss = build("MultiMarginLoss", SCORES, LABELS, p=p, margin=2.0, weight=[1.0, 0.5, 1.0])
    assert float(loss(Features(torch.tensor(scores)), torch.tensor(target))) == pytest.approx(expected, rel=1e-6)


def label_sets(rows=5):
    """Logits and sets of labels, one of them empty and one of all labels."""
    torch.manual_seed(1)
    target = torch.rand(rows, 3) < 0.4
    target[0], target[1] = False, True
    return torch.randn(rows, 3, requires_grad=True), target


@pytest.mark.parametrize(
    ("name", "conf", "oracle"),
    [
        ("BCEWithLogitsLoss", {}, nn.BCEWithLogitsLoss()),
        ("BCEWithLogitsLoss", {"reduction": "sum"}, nn.BCEWithLogitsLoss(reduction="sum")),
        ("BCEWithLogitsLoss", {"pos_weight": 3.0}, nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))),
        ("BCEWithLogitsLoss", {"pos_weight": [3, 1, 0.5]}, nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3, 1, 0.5]))),
        (
            "BCEWithLogitsLoss",
            {"pos_weight": {"2": 0.5, "0": 3, "1": 1}},
            nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3, 1, 0.5])),
        ),
        ("MultiLabelSoftMarginLoss", {}, nn.MultiLabelSoftMarginLoss()),
        (
            "MultiLabelSoftMarginLoss",
            {"weight": [3.0, 1.0, 0.5]},
            nn.MultiLabelSoftMarginLoss(weight=torch.tensor([3, 1, 0.5])),
        ),
        ("FocalLoss", {"gamma": 0.0}, nn.BCEWithLogitsLoss()),
    ],
)
def test_losses_of_label_sets_agree_with_torch(name, conf, oracle):
    logits, target = label_sets()
    loss = build(name, SCORES, SETS, **conf)
    torch.testing.assert_close(loss(Features(logits), target), oracle(logits, target.float()))
    behind_sigmoid = Features(logits.sigmoid(), parts={"logits": logits})
    torch.testing.assert_close(loss(behind_sigmoid, target), oracle(logits, target.float()))


@pytest.mark.parametrize("has_logits", [True, False])
def test_bce_of_label_sets_agrees_with_torch(has_logits):
    logits, target = label_sets()
    loss = build("BCELoss", Spec("BD", {"D": 3}, parts={"logits": SCORES}), SETS)
    given = Features(logits.sigmoid(), parts={"logits": logits} if has_logits else {})
    torch.testing.assert_close(loss(given, target), nn.BCELoss()(logits.sigmoid(), target.float()))


def test_focal_loss_of_label_sets_by_hand():
    logits, target = label_sets()
    alpha, p = np.array([0.2, 0.3, 0.5]), 1 / (1 + np.exp(-logits.detach().numpy().astype(float)))
    right = np.where(target, p, 1 - p)
    expected = (-alpha * (1 - right) ** 1.5 * np.log(right)).mean()
    loss = build("FocalLoss", SCORES, SETS, gamma=1.5, alpha={"0": 0.2, "1": 0.3, "2": 0.5})
    assert loss(Features(logits), target).item() == pytest.approx(expected, rel=1e-5)


def test_multi_label_margin_by_hand():
    """A row without labels, one with all, and three with labels 0; 0 and 2; 2."""
    scores = torch.tensor([[0.1, 0.2, 0.9]] * 5, requires_grad=True)
    target = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [1, 0, 1], [0, 0, 1]], dtype=torch.bool)
    hinges = [0, 0, (1 - 0.1 + 0.2) + (1 - 0.1 + 0.9), (1 - 0.1 + 0.2) + (1 - 0.9 + 0.2), (1 - 0.9 + 0.1) + 0.3]
    loss = build("MultiLabelMarginLoss", SCORES, SETS, reduction="sum")(Features(scores), target)
    loss.backward()
    assert loss.item() == pytest.approx(sum(hinges) / 3)
    assert scores.grad is not None and (scores.grad[:2] == 0).all()


@pytest.mark.parametrize("name", [*OF_SETS, "BCEWithLogitsLoss", "BCELoss", "FocalLoss"])
def test_one_label_that_a_row_may_have(name):
    spec = Spec("BD", {"D": 1}, parts={"logits": ONE})
    logits = torch.tensor([[2.0], [-1.0]])
    features = Features(logits.sigmoid(), parts={"logits": logits})
    loss = build(name, spec, Spec("BC", {"C": 1}, labels=("a",)))(features, torch.tensor([[True], [False]]))
    expected = nn.BCEWithLogitsLoss()(logits, torch.tensor([[1.0], [0.0]]))
    if name in OF_TWO or name == "MultiLabelSoftMarginLoss":
        torch.testing.assert_close(loss, expected)
    assert loss.shape == () and torch.isfinite(loss)


@pytest.mark.parametrize("name", [*OF_SETS, "BCEWithLogitsLoss", "FocalLoss"])
def test_losses_of_label_sets_say_what_does_not_fit(name):
    check = conf_class(name)().check
    check(Spec("BD"), Spec("BC"))
    with pytest.raises(ValueError, match="one score for each of the 3 labels, but the layer gives 2"):
        check(Spec("BD", {"D": 2}), SETS)
    with pytest.raises(ValueError, match="expects B x D, but the input is B x T x 3"):
        check(Spec("BTD", {"D": 3}), SETS)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "SoftMarginLoss", *OF_NUMBERS])
def test_losses_of_one_target_name_what_takes_label_sets(name):
    for output, target in ((SCORES, SETS), (ONE, Spec("BC"))):
        with pytest.raises(ValueError, match=r"holds any number of labels\. Take BCEWithLogitsLoss\."):
            conf_class(name)().check(output, target)


def test_losses_of_label_sets_name_what_takes_one_label():
    for name in OF_SETS:
        with pytest.raises(ValueError, match=r"any number of labels .* Take CrossEntropyLoss\."):
            conf_class(name)().check(SCORES, LABELS)
        with pytest.raises(ValueError, match="any number of labels"):
            conf_class(name)().check(SCORES, NUMBERS)
    with pytest.raises(ValueError, match="Take CrossEntropyLoss"):
        conf_class("BCEWithLogitsLoss")().check(SCORES, LABELS)
    with pytest.raises(ValueError, match=r"gives B x 3\. .* take CrossEntropyLoss"):
        conf_class("BCEWithLogitsLoss")().check(SCORES, Spec("B", ids=True))
    with pytest.raises(ValueError, match="pos_weight must be one number"):
        conf_class("BCEWithLogitsLoss")(pos_weight=[1.0, 2.0]).check(ONE, TWO_LABELS)
    with pytest.raises(ValueError, match="pos_weight names 'x', which is no label"):
        conf_class("BCEWithLogitsLoss")(pos_weight={"x": 1.0}).check(SCORES, SETS)


@pytest.mark.parametrize(
    ("name", "conf", "formula"),
    [
        ("MSELoss", {}, lambda x, y: (x - y) ** 2),
        ("L1Loss", {}, lambda x, y: abs(x - y)),
        ("SmoothL1Loss", {"beta": 0.5}, lambda x, y: np.where(abs(x - y) < 0.5, (x - y) ** 2, abs(x - y) - 0.25)),
        ("HuberLoss", {"delta": 2.0}, lambda x, y: np.where(abs(x - y) < 2, (x - y) ** 2 / 2, 2 * (abs(x - y) - 1))),
        ("PoissonNLLLoss", {}, lambda x, y: x - y * np.log(x)),
        ("PoissonNLLLoss", {"log_input": True}, lambda x, y: np.exp(x) - y * x),
    ],
)
def test_regression_losses_by_hand(name, conf, formula):
    x, y = np.array([0.5, 2.0, 4.0]), np.array([0.7, 1.0, 0.0])
    loss = build(name, ONE, NUMBERS, **conf)
    got = loss(Features(torch.tensor(x)[:, None]), torch.tensor(y, dtype=torch.float32))
    assert float(got) == pytest.approx(formula(x, y).mean(), rel=1e-6)


def test_poisson_refuses_negative_rates_and_counts():
    with pytest.raises(UserError, match=r"rates of at least 0 .*runs from -1 to 1\."):
        build("PoissonNLLLoss", ONE, NUMBERS)(Features(torch.tensor([[-1.0], [1.0]])), torch.tensor([0.0, 1.0]))
    with pytest.raises(UserError, match="counts of at least 0"):
        build("PoissonNLLLoss", ONE, NUMBERS)(Features(torch.tensor([[1.0], [1.0]])), torch.tensor([-2.0, 1.0]))


@pytest.mark.parametrize("name", OF_CLASSES)
def test_class_losses_say_what_does_not_fit(name):
    check = conf_class(name)().check
    check(Spec("BD"), Spec("B", ids=True))  # nothing known yet: nothing wrong yet
    with pytest.raises(ValueError, match="expects B x D, but the input is B x T x 3"):
        check(Spec("BTD", {"D": 3}), LABELS)
    with pytest.raises(ValueError, match="one score for each of the 3 labels, but the layer gives 2"):
        check(Spec("BD", {"D": 2}), LABELS)
    with pytest.raises(ValueError, match="take BCEWithLogitsLoss"):
        check(ONE, TWO_LABELS)
    with pytest.raises(ValueError, match="needs a target of labels"):
        check(SCORES, NUMBERS)


@pytest.mark.parametrize("name", ["BCEWithLogitsLoss", "BCELoss", "SoftMarginLoss"])
def test_binary_losses_say_what_does_not_fit(name):
    check = conf_class(name)().check
    with pytest.raises(ValueError, match=r"one number for each row \(B x 1\), but the layer gives B x 2"):
        check(Spec("BD", {"D": 2}), TWO_LABELS)
    with pytest.raises(ValueError, match="target of 2 labels, but this one has 3"):
        check(ONE, LABELS)


def test_bce_refuses_labels_where_the_output_would_be_decoded_as_a_logit():
    with pytest.raises(ValueError, match="needs the logits of a layer that ends in sigmoid"):
        conf_class("BCELoss")().check(ONE, TWO_LABELS)
    conf_class("BCELoss")().check(ONE, NUMBERS)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_regression_losses_say_what_does_not_fit(name):
    check = conf_class(name)().check
    with pytest.raises(ValueError, match="one number for each row"):
        check(SCORES, NUMBERS)
    with pytest.raises(ValueError, match="needs a target of numbers"):
        check(ONE, TWO_LABELS)


@pytest.mark.parametrize(
    ("name", "field", "known"),
    [
        ("CrossEntropyLoss", "weight", LABELS),
        ("FocalLoss", "alpha", LABELS),
        ("BCEWithLogitsLoss", "pos_weight", SETS),
    ],
)
def test_weights_whose_order_only_the_data_tells_are_noticed(name, field, known):
    unknown = replace(known, labels=None)
    weights = [0.1, 0.9, 0.5]
    assert list(conf_class(name)(**{field: weights}).notices(SCORES, unknown)) == [f"conf.{field}"]
    assert conf_class(name)(**{field: weights}).notices(SCORES, known) == {}
    assert conf_class(name)(**{field: {"a": 0.1}}).notices(SCORES, unknown) == {}


@pytest.mark.parametrize(
    ("name", "field"), [("CrossEntropyLoss", "weight"), ("NLLLoss", "weight"), ("FocalLoss", "alpha")]
)
def test_weights_of_labels_are_refused_where_tokens_are_the_answer(name, field):
    places = Spec("B", ids=True, places=True)
    conf_class(name)().check(Spec("BT"), places)
    with pytest.raises(ValueError, match=f"{field} belongs to labels, but this target holds places of tokens"):
        conf_class(name)(**{field: [0.1, 0.9]}).check(Spec("BT"), places)


@pytest.mark.parametrize(("name", "field"), [("CrossEntropyLoss", "weight"), ("FocalLoss", "alpha")])
def test_weights_must_match_the_labels(name, field):
    topics = Spec("B", ids=True, labels=("news", "sport", "other"))

    def check(weights, target=topics):
        conf_class(name)(**{field: weights}).check(SCORES, target)

    check({"news": 1.0, "sport": 2.0, "other": 0.0})
    check({"anything": 1.0}, Spec("B", ids=True))  # labels are not known yet
    with pytest.raises(ValueError, match=f"{field} names 'sprot', which is no label. Did you mean 'sport'"):
        check({"news": 1.0, "sprot": 2.0, "other": 3.0})
    with pytest.raises(ValueError, match=f"{field} must name every label; missing: sport, other"):
        check({"news": 1.0})
    with pytest.raises(ValueError, match=f"{field} has 2 entries, but there are 3 labels: news, sport, other"):
        check([1.0, 2.0])
    with pytest.raises(ValueError, match=f"{field} has 2 entries, but there are 3 labels"):
        check([1.0, 2.0], Spec("B", ids=True))
    with pytest.raises(ValueError, match=f"{field} must be at least 0, got -1|{field} of label 'news' must be"):
        check({"news": -1.0, "sport": 2.0, "other": 3.0})
    with pytest.raises(ValueError, match=f"{field} must be at least 0, got -1"):
        check([-1.0, 2.0, 3.0])


@pytest.mark.parametrize("name", [*OF_ROWS, *OF_GROUPS])
def test_the_json_line_of_the_docstring_runs_and_every_field_is_described(name):
    conf_type, doc = conf_class(name), inspect.getdoc(LOSSES[name]) or ""
    line = json.loads(next(line for line in doc.splitlines() if line.strip().startswith("{")))
    assert line["type"] == name and len(line["inputs"]) == 2
    conf = read(conf_type, line.get("conf", {}))
    by_label = isinstance(getattr(conf, "weight", None) or getattr(conf, "alpha", None), dict)
    conf.build(*((Spec("BD", {"D": 2}), TWO_LABELS) if by_label else specs(name)))
    assert set(field_docs(conf_type)) == set(annotations(conf_type))
    assert re.search("^Shape: ", doc, re.M) and re.search("^Reference: ", doc, re.M)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss", "FocalLoss"])
def test_a_place_that_was_cut_does_not_count(name):
    mask = torch.tensor([[True, True, False], [True, True, True]])
    places = Spec("B", ids=True, places=True)
    loss = build(name, Spec("BT"), places)
    scores = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    both = loss(Features(scores, mask), torch.tensor([2, 1]))
    assert torch.allclose(both, loss(Features(scores[1:], mask[1:]), torch.tensor([1])))
