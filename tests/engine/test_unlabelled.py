"""Rows without targets, which teachers alone teach."""

import json

import pytest
import torch
from trainings import trained, weights

from core.errors import ConfigError
from engine.experiment import load_experiment

SOFT = {"type": "SoftTargetLoss", "inputs": ["output", "big"]}


@pytest.fixture
def school(task):
    """A teacher, and a student with 50 rows more than those with labels."""
    trained(task, f"outputs.save_base_dir={task.folder / 'big'}", "training_params.max_epoch=4")
    more = [f"small {word} unheard" for word in "red green blue cat dog".split() for _ in range(10)]
    task.config["inputs"]["data_paths"]["unlabelled_data_path"] = task.file("more.tsv", "\n".join(more) + "\n")
    task.config["teachers"] = {"big": {"type": "Run", "conf": {"path": str(task.folder / "big")}}}
    task.config["loss"]["losses"].append(SOFT)
    return task


def steps(task):
    records = [json.loads(line) for line in (task.run / "metrics.jsonl").read_text().splitlines()]
    return max(record["step"] for record in records if record["epoch"] == 1)


def test_every_epoch_goes_through_both_files(school):
    said = trained(school, "training_params.max_epoch=1")
    assert "unlabelled rows: 50" in said
    assert "teacher 'big': answered 50 rows" in "".join(said)
    assert steps(school) == 8 + 4  # 120 and 50 rows in batches of 16


def test_words_of_rows_without_targets_belong_to_the_vocabulary(school):
    trained(school, "training_params.max_epoch=1")
    problem = json.loads((school.run / "problem.json").read_text())
    assert "unheard" in json.dumps(problem)


def test_rows_without_targets_change_what_only_teachers_teach(school):
    """With the labels alone nothing moves in their batches: SGD without a gradient."""
    school.config["training_params"]["optimizer"] = {"name": "SGD", "params": {"lr": 0.1}}
    school.config["loss"]["losses"] = [SOFT]
    trained(school, "training_params.max_epoch=1")
    with_more = weights(school)
    school.config["loss"]["losses"] = [{**SOFT, "weight": 0.0}]
    trained(school, "training_params.max_epoch=1", force=True)
    still = weights(school)
    assert not torch.equal(with_more["blocks.output:.layers.0.weight"], still["blocks.output:.layers.0.weight"])


@pytest.mark.parametrize("name", ["Confidence", "BestPerExample", "Agreement"])
def test_teachers_are_weighed_alike_where_nobody_knows_what_is_right(school, name):
    school.config["teachers"]["other"] = school.config["teachers"]["big"]
    school.config["loss"]["losses"][1] = {**SOFT, "inputs": ["output", "teachers"]}
    school.config["weighting"] = {"type": name}
    trained(school, "training_params.max_epoch=1")
    assert all(torch.isfinite(value).all() for value in weights(school).values())


def test_a_training_with_rows_without_targets_is_resumed_exactly(school):
    trained(school, "training_params.max_epoch=3")
    whole = weights(school)
    trained(school, "training_params.max_epoch=1", force=True)
    trained(school, "training_params.max_epoch=3", resume=True)
    assert all(torch.equal(value, weights(school)[name]) for name, value in whole.items())


def test_rows_that_teach_nothing_are_refused(school):
    school.config["loss"]["losses"] = school.config["loss"]["losses"][:1]
    with pytest.raises(ConfigError, match="unlabelled_data_path: teaches nothing: every loss reads a target"):
        load_experiment(school.path)


def test_a_missing_file_is_refused_with_its_place(school):
    school.config["inputs"]["data_paths"]["unlabelled_data_path"] = "nowhere.tsv"
    with pytest.raises(ConfigError, match=r"inputs.data_paths.unlabelled_data_path: no such file: nowhere.tsv"):
        load_experiment(school.path)
