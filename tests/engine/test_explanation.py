"""Which tokens an answer rests on."""

import pytest
import torch
from conftest import ROOT
from tiny_encoders import write_encoder

from core.errors import UserError
from core.types import Row, lookup
from engine.explanation import attention_addresses, explain
from engine.predictor import Predictor

ATTENTION = {"layer_id": "vector", "layer": "LinearAttention", "conf": {}, "inputs": ["dropped"]}
WORDS = "red cat runs large unknownword"


@pytest.fixture
def predictor(task, door):
    """That of a model whose vector is an attention over the words."""
    task.config["architecture"][3] = ATTENTION
    code, _, err = door("train", "--conf_path", task.path)
    assert code == 0, err
    return Predictor.load(task.run)


def test_attention_is_that_of_the_layer_word_by_word(predictor):
    (text,) = explain(predictor, Row(1, {"text": WORDS}))
    assert (text.branch, text.layer, text.tokens) == ("sentence", "vector", WORDS.split())
    assert sum(text.weights) == pytest.approx(1, abs=1e-5)
    rows, _ = predictor.encoder.encode_rows([Row(1, {"text": WORDS})])
    outputs = predictor.outputs(rows.batch(rows.examples))
    assert text.weights == pytest.approx(lookup(outputs, "vector.attention").values[0].tolist())


def test_gradient_times_input_is_the_change_of_the_best_score(predictor):
    """A first-order statement: the shares of words, before they are scaled, are the directional derivatives."""
    (text,) = explain(predictor, Row(1, {"text": WORDS}), "gradient")
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
    (text,) = explain(predictor, Row(1, {"text": WORDS}))
    assert text.tokens == WORDS.split() and not text.layer
    with pytest.raises(UserError, match="no layer of this model says how much a token counts"):
        explain(predictor, Row(1, {"text": WORDS}), "attention")


def test_an_encoder_is_explained_piece_by_piece(tmp_path, door, monkeypatch):
    monkeypatch.chdir(ROOT)
    encoder = write_encoder(tmp_path / "encoder")
    options = [f"architecture.params.model={encoder}", f"outputs.save_base_dir={tmp_path / 'run'}"]
    options += ["training_params.max_epoch=1", "training_params.batch_size=256"]
    path = ROOT / "configs/encoder/matching.json"
    code, _, err = door("train", "--conf_path", path, *(f"--set={option}" for option in options))
    assert code == 0, err
    predictor = Predictor.load(tmp_path / "run")
    row = Row(1, dict.fromkeys(predictor.encoder.text_columns, "the red cat"))
    texts = explain(predictor, row, "gradient")
    assert {branch for text in texts for branch in text.branch.split(" and ")} == set(predictor.encoder.plan.branches)
    assert all(len(text.tokens) == len(text.weights) > 3 and "[CLS]" in text.tokens for text in texts)


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
