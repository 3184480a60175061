"""The architectures that ship, each built by a config that names it."""

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import CONFIGS, ROOT
from torch import Tensor

from block_zoo.contract import sample_inputs
from core.document import composed, read_architecture, read_document
from core.types import Features
from engine.draft import Draft, make_plan, make_problem, unfitted_branches
from engine.experiment import checked
from engine.tracing import trace_more
from model_zoo.graph import Model

ZOO = ROOT / "model_zoo"
ARCHITECTURES = [path.relative_to(ZOO).as_posix() for path in sorted(ZOO.rglob("*.json"))]
NAMED = {path: named for path in CONFIGS if isinstance(named := composed(path)["architecture"], dict)}
FILES = {path: named["file"] for path, named in NAMED.items() if "runs/" not in str(named)}
"""Config -> the architecture that it names, without those that begin with the weights of a run."""
MATCHING = [name for name in ARCHITECTURES if name.startswith("matching/")]
SEPARATE = {f"matching/{name}.json" for name in ("aligned_bilstm", "arc_ii", "bilstm_match_attention")}
"""Those that read question and answer with weights of their own."""


def built(architecture: str) -> tuple[Model, dict[str, Features]]:
    """The model, and texts of several lengths for it, an empty one among them."""
    torch.manual_seed(0)
    path = next(path for path, file in FILES.items() if file == architecture)
    experiment = checked(read_document(path), str(path), files=False)
    branches = unfitted_branches(make_plan(experiment.conf), 11)
    inputs = dict(zip(branches, sample_inputs(list(branches.values())), strict=True))
    return Model(
        trace_more(Draft.of(experiment.conf), branches, make_problem(experiment.conf.inputs), 1)
    ).eval(), inputs


def answers(model: Model, inputs: dict[str, Features]) -> list[Features]:
    """What each output layer gives."""
    outputs = model(inputs)
    return [outputs[layer] for layer in model.outputs]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_file_says_what_it_is_and_whose(architecture):
    template = read_architecture(ZOO / architecture)
    assert template["description"].endswith(".")
    assert re.match(r"\w.* \d{4}, \w", template["paper"])  # authors, year, title


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_does_not_change_the_answer(architecture):
    model, inputs = built(architecture)

    def wider(values: Tensor) -> Tensor:
        return F.pad(values, (*(0, 0) * (values.ndim - 2), 0, 3))

    padded = {
        branch: replace(
            text,
            values=wider(text.values),
            mask=wider(text.real_mask()),
            parts={name: wider(ids) for name, ids in text.parts.items()},
        )
        for branch, text in inputs.items()
    }
    for given, expected in zip(answers(model, padded), answers(model, inputs), strict=True):
        torch.testing.assert_close(given.values[:, : expected.values.shape[1]], expected.values)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_learns(architecture):
    model, inputs = built(architecture)
    given = [part for output in answers(model.train(), inputs) for part in (output.values, *output.parts.values())]
    torch.autograd.backward([(part * torch.randn_like(part)).sum() for part in given if part.is_floating_point()])
    for name, parameter in model.named_parameters():
        assert not parameter.requires_grad or (parameter.grad is not None and parameter.grad.any()), name


@pytest.mark.parametrize("architecture", [name for name in MATCHING if name not in SEPARATE])
def test_both_texts_are_read_alike(architecture):
    model, inputs = built(architecture)
    question, other = inputs["question"], inputs["answer"]
    swapped = {
        "question": replace(other, parts=dict(zip(question.parts, other.parts.values(), strict=True))),
        "answer": replace(question, parts=dict(zip(other.parts, question.parts.values(), strict=True))),
    }
    straight, crossed = model(inputs), model(swapped)
    for name in [name for name in straight if name.startswith("question")]:
        partner = name.replace("question", "answer")
        torch.testing.assert_close(straight[name].values, crossed[partner].values)
        torch.testing.assert_close(straight[partner].values, crossed[name].values)


@pytest.mark.parametrize("architecture", ["matching/decomposable_attention.json", "matching/knrm.json"])
def test_the_order_of_words_does_not_matter_to_those_that_see_none(architecture):
    model, inputs = built(architecture)
    order = torch.randperm(7)
    whole = {branch: replace(text, mask=None, lengths=None) for branch, text in inputs.items()}
    shuffled = {
        branch: replace(text, parts={name: ids[:, order] for name, ids in text.parts.items()})
        for branch, text in whole.items()
    }
    (mixed,), (straight,) = answers(model, shuffled), answers(model, whole)
    torch.testing.assert_close(mixed.values, straight.values)
