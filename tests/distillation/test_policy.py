"""The policy that chooses teachers: its probabilities by hand, its updates by their gradients."""

import math

import pytest
import torch

from core.types import Features, Spec
from distillation.policy import Choice, Reinforced
from distillation.weighting import Lesson

LABELS = Spec("BD", {"D": 2}, labels=("no", "yes"))


def policy(names=("a", "b"), read=(), **conf):
    return Reinforced.Conf(**conf).build(names, LABELS, read)


def lesson(rows=6, present=None, read=()):
    torch.manual_seed(0)
    answers = [Features(torch.randn(rows, 2), None if present is None else present[:, at]) for at in range(2)]
    return Lesson(answers, torch.arange(rows) % 2, LABELS, read)


def test_a_state_is_the_vector_what_each_teacher_says_how_sure_it_is_and_what_that_costs():
    vector = Features(torch.randn(6, 3))
    states = policy(read=(Spec("BD", {"D": 3}),), vector="v").states(lesson(read=(vector,)))
    assert states.shape == (6, 3 + 2 * (2 + 1 + 1))  # of all teachers: one may be chosen where another errs
    for teacher, answer in enumerate(lesson().answers):
        probabilities, own = answer.values.softmax(1), states[:, 3 + 4 * teacher :]
        assert torch.allclose(own[:, :2], probabilities)
        assert torch.allclose(own[:, 2], probabilities.amax(1))
        right = probabilities[torch.arange(6), lesson().target]
        assert torch.allclose(own[:, 3], -right.log(), atol=1e-6)


def test_the_average_teaches_until_the_policy_chooses():
    found = policy()
    assert torch.allclose(found(lesson()), torch.full((6, 2), 0.5))


def test_chosen_teachers_share_a_row_and_choices_follow_their_probabilities():
    found = policy()
    with torch.no_grad():
        found.bias_K.copy_(torch.tensor([2.0, -1.0]))
    found.mode = "draw"
    rows = lesson(100)
    weights = torch.stack([found(rows) for _ in range(100)])
    assert found.choice is not None
    assert {round(total, 5) for total in weights.sum(2).unique().tolist()} == {0.0, 1.0}
    chosen = (weights > 0).float().mean((0, 1))
    assert torch.allclose(chosen, torch.tensor([2.0, -1.0]).sigmoid(), atol=0.02)
    found.mode = "again"
    assert torch.equal(found(rows), weights[-1])


@pytest.mark.parametrize(("empty", "total"), [("none", 0.0), ("all", 1.0)])
def test_a_row_for_which_nobody_is_chosen_follows_the_rule(empty, total):
    found = policy(empty=empty)
    with torch.no_grad():
        found.bias_K.fill_(-100)
    found.mode = "draw"
    assert torch.allclose(found(lesson()).sum(1), torch.full((6,), total))


def test_weights_instead_of_a_choice_add_up_to_one():
    found = policy(selection="weights")
    found.mode = "draw"
    weights = found(lesson())
    assert torch.allclose(weights.sum(1), torch.ones(6))
    assert ((weights > 0) & (weights < 1)).all()


@pytest.mark.parametrize("selection", ["choice", "weights"])
def test_teachers_without_an_answer_are_never_chosen_and_count_for_nothing(selection):
    present = torch.tensor([[True, False]] * 3 + [[True, True]] * 3)
    found = policy(selection=selection, empty="all")
    found.mode = "draw"
    assert torch.equal(found(lesson(present=present))[:3], torch.tensor([[1.0, 0.0]] * 3))
    assert found.choice is not None
    found.log_probability(found.choice).sum().backward()
    assert found.weight_KF.grad is not None and found.choice.state[:3, 4:].eq(0).all()
    gradient = found.weight_KF.grad[1].clone()
    found.weight_KF.grad = None
    later = Choice(found.choice.state[3:], found.choice.action[3:], found.choice.counts[3:])
    found.log_probability(later).sum().backward()
    assert torch.allclose(gradient, found.weight_KF.grad[1])


def choice(actions):
    return Choice(torch.zeros(len(actions), 8), torch.tensor(actions), torch.ones(len(actions), 2, dtype=torch.bool))


def test_the_probability_of_a_choice_is_that_of_independent_coins():
    found = policy()
    with torch.no_grad():
        found.bias_K.copy_(torch.tensor([1.0, -0.5]))
    first, second = (1 / (1 + math.exp(-score)) for score in (1.0, -0.5))
    drawn = choice([[1.0, 0.0], [1.0, 1.0]])
    assert torch.allclose(
        found.log_probability(drawn), torch.tensor([math.log(first * (1 - second)), math.log(first * second)])
    )
    assert torch.allclose(found.probability(drawn), torch.tensor([first + 1 - second, first + second]))


def test_a_rewarded_choice_becomes_more_probable():
    """One teacher helps, the other harms: the policy finds out which from rewards alone."""
    found, rows = policy(), lesson(16)
    optimizer = torch.optim.Adam(found.parameters(), lr=0.1)
    found.mode = "draw"
    for _ in range(150):
        found(rows)
        assert found.choice is not None
        helped, harmed = found.choice.action.mean(0)
        reward = helped - harmed
        optimizer.zero_grad()
        (-(reward.detach() * found.log_probability(found.choice)).mean()).backward()
        optimizer.step()
    chances = found.scores(found.states(lesson())).sigmoid().mean(0)
    assert chances[0] > 0.9 > 0.1 > chances[1]


def test_at_first_the_policy_learns_who_is_right():
    found = policy()
    sure = torch.tensor([[5.0, -5.0], [-5.0, 5.0]] * 8)
    rows = Lesson([Features(sure), Features(-sure)], torch.tensor([0, 1] * 8), LABELS)
    optimizer = torch.optim.Adam(found.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        found.imitation(rows).backward()
        optimizer.step()
    chances = found.scores(found.states(rows)).sigmoid().mean(0)
    assert chances[0] > 0.9 > 0.1 > chances[1]
