"""Configs with a pretrained encoder, from JSON to predictions, with tiny encoders."""

import json
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from tiny_encoders import write_encoder

from block_zoo import PretrainedEncoder
from core.document import read_document
from core.errors import ConfigError
from engine.experiment import checked
from engine.predictor import Predictor

CONFIGS = sorted((ROOT / "configs/encoder").glob("*.json"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"), "bert", max_position_embeddings=256)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_trains_tests_and_predicts_without_the_encoder_it_came_from(
    config, encoder, door, tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    run = tmp_path / "run"
    source = tmp_path / "source"
    source.mkdir()
    for file in encoder.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    changes = [f"architecture.params.model={source}", f"outputs.save_base_dir={run}", "training_params.max_epoch=1"]
    code, out, err = door("train", "--conf_path", config, *(f"--set={change}" for change in changes))
    assert code == 0, err
    assert f"weights of {source}: 4 of 4 layers" in out
    for file in source.iterdir():
        file.unlink()
    code, out, err = door("test", "--model", run)
    assert code == 0, err
    code, out, err = door("predict", "--model", run, "--output", tmp_path / "answers")
    assert code == 0, err
    answers = (tmp_path / "answers").read_text()
    assert json.loads(answers) if config.stem == "reading" else answers.count("\n") > 50
    assert Predictor.load(run).model.state_dict().keys()


def test_texts_that_are_too_long_are_counted_and_said_once(encoder, door, task):
    conf = {"model": str(encoder), "pooling": "cls", "max_length": 6}
    task.config["architecture"] = [
        {"layer_id": "encoder", "layer": "PretrainedEncoder", "conf": conf, "inputs": ["sentence"]},
        {**task.config["architecture"][-1], "inputs": ["encoder"]},
    ]
    texts = [line.split("\t")[0] for line in (task.folder / "train.tsv").read_text().splitlines()]
    from transformers import AutoTokenizer

    lengths = [len(AutoTokenizer.from_pretrained(encoder)(text)["input_ids"]) for text in texts]
    cut = sum(length > 6 for length in lengths)
    code, out, err = door("train", "--conf_path", task.path)
    assert code == 0, err
    longest = max(lengths) - 2
    said = f"training rows: {cut} of 120 are cut to the 4 pieces that layer 'encoder' reads (the longest has {longest})"
    assert out.count(said) == 1


def test_what_an_encoder_does_itself_has_no_effect_beside_it(encoder, door, task):
    task.config["architecture"] = [
        {
            "layer_id": "encoder",
            "layer": "PretrainedEncoder",
            "conf": {"model": str(encoder), "pooling": "cls"},
            "inputs": ["sentence"],
        },
        {**task.config["architecture"][-1], "inputs": ["encoder"]},
    ]
    task.config["training_params"] |= {"tokenizer": "regex", "text_preprocessing": ["lowercase"]}
    task.config["inputs"]["add_start_end_for_seq"] = True
    code, _, err = door("train", "--conf_path", task.path, "--check")
    assert code == 0, err
    assert "inputs.add_start_end_for_seq: has no effect. An encoder's tokenizer puts its own signs around texts." in err
    for key in ("tokenizer", "text_preprocessing"):
        assert f"training_params.{key}: has no effect. The encoder's own tokenizer" in err


def test_what_is_wrong_with_a_branch_of_an_encoder_is_the_only_thing_said(encoder, door, task):
    layer = {"layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"]}
    layer["conf"] = {"model": str(encoder), "pooling": "cls"}  # type: ignore[assignment]
    task.config["architecture"] = [layer, {**task.config["architecture"][-1], "inputs": ["encoder"]}]
    branches = task.config["inputs"]["model_inputs"]
    branches["sentence"] = ["txt"]
    code, _, err = door("train", "--conf_path", task.path, "--check")
    assert code == 2 and "1 problem\n  inputs.model_inputs.sentence: file_header has no column 'txt'." in err
    branches |= {"sentence": ["text"], "answer": ["other"]}
    task.config["inputs"]["file_header"]["other"] = 2
    code, _, err = door("train", "--conf_path", task.path, "--check")
    assert (
        code == 2 and "1 problem\n  inputs.model_inputs.answer: no encoder reads it, and there is no Embedding." in err
    )


def test_a_setting_that_the_encoder_does_not_allow_is_refused_where_it_stands(encoder, door, task):
    layer = {"layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"]}
    layer["conf"] = {"model": str(encoder), "pooling": "cls", "freeze": 5}  # type: ignore[assignment]
    task.config["architecture"] = [layer, {**task.config["architecture"][-1], "inputs": ["encoder"]}]
    code, _, err = door("train", "--conf_path", task.path, "--check")
    assert code == 2 and "1 problem\n  architecture[0].conf: freezes 5 layers, but 4 are kept." in err


def test_a_tokenizer_that_cannot_be_read_is_one_sentence(encoder, door, task):
    conf = {"model": str(encoder), "pooling": "cls"}
    layer = {"layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"], "conf": conf}
    task.config["architecture"] = [layer, {**task.config["architecture"][-1], "inputs": ["encoder"]}]
    task.config["training_params"]["max_epoch"] = 1
    assert door("train", "--conf_path", task.path)[0] == 0
    kept = json.loads((task.run / "problem.json").read_text())
    kept["inputs"]["pieces"][str(encoder)]["tokenizer"]["model"]["type"] = "OfTomorrow"
    (task.run / "problem.json").write_text(json.dumps(kept))
    code, _, err = door("test", "--model", task.run)
    assert code == 2 and "problem.json: damaged" in err and "is not a tokenizer that can be read here" in err


@pytest.fixture
def own_code(tmp_path, monkeypatch) -> Path:
    """An encoder whose architecture transformers does not know, and that brings its code along."""
    folder = write_encoder(tmp_path / "own", "bert")
    settings = json.loads((folder / "config.json").read_text()) | {
        "model_type": "ours",
        "auto_map": {"AutoConfig": "code_of_ours.OurConfig", "AutoModel": "code_of_ours.OurModel"},
    }
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "code_of_ours.py").write_text(
        "from transformers import BertConfig, BertModel\n"
        "class OurConfig(BertConfig):\n    model_type = 'ours'\n"
        "class OurModel(BertModel):\n    config_class = OurConfig\n"
    )
    modules = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", modules)
    monkeypatch.syspath_prepend(modules)
    return folder


def test_code_that_a_model_brings_along_runs_only_where_it_is_trusted(own_code, door, task, monkeypatch):
    conf: dict[str, object] = {"model": str(own_code), "pooling": "cls"}
    layer = {"layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"], "conf": conf}
    task.config["architecture"] = [layer, {**task.config["architecture"][-1], "inputs": ["encoder"]}]
    code, _, err = door("train", "--conf_path", task.path)
    assert code == 2 and "brings code of its own, which trust_remote_code lets run" in err
    conf["trust_remote_code"] = True
    code, out, err = door("train", "--conf_path", task.path)
    assert code == 0 and f"weights of {own_code}: 4 of 4 layers" in out, err
    with monkeypatch.context() as patch:
        patch.setattr("block_zoo.pretrained_encoder._register_code", lambda *_: pytest.fail("ran the code"))
        code, _, err = door("test", "--model", task.run)
    assert code == 2 and f"is not run for a run unless you ask for it: --plugins {own_code}." in err
    assert door("test", "--model", task.run, "--plugins", own_code)[0] == 0
    assert door("test", "--conf_path", task.path)[0] == 0  # the user's own config asks for it
    kept = json.loads((task.run / "config.json").read_text())
    kept["architecture"][0]["conf"]["config"]["auto_map"]["AutoModel"] = "some/body--code.Model"
    (task.run / "config.json").write_text(json.dumps(kept))
    for asked in (("--model", task.run, "--plugins", own_code), ("--conf_path", task.path)):
        code, _, err = door("test", *asked)
        assert code == 2 and "is not run for a run unless you ask for it: --plugins some/body." in err


def test_a_model_without_code_of_its_own_has_none_to_trust(encoder, door, task):
    conf = {"model": str(encoder), "pooling": "cls", "trust_remote_code": True}
    layer = {"layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"], "conf": conf}
    task.config["architecture"] = [layer, {**task.config["architecture"][-1], "inputs": ["encoder"]}]
    code, _, err = door("train", "--conf_path", task.path, "--check")
    assert code == 2 and "brings no code of its own: leave out trust_remote_code" in err


@pytest.mark.slow
def test_layers_that_are_compiled_learn_what_others_do(encoder, door, task):
    conf = {"model": str(encoder), "pooling": "cls", "dropout": 0.0}
    layer = {"layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"], "conf": conf}
    task.config["architecture"] = [layer, {**task.config["architecture"][-1], "inputs": ["encoder"]}]
    optimizer = {"name": "SGD", "params": {"lr": 0.1}}
    task.config["training_params"] |= {"optimizer": optimizer, "precision": "fp32", "max_epoch": 1}
    assert door("train", "--conf_path", task.path)[0] == 0
    plain = load_file(task.run / "weights.safetensors")
    task.config["training_params"]["compile"] = True
    code, out, err = door("train", "--conf_path", task.path, "--force")
    assert code == 0 and "compiled: 4 layers inside of blocks" in out, err
    for name, value in load_file(task.run / "weights.safetensors").items():
        torch.testing.assert_close(value, plain[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "address", "sound"),
    [
        ("reading", "encoder.second", True),
        ("reading", "encoder.first", False),
        ("reading", "encoder", False),
        ("reading", "encoder.hidden.2", False),
        ("tagging", "encoder.first", True),
        ("tagging", "encoder.hidden.2", False),
        ("tagging", "encoder.tokens", False),
    ],
)
def test_answers_stand_at_the_tokens_that_are_asked_for(config, address, sound):
    """Not at other pieces that the encoder reads: the question, and what stands around the texts."""
    path = ROOT / f"configs/encoder/{config}.json"
    document = read_document(path)
    document["architecture"][1]["inputs"] = [address]
    if sound:
        checked(document, str(path), files=False)
        return
    with pytest.raises(ConfigError, match="must answer the tokens of ") as refused:
        checked(document, str(path), files=False)
    of_all = "(an encoder gives those of one text as 'first' or 'second')"
    assert (of_all in str(refused.value)) == (address != "encoder.first")


def encoding(task, encoder, **conf):
    """The task with an encoder in the place of its layers."""
    settings = {"model": str(encoder), "pooling": "cls", **conf}
    layer = {"layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"], "conf": settings}
    task.config["architecture"] = [layer, {**task.config["architecture"][-1], "inputs": ["encoder"]}]
    task.config["training_params"]["max_epoch"] = 1
    return task


def test_what_is_cut_when_a_run_is_used_is_said(encoder, door, task, tmp_path):
    encoding(task, encoder, max_length=6)
    assert door("train", "--conf_path", task.path)[0] == 0
    _, _, err = door("test", "--model", task.run)
    assert "test.tsv: " in err and "of 37 are cut to the 4 pieces that layer 'encoder' reads" in err
    rows = tmp_path / "rows.tsv"
    rows.write_text("red cat\tup\nred green blue cat dog bird\tup\n")
    _, _, err = door("predict", "--model", task.run, "--input", rows, "--output", tmp_path / "answers.tsv")
    assert "note: 1 texts are cut to the 4 pieces that layer 'encoder' reads" in err


@pytest.mark.parametrize("max_length", [None, 6])
def test_batches_of_tokens_count_what_the_encoder_reads(encoder, door, task, monkeypatch, max_length):
    seen, framed = [], PretrainedEncoder.framed

    def noted(self, texts):
        found = framed(self, texts)
        if self.training:
            seen.append(found[0].values.shape)
        return found

    monkeypatch.setattr(PretrainedEncoder, "framed", noted)
    encoding(task, encoder, max_length=max_length)
    task.config["training_params"]["batch_tokens"] = 60
    assert door("train", "--conf_path", task.path)[0] == 0
    assert sum(rows for rows, _ in seen) == 120
    assert 54 < max(rows * pieces for rows, pieces in seen) <= 60


def test_an_inner_state_of_a_layer_that_was_dropped_is_refused_as_such(encoder, door, task):
    encoding(task, encoder, layers=2)
    task.config["architecture"][1]["inputs"] = ["encoder.hidden.4"]
    code, _, err = door("train", "--conf_path", task.path, "--check")
    assert code == 2
    assert "no inner state 'hidden.4'. 2 of 4 layers are kept: it has hidden.0 to hidden.2." in err


def test_checkpointing_that_transformers_does_not_have_is_refused(door, task, tmp_path):
    encoding(task, write_encoder(tmp_path / "albert", "albert"), gradient_checkpointing=True)
    code, _, err = door("train", "--conf_path", task.path, "--check")
    assert code == 2
    assert "architecture[0].conf: is of type albert, which has no gradient_checkpointing." in err


def test_a_tokenizer_of_other_weights_is_refused(encoder, door, task, tmp_path):
    """It has as many pieces, but other ids for them."""
    other = tmp_path / "other"
    other.mkdir()
    for file in encoder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    kept = json.loads((other / "tokenizer.json").read_text())
    ids = list(kept["model"]["vocab"].values())
    kept["model"]["vocab"] = dict(zip(kept["model"]["vocab"], [*ids[:5], *ids[:4:-1]], strict=True))
    (other / "tokenizer.json").write_text(json.dumps(kept))
    encoding(task, encoder, tokenizer=str(other))
    code, _, err = door("train", "--conf_path", task.path)
    assert code == 2 and f"of its pieces have other ids in that of {encoder}, so it is not of these weights." in err
    assert not task.run.exists()
