"""Losses on a teacher's scores of groups, against loops over pairs and lists."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from core.types import Features, Spec
from losses import LOSSES

ONE, TWO = Spec("BD", {"D": 1}), Spec("BD", {"D": 2})
NUMBER = Spec("B")
LABELS = ("no", "yes")
OF_TWO = Spec("BD", {"D": 2}, labels=LABELS)
SINGLE = Spec("BD", {"D": 1}, labels=LABELS)
YES = Spec("B", ids=True, labels=LABELS, positive="yes")
NO = Spec("B", ids=True, labels=LABELS, positive="no")

GROUPS = torch.tensor([7, -3, 7, 5, -3, 7, 5, 9])
TARGETS = torch.tensor([0, 1, 1, 1, 0, 0, 1, 1])
"""The targets of group 5 are all equal, and 9 is alone."""
OURS = torch.tensor([0.3, -0.2, 0.1, 0.5, 1.5, -2.0, 0.9, 0.0])
THEIRS = torch.tensor([1.0, 2.5, -0.5, 0.2, 0.1, -3.0, 1.1, 4.0])
PRESENT = torch.tensor([True, True, False, True, True, True, True, True])


def build(name: str, *specs: Spec, **conf: Any) -> Any:
    loss: Any = LOSSES[name]
    return loss.Conf(**conf).build(*specs)


def of_two(scores):
    return torch.stack([torch.full_like(scores, 3.0), scores + 3], 1)


@pytest.mark.parametrize("present", [None, PRESENT])
def test_margin_mse_is_the_mean_over_pairs_of_a_group_whose_targets_differ(present):
    counted = torch.ones(8, dtype=torch.bool) if present is None else present
    losses = [
        ((OURS[i] - OURS[j]) - (THEIRS[i] - THEIRS[j])).item() ** 2
        for i in range(8)
        for j in range(i)
        if GROUPS[i] == GROUPS[j] and TARGETS[i] != TARGETS[j] and counted[i] and counted[j]
    ]
    got = build("MarginMSELoss", NUMBER, NUMBER, NUMBER)(
        Features(OURS), Features(THEIRS, present), TARGETS.float(), GROUPS
    )
    assert got.item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("present", [None, PRESENT])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_list_kl_is_the_mean_over_groups_of_two_rows_or_more(present, temperature):
    counted = torch.ones(8, dtype=torch.bool) if present is None else present
    losses = []
    for group in (7, -3, 5):
        rows = torch.nonzero(torch.isin(GROUPS, group) & counted).flatten()
        q, p = ((scores[rows].double() / temperature).softmax(0) for scores in (OURS, THEIRS))
        losses.append((p * (p / q).log()).sum().item() * temperature**2)
    loss = build("ListKLLoss", ONE, ONE, temperature=temperature)
    got = loss(Features(OURS[:, None]), Features(THEIRS[:, None], present), GROUPS)
    assert got.item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_scores_of_two_labels_count_by_their_difference():
    for student, ours in ((ONE, OURS[:, None]), (TWO, of_two(OURS))):
        for teacher, theirs in ((OF_TWO, of_two(THEIRS)), (SINGLE, THEIRS[:, None])):
            pair = Features(ours), Features(theirs)
            margin = build("MarginMSELoss", student, teacher, YES)(*pair, TARGETS, GROUPS)
            listed = build("ListKLLoss", student, teacher)(*pair, GROUPS)
            numbers = Features(OURS), Features(THEIRS)
            expected = build("MarginMSELoss", NUMBER, NUMBER, NUMBER)(*numbers, TARGETS, GROUPS)
            torch.testing.assert_close(margin, expected)
            torch.testing.assert_close(listed, build("ListKLLoss", NUMBER, NUMBER)(*numbers, GROUPS))


def test_where_the_first_label_is_the_positive_one_low_scores_are_the_good_ones():
    plain = build("ListKLLoss", NUMBER, NUMBER)(Features(OURS), Features(THEIRS), GROUPS)
    flipped = build("ListKLLoss", ONE, Spec("BD", {"D": 1}, labels=LABELS, positive="no"))
    torch.testing.assert_close(flipped(Features(-OURS[:, None]), Features(-THEIRS[:, None]), GROUPS), plain)
    of_numbers = build("MarginMSELoss", NUMBER, NUMBER, NUMBER)(Features(OURS), Features(THEIRS), TARGETS, GROUPS)
    against_number = build("MarginMSELoss", ONE, NUMBER, NO)
    torch.testing.assert_close(against_number(Features(-OURS[:, None]), Features(THEIRS), TARGETS, GROUPS), of_numbers)


def test_margins_of_numbers_are_those_of_the_numbers_not_of_their_logits():
    given = Features(THEIRS[:, None], parts={"logits": OURS[:, None]})
    assert build("MarginMSELoss", ONE, NUMBER, NUMBER)(given, Features(THEIRS), TARGETS, GROUPS) == 0


def test_the_level_of_scores_does_not_count():
    for name, specs, more in (
        ("MarginMSELoss", (ONE, ONE, NUMBER), (TARGETS, GROUPS)),
        ("ListKLLoss", (ONE, ONE), (GROUPS,)),
    ):
        loss = build(name, *specs)
        assert loss(Features(OURS), Features(OURS + 5), *more).item() == pytest.approx(0, abs=1e-6)
        assert loss(Features(OURS), Features(THEIRS), *more) > 0


@pytest.mark.parametrize("groups", [torch.arange(8), GROUPS])
def test_without_pairs_or_lists_loss_and_gradient_are_zero(groups):
    targets = torch.ones(8) if groups is GROUPS else TARGETS
    ours: Any = OURS.clone().requires_grad_()
    margin = build("MarginMSELoss", NUMBER, NUMBER, NUMBER)(Features(ours), Features(THEIRS), targets, groups)
    listed = build("ListKLLoss", NUMBER, NUMBER)(Features(ours), Features(THEIRS), torch.arange(8))
    (margin + listed).backward()
    assert margin == 0 and listed == 0 and (ours.grad == 0).all()


def test_huge_scores_stay_finite():
    ours: Any = (OURS * 1e5).requires_grad_()
    loss = build("ListKLLoss", NUMBER, NUMBER)(Features(ours), Features(-THEIRS * 1e5), GROUPS)
    loss.backward()
    assert math.isfinite(loss.item()) and torch.isfinite(ours.grad).all()


@pytest.mark.parametrize(
    ("name", "specs", "sentence"),
    [
        ("MarginMSELoss", (Spec("BD", {"D": 3}), OF_TWO, YES), "one score, or one for each of the two labels"),
        ("MarginMSELoss", (ONE, Spec("BTD", {"D": 2}), YES), "a teacher with one score, or two, for each row"),
        ("MarginMSELoss", (TWO, OF_TWO, Spec("B", ids=True, labels=("a", "b", "c"))), "2 labels, but this one has 3"),
        ("ListKLLoss", (Spec("BD", {"D": 3}), Spec("BD", {"D": 3}, labels=("a", "b", "c"))), "one score, or two"),
        ("ListKLLoss", (TWO, NUMBER), "needs 1 scores, as the teacher gives, but the layer gives 2"),
        ("ListKLLoss", (ONE, Spec("BT", places=True)), "one score, or two"),
    ],
)
def test_what_does_not_fit_is_said(name, specs, sentence):
    loss: Any = LOSSES[name]
    with pytest.raises(ValueError, match=sentence):
        loss.Conf().check(*specs)
