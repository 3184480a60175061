"""Exported folders load in transformers and give the probabilities of the run."""

import json

import pytest
import torch
from conftest import ROOT
from tiny_encoders import write_encoder
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from engine.predictor import Predictor


def classifier(task, kind, folder, head, **conf):
    task.config["inputs"]["model_inputs"] = {"sentence": ["text"]}
    task.config["architecture"] = [
        {
            "layer_id": "encoder",
            "layer": "PretrainedEncoder",
            "conf": {"model": str(write_encoder(folder / kind, kind)), **conf},
            "inputs": ["sentence"],
        },
        {"layer_id": "dropped", "layer": "Dropout", "conf": {"dropout": 0.1}, "inputs": ["encoder"]},
        {"layer_id": "output", "layer": "Linear", "conf": head, "inputs": ["dropped"], "output_layer_flag": True},
    ]
    task.config["training_params"] |= {"max_epoch": 1, "precision": "fp32"}


@pytest.mark.parametrize(
    ("kind", "head", "pooling"),
    [
        ("bert", {"hidden_dim": "#target#"}, "pretrained"),
        ("roberta", {"hidden_dim": [16, "#target#"], "activation": "Tanh", "batch_norm": False}, "cls"),
        ("electra", {"hidden_dim": [16, "#target#"], "activation": "GELU", "batch_norm": False}, "cls"),
        ("distilbert", {"hidden_dim": [16, "#target#"], "activation": "ReLU", "batch_norm": False}, "cls"),
    ],
)
def test_a_classifier_has_equal_probabilities_there(task, door, tmp_path, kind, head, pooling):
    classifier(task, kind, tmp_path, head, pooling=pooling)
    assert door("train", "--conf_path", task.path)[0] == 0
    code, out, err = door("export", "--model", task.run, "--export_transformers", tmp_path / "out")
    assert code == 0, err
    assert "with equal logits" in out and err == ""
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.model_max_length == 40  # what the encoder was trained to read
    rows = [{"text": "red cat runs"}, {"text": "tree"}, {"text": "the small unknown birds"}]
    for row, answer in zip(rows, Predictor.load(task.run).predict(rows, ["confidence@up"]), strict=True):
        with torch.no_grad():
            logits = model(**tokenizer(row["text"], return_tensors="pt", return_token_type_ids=False)).logits[0]
        assert answer.cells["confidence@up"] == pytest.approx(
            logits.softmax(-1)[model.config.label2id["up"]].item(), abs=1e-5
        )


def test_a_head_that_transformers_does_not_have_is_refused_and_nothing_is_written(task, door, tmp_path):
    classifier(task, "bert", tmp_path, {"hidden_dim": "#target#"}, pooling="mean")
    assert door("train", "--conf_path", task.path)[0] == 0
    code, _, err = door("export", "--model", task.run, "--export_transformers", tmp_path / "out")
    assert code == 2 and "gives other logits" in err and "pooling: pretrained" in err
    assert "pooling of layer 'encoder' is \"mean\" here" in err
    task.config["architecture"][2]["conf"]["hidden_dim"] = [5, "#target#"]
    assert door("train", "--conf_path", task.path, "--force")[0] == 0
    code, _, err = door("export", "--model", task.run, "--export_transformers", tmp_path / "out")
    assert code == 2 and "Linear 16 to 2 above its encoder, this run has 16 to 5 and 5 to 2" in err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("config", ["tagging", "reading"])
def test_taggers_and_readers_load_there(config, door, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    encoder = write_encoder(tmp_path / "encoder", max_position_embeddings=256)
    changes = [f"architecture.params.model={encoder}", f"outputs.save_base_dir={tmp_path / 'run'}"]
    changes += [
        "training_params.max_epoch=1",
        "inputs.data_paths.train_data_path="
        + json.loads((ROOT / f"configs/demo/{config}.json").read_text())["inputs"]["data_paths"]["valid_data_path"],
    ]
    code, _, err = door("train", "--conf_path", f"configs/encoder/{config}.json", *(f"--set={c}" for c in changes))
    assert code == 0, err
    code, out, err = door("export", "--model", tmp_path / "run", "--export_transformers", tmp_path / "out")
    assert code == 0, err
    kind = AutoModelForTokenClassification if config == "tagging" else AutoModelForQuestionAnswering
    assert type(kind.from_pretrained(tmp_path / "out")).__name__ in out


def test_transitions_of_a_crf_are_not_left_behind(door, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    encoder = write_encoder(tmp_path / "encoder", max_position_embeddings=256)
    conf = {"model": str(encoder)}
    scores = {"hidden_dim": "#target#", "last_hidden_activation": False}
    layers = [
        {"layer_id": "encoder", "layer": "PretrainedEncoder", "conf": conf, "inputs": ["sentence"]},
        {"layer_id": "scores", "layer": "Linear", "conf": scores, "inputs": ["encoder"]},
        {"layer_id": "output", "layer": "CRF", "inputs": ["scores"], "output_layer_flag": True},
    ]
    changes = [f"architecture={json.dumps(layers)}", f"outputs.save_base_dir={tmp_path / 'run'}"]
    changes += ['loss={"losses": [{"type": "CRFLoss", "inputs": ["output", "tags"]}]}', "training_params.max_epoch=1"]
    code, _, err = door("train", "--conf_path", "configs/encoder/tagging.json", *(f"--set={c}" for c in changes))
    assert code == 0, err
    code, _, err = door("export", "--model", tmp_path / "run", "--export_transformers", tmp_path / "out")
    assert code == 2 and "has Linear layers only" in err
    assert not (tmp_path / "out").exists()
