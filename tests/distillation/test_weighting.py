"""Weightings by hand, and what holds for all of them."""

import math
from typing import Any

import pytest
import torch

from core.types import NO_TARGET, Features, Spec
from distillation import WEIGHTINGS
from distillation.weighting import Lesson, groups_of

LABELS = Spec("BD", {"D": 2}, labels=("no", "yes"))
NAMES = ("a", "b", "c")
CONFS = {"Fixed": {"weights": {"a": 1, "b": 2, "c": 1}}}
ALL = [name for name in WEIGHTINGS if name != "Reinforced"]


def weighting(name, names=NAMES, **conf):
    kind: Any = WEIGHTINGS[name]
    return kind.Conf(**{**CONFS.get(name, {}), **conf}).build(names, LABELS)


def of_probabilities(rows, present=None):
    """Answers of each teacher from its probabilities of yes."""
    found = []
    for at, column in enumerate(zip(*rows, strict=True)):
        yes = torch.tensor(column)
        mask = None if present is None else torch.tensor([here[at] for here in present])
        found.append(Features(torch.stack([(1 - yes).log(), yes.log()], 1), mask))
    return found


ROWS = [(0.9, 0.6, 0.2), (0.5, 0.1, 0.7)]
RIGHT = torch.tensor([1, 0])
COSTS = [[-math.log(p) for p in (0.9, 0.6, 0.2)], [-math.log(p) for p in (0.5, 0.9, 0.3)]]
LESSON = Lesson(of_probabilities(ROWS), RIGHT, LABELS)


def test_weights_are_summed_by_label_and_by_who_is_right():
    present = [(True, True, False), (True, True, True)]
    lesson = Lesson(of_probabilities(ROWS, present), RIGHT, LABELS)  # a ties on the second row and says no, as b does
    sums_KG, rows_KG = lesson.by_group(torch.tensor([[0.75, 0.25, 0.0], [0.5, 0.2, 0.3]]))
    assert groups_of(LABELS) == ["no", "yes", "where it is right", "where it is wrong"]
    expected = [[0.5, 0.75, 1.25, 0], [0.2, 0.25, 0.45, 0], [0.3, 0, 0, 0.3]]
    torch.testing.assert_close(sums_KG, torch.tensor(expected))
    assert rows_KG.tolist() == [[1, 1, 2, 0], [1, 1, 2, 0], [1, 1, 0, 1]]


def test_the_cost_of_an_answer_is_its_cross_entropy():
    assert torch.allclose(LESSON.losses(), torch.tensor(COSTS))


def test_uniform_and_fixed():
    assert torch.allclose(weighting("Uniform")(LESSON), torch.full((2, 3), 1 / 3))
    assert torch.allclose(weighting("Fixed")(LESSON), torch.tensor([[0.25, 0.5, 0.25]] * 2))


def test_best_per_example_takes_the_teacher_whose_answer_costs_least():
    assert weighting("BestPerExample")(LESSON).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_confidence_is_one_minus_the_softmax_of_costs():
    expected = []
    for costs in COSTS:
        total = sum(map(math.exp, costs))
        expected.append([(1 - math.exp(cost) / total) / 2 for cost in costs])
    assert torch.allclose(weighting("Confidence")(LESSON), torch.tensor(expected))


def test_by_loss_is_a_share_of_one_over_one_plus_the_cost():
    expected = [[1 / (1 + cost) / 3 for cost in costs] for costs in COSTS]
    assert torch.allclose(weighting("ByLoss")(LESSON), torch.tensor(expected))


def test_by_validation_score_is_a_softmax_of_the_scores():
    found = weighting("ByValidationScore", temperature=0.1)
    found.know({"a": 0.8, "b": 0.7, "c": 0.8})
    powers = [math.e, 1, math.e]
    assert torch.allclose(found(LESSON), torch.tensor([[power / sum(powers) for power in powers]] * 2))


def test_agreement_prefers_who_is_near_the_mean():
    lesson = Lesson(of_probabilities([(0.9, 0.88, 0.1)]), RIGHT[:1], LABELS)
    first, second, third = weighting("Agreement")(lesson)[0].tolist()
    assert min(first, second) > 0.3 > 0.01 > third


def test_the_cost_of_tags_is_the_mean_over_the_tokens_that_teacher_and_student_read():
    """One teacher reads more of the texts than the student, the other less."""
    torch.manual_seed(0)
    longer, shorter = torch.randn(2, 4, 3), torch.randn(2, 2, 3)
    answers = [Features(logits, torch.ones(logits.shape[:2], dtype=torch.bool)) for logits in (longer, shorter)]
    target = torch.tensor([[0, 2, 1], [1, 1, 0]])
    found = Lesson(answers, target, Spec("BTD", {"D": 3})).losses()
    for at, (logits, tokens) in enumerate([(longer, 3), (shorter, 2)]):
        for row in range(2):
            costs = [-math.log(logits[row, t].softmax(0)[target[row, t]]) for t in range(tokens)]
            assert found[row, at].item() == pytest.approx(sum(costs) / tokens, rel=1e-5)


def test_weights_add_up_to_one_however_much_more_an_absent_teacher_would_count():
    """Two who disagree for sure; the third, who has no answer, would stand between them."""
    answers = of_probabilities([(1 - 2**-20, 2**-20, 0.5)], [(True, True, False)])
    lesson = Lesson(answers, torch.tensor([1]), LABELS)
    assert torch.allclose(weighting("Agreement")(lesson), torch.tensor([[0.5, 0.5, 0.0]]))
    found = weighting("ByValidationScore", temperature=0.05)
    found.know({"a": -4.0, "b": -4.0, "c": -1.0})
    assert torch.allclose(found(lesson), torch.tensor([[0.5, 0.5, 0.0]]))


@pytest.mark.parametrize("per", ["batch", "row"])
def test_random_one_takes_one_teacher_and_all_of_them_in_time(per):
    torch.manual_seed(0)
    rows = Lesson(of_probabilities([(0.5, 0.5, 0.5)] * 20), torch.zeros(20, dtype=torch.int64), LABELS)
    drawn = torch.stack([weighting("RandomOne", per=per)(rows) for _ in range(200)])
    assert (drawn.sum(2) == 1).all()
    assert torch.allclose(drawn.mean((0, 1)), torch.full((3,), 1 / 3), atol=0.1)
    alike = (drawn == drawn[:, :1]).all(1).all(1)
    assert alike.all() if per == "batch" else not alike.any()


@pytest.mark.parametrize("name", ALL)
def test_who_has_no_answer_has_no_weight_and_the_others_share_it(name):
    present = [(True, False, True), (False, False, False), (False, True, False)]
    rows = [(0.9, 0.6, 0.2), (0.5, 0.1, 0.7), (0.5, 0.5, 0.5)]
    lesson = Lesson(of_probabilities(rows, present), torch.tensor([1, 0, 1]), LABELS)
    weights = weighting(name)(lesson)
    assert (weights[~torch.tensor(present)] == 0).all()
    if name != "ByLoss":
        assert torch.allclose(weights.sum(1), torch.tensor([1.0, 0.0, 1.0]))
    alone = Lesson(of_probabilities([(0.9, 0.2)]), torch.tensor([1]), LABELS)
    if name not in ("RandomOne", "Fixed"):
        assert torch.allclose(weights[0, [0, 2]], weighting(name, ("a", "c"))(alone)[0])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["numbers", "sets", "tags"])
def test_weights_are_made_for_every_kind_of_answer(name, kind):
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    answers, target, spec = {
        "numbers": (torch.randn(3, 2), torch.randn(2), Spec("B")),
        "sets": (torch.randn(3, 2, 4), torch.rand(2, 4) > 0.5, Spec("BC", {"C": 4})),
        "tags": (torch.randn(3, 2, 3, 5), torch.tensor([[0, 4, 2], [1, NO_TARGET, NO_TARGET]]), Spec("BTD", {"D": 5})),
    }[kind]
    masks = mask if kind == "tags" else None
    lesson = Lesson([Features(values, masks) for values in answers], target, spec)
    weights = weighting(name)(lesson)
    assert weights.shape == (2, 3)
    assert torch.isfinite(weights).all()
    assert (weights >= 0).all()
    if masks is not None:  # what stands at padding changes nothing
        other = [
            Features(values.masked_fill(~mask.view(2, 3, *[1] * (values.dim() - 2)), 7.0), mask) for values in answers
        ]
        torch.manual_seed(1)
        first = weighting(name)(lesson)
        torch.manual_seed(1)
        assert torch.allclose(first, weighting(name)(Lesson(other, target, spec)))


def test_who_reads_more_of_a_text_agrees_no_less():
    """Two who say the same, of whom the first has read two of four tokens; a third who has read none has no answer."""
    said = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0))
    short, whole = Features(said[:, :2], torch.ones(1, 2, dtype=torch.bool)), torch.ones(1, 4, dtype=torch.bool)
    absent = Features(torch.zeros(1, 0, 3), torch.zeros(1, 0, dtype=torch.bool))
    lesson = Lesson([short, Features(said, whole), absent], None, Spec("BTD", {"D": 3}))
    torch.testing.assert_close(weighting("Agreement")(lesson), torch.tensor([[0.5, 0.5, 0.0]]))


def test_fixed_weights_that_name_others_are_refused():
    with pytest.raises(ValueError, match="weights must name a, b, c, not all 0; got a, d"):
        weighting("Fixed", weights={"a": 1, "d": 1})
