import pytest
import torch

import block_zoo  # noqa: F401  (fills the registry)
from core.config import LayerConf
from core.errors import UserError
from core.types import Features, Spec
from model_zoo.graph import Answered, Model, parameter_counts, trace

THREE = Answered({"label": 3})
BRANCHES = {
    branch: Spec("BT", parts={f"{branch}_text": Spec("BT", {"V": 11}, ids=True)}, ids=True)
    for branch in ("question", "answer")
}
EMBEDDING = LayerConf(
    layer="Embedding", conf={"word": {"cols": ["question_text", "answer_text"], "dim": 6}}
)  # fmt: skip


def layer(layer_id, block, inputs, output=False, **conf):
    return LayerConf(layer_id=layer_id, layer=block, conf=conf, inputs=inputs, output_layer_flag=output)


def shared(layer_id, other, inputs):
    return LayerConf(layer_id=layer_id, layer=other, inputs=inputs)


SIAMESE = [
    EMBEDDING,
    layer("q", "BiLSTM", ["question"], hidden_dim=4),
    shared("a", "q", ["answer"]),
    layer("qv", "Pooling", ["q"]),
    layer("av", "Pooling", ["a"]),
    layer("pair", "Combination", ["qv", "av"]),
    layer("output", "Linear", ["pair"], output=True, hidden_dim=[5, "#target#"], batch_norm=False),
]


def findings(layers, **more):
    return [str(finding) for finding in trace(layers, BRANCHES, THREE, **more).findings]


def texts(rows=4, length=5):
    lengths = torch.arange(rows) % length + 1
    mask = torch.arange(length) < lengths[:, None]
    ids = torch.randint(4, 11, (rows, length)) * mask
    return {
        branch: Features(ids, mask, lengths, {f"{branch}_text": ids}) for branch in BRANCHES
    }  # fmt: skip


def test_specs_are_followed_to_the_output():
    graph = trace(SIAMESE, BRANCHES, THREE)
    assert graph.findings == []
    assert str(graph.specs["q"]) == "B x T x 8"
    assert str(graph.specs["pair"]) == "B x 32"
    assert str(graph.specs["output"]) == "B x 3"


def test_the_model_gives_what_the_specs_say():
    graph = trace(SIAMESE, BRANCHES, THREE)
    outputs = Model(graph)(texts())
    for address, spec in graph.specs.items():
        assert outputs[address].values.dim() == len(spec.axes)
    assert outputs["output"].values.shape == (4, 3)


def test_a_layer_named_as_a_block_shares_its_weights():
    model = Model(trace(SIAMESE, BRANCHES, THREE))
    inputs = texts()
    question = inputs["question"]
    inputs["answer"] = Features(question.values, question.mask, question.lengths, {"answer_text": question.values})
    outputs = model(inputs)
    assert torch.equal(outputs["q"].values, outputs["a"].values)
    assert not any(name.startswith("blocks.a:") for name in model.state_dict())


def test_weights_are_shared_through_a_layer_that_shares_them():
    graph = trace([*SIAMESE[:3], layer("b", "a", ["answer"]), *SIAMESE[3:]], BRANCHES, THREE, also_used=["b"])
    assert graph.findings == []
    assert [layer.shares for layer in graph.layers if layer.id in ("q", "a", "b")] == [None, "q", "q"]


def test_weights_are_shared_whatever_the_order_of_computation():
    late = [SIAMESE[0], layer("top", "BiLSTM", ["q"], hidden_dim=4), layer("q", "Dropout", ["question"])]
    late += [shared("early", "top", ["answer"]), layer("a", "Pooling", ["top"]), layer("b", "Pooling", ["early"])]
    late += [layer("output", "Combination", ["a", "b"], output=True)]
    graph = trace(late, BRANCHES, THREE)
    assert graph.findings == []
    assert {step.id: step.shares for step in graph.layers}["early"] == "top"


def test_a_layer_without_weights_may_be_named_for_other_sizes():
    layers = [*SIAMESE[:3], layer("wide", "Dropout", ["q"]), shared("narrow", "wide", ["answer"])]
    layers += [layer("qv", "Pooling", ["wide"]), shared("av", "qv", ["narrow"]), layer("unread", "Pooling", ["a"])]
    layers += [layer("both", "Concat2D", ["qv", "av", "unread"]), layer("output", "Linear", ["both"], output=True)]
    graph = trace(layers, BRANCHES, THREE)
    assert graph.findings == [] and str(graph.specs["both"]) == "B x 22"
    assert Model(graph)(texts())["both"].values.shape == (4, 22)


def test_counted_parameters_are_those_of_the_model():
    graph = trace(SIAMESE, BRANCHES, THREE)
    model = Model(graph)
    assert sum(parameter_counts(graph).values()) == sum(p.numel() for p in model.parameters())
    assert parameter_counts(graph)["a"] == 0


def test_layers_may_stand_in_any_order():
    jumbled = [
        SIAMESE[0],
        layer("output", "Linear", ["v"], output=True, hidden_dim=2),
        layer("v", "Pooling", ["question"]),
    ]
    assert findings(jumbled) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({3: layer("qv", "Poling", ["q"])}, "architecture[3].layer: no block and no earlier layer is called 'Poling'. Did you mean 'Pooling'?"),
        ({3: layer("qv", "Pooling", ["qq"])}, "architecture[3].inputs[0]: no layer or input is called 'qq'. Did you mean 'q'?"),
        ({4: layer("qv", "Pooling", ["a"])}, "architecture[4].layer_id: 'qv' is already the id of architecture[3]."),
        ({3: layer("answer", "Pooling", ["q"])}, "architecture[3].layer_id: 'answer' is already the name of a branch of inputs.model_inputs."),
        ({3: layer("q.v", "Pooling", ["q"])}, "architecture[3].layer_id: 'q.v' has a dot: dots separate a layer from its inner states."),
        ({3: layer(None, "Pooling", ["q"])}, "architecture[3].layer_id: this Pooling layer needs a layer_id."),
        ({3: layer("qv", "Pooling", [])}, "architecture[3].inputs: a layer needs at least one input."),
        ({3: layer("qv", "Pooling", ["q", "a"])}, "architecture[3].inputs: Pooling takes 1 (states), got 2."),
        ({5: layer("pair", "Pooling", ["qv"])}, "architecture[5].inputs: Pooling expects"),
        ({3: layer("qv", "Pooling", ["q.nothing"])}, "architecture[3].inputs[0]: 'q' has no inner state 'nothing'."),
        ({6: layer("output", "Linear", ["pair"], hidden_dim=2)}, 'architecture: no layer has "output_layer_flag": true.'),
        ({0: layer("e", "Linear", ["question"])}, "architecture[0].layer: the first layer must be the Embedding."),
        ({2: shared("a", "q", ["qv"])}, "architecture[2].inputs: BiLSTM expects"),
        ({2: layer("a", "q", ["answer"], hidden_dim=4)}, "architecture[2].conf: has no place here: the layer shares weights and conf of 'q'."),
        ({2: shared("a", "a", ["answer"])}, "architecture[2].layer: no block and no earlier layer is called 'a'."),
        ({2: shared("q", "q", ["answer"]), 3: shared("qv", "q", ["question"])}, "architecture[2].layer_id: 'q' is already the id of architecture[1]."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence_with_its_path(change, expected):
    layers = [change.get(index, layer) for index, layer in enumerate(SIAMESE)]
    assert any(found.startswith(expected) for found in findings(layers)), findings(layers)


def test_a_cycle_is_shown():
    layers = [
        SIAMESE[0],
        layer("x", "Concat3D", ["question", "y"]),
        layer("y", "Concat3D", ["answer", "x"]),
        layer("output", "Pooling", ["y"], output=True),
    ]
    assert "architecture[1].inputs: a cycle: x <- y <- x." in findings(layers)


def test_what_no_answer_needs_is_left_out_and_noticed_unless_a_loss_reads_it():
    layers = [EMBEDDING, layer("idle", "BiLSTM", ["answer"], hidden_dim=4), layer("end", "Pooling", ["idle"])]
    layers += [shared("q", "idle", ["question"]), layer("qv", "Pooling", ["q"])]
    layers += [layer("output", "Linear", ["qv"], output=True, hidden_dim=3)]
    graph = trace(layers, BRANCHES, THREE)
    assert [str(notice) for notice in graph.notices] == [
        "architecture[2]: has no effect. Nothing that gives an answer reads 'end', so it is left out."
    ]
    layers[3] = layer("q", "BiLSTM", ["question"], hidden_dim=4)
    graph = trace(layers, BRANCHES, THREE)
    assert graph.findings == []
    assert [notice.path for notice in graph.notices] == [
        "architecture[1]",
        "architecture[2]",
        "inputs.model_inputs.answer",
    ]
    model = Model(graph)
    assert set(model(texts())) == {"question", "q", "qv", "output"}
    assert all(parameter.shape for parameter in model.parameters())
    graph = trace(layers, BRANCHES, THREE, also_used=["end"])
    assert graph.notices == [] and "end" in Model(graph)(texts())


def test_a_text_that_a_layer_cannot_read_is_refused_with_the_name_of_the_layer():
    layers = [
        EMBEDDING,
        layer("placed", "PositionEmbedding", ["question"], max_positions=1),
        layer("vector", "Pooling", ["placed"]),
        layer("output", "Linear", ["vector"], output=True, hidden_dim=3),
    ]
    model = Model(trace(layers, BRANCHES, THREE))
    with pytest.raises(UserError, match=r"^layer 'placed' \(PositionEmbedding\): a text has \d tokens, but"):
        model(texts())


def test_one_unsound_layer_does_not_hide_another():
    layers = list(SIAMESE)
    layers[3] = layer("qv", "Poling", ["q"])
    layers[6] = layer("output", "Linear", ["nowhere"], output=True, hidden_dim=3)
    assert findings(layers) == [
        "architecture[3].layer: no block and no earlier layer is called 'Poling'. Did you mean 'Pooling'?",
        "architecture[6].inputs[0]: no layer or input is called 'nowhere'. Did you mean 'answer'?",
    ]


@pytest.mark.parametrize("of_tokens", [False, True])
def test_answers_and_what_reads_no_tokens_are_computed_in_single_precision_under_autocast(of_tokens):
    layers = [EMBEDDING, layer("states", "Linear", ["question"], hidden_dim=4), layer("vector", "Pooling", ["states"])]
    layers += [layer("hidden", "Linear", ["vector"], hidden_dim=5, output=False)]
    layers += [layer("output", "Linear", ["states" if of_tokens else "hidden"], output=True, hidden_dim=3)]
    model = Model(trace(layers, BRANCHES, THREE, also_used=["hidden"])).eval()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(texts())
    assert outputs["states"].values.dtype == outputs["vector"].values.dtype == torch.bfloat16
    for name, read in (("hidden", "vector"), ("output", layers[-1].inputs[0])):
        alone = model.blocks[f"{name}:"](outputs[read].float())
        assert alone.values.dtype == torch.float32 and torch.equal(outputs[name].values, alone.values)
