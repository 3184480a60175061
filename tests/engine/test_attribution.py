"""Which tokens an answer rests on."""

import json
from typing import Any

import pytest
import torch
from conftest import ROOT
from tiny_encoders import write_encoder

from core.errors import UserError
from core.types import Row, lookup
from engine.attribution import attention_addresses, attributions
from engine.predictor import Predictor

ATTENTION = {"layer_id": "vector", "layer": "LinearAttention", "conf": {}, "inputs": ["dropped"]}
WORDS = "red cat runs large unknownword"


@pytest.fixture
def encoder_run(tmp_path, door, monkeypatch):
    """Trains a config with a tiny encoder, one epoch."""

    def trained(config):
        monkeypatch.chdir(ROOT)
        encoder = write_encoder(tmp_path / "encoder")
        given = ["training_params.max_epoch=1", "training_params.batch_size=256"]
        given += [f"architecture.params.model={encoder}", f"outputs.save_base_dir={tmp_path / 'run'}"]
        code, _, err = door("train", "--conf_path", ROOT / config, *(f"--set={option}" for option in given))
        assert code == 0, err
        return Predictor.load(tmp_path / "run")

    return trained


@pytest.fixture
def predictor(task, door):
    """That of a model whose vector is an attention over the words."""
    task.config["architecture"][3] = ATTENTION
    code, _, err = door("train", "--conf_path", task.path)
    assert code == 0, err
    return Predictor.load(task.run)


def test_attention_is_that_of_the_layer_word_by_word(predictor):
    (text,) = attributions(predictor, Row(1, {"text": WORDS}))
    assert (text.branch, text.layer, text.tokens) == ("sentence", "vector", WORDS.split())
    assert sum(text.weights) == pytest.approx(1, abs=1e-5)
    rows, _ = predictor.encoder.encode_rows([Row(1, {"text": WORDS})])
    outputs = predictor.outputs(rows.batch(rows.examples))
    assert text.weights == pytest.approx(lookup(outputs, "vector.attention").values[0].tolist())


@pytest.mark.parametrize(
    ("wrapped", "params", "shown"),
    [
        (True, {}, ["<start>", *WORDS.split(), "<eos>"]),
        (True, {"max_lengths": {"sentence": 2}}, ["<start>", "red", "cat", "<eos>"]),
        (False, {"fixed_lengths": {"sentence": 3}}, ["red", "cat", "runs"]),
        (False, {"fixed_lengths": {"sentence": 9}}, WORDS.split()),
    ],
)
@pytest.mark.parametrize("method", ["attention", "gradient"])
def test_tokens_are_those_that_the_model_reads(task, door, wrapped, params, shown, method):
    task.config["architecture"][3] = ATTENTION
    task.config["inputs"]["add_start_end_for_seq"] = wrapped
    task.config["training_params"] |= {"max_epoch": 1, **params}
    code, _, err = door("train", "--conf_path", task.path)
    assert code == 0, err
    (text,) = attributions(Predictor.load(task.run), Row(1, {"text": WORDS}), method)
    assert text.tokens == shown and len(text.weights) == len(shown)


def test_gradient_times_input_is_the_change_of_the_best_score(predictor):
    """A first-order statement: the shares of words, before they are scaled, are the directional derivatives."""
    (text,) = attributions(predictor, Row(1, {"text": WORDS}), "gradient")
    assert text.tokens == WORDS.split() and max(map(abs, text.weights)) == pytest.approx(1)
    rows, _ = predictor.encoder.encode_rows([Row(1, {"text": WORDS})])
    table = predictor.model.embedding.tables["word_table"]
    ids = rows.batch(rows.examples).inputs["sentence"].parts["text"][0].tolist()
    found = []
    with torch.no_grad():
        best = predictor.outputs(rows.batch(rows.examples))["output"].values.argmax(-1)
        for number in ids:
            scores = []
            for scale in (1 - 1e-2, 1 + 1e-2):
                before = table.weight[number].clone()
                table.weight[number] *= scale
                scores.append(predictor.outputs(rows.batch(rows.examples))["output"].values[0, best].item())
                table.weight[number] = before
            found.append((scores[1] - scores[0]) / 2e-2)
    largest = max(map(abs, found))
    assert [value / largest for value in found] == pytest.approx(text.weights, abs=0.02)


def test_without_attention_the_gradient_explains(task, door):
    code, _, err = door("train", "--conf_path", task.path)
    assert code == 0, err
    predictor = Predictor.load(task.run)
    assert not attention_addresses(predictor)
    (text,) = attributions(predictor, Row(1, {"text": WORDS}))
    assert text.tokens == WORDS.split() and not text.layer
    with pytest.raises(UserError, match="no layer of this model says how much a token counts"):
        attributions(predictor, Row(1, {"text": WORDS}), "attention")


def test_an_encoder_is_explained_piece_by_piece(encoder_run):
    predictor = encoder_run("configs/encoder/matching.json")
    row = Row(1, dict.fromkeys(predictor.encoder.text_columns, "the red cat"))
    texts = attributions(predictor, row, "gradient")
    assert {branch for text in texts for branch in text.branch.split(" and ")} == set(predictor.encoder.plan.branches)
    assert all(len(text.tokens) == len(text.weights) > 3 and "[CLS]" in text.tokens for text in texts)


def test_attention_over_the_pieces_of_an_encoder(encoder_run, tmp_path):
    config = tmp_path / "config.json"
    layers: list[dict[str, Any]] = [
        {"layer_id": "encoder", "layer": "PretrainedEncoder", "conf": {"model": "$model"}, "inputs": ["sentence"]},
        {"layer_id": "vector", "layer": "LinearAttention", "conf": {}, "inputs": ["encoder"]},
        {"layer_id": "output", "layer": "Linear", "conf": {"hidden_dim": "#target#"}, "inputs": ["vector"]},
    ]
    layers[-1] |= {"output_layer_flag": True}
    (tmp_path / "layers.json").write_text(json.dumps({"architecture": layers, "params": {"model": ""}}))
    extended = {"extends": str(ROOT / "configs/encoder/classification.json"), "architecture": {"file": "layers.json"}}
    extended["training_params"] = {"precision": "fp32"}  # in bf16 they are rounded, and so is their sum
    config.write_text(json.dumps(extended))
    predictor = encoder_run(config)
    (text,) = attributions(predictor, Row(1, {"text": "the red cat"}))
    assert text.layer == "vector" and sum(text.weights) == pytest.approx(1, abs=1e-5)
    (pieces,) = predictor.encoder.pieces.values()
    assert text.tokens == pieces.names(pieces.of_texts(["the red cat"]).values.tolist())


def test_of_a_long_passage_the_first_window_is_explained(door, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = ["training_params.max_epoch=1", "inputs.window_size=16", "inputs.window_stride=8"]
    options += [f"outputs.save_base_dir={tmp_path / 'run'}"]
    code, _, err = door("train", "--conf_path", "configs/demo/reading.json", *(f"--set={option}" for option in options))
    assert code == 0, err
    predictor = Predictor.load(tmp_path / "run")
    passage = " ".join(f"word{number}" for number in range(40))
    texts = attributions(predictor, Row(1, {"passage": passage, "question": "which word is it ?"}), "gradient")
    shown = {text.branch: text.tokens for text in texts}
    assert shown["question"] == "which word is it ?".split()
    assert [token for token in shown["passage"] if token != "<start>"] == passage.split()[:16]


def test_attention_that_is_not_there_is_refused_before_the_first_row(task, door, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked for a row"))
    code, _, err = door("train", "--conf_path", task.path)
    assert code == 0, err
    code, _, err = door("predict", "--model", task.run, "--interactive", "--explain", "attention")
    assert code == 2 and "no layer of this model says how much a token counts" in err


def test_the_door_shows_it(predictor, task, door, monkeypatch):
    typed = iter([WORDS])
    monkeypatch.setattr("builtins.input", lambda _: next(typed, None) or (_ for _ in ()).throw(EOFError))
    code, out, err = door("predict", "--model", task.run, "--interactive", "--explain")
    assert code == 0, err
    assert "sentence, vector: red 0." in out and "prediction:" in out
    code, _, err = door("predict", "--model", task.run, "--explain")
    assert code == 2 and "it needs --interactive" in err


def test_colours_grow_with_the_weight():
    import predict

    shown = predict.coloured(["a", "b", "c"], [0.0, 1.0, -0.5], True)
    assert shown == "a \x1b[48;5;33m\x1b[38;5;16mb\x1b[0m \x1b[48;5;216m\x1b[38;5;16mc\x1b[0m"
    assert predict.coloured(["a", "b"], [0.25, 1], False) == "a 0.25 b 1.00"


def test_a_report_shades_the_words_of_mistakes(predictor, task):
    from views.run_report import write_report

    page = write_report(task.run).read_text()
    assert "the more attention it has" in page and page.count("class='long shaded'") > 2
