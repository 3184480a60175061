from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from block_zoo import MultiHeadOutput
from core.config import LayerConf
from core.types import Features, Spec, lookup
from model_zoo.graph import Answered, trace

VECTOR = Spec("BD", {"D": 6})
HEADS = ["gold", "bert", "xlnet"]


def test_softmax_of_the_output_is_the_mean_of_the_heads():
    block: Any = MultiHeadOutput.Conf(heads=HEADS, hidden_dim=4).build(VECTOR)
    x = torch.randn(5, 6)
    output = block(Features(x))
    assert list(output.parts) == HEADS
    probabilities = []
    for place, name in enumerate(HEADS):
        rows = slice(4 * place, 4 * place + 4)
        logits = F.linear(x, block.heads.weight[rows], block.heads.bias[rows])
        torch.testing.assert_close(output.parts[name], logits)
        probabilities.append(logits.softmax(1))
    torch.testing.assert_close(output.values.softmax(1), sum(probabilities) / 3)
    torch.testing.assert_close(output.values.exp(), sum(probabilities) / 3)


def test_sigmoid_of_the_output_is_the_mean_of_the_heads_where_rows_have_several_labels():
    block: Any = MultiHeadOutput.Conf(heads=HEADS, hidden_dim=4, multi_label=True).build(VECTOR)
    output = block(Features(torch.randn(5, 6) * 20))
    mean = torch.stack([part.sigmoid() for part in output.parts.values()]).mean(0)
    torch.testing.assert_close(output.values.sigmoid(), mean)
    assert (mean > 0.5).any()


@pytest.mark.parametrize(("axes", "multi_label"), [("B", True), ("BC", False)])
def test_heads_answer_as_many_labels_as_the_target_has(axes, multi_label):
    target = Spec(axes, ids=True, labels=("a", "b"))
    with pytest.raises(ValueError, match=f"set multi_label to {str(not multi_label).lower()}"):
        MultiHeadOutput.Conf(heads=HEADS, multi_label=multi_label).check_target(target)
    MultiHeadOutput.Conf(heads=HEADS, multi_label=not multi_label).check_target(target)


def test_the_loss_of_one_head_trains_that_head_only():
    block: Any = MultiHeadOutput.Conf(heads=HEADS, hidden_dim=4).build(VECTOR)
    outputs = {"output": block(Features(torch.randn(5, 6)))}
    F.cross_entropy(lookup(outputs, "output.bert").values, torch.arange(5) % 4).backward()
    assert block.heads.weight.grad[4:8].all()
    assert not block.heads.weight.grad[:4].any() and not block.heads.weight.grad[8:].any()


def test_output_of_heads_far_apart_stays_finite():
    block: Any = MultiHeadOutput.Conf(heads=["a", "b"], hidden_dim=2).build(VECTOR)
    nn.init.constant_(block.heads.weight, 0.0)
    with torch.no_grad():
        block.heads.bias.copy_(torch.tensor([1e4, -1e4, -1e4, 1e4]))
    torch.testing.assert_close(block(Features(torch.randn(1, 6))).values.exp(), torch.tensor([[0.5, 0.5]]))


def test_the_heads_of_an_output_layer_have_the_labels_and_are_addresses():
    layers = [
        LayerConf(layer="Embedding", conf={"word": {"cols": ["text"], "dim": 6}}),
        LayerConf(layer_id="vector", layer="Pooling", inputs=["sentence"]),
        LayerConf(
            layer_id="output", layer="MultiHeadOutput", inputs=["vector"], conf={"heads": HEADS}, output_layer_flag=True
        ),
    ]
    branches = {"sentence": Spec("BT", parts={"text": Spec("BT", {"V": 9}, ids=True)}, ids=True)}
    graph = trace(layers, branches, Answered({"label": 3}))
    assert graph.findings == []
    assert str(graph.spec_at("output")) == str(graph.spec_at("output.xlnet")) == "B x 3"
    assert "Did you mean 'bert'" in graph.reference_problem("output.brt")


@pytest.mark.parametrize(
    ("conf", "complaint"),
    [
        ({"heads": []}, "one name or more"),
        ({"heads": ["a", "a"]}, "none twice"),
        ({"heads": ["a", ""]}, "none empty"),
        ({"heads": ["a", "logits"]}, "cannot have one called 'logits'"),
        ({"heads": ["a"], "hidden_dim": 0}, "hidden_dim"),
    ],
)
def test_heads_that_cannot_be_are_refused(conf, complaint):
    with pytest.raises(ValueError, match=complaint):
        MultiHeadOutput.Conf(**conf)


def test_heads_need_to_know_their_labels():
    with pytest.raises(ValueError, match="hidden_dim -1 as the output layer only"):
        MultiHeadOutput.Conf(heads=["a"], hidden_dim=-1).resolved({"#target#": 3}, is_output=False).output_spec(VECTOR)
    with pytest.raises(ValueError, match="two scores or more"):
        MultiHeadOutput.Conf(heads=["a"]).resolved({"#target#": 1}, is_output=True).output_spec(VECTOR)
