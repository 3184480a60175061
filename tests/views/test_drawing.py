"""The drawn graph: its shapes are those of the model, its problems stand where they are, its page works."""

import json
import re
from typing import Any

import pytest
import torch
from browser import opened
from conftest import CONFIGS, ROOT
from tiny_encoders import write_encoder

from block_zoo import BLOCKS
from block_zoo.contract import sample_inputs
from block_zoo.multi_head_attention import HeadsConf
from core.document import read_document
from core.types import Spec
from engine.draft import Draft, make_plan, make_problem, unfitted_branches
from engine.experiment import checked
from engine.summary import summary
from engine.tracing import UNFITTED_SIZE, trace_more
from model_zoo.graph import Layer, Model
from views.costs import multiply_adds
from views.drawing import FAMILIES, page, svg
from views.graph import TOKENS, drawings

NAMES_AN_ENCODER = re.compile(r'"(model|encoder)": "(sentence-transformers|runs)/|"type": "Staged"')
SOUND = [path for path in CONFIGS if not NAMES_AN_ENCODER.search(json.dumps(read_document(path)))]


def shapes_of(document):
    """Layer or branch -> the shape that a forward pass gives, and what the drawing says of it."""
    torch.manual_seed(0)
    experiment = checked(document, "config", files=False)
    branches = unfitted_branches(make_plan(experiment.conf), UNFITTED_SIZE)
    graph = trace_more(Draft.of(experiment.conf), branches, make_problem(experiment.conf.inputs), 0)
    inputs = dict(zip(branches, sample_inputs(list(branches.values())), strict=True))
    with torch.no_grad():
        outputs = Model(graph).eval()(inputs)
    (drawing,) = drawings(document)
    drawn = {node.title: node.shape for node in drawing.nodes if node.id.startswith("layer ") and node.shape}
    drawn |= {edge.part: edge.shape for edge in drawing.edges if edge.part in experiment.conf.inputs.model_inputs}
    return {name: (tuple(features.values.shape), drawn.get(name)) for name, features in outputs.items()}, drawing


def agree(shape, drawn):
    sizes = drawn.split(" x ")
    return len(sizes) == len(shape) and all(
        real == int(size) if size.isdigit() else size != "C" or real == UNFITTED_SIZE
        for real, size in zip(shape, sizes, strict=True)
    )


@pytest.mark.parametrize("path", SOUND, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_shapes_are_those_of_a_forward_pass(path):
    shapes, drawing = shapes_of(read_document(path))
    assert not drawing.problems and not any(node.problems for node in drawing.nodes)
    for name, (shape, drawn) in shapes.items():
        assert drawn is not None and agree(shape, drawn), (name, shape, drawn)
    assert f"\n{drawing.parameters} parameters" in summary(checked(read_document(path), "config", files=False))


def test_those_of_an_encoder_and_of_its_inner_states_are_real_too(tmp_path):
    encoder = str(write_encoder(tmp_path / "encoder"))
    path = ROOT / "configs/encoder/tagging_crf.json"
    shapes, drawing = shapes_of(read_document(path, [f"architecture.params.model={encoder}"]))
    assert all(drawn is None or agree(shape, drawn) for shape, drawn in shapes.values())
    (node,) = [node for node in drawing.nodes if node.kind == "PretrainedEncoder"]
    assert node.multiply_adds > 2 * TOKENS * 16 * 24 and node.family == "encoder"


def test_multiply_adds_of_attention_are_counted():
    """Also where the processor has one fused operation for it: queries, keys, values, outputs, and T x T twice."""
    states = Spec("BTD", {"D": 32})
    conf = BLOCKS["Transformer"].Conf(num_layers=1, attention_conf=HeadsConf(num_heads=4))  # type: ignore[attr-defined]
    layer = Layer("encoder", "Transformer", conf, ("text",), (states,), states)
    drawn = torch.random.get_rng_state()
    assert multiply_adds(layer, 10) == 4 * 10 * 32 * 32 + 2 * 10 * 10 * 32 + 2 * 10 * 32 * 4 * 32
    assert torch.equal(drawn, torch.random.get_rng_state())


def test_multiply_adds_are_those_by_hand():
    (drawing,) = drawings(read_document(ROOT / "configs/wikiqa/esim.json"))
    nodes = {node.title: node for node in drawing.nodes}
    assert nodes["question_states"].multiply_adds == 2 * TOKENS * 4 * 128 * (100 + 128)
    assert nodes["answer_states"].multiply_adds == nodes["question_states"].multiply_adds
    assert nodes["answer_states"].shares == "question_states" and nodes["answer_states"].parameters == ""
    assert nodes["question_projected"].multiply_adds == TOKENS * 1024 * 128
    assert drawing.multiply_adds == sum(node.multiply_adds or 0 for node in drawing.nodes)


def test_every_block_has_a_family():
    confs = {name: vars(BLOCKS[name])["Conf"] for name in BLOCKS}
    assert [name for name, conf in confs.items() if conf.family == "other"] == []


def test_layers_that_begin_alike_make_a_group():
    (drawing,) = drawings(read_document(ROOT / "configs/wikiqa/esim.json"))
    groups = {node.group for node in drawing.nodes}
    assert groups == {"question", "answer", ""}
    assert {node.title for node in drawing.nodes if node.id.startswith("layer ") and not node.group} >= {"output"}


def test_teachers_their_weighting_and_losses_hang_on_the_addresses_they_read():
    (drawing,) = drawings(read_document(ROOT / "configs/distillation/demo/rl_kd.json"))
    edges = {(edge.source, edge.target) for edge in drawing.edges}
    assert {
        ("teacher attention", "weighting"),
        ("teacher cnn", "weighting"),
        ("weighting", "loss 1"),
        ("layer output", "loss 1"),
        ("target label", "loss 0"),
    } <= edges
    notes = {node.id: node.notes for node in drawing.nodes}
    assert "no such run folder" in notes["teacher attention"][0]  # which is no problem of the config


@pytest.mark.parametrize("path", ["distillation/demo/hidden_states.json", "wikiqa/esim.json", "wikiqa/arc_ii.json"])
def test_no_edge_crosses_a_box(path):
    picture = svg(*drawings(read_document(ROOT / "configs" / path)))
    boxes = [
        tuple(float(re.search(rf'\b{name}="([\d.-]+)"', frame)[1]) for name in ("x", "y", "width", "height"))  # type: ignore[index]
        for frame in re.findall(r'<rect class="frame"[^>]*>', picture)
    ]
    share = torch.linspace(0, 1, 30)[:, None]
    for line in re.findall(r'<path class="edge[^>]* d="([^"]*)"', picture):
        points = torch.tensor([float(number) for number in re.findall(r"[\d.-]+", line)]).view(-1, 2)
        starts, corners, ends = points[0:-2:2], points[1:-2:2], points[2:-1:2]  # M start, Q corner end, ..., L last
        curves = [
            (1 - share) ** 2 * a + 2 * share * (1 - share) * b + share**2 * c
            for a, b, c in zip(starts, corners, ends, strict=True)
        ]
        drawn = torch.cat([*curves, points[-2] + share * (points[-1] - points[-2])])
        for x, y, width, height in boxes:
            inside = (drawn - torch.tensor([x, y]) > 1) & (torch.tensor([x + width, y + height]) - drawn > 1)
            assert not inside.all(1).any(), (line, (x, y, width, height))


def test_stages_are_drawn_one_by_one():
    first, second = drawings(read_document(ROOT / "configs/distillation/demo/tmkd.json"))
    assert (first.title, second.title) == ("Stage 1 of 2", "Stage 2 of 2")
    losses = [sum(node.family == "loss" for node in one.nodes) for one in (first, second)]
    assert losses[0] < losses[1]


BROKEN: list[dict[str, Any]] = [
    {"layer": "Embedding", "conf": {"word": {"cols": ["text"], "dim": 20}}},
    {"layer_id": "states", "layer": "BiLSTM", "conf": {"hiden_dim": 32}, "inputs": ["sentence"]},
    {"layer_id": "<i>x</i>", "layer": "Linnear", "conf": {}, "inputs": ["nowhere"]},
    {"layer_id": "vector", "layer": "Pooling", "conf": {}, "inputs": ["sentence"]},
    {
        "layer_id": "output",
        "layer": "Linear",
        "conf": {"hidden_dim": "#target#"},
        "inputs": ["vector"],
        "output_layer_flag": True,
    },
]


def broken():
    document = read_document(ROOT / "configs/distillation/demo/rl_kd.json")
    document["model_description"] = "</script><script>alert(1)</script>"
    return document | {"architecture": BROKEN, "metrics": ["nope"]}


def test_a_broken_config_is_drawn_as_far_as_it_is_sound():
    (drawing,) = drawings(broken())
    nodes = {node.title: node for node in drawing.nodes}
    assert nodes["states"].problems == ["conf.hiden_dim: unknown field of BiLSTM. Did you mean 'hidden_dim'?"]
    assert "Did you mean 'Linear'" in nodes["<i>x</i>"].problems[0]
    assert nodes["nowhere"].family == "missing"
    assert nodes["vector"].shape == "B x 20" and nodes["output"].shape == "B x C"
    assert len(drawing.problems) == 1 and drawing.problems[0].startswith("metrics[0]: unknown metric 'nope'")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"inputs": 3, "architecture": 3, "loss": []},
        {"architecture": [1, {"layer": []}, {"layer_id": 3, "inputs": [1, "a"]}], "teachers": [1], "weighting": 3},
        {"architecture": [{"layer_id": "a", "layer": "Linear", "inputs": ["b"]}] * 2, "loss": {"losses": [{}, 3]}},
        {"trainer": {"type": "Staged", "conf": {"stages": [{}, {"inputs": 1}]}}, "teachers": {"a": 1, "b": {}}},
    ],
)
def test_whatever_a_config_is_its_problems_are_shown(document):
    for drawing in drawings(document):
        assert drawing.problems
        assert svg(drawing).startswith("<svg")


def test_the_door_writes_pages_and_pictures(tmp_path, door, monkeypatch):
    monkeypatch.chdir(ROOT)
    for name, begins in (("a.html", b"<!DOCTYPE html>"), ("a.svg", b"<svg"), ("a.png", b"\x89PNG")):
        code, out, err = door("visualize", "configs/wikiqa/arc_ii.json", "-o", tmp_path / name)
        assert (code, out) == (0, f"written to {tmp_path / name}\n"), err
        assert (tmp_path / name).read_bytes().startswith(begins)
    code, out, _ = door("visualize", "configs/distillation/demo/tmkd.json", "-o", tmp_path / "b.svg")
    assert code == 0 and (tmp_path / "b_1.svg").exists() and (tmp_path / "b_2.svg").exists()
    (tmp_path / "broken.json").write_text(json.dumps(broken()))
    code, out, _ = door("visualize", tmp_path / "broken.json", "-o", tmp_path / "c.html")
    assert code == 0 and "problems in the config" in out
    for words, said in ((["a.pdf"], "ends with none of .html, .svg, .png"), ([tmp_path / "no" / ".." / ".."], "ends")):
        code, _, err = door("visualize", "configs/wikiqa/arc_ii.json", "-o", *words)
        assert code == 2 and said in err
    code, _, err = door("visualize", tmp_path / "none.json")
    assert code == 2 and "no such file" in err


def large():
    """A config of 100 blocks."""
    document = read_document(ROOT / "configs/demo/matching.json")
    layers, last = [document["architecture"][0]], "question"
    for number in range(48):
        layers.append({"layer_id": f"line_{number}", "layer": "Linear", "conf": {"hidden_dim": 8}, "inputs": [last]})
        layers.append({"layer_id": f"drop{number}", "layer": "Dropout", "conf": {}, "inputs": [f"line_{number}"]})
        last = f"drop{number}"
    layers.append({"layer_id": "vector", "layer": "Pooling", "conf": {}, "inputs": [last]})
    layers.append({"layer_id": "other", "layer": "Pooling", "conf": {}, "inputs": ["answer"]})
    layers.append({"layer_id": "pair", "layer": "Concat2D", "conf": {}, "inputs": ["vector", "other"]})
    layers.append({**BROKEN[-1], "inputs": ["pair"]})
    return document | {"architecture": layers}


def test_in_a_browser_the_page_shows_every_box_and_folds_groups(tmp_path):
    file = tmp_path / "graph.html"
    document = read_document(ROOT / "configs/wikiqa/esim.json")
    drawn = drawings(document)
    file.write_text(page(drawn, "ESIM", "a pair"))
    with opened(file) as shown:
        titles = shown.locator(".box .title").all_text_contents()
        assert sorted(titles) == sorted(node.title for node in drawn[0].nodes)
        labels = shown.locator(".label").all_text_contents()
        assert labels.count("B x T x 1024 · mask") == 2
        shown.locator('.box[data-id="layer question_states"]').focus()
        details = shown.locator("#details").inner_text()
        assert "7,471,104" in details and "B x T x 256" in details and "num_layers" in details
        shown.locator('.group[data-group="question"]').press("Enter")
        folded = sum(node.group == "question" for node in drawn[0].nodes)
        assert shown.locator("#graph .box").count() == len(drawn[0].nodes) - folded + 1
        shown.get_by_role("button", name="Unfold all").click()
        assert shown.locator("#graph .box").count() == len(drawn[0].nodes)


def test_in_a_browser_stages_are_tabs_and_texts_stay_texts(tmp_path):
    file = tmp_path / "graph.html"
    staged = read_document(ROOT / "configs/distillation/demo/tmkd.json")
    file.write_text(page([*drawings(staged), *drawings(broken())], "<b>x</b>", broken()["model_description"]))
    with opened(file, width=390, scheme="dark") as shown:
        assert shown.locator("h1").inner_text() == "<b>x</b>"
        tabs = shown.get_by_role("tab")
        before = shown.locator("#graph .box.loss").count()
        tabs.nth(1).click()
        assert (
            tabs.nth(1).get_attribute("aria-selected") == "true" and shown.locator("#graph .box.loss").count() > before
        )
        tabs.nth(2).click()
        assert "<i>x</i>" in shown.locator(".box .title").all_text_contents()
        assert "unknown metric 'nope'" in shown.locator("#problems").inner_text()


def test_a_model_of_100_blocks_is_a_small_page_that_opens_at_once(tmp_path):
    file = tmp_path / "graph.html"
    (drawing,) = drawings(large())
    assert sum(node.id.startswith("layer ") for node in drawing.nodes) == 101 and not drawing.problems
    file.write_text(page([drawing], "large", ""))
    assert file.stat().st_size < 1_000_000
    with opened(file) as shown:
        assert shown.locator("#graph .box").count() == len(drawing.nodes)


def test_every_family_has_a_colour_and_a_place_in_the_legend():
    style = (ROOT / "views/graph.css").read_text()
    families = {BLOCKS[name].Conf.family for name in BLOCKS}  # type: ignore[attr-defined]
    assert families <= set(FAMILIES)
    assert all(f".{family}" in style for family in FAMILIES)
