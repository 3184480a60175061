"""Two processes over gloo train what one does with the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from tiny_encoders import write_encoder

from core.run_folder import RunFolder
from core.types import Batch, Features, Spec
from engine.experiment import load_experiment
from engine.objective import Objective
from engine.processes import Processes
from engine.terms import Term
from engine.training import train
from losses.cross_entropy import CrossEntropyLoss


def launched(task, count, *options, script=ROOT / "train.py"):
    """Train with so many processes, as a user would."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
    finished = subprocess.run(
        [*command, str(script), "--conf_path", str(task.path), *options],
        capture_output=True, text=True, timeout=300, cwd=task.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def weights(task):
    return load_file(task.run / "weights.safetensors")


@pytest.fixture
def steady(task):
    """Without dropout, with losses of both kinds, and a last batch that two processes cannot share evenly."""
    losses = task.config["loss"]["losses"]
    losses.append(losses[0] | {"conf": {"reduction": "sum"}, "weight": 0.1})
    task.config["training_params"] |= {"device": "cpu", "batch_size": 16, "clip_grad_norm_max_norm": 1.0}
    next(layer for layer in task.config["architecture"] if layer["layer"] == "Dropout")["conf"]["dropout"] = 0.0
    rows = (task.folder / "train.tsv").read_text().splitlines(keepends=True)
    task.file("train.tsv", "".join(rows[:113]))
    return task


def test_two_processes_have_the_weights_and_scores_of_one_and_say_everything_once(steady, door):
    assert door("train", "--conf_path", steady.path)[0] == 0
    alone, scores = weights(steady), json.loads((steady.run / "scores.json").read_text())
    log = [json.loads(line) for line in (steady.run / "metrics.jsonl").read_text().splitlines()]
    steady.config["training_params"]["batch_size"] = 8
    said = launched(steady, 2, "--force")
    assert said.count("2 processes, cpu, fp32") == 1
    assert said.count("training rows: 113") == said.count("best accuracy") == 1
    together = weights(steady)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-5)
    found = json.loads((steady.run / "scores.json").read_text())
    assert found["validation"] == pytest.approx(scores["validation"]) and found["step"] == scores["step"]
    lines = [json.loads(line) for line in (steady.run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [line["step"] for line in log]
    losses = [(line["loss"], other["loss"]) for line, other in zip(lines, log, strict=True) if "loss" in line]
    assert all(mine == pytest.approx(other, rel=1e-4) for mine, other in losses)


def test_two_processes_go_on_exactly_where_they_stopped(steady):
    next(layer for layer in steady.config["architecture"] if layer["layer"] == "Dropout")["conf"]["dropout"] = 0.3
    launched(steady, 2)
    whole = weights(steady)
    steady.config["training_params"]["max_epoch"] = 1
    launched(steady, 2, "--force")
    steady.config["training_params"]["max_epoch"] = 2
    launched(steady, 2, "--resume")
    assert all(torch.equal(value, whole[name]) for name, value in weights(steady).items())


def test_the_scores_are_those_of_the_model_that_is_kept_with_the_means_of_a_batch_norm_too(steady, door):
    steady.config["architecture"][-1]["conf"] |= {"hidden_dim": [8, "#target#"], "batch_norm": True}
    steady.config["metrics"] = ["auc", "log_loss"]
    launched(steady, 2)
    found = json.loads((steady.run / "scores.json").read_text())["validation"]
    assert door("test", "--model", steady.run, "--input", steady.folder / "valid.tsv")[0] == 0
    tested = json.loads((steady.run / "scores.json").read_text())["test"]
    assert found == pytest.approx({name: tested[name] for name in found}, rel=1e-6)


def test_two_processes_end_well_whatever_would_abort_an_interpreter_that_ends(steady):
    script = steady.file("aborting_train.py", "import atexit, os, train\natexit.register(os.abort)\ntrain.main()\n")
    steady.config["training_params"]["max_epoch"] = 1
    assert "best accuracy" in launched(steady, 2, script=script)
    assert (steady.run / "weights.safetensors").exists()


@pytest.fixture
def policy(steady):
    """A policy over two teachers, whose last batch two processes cannot share evenly: it has 3 rows."""
    for name in ("good", "bad"):
        train(load_experiment(steady.path, [f"outputs.save_base_dir={steady.folder / name}"]), lambda _: None)
    rows = (steady.folder / "train.tsv").read_text().splitlines(keepends=True)
    steady.file("train.tsv", "".join([*rows, *rows[:2]]))
    runs = {name: {"type": "Run", "conf": {"path": str(steady.folder / name)}} for name in ("good", "bad")}
    steady.config |= {"teachers": runs, "weighting": {"type": "Reinforced", "conf": {"vector": "good.vector"}}}
    steady.config["loss"]["losses"].append({"type": "SoftTargetLoss", "inputs": ["output", "teachers"]})
    steady.config["trainer"] = {"type": "Reinforced", "conf": {"episode": 3}}
    steady.config["training_params"] |= {"batch_size": 8, "max_epoch": 3}
    return steady


def learnt(task):
    found = RunFolder(task.run).read_state()["objective"]
    return {name: value for name, value in found.items() if name.startswith("weighting.")}


def test_a_policy_learns_in_two_processes_who_is_right_as_in_one(policy):
    train(
        load_experiment(policy.path, ["training_params.batch_size=16", "training_params.max_epoch=1"]), lambda _: None
    )
    alone = learnt(policy)
    launched(policy, 2, "--force", "--set", "training_params.max_epoch=1")
    for name, value in learnt(policy).items():
        torch.testing.assert_close(value, alone[name], rtol=1e-3, atol=1e-5)


def test_two_processes_go_on_exactly_within_an_episode_of_a_policy(policy):
    """Epochs have 8 updates and episodes 3."""
    launched(policy, 2)
    whole = learnt(policy)
    launched(policy, 2, "--force", "--set", "training_params.max_epoch=2")
    launched(policy, 2, "--resume")
    assert all(torch.equal(value, whole[name]) for name, value in learnt(policy).items())


@pytest.fixture
def sharded(steady, tmp_path):
    """An encoder without dropout, and how to train it with its weights shared out."""
    steady.config["architecture"] = [
        {
            "layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"],
            "conf": {"model": str(write_encoder(tmp_path / "encoder")), "pooling": "cls", "dropout": 0.0},
        },
        {**steady.config["architecture"][-1], "inputs": ["encoder"]},
    ]  # fmt: skip
    optimizer = {"name": "SGD", "params": {"lr": 0.1, "momentum": 0.9}}  # Adam makes steps of rounding errors
    steady.config["training_params"] |= {"precision": "fp32", "adversarial": 0.1, "optimizer": optimizer}
    del steady.config["training_params"]["tokenizer"]
    return lambda *options: launched(steady, 2, *options, script=Path(__file__).with_name("sharding_train.py"))


def test_weights_that_are_shared_out_are_trained_as_whole_ones_and_go_on_where_they_stopped(steady, sharded, door):
    assert door("train", "--conf_path", steady.path)[0] == 0
    alone = weights(steady)
    steady.config["training_params"]["batch_size"] = 8
    sharded("--force")
    together = weights(steady)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-5)
    steady.config["training_params"]["max_epoch"] = 1
    sharded("--force")
    steady.config["training_params"]["max_epoch"] = 2
    sharded("--resume")
    assert all(torch.equal(value, together[name]) for name, value in weights(steady).items())
    assert door("test", "--model", steady.run)[0] == 0


def test_weights_that_nothing_is_learnt_from_do_not_stop_several_processes(steady, tmp_path):
    encoder = {
        "layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"],
        "conf": {"model": str(write_encoder(tmp_path / "encoder"))},
    }  # fmt: skip
    vector = {"layer_id": "vector", "layer": "Pooling", "conf": {"pool_type": "max"}, "inputs": ["encoder.hidden.2"]}
    steady.config["architecture"] = [encoder, vector, {**steady.config["architecture"][-1], "inputs": ["vector"]}]
    del steady.config["training_params"]["tokenizer"]
    said = launched(steady, 2)
    assert "best accuracy" in said


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_what_processes_cost_by_their_shares_is_what_all_rows_cost(count, reduction):
    specs = (Spec("BD", {"D": 3}), Spec("B", ids=True, labels=("a", "b", "c")))
    term = Term("CrossEntropyLoss", CrossEntropyLoss.Conf(reduction=reduction), ("out", "label"), specs, 0.7, None)
    objective, batch = Objective([term]), np.arange(4)
    logits, targets = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])

    def cost(rows, share=1.0):
        return objective({"out": Features(logits[rows])}, Batch(rows, {}, {"label": targets[rows]}), share)

    shares = [Processes(Alone(number, count)).share(batch) for number in range(count)]
    together = sum(share * cost(rows, share) for rows, share in shares if share)
    torch.testing.assert_close(together, cost(batch))


class Alone:
    """As many processes as one likes, of which this one is `process_index`."""

    def __init__(self, number, count):
        self.process_index, self.num_processes = number, count


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_are_a_partition_with_weights_that_sum_to_one_and_groups_stay_whole(count):
    batch, groups = np.array([4, 9, 2, 7]), np.arange(10) // 3
    for wanted in (None, groups):
        shares = [Processes(Alone(number, count)).share(batch, wanted) for number in range(count)]
        counted = [rows for rows, weight in shares if weight]
        assert sorted(np.concatenate(counted)) == sorted(batch)
        assert sum(weight for _, weight in shares) == pytest.approx(1.0)
        assert all(len(rows) for rows, _ in shares)
        if wanted is not None:
            owners = [set(groups[rows]) for rows in counted]
            assert sum(map(len, owners)) == len(set.union(*owners))
