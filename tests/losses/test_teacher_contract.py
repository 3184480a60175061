"""The contract that every loss on a teacher keeps."""

import inspect
import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from core.conf import annotations, field_docs, read
from core.types import NO_TARGET, Features, Spec
from losses import LOSSES
from losses.teacher_loss import TeacherLoss

LENGTHS = (4, 5, 3, 1, 4, 2)
ROWS = len(LENGTHS)
GARBAGE = 50.0
"""What stands at padding, and in rows without an answer."""

THREE, FOUR, TWO = (Spec("BD", {"D": size}) for size in (3, 4, 2))
LABELS = Spec("BD", {"D": 3}, labels=("a", "b", "c"))
TWO_LABELS = Spec("BD", {"D": 2}, labels=("no", "yes"))
SETS = Spec("BC", {"C": 3}, labels=("a", "b", "c"))
TAGS = Spec("BTD", {"D": 3}, labels=("a", "b", "c"))
PLACES = Spec("BT", places=True)
TOKENS, WIDER = Spec("BTD", {"D": 4}), Spec("BTD", {"D": 6})
MAPS, MORE_MAPS = Spec("BATS", {"A": 2}), Spec("BATS", {"A": 3})
LABEL = Spec("B", ids=True, labels=("a", "b", "c"))
TAG = Spec("BT", ids=True, labels=("a", "b", "c"))
YES = Spec("B", ids=True, labels=("no", "yes"))
SCORES = Spec("BTD", {"D": 3})


@dataclass(frozen=True)
class Case:
    """A loss with the specs of its inputs: student, teacher, more of both or targets."""

    name: str
    specs: tuple[Spec, ...]
    conf: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.specs[:2]), *map(str, self.conf.values())])


STATES = [(THREE, FOUR), (FOUR, FOUR), (TOKENS, WIDER), (TOKENS, TOKENS)]
CASES = [
    *(Case(name, (THREE, LABELS)) for name in ("LogitCosineLoss", "LogitMSELoss", "ScoreMSELoss", "DISTLoss")),
    *(Case(name, (SCORES, TAGS)) for name in ("LogitCosineLoss", "LogitMSELoss", "ScoreMSELoss", "DISTLoss")),
    *(Case(name, (THREE, SETS)) for name in ("LogitCosineLoss", "LogitMSELoss", "ScoreMSELoss", "DISTLoss")),
    *(Case("SoftTargetLoss", (THREE, LABELS), {"divergence": kind}) for kind in ("kl", "ce", "reverse_kl", "js")),
    Case("SoftTargetLoss", (SCORES, TAGS)),
    Case("SoftTargetLoss", (THREE, SETS)),
    Case("SoftTargetLoss", (Spec("BT"), PLACES)),
    Case("DecoupledLoss", (THREE, LABELS, LABEL)),
    Case("DecoupledLoss", (SCORES, TAGS, TAG)),
    Case("MarginMSELoss", (TWO, TWO_LABELS, YES)),
    Case("MarginMSELoss", (Spec("B"), Spec("B"), Spec("B"))),
    Case("ListKLLoss", (TWO, TWO_LABELS), {"temperature": 2.0}),
    *(Case(name, specs) for name in ("HiddenMSELoss", "HiddenCosineLoss", "PKDLoss") for specs in STATES),
    *(Case(name, (MAPS, maps)) for name in ("AttentionMSELoss", "AttentionKLLoss") for maps in (MAPS, MORE_MAPS)),
    Case("MiniLMLoss", (MAPS, MORE_MAPS, TOKENS, WIDER), {"relation_heads": 2}),
    Case("MiniLMv2Loss", (TOKENS, WIDER), {"relation_heads": 2}),
    Case("NSTLoss", (TOKENS, WIDER)),
    Case("GramLoss", (TOKENS, TOKENS, WIDER, WIDER)),
    *(Case(name, specs) for name in ("RKDLoss", "SimilarityLoss", "ContrastiveLoss") for specs in STATES),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def mask_of(tokens: int) -> Tensor:
    return torch.arange(tokens) < torch.tensor(LENGTHS)[:, None]


def given(spec: Spec, tokens: int, seed: int) -> Features:
    """Random values, always the same for real tokens, with garbage at padding."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(LENGTHS)
    sizes = {"B": ROWS, "T": longest, "S": longest, "A": 0, "D": 0, "C": 0} | dict(spec.sizes)
    values = torch.randn([sizes[axis] for axis in spec.axes], generator=generator)
    if "T" not in spec.axes:
        return Features(values)
    mask_BT = mask_of(tokens)
    if spec.axes == "BATS":
        values = torch.nn.functional.pad(values, (0, tokens - longest, 0, tokens - longest))
        shares = values.masked_fill(~mask_BT[:, None, None], -torch.inf).softmax(-1)
        return Features(shares * mask_BT[:, None, :, None])  # as an encoder gives it: zeros, and no mask
    real = mask_BT[..., None] if len(spec.axes) == 3 else mask_BT
    padded = torch.full((ROWS, tokens, *values.shape[2:]), GARBAGE)
    padded[:, :longest] = values
    return Features(padded.where(real, GARBAGE), mask_BT)


def inputs_of(case: Case, tokens: int = 5, present: list[bool] | None = None) -> list[Any]:
    """Student, teacher and all else that the loss reads, last the groups; rows that are not present have no answer."""
    found: list[Any] = []
    for at, spec in enumerate(case.specs):
        if spec.ids or (case.name == "MarginMSELoss" and at == 2):
            rows = torch.arange(ROWS) % len(spec.labels or "ab")
            targets = (rows[:, None] + torch.arange(tokens)) % 3
            found.append(targets.where(mask_of(tokens), NO_TARGET) if spec.axes == "BT" else rows)
            continue
        features = given(spec, tokens, seed=at)
        if at % 2 and present is not None:
            features = without(features, torch.tensor(present))
        found.append(features)
    return found + ([torch.tensor([3, 3, 3, 3, 7, 7])] if loss_type(case).Conf.reads_groups else [])


def without(features: Features, present_B: Tensor) -> Features:
    """Features of a teacher that did not answer some of the rows."""
    if features.values.dim() == 4:
        mask_BT = features.values.sum((1, 3)) > 0
        return replace(features, mask=mask_BT & present_B[:, None])
    values = features.values.clone()
    values[~present_B] = GARBAGE
    return Features(values, present_B if features.mask is None else features.mask & present_B[:, None])


def taken(inputs: list[Any], rows: Tensor) -> list[Any]:
    """These rows of all inputs."""

    def of(one: Any) -> Any:
        if isinstance(one, Tensor):
            return one[rows]
        return Features(one.values[rows], None if one.mask is None else one.mask[rows])

    return [of(one) for one in inputs]


def loss_type(case: Case) -> Any:
    return LOSSES[case.name]


def built(case: Case) -> Any:
    torch.manual_seed(0)
    return loss_type(case).Conf(**case.conf).build(*case.specs)


def test_every_loss_on_a_teacher_has_a_case():
    of_teachers = [name for name in LOSSES if issubclass(LOSSES[name], TeacherLoss)]
    assert sorted({case.name for case in CASES}) == sorted(of_teachers)


@every_case
def test_the_loss_is_a_scalar_the_mean_of_finite_losses_of_rows(case):
    loss, inputs = built(case), inputs_of(case)
    rows = loss.rows(*inputs)
    assert rows.shape == (ROWS,) and rows.dtype == torch.float32 and torch.isfinite(rows).all()
    torch.testing.assert_close(loss(*inputs), rows.mean())
    assert loss(*inputs) > 0


@every_case
def test_padding_does_not_change_the_loss(case):
    loss = built(case)
    torch.testing.assert_close(loss(*inputs_of(case, tokens=8)), loss(*inputs_of(case)))


@every_case
def test_the_order_of_rows_does_not_matter(case):
    loss, inputs, order = built(case), inputs_of(case), torch.tensor([4, 0, 3, 5, 1, 2])
    torch.testing.assert_close(loss.rows(*taken(inputs, order)), loss.rows(*inputs)[order])


@every_case
def test_rows_without_an_answer_count_as_if_they_were_not_there(case):
    loss, present = built(case), torch.tensor([True, True, False, True, True, False])
    inputs = inputs_of(case, present=present.tolist())
    torch.testing.assert_close(loss(*inputs), loss(*taken(inputs_of(case), present)))
    nobody = inputs_of(case, present=[False] * ROWS)
    assert torch.isfinite(loss.rows(*nobody)).all() and loss(*nobody) == 0


@every_case
@pytest.mark.parametrize("present", [[True] * ROWS, [True, True, False, True, True, False], [False] * ROWS])
def test_gradients_are_finite_and_none_comes_from_padding_or_rows_without_an_answer(case, present):
    loss, inputs = built(case), inputs_of(case, present=present)
    students = [one for at, one in enumerate(inputs[: len(case.specs)]) if at % 2 == 0 and isinstance(one, Features)]
    for student in students:
        student.values.requires_grad_()
    loss(*inputs).backward()
    for student in students:
        grad: Any = student.values.grad
        assert torch.isfinite(grad).all() and (grad != 0).any() == any(present)
        assert (grad[~torch.tensor(present)] == 0).all()
        if student.mask is not None:
            assert (grad[~student.mask] == 0).all()
    for name, parameter in loss.named_parameters():
        assert torch.isfinite(parameter.grad).all() and (parameter.grad != 0).any() == any(present), name


@every_case
@pytest.mark.parametrize("rows", [1, 2])
def test_a_batch_of_few_rows_has_a_finite_loss_and_gradient(case, rows):
    loss, inputs = built(case), taken(inputs_of(case), torch.arange(rows))
    inputs[0].values.requires_grad_()
    value = loss(*inputs)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(inputs[0].values.grad).all()


@every_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(case, dtype):
    def at(kind):
        inputs = inputs_of(case)
        return [
            replace(one, values=one.values.to(dtype).to(kind)) if isinstance(one, Features) else one for one in inputs
        ]

    loss = built(case)
    torch.testing.assert_close(loss(*at(dtype)), loss(*at(torch.float32)))


@every_case
def test_the_json_line_of_the_docstring_runs_and_every_field_is_described(case):
    doc, conf_type = inspect.getdoc(loss_type(case)) or "", loss_type(case).Conf
    line = json.loads(next(line for line in doc.splitlines() if line.strip().startswith("{")))
    assert line["type"] == case.name and len(line["inputs"]) == len(case.specs)
    read(conf_type, line.get("conf", {}))
    assert set(field_docs(conf_type)) == set(annotations(conf_type))
    assert re.search("^Shape: ", doc, re.M) and re.search("^Reference: ", doc, re.M)
    assert doc.split("\n")[0].endswith(".")
