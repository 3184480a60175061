"""Teachers that are heard only where they are sure."""

import json
import os
import random
from pathlib import Path

import pytest
import torch
from trainings import equal, trained, weights

from core.errors import ConfigError, UserError
from engine.experiment import load_experiment
from engine.teacher_report import teacher_report


@pytest.fixture
def scored(task):
    """Rows with scores from 0 to 1, and a student that learns from them."""
    rng = random.Random(0)
    for name in ("train", "valid", "test"):
        rows = (task.folder / f"{name}.tsv").read_text().splitlines()
        task.file(f"{name}.tsv", "".join(f"{row}\t{rng.random():.3f}\n" for row in rows))
    task.config["inputs"]["file_header"]["s"] = 2
    task.config["teachers"] = {"big": {"type": "Scores", "conf": {"kind": "score", "column": "s"}}}
    task.config["loss"]["losses"].append({"type": "SoftTargetLoss", "inputs": ["output", "big"]})
    task.config["training_params"]["max_epoch"] = 1
    return task


def silenced(task, name, floor):
    """Empty the cells of scores that are less sure; how many these are."""
    rows = [row.rpartition("\t") for row in (task.folder / f"{name}.tsv").read_text().splitlines()]
    kept = [max(float(score), 1 - float(score)) >= floor for _, _, score in rows]
    texts = [f"{row}\t{score if stays else ''}\n" for (row, _, score), stays in zip(rows, kept, strict=True)]
    task.file(f"{name}.tsv", "".join(texts))
    return kept.count(False)


@pytest.mark.parametrize("online", ["true", "false"])
def test_a_teacher_that_is_not_sure_counts_as_one_without_an_answer(scored, online):
    said = trained(scored, "teachers.big.min_confidence=0.8", f"teachers.big.online={online}")
    sure = weights(scored)
    trained(scored, f"teachers.big.online={online}", force=True)
    assert not equal(sure, weights(scored))
    missing = silenced(scored, "train", 0.8)
    trained(scored, f"teachers.big.online={online}", force=True)
    assert all(torch.allclose(value, weights(scored)[name], atol=1e-6) for name, value in sure.items())
    told = f"teacher 'big' has no answer that is 0.8 sure for {missing} of 120 rows; no loss reads it there"
    assert (told in said) == (online == "false")


def test_rows_that_nobody_answers_are_left_out_where_teachers_alone_teach(scored):
    rows = [(f"red cat {word}", score) for word in "dog bird tree".split() for score in (0.1, 0.3, 0.5, 0.9)]
    text = "".join(f"{text}\t\t{score}\n" for text, score in rows)
    scored.config["inputs"]["data_paths"]["unlabelled_data_path"] = scored.file("more.tsv", text)
    scored.config["training_params"]["batch_size"] = 2
    said = trained(scored, "teachers.big.min_confidence=0.8")
    assert "6 rows without targets are left out: no teacher answers them" in said
    records = [json.loads(line) for line in (scored.run / "metrics.jsonl").read_text().splitlines()]
    assert max(record["step"] for record in records) == 60 + 3
    sure = weights(scored)
    assert silenced(scored, "more", 0.8) == 6
    silenced(scored, "train", 0.8)
    trained(scored, force=True)
    assert equal(sure, weights(scored))


def test_an_ensemble_is_asked_for_the_sureness_of_its_mean(scored):
    """Both say the same, so their mean is as sure as each."""
    scored.config["teachers"] |= {
        "other": scored.config["teachers"]["big"],
        "both": {"type": "Ensemble", "conf": {"teachers": ["big", "other"]}},
    }
    scored.config["loss"]["losses"][1]["inputs"] = ["output", "both"]
    trained(scored, "teachers.both.min_confidence=0.8")
    sure = weights(scored)
    silenced(scored, "train", 0.8)
    trained(scored, force=True)
    assert all(torch.allclose(value, weights(scored)[name], atol=1e-4) for name, value in sure.items())


def test_what_is_stored_does_not_depend_on_it_and_validation_rows_do_not_either(scored):
    plain = teacher_report(load_experiment(scored.path), lambda _: None)
    trained(scored)
    cache = Path(os.environ["BLOCKSMITH_CACHE"])
    entries = set(cache.iterdir())
    said = trained(scored, "teachers.big.min_confidence=0.9", force=True)
    assert any("from the store" in line for line in said)
    assert teacher_report(load_experiment(scored.path, ["teachers.big.min_confidence=0.9"]), lambda _: None) == plain
    assert set(cache.iterdir()) == entries


def test_the_states_of_a_teacher_are_heard_where_its_answer_is_sure(task):
    trained(task, f"outputs.save_base_dir={task.folder / 'big'}", "training_params.max_epoch=12")
    task.config["teachers"] = {"big": {"type": "Run", "conf": {"path": str(task.folder / "big")}}}
    task.config["loss"]["losses"].append({"type": "HiddenMSELoss", "inputs": ["vector", "big.vector"]})
    task.config["training_params"]["optimizer"] = {"name": "SGD", "params": {"lr": 0.1}}
    said = trained(task, "teachers.big.min_confidence=0.9")
    assert any("no answer that is 0.9 sure" in line for line in said)
    stored = weights(task)
    trained(task, "teachers.big.min_confidence=0.9", "teachers.big.online=true", force=True)
    assert all(torch.allclose(value, weights(task)[name], atol=1e-3) for name, value in stored.items())
    trained(task, force=True)
    assert not all(torch.allclose(value, weights(task)[name], atol=1e-3) for name, value in stored.items())


def test_a_teacher_that_is_never_sure_is_refused(scored):
    rows = [row.rpartition("\t")[0] for row in (scored.folder / "train.tsv").read_text().splitlines()]
    scored.file("train.tsv", "".join(f"{row}\t0.5\n" for row in rows))
    with pytest.raises(UserError, match=r"teachers.big: has no answer that is 0.6 sure for any of the 120 rows"):
        trained(scored, "teachers.big.min_confidence=0.6")


def test_a_teacher_of_numbers_is_refused(scored):
    scored.config["inputs"]["dataset_type"] = "regression"
    scored.config["loss"]["losses"] = [{"type": "ScoreMSELoss", "inputs": ["output", "big"]}]
    scored.config["metrics"] = ["mse"]
    with pytest.raises(ConfigError, match=r"teachers.big.min_confidence: needs one answer with a probability"):
        load_experiment(scored.path, ["teachers.big.min_confidence=0.6"])
