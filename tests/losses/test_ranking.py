"""Ranking losses against loops over pairs and lists, and at the edges where wrong answers hide."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score
from torch import Tensor

from core.types import Features, Spec
from losses import LOSSES

NUMBERS = Spec("B")
TWO_LABELS = Spec("B", ids=True, labels=("0", "1"))
ONE = Spec("BD", {"D": 1})
TWO = Spec("BD", {"D": 2})

PAIRWISE = ["PairwiseHingeLoss", "RankNetLoss"]
LISTWISE = ["ListNetLoss", "LambdaLoss"]
RANKING = [*PAIRWISE, *LISTWISE]

GROUPS = torch.tensor([7, -3, 7, 5, -3, 7, 7, 9, 5, -3, 5, 7])
"""Rows of four groups, mixed; the gains of group 5 are all equal, and 9 is alone."""
GAINS = torch.tensor([0.0, 1, 2, 1, 0, 0, 3, 2, 1, 1, 1, 1])
SCORES = torch.tensor([0.3, -0.2, 0.1, 0.5, 1.5, -2.0, 0.9, 0.0, -0.7, 0.4, 0.2, 0.35])


def build(name: str, output: Spec = ONE, target: Spec = NUMBERS, **conf: Any) -> Any:
    loss: Any = LOSSES[name]
    return loss.Conf(**conf).build(output, target)


def lists() -> list[tuple[list[float], list[float]]]:
    """Scores and gains of each group."""
    places = [torch.isin(GROUPS, group) for group in GROUPS.unique()]
    return [(SCORES[place].tolist(), GAINS[place].tolist()) for place in places]


def pairs(scores: list[float], gains: list[float]) -> list[tuple[int, int]]:
    return [(i, j) for i in range(len(scores)) for j in range(len(scores)) if gains[i] > gains[j]]


def dcg_weights(scores: list[float], gains: list[float], mu: float) -> dict[tuple[int, int], float]:
    """The weight of each pair, from what NDCG says of the list and of the list with the two swapped."""
    order = sorted(range(len(scores)), key=lambda at: -scores[at])
    rank = {at: place for place, at in enumerate(order, start=1)}
    best = sum(gain / math.log2(1 + place) for place, gain in enumerate(sorted(gains, reverse=True), start=1))
    weights = {}
    for i, j in pairs(scores, gains):
        swapped = list(scores)
        swapped[i], swapped[j] = scores[j], scores[i]
        rho_times_gain = abs(ndcg_score([gains], [scores]) - ndcg_score([gains], [swapped]))
        apart = abs(rank[i] - rank[j])
        delta = 1 / math.log2(1 + apart) - 1 / math.log2(2 + apart)
        weights[i, j] = rho_times_gain + mu * delta * (gains[i] - gains[j]) / best
    return weights


def by_loops(name: str, **conf: float) -> float:
    """The mean loss of the rows above, one pair or one list after the other."""
    losses = []
    for scores, gains in lists():
        found = pairs(scores, gains)
        if name == "PairwiseHingeLoss":
            losses += [max(0.0, conf["margin"] - (scores[i] - scores[j])) for i, j in found]
        elif name == "RankNetLoss":
            losses += [math.log(1 + math.exp(scores[j] - scores[i])) for i, j in found]
        elif found and name == "ListNetLoss":
            right = torch.tensor(gains, dtype=torch.float64).softmax(0)
            losses.append(float(-(right * torch.tensor(scores, dtype=torch.float64).softmax(0).log()).sum()))
        elif found:
            weights = dcg_weights(scores, gains, **conf)
            losses.append(sum(weights[i, j] * math.log2(1 + math.exp(scores[j] - scores[i])) for i, j in found))
    return float(np.mean(losses))


@pytest.mark.parametrize(
    ("name", "conf"),
    [
        ("PairwiseHingeLoss", {"margin": 0.5}),
        ("RankNetLoss", {}),
        ("ListNetLoss", {}),
        ("LambdaLoss", {"mu": 0.0}),
        ("LambdaLoss", {"mu": 10.0}),
    ],
)
def test_a_loss_is_what_loops_over_groups_and_pairs_give(name, conf):
    loss = build(name, **conf)(Features(SCORES[:, None]), GAINS, GROUPS)
    assert loss.item() == pytest.approx(by_loops(name, **conf), rel=1e-5)


def test_ranknet_is_binary_cross_entropy_of_the_order_of_each_pair():
    found = [(s[i] - s[j], 1.0) for s, gains in lists() for i, j in pairs(s, gains)]
    logits, ideal = torch.tensor(found).T
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, ideal)
    torch.testing.assert_close(build("RankNetLoss")(Features(SCORES), GAINS, GROUPS), expected)


@pytest.mark.parametrize("name", RANKING)
def test_the_sum_is_the_mean_times_the_pairs_or_the_groups_that_count(name):
    mean, total = (
        build(name, reduction=reduction)(Features(SCORES), GAINS, GROUPS).item() for reduction in ("mean", "sum")
    )
    counted = [len(pairs(scores, gains)) for scores, gains in lists()]
    assert total == pytest.approx(mean * (sum(counted) if name in PAIRWISE else np.count_nonzero(counted)))


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("gains", [torch.zeros(12), torch.arange(12.0)], ids=["equal gains", "groups of one row"])
def test_groups_without_order_have_a_loss_and_a_gradient_of_zero(name, reduction, gains):
    scores = SCORES.clone().requires_grad_()
    groups = torch.arange(12) if gains.any() else GROUPS
    loss = build(name, reduction=reduction)(Features(scores), gains, groups)
    loss.backward()
    assert loss.item() == 0 and scores.grad is not None and (scores.grad == 0).all()


@pytest.mark.parametrize("name", RANKING)
def test_the_order_of_rows_and_the_numbers_of_groups_do_not_matter(name):
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    loss = build(name)
    moved = loss(Features(SCORES[order]), GAINS[order], GROUPS[order] * 3 + 2**60)
    torch.testing.assert_close(moved, loss(Features(SCORES), GAINS, GROUPS))


@pytest.mark.parametrize("name", RANKING)
def test_only_differences_of_scores_count_and_a_better_order_costs_less(name):
    loss = build(name)
    torch.testing.assert_close(
        loss(Features(SCORES + 5.0), GAINS, GROUPS), loss(Features(SCORES), GAINS, GROUPS), rtol=1e-5, atol=1e-6
    )
    assert loss(Features(GAINS), GAINS, GROUPS) < loss(Features(0 * GAINS), GAINS, GROUPS)
    assert loss(Features(0 * GAINS), GAINS, GROUPS) < loss(Features(-GAINS), GAINS, GROUPS)


@pytest.mark.parametrize("name", RANKING)
def test_the_best_row_of_a_group_is_drawn_up_and_groups_without_order_stay(name):
    scores = SCORES.clone().requires_grad_()
    build(name)(Features(scores), GAINS, GROUPS).backward()
    assert scores.grad is not None and scores.grad[6] < 0
    assert (scores.grad[torch.isin(GROUPS, torch.tensor([5, 9]))] == 0).all()


@pytest.mark.parametrize("name", RANKING)
def test_large_scores_stay_finite(name):
    scores = (1e4 * SCORES).requires_grad_()
    loss = build(name)(Features(scores), GAINS, GROUPS)
    loss.backward()
    assert torch.isfinite(loss) and scores.grad is not None and torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_loss_is_computed_in_float32_under_autocast(name, dtype):
    loss, half = build(name), SCORES.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = loss(Features(half), GAINS, GROUPS)
    assert under_autocast.dtype == torch.float32
    torch.testing.assert_close(under_autocast, loss(Features(half.float()), GAINS, GROUPS))


def of_labels(name: str, output: Spec, positive: str | None, values: Tensor, labels: tuple[str, ...]) -> Tensor:
    """The loss against the labels "a" (no gain) and "b" (gain 1), the ids of which depend on their order."""
    target = Spec("B", ids=True, labels=labels, positive=positive)
    ids = (GAINS > 0).long() if labels == ("a", "b") else (GAINS == 0).long()
    loss: Tensor = build(name, output, target)(Features(values), ids, GROUPS)
    return loss


@pytest.mark.parametrize("name", RANKING)
def test_the_positive_label_is_the_one_that_ranks_first(name):
    expected = build(name)(Features(SCORES), (GAINS > 0).float(), GROUPS)
    apart = torch.stack([SCORES.flip(0), SCORES.flip(0) + SCORES], 1)  # that of "b" is ahead by SCORES
    for positive, values in (("b", SCORES[:, None]), (None, SCORES), ("b", apart), (None, apart)):
        output = TWO if values is apart else ONE
        torch.testing.assert_close(of_labels(name, output, positive, values, ("a", "b")), expected)
    for values in (-SCORES[:, None], apart.flip(1)):
        output = TWO if values.shape[1] == 2 else ONE
        torch.testing.assert_close(of_labels(name, output, "b", values, ("b", "a")), expected)


@pytest.mark.parametrize("name", RANKING)
def test_logits_behind_probabilities_are_used(name):
    loss = build(name, ONE, TWO_LABELS)
    target = (GAINS > 0).long()
    given = Features(SCORES.sigmoid()[:, None], parts={"logits": SCORES[:, None]})
    torch.testing.assert_close(loss(given, target, GROUPS), loss(Features(SCORES), target, GROUPS))


def test_gains_below_zero_count_as_zero_in_lambda_loss_as_in_its_metric():
    loss = build("LambdaLoss")
    clamped = loss(Features(SCORES), (GAINS - 1).clamp(min=0), GROUPS)
    torch.testing.assert_close(loss(Features(SCORES), GAINS - 1, GROUPS), clamped)


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize(
    ("output", "target", "sentence"),
    [
        (TWO, NUMBERS, r"one number for each row \(B x 1\), but the layer gives B x 2"),
        (Spec("BD", {"D": 3}), TWO_LABELS, "one score, or one for each of the two labels, .* gives B x 3"),
        (ONE, Spec("B", ids=True, labels=("0", "1", "2")), "2 labels, but this one has 3. Grades are numbers: take"),
        (Spec("BTD", {"D": 2}), TWO_LABELS, "expects B x D or B, but the input is B x T x 2"),
        (Spec("BTD", {"D": 2}), Spec("BT", ids=True), "needs one target for each row"),
    ],
)
def test_what_does_not_fit_is_said(name, output, target, sentence):
    loss: Any = LOSSES[name]
    with pytest.raises(ValueError, match=sentence):
        loss.Conf().check(output, target)
