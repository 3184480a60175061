"""Training that starts from the weights of an earlier run."""

import pickle

import pytest
import torch
from conftest import sentences

from core.errors import ConfigError
from core.run_folder import RunFolder
from engine.experiment import load_experiment
from engine.training import train

WORDS, NGRAMS = "embedding.tables.word_table.weight", "embedding.ngrams.vectors.weight"


def trained_before(task):
    """A run, moved aside; the next training starts from it and learns nothing, so that its weights can be seen."""
    train(load_experiment(task.path), lambda _: None)
    task.run.rename(task.folder / "earlier")
    task.config["inputs"]["data_paths"]["pretrained_model_path"] = str(task.folder / "earlier")
    task.config["training_params"] |= {"optimizer": {"name": "SGD", "params": {"lr": 0.0}}, "max_epoch": 1}
    return RunFolder(task.folder / "earlier")


@pytest.fixture
def earlier(task):
    return trained_before(task)


def started(task):
    """What the training says of the weights, and the weights."""
    said: list[str] = []
    train(load_experiment(task.path), said.append, force=True)
    weights, _ = RunFolder(task.run).read_weights()
    return [line for line in said if line.startswith("weights of")], weights


def vocabulary(run):
    return ["<pad>", "<start>", "<eos>", "<unk>", *run.read_problem()["inputs"]["vocabularies"]["word"]["words"]]


def test_the_same_config_starts_with_all_weights(task, earlier):
    said, weights = started(task)
    assert said == [f"weights of {earlier.path} taken over: word_table (18 of 18 entries), states, output"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in earlier.read_weights()[0].items())


@pytest.mark.parametrize("is_there", [False, True])
def test_a_run_may_be_named_by_the_model_file_that_neuronblocks_has_in_it(task, earlier, is_there):
    model = earlier.path / "model.nb"
    if is_there:
        model.write_bytes(b"no model")
    task.config["inputs"]["data_paths"]["pretrained_model_path"] = str(model)
    said, weights = started(task)
    assert said == [f"weights of {earlier.path} taken over: word_table (18 of 18 entries), states, output"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in earlier.read_weights()[0].items())


def test_words_keep_their_vectors_whatever_their_ids(task, earlier):
    rows = [(f"new {text} new", label) for text, label in sentences(120, 0) if "cat" not in text.split()]
    task.file("train.tsv", "".join(f"{text}\t{label}\n" for text, label in rows))
    said, weights = started(task)
    before, now = vocabulary(earlier), vocabulary(RunFolder(task.run))
    assert now[4] == "new" and "cat" not in now
    assert "word_table (17 of 18 entries)" in said[0]
    old = earlier.read_weights()[0][WORDS]
    for place, word in enumerate(now):
        if word != "new":
            assert torch.equal(weights[WORDS][place], old[before.index(word)]), word


def test_what_does_not_agree_starts_fresh_and_is_said(task, earlier):
    for name in ("train", "valid", "test"):
        text = (task.folder / f"{name}.tsv").read_text().replace("up", "yes").replace("down", "no")
        (task.folder / f"{name}.tsv").write_text(text)
    task.config["architecture"][1]["conf"]["hidden_dim"] = 5
    task.config["architecture"].insert(2, {"layer_id": "new", "layer": "HighwayLinear", "inputs": ["states"]})
    task.config["architecture"][3]["inputs"] = ["new"]
    said, weights = started(task)
    assert said[0].endswith(" taken over: word_table (18 of 18 entries)")
    assert said[1].startswith(f"weights of {earlier.path} not taken over: states (32 x 8 there, 20 x 8 here), ")
    assert said[1].endswith("new (not there), output (other labels)")
    assert torch.equal(weights[WORDS], earlier.read_weights()[0][WORDS])


def test_hashed_ngrams_are_taken_over_with_the_whole_vocabulary_only(task):
    task.config["architecture"][0]["conf"]["ngram"] = {"cols": ["text"], "dim": 4, "buckets": 50}
    earlier = trained_before(task)
    said, weights = started(task)
    assert said == [f"weights of {earlier.path} taken over: word_table (18 of 18 entries), ngrams, states, output"]
    assert torch.equal(weights[NGRAMS], earlier.read_weights()[0][NGRAMS])
    task.file("train.tsv", (task.folder / "train.tsv").read_text().replace("cat", "lion"))
    said, _ = started(task)
    assert said[1] == f"weights of {earlier.path} not taken over: ngrams (other words)"


def test_a_pickle_is_refused_and_never_opened(task):
    class Trap:
        def __reduce__(self):
            return (open, (str(task.folder / "opened"), "w"))

    model = task.folder / "model.nb"
    model.write_bytes(pickle.dumps(Trap()))
    for path, sentence in (
        (model, f"is a file, not a run folder: {model}. A pickled model may hold any code, so none is read."),
        (task.folder / "nowhere", f"no such run folder: {task.folder / 'nowhere'}."),
    ):
        task.config["inputs"]["data_paths"]["pretrained_model_path"] = str(path)
        with pytest.raises(ConfigError) as refused:
            load_experiment(task.path)
        assert [str(finding) for finding in refused.value.findings] == [
            f"inputs.data_paths.pretrained_model_path: {sentence}"
        ]
    assert not (task.folder / "opened").exists()
