"""Word vectors from an encoder, against transformers and scikit-learn."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from tiny_encoders import write_encoder
from transformers import AutoModel, AutoTokenizer

from block_zoo.embedding import EncoderInit
from core.errors import UserError
from core.run_folder import RunFolder
from engine.encoder_vectors import EncoderVectors
from engine.predictor import Predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def words(task, folder):
    """The task with vectors of 6 numbers from the tiny encoder."""
    task.config["architecture"][0]["conf"]["word"] |= {"dim": 6, "fix_weight": True, "init": {"encoder": str(folder)}}
    return task


@pytest.mark.parametrize("source", ["states", "table"])
def test_a_word_is_the_mean_over_its_pieces(folder, source, tmp_path):
    words = ["red", "catdog", "sleeps", "hous"]
    found = EncoderVectors(EncoderInit(encoder=str(folder), source=source), tmp_path).states(words)
    again = EncoderVectors(EncoderInit(encoder=str(folder), source=source), tmp_path).states(words)
    assert torch.equal(found, again)
    tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for word, state in zip(words, found, strict=True):
        ids = tokenizer(word, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            pieces = (
                encoder(ids).last_hidden_state[0, 1:-1]
                if source == "states"
                else (encoder.get_input_embeddings()(ids)[0, 1:-1])
            )
        torch.testing.assert_close(state, pieces.mean(0))


@pytest.mark.parametrize(("source", "size"), [("states", 16), ("table", 8)])
def test_a_table_may_be_narrower_than_the_states(tmp_path, source, size):
    folder = write_encoder(tmp_path / "electra", "electra")
    assert EncoderVectors(EncoderInit(encoder=str(folder), source=source), None).states(["red"]).shape == (1, size)
    with pytest.raises(UserError, match=f"has {size} features there, not 5"):
        EncoderVectors(EncoderInit(encoder=str(folder), source=source, features=5), None).states(["red"])


def test_vectors_are_the_principal_components_of_the_vocabulary(words, folder, door):
    assert door("train", "--conf_path", words.path)[0] == 0
    predictor = Predictor.load(words.run)
    vocabulary = predictor.encoder.vocabularies["word"]
    table = predictor.model.state_dict()["embedding.tables.word_table.weight"][4:]
    states = EncoderVectors(EncoderInit(encoder=str(folder)), None).states(vocabulary.words[4:]).numpy()
    expected = PCA(6).fit_transform(states)
    expected *= 0.4 / expected.std()
    signs = np.sign((expected * table.numpy()).sum(0))
    np.testing.assert_allclose(table, expected * signs, atol=1e-4)


def test_a_training_that_goes_on_has_its_vectors_from_where_it_stopped(words, door, monkeypatch):
    assert door("train", "--conf_path", words.path)[0] == 0
    whole = RunFolder(words.run).read_state()["model"]
    assert door("train", "--conf_path", words.path, "--force", "--set", "training_params.max_epoch=1")[0] == 0
    monkeypatch.setattr("engine.starting_weights.give_vectors", lambda *_: pytest.fail("made them again"))
    code, _, err = door("train", "--conf_path", words.path, "--resume")
    assert code == 0, err
    assert all(torch.equal(value, whole[name]) for name, value in RunFolder(words.run).read_state()["model"].items())


def test_a_training_that_starts_from_another_gives_new_words_vectors_of_the_same_kind(words, folder, door, tmp_path):
    assert door("train", "--conf_path", words.path)[0] == 0
    basis = RunFolder(words.run).read_weights()[0]["embedding.basis"]
    words.run.rename(tmp_path / "earlier")
    words.config["inputs"]["data_paths"]["pretrained_model_path"] = str(tmp_path / "earlier")
    words.file("train.tsv", (words.folder / "train.tsv").read_text().replace("cat", "lion"))
    code, out, _ = door("train", "--conf_path", words.path)
    assert code == 0 and "taken over: basis, word_table (" in out
    predictor = Predictor.load(words.run)
    vocabulary = predictor.encoder.vocabularies["word"].words[4:]
    states = EncoderVectors(EncoderInit(encoder=str(folder)), None).states(vocabulary)
    assert "lion" in vocabulary
    table = predictor.model.state_dict()["embedding.tables.word_table.weight"][4:]
    torch.testing.assert_close(table, states @ basis[1:] + basis[0])
    words.config["architecture"][0]["conf"]["word"]["init"]["encoder"] = str(write_encoder(tmp_path / "other"))
    _, out, _ = door("train", "--conf_path", words.path, "--force")
    assert "not taken over: basis (other vectors), word_table (other vectors)" in out


def test_words_that_training_did_not_meet_get_their_vectors_when_they_come(words, folder, door, monkeypatch):
    door("train", "--conf_path", words.path)
    predictor = Predictor.load(words.run)
    known = len(predictor.encoder.vocabularies["word"])
    answers = list(predictor.predict([{"text": "reddish cats"}, {"text": "red cat"}], ["confidence@up"]))
    table = predictor.model.state_dict()["embedding.tables.word_table.weight"]
    assert len(predictor.encoder.vocabularies["word"]) == len(table) == known + 2
    assert not torch.equal(table[-1], table[-2]) and table[-2:].abs().sum() > 0
    alone = next(iter(Predictor.load(words.run).predict([{"text": "reddish cats"}], ["confidence@up"])))
    assert alone.cells == pytest.approx(answers[0].cells, rel=1e-5)
    words.file("test.tsv", "reddish cats\tup\nred cat\tdown\n")
    first = door("test", "--model", words.run)
    assert first[0] == 0 and door("test", "--model", words.run)[1] == first[1]  # now from the cache


def test_without_the_encoder_a_run_still_answers_and_says_what_is_missing(words, tmp_path, folder, door):
    gone = write_encoder(tmp_path / "encoder")
    words.config["architecture"][0]["conf"]["word"]["init"]["encoder"] = str(gone)
    assert door("train", "--conf_path", words.path)[0] == 0
    for file in gone.iterdir():
        file.unlink()
    gone.rmdir()
    code, _, err = door("test", "--model", words.run)
    assert code == 0 and f"note: words that training did not meet are unknown: {gone}: no such folder." in err


def test_frequent_words_are_shorter_where_asked(words, door):
    door("train", "--conf_path", words.path)
    plain = Predictor.load(words.run).model.state_dict()["embedding.tables.word_table.weight"][4:].norm(dim=1)
    words.config["architecture"][0]["conf"]["word"]["init"]["frequency_weighting"] = True
    door("train", "--conf_path", words.path, "--force")
    weighted = Predictor.load(words.run).model.state_dict()["embedding.tables.word_table.weight"][4:].norm(dim=1)
    ratio = weighted / plain
    assert (ratio.diff() > 0).all() and ratio[0] < 0.05


def test_two_sources_of_vectors_are_refused(words, door):
    words.config["inputs"]["data_paths"]["pre_trained_emb"] = words.file("glove.txt", "red 1 2 3 4 5 6\n")
    code, _, err = door("train", "--conf_path", words.path, "--check")
    assert code == 2 and "inputs.data_paths.pre_trained_emb: the Embedding takes its vectors from an encoder" in err


def test_vectors_of_an_encoder_that_stay_fixed_are_no_random_ones(words, door):
    code, _, err = door("train", "--conf_path", words.path, "--check")
    assert code == 0 and "random vectors" not in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dim": 17}, "the encoder of init has 16 features, so dim 17 is too large"),
        ({"init": {"encoder": "./nowhere"}}, "init: encoder ./nowhere: no such folder"),
    ],
)
def test_an_init_that_cannot_be_is_refused_with_its_place(words, door, change, said):
    words.config["architecture"][0]["conf"]["word"] |= change
    code, _, err = door("train", "--conf_path", words.path, "--check")
    assert code == 2 and "architecture[0].conf" in err and said in err


def test_vectors_that_no_branch_reads_are_not_made(words, folder, door):
    conf = {"model": str(folder), "pooling": "cls"}
    encoder = {"layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["pieces"], "conf": conf}
    for name in ("train", "valid", "test"):
        rows = [line.split("\t") for line in (words.folder / f"{name}.tsv").read_text().splitlines()]
        words.file(f"{name}.tsv", "".join(f"{text}\t{label}\t{text}\n" for text, label in rows))
    words.config["inputs"]["file_header"] = {"text": 0, "label": 1, "again": 2}
    words.config["architecture"][1:4] = [encoder]
    words.config["architecture"][2]["inputs"] = ["encoder"]
    for branches in ({"pieces": ["again"]}, {"pieces": ["again"], "sentence": ["text"]}):
        words.config["inputs"]["model_inputs"] = branches
        code, _, err = door("train", "--conf_path", words.path, "--force")
        assert code == 0 and "has no effect" in err, err
        assert door("test", "--model", words.run)[0] == 0


def test_the_encoder_may_be_one_that_a_run_has_trained(task, folder, door):
    """Its vectors are those of the weights that it has learnt."""
    settings = {"model": str(folder), "pooling": "cls", "layers": [1, 3]}
    layer = {"layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"], "conf": settings}
    task.config["architecture"] = [layer, {**task.config["architecture"][-1], "inputs": ["encoder"]}]
    task.config["training_params"]["max_epoch"] = 1
    assert door("train", "--conf_path", task.path)[0] == 0
    (found,) = EncoderVectors(EncoderInit(encoder=str(task.run)), task.folder / "cache").states(["red"])
    block: Any = Predictor.load(task.run).model.eval().blocks["encoder:"]
    ids = AutoTokenizer.from_pretrained(folder)("red", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(found, block.encoder(ids).last_hidden_state[0, 1:-1].mean(0))


def test_a_run_that_has_not_been_trained_to_its_end_gives_no_vectors(words, folder, door, tmp_path):
    run = RunFolder(tmp_path / "run")
    settings = {"model": str(folder), "tokenizer": str(folder), "config": {"model_type": "bert", "hidden_size": 16}}
    run.begin({"architecture": [{"layer_id": "encoder", "layer": "PretrainedEncoder", "conf": settings}]})
    words.config["architecture"][0]["conf"]["word"]["init"] = {"encoder": str(run.path)}
    code, _, err = door("train", "--conf_path", words.path, "--check")
    assert code == 2 and f"init: encoder {run.path}: has no model" in err
