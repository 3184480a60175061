"""What only a CUDA device shows: `make test-gpu`."""

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from tiny_encoders import write_encoder

from core.run_folder import RunFolder
from engine.experiment import load_experiment
from engine.objective import Objective
from engine.training import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
DEVICE = "cuda"


def trained(path, *overrides, said=print, **more):
    return train(load_experiment(path, [f"training_params.device={DEVICE}", *overrides]), said, **more)


def with_encoder(task, folder: Path, **conf) -> None:
    layer = {"layer_id": "encoder", "layer": "PretrainedEncoder", "inputs": ["sentence"]}
    layer["conf"] = {"model": str(write_encoder(folder)), "pooling": "cls", **conf}  # type: ignore[assignment]
    task.config["architecture"] = [layer, {**task.config["architecture"][-1], "inputs": ["encoder"]}]
    del task.config["training_params"]["tokenizer"]


@pytest.mark.parametrize("config", sorted((ROOT / "configs/demo").glob("*.json")), ids=lambda path: path.stem)
def test_every_problem_trains_and_its_run_has_the_same_scores_on_a_cpu(config, door, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    run = tmp_path / "run"
    scores = trained(
        config, f"outputs.save_base_dir={run}", "training_params.max_epoch=1", "training_params.precision=fp32"
    )
    valid = load_experiment(config).conf.inputs.data_paths.valid_data_path
    assert door("test", "--model", run, "--device", "cpu", "--input", valid)[0] == 0
    tested = json.loads((run / "scores.json").read_text())["test"]
    assert {name: tested[name] for name in scores} == pytest.approx(scores, abs=0.01, nan_ok=True)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("encoder", [False, True])
def test_a_training_goes_on_exactly_where_it_stopped_in_every_precision(task, tmp_path, precision, encoder):
    if encoder:
        with_encoder(task, tmp_path / "encoder", gradient_checkpointing=True)
    task.config["training_params"] |= {"precision": precision, "ema": 0.9, "accumulation_steps": 2}
    trained(task.path)
    whole = RunFolder(task.run).read_state()
    trained(task.path, "training_params.max_epoch=1", force=True)
    trained(task.path, resume=True)
    resumed = RunFolder(task.run).read_state()
    assert whole["scaler"] == resumed["scaler"]
    for part in ("model", "average"):
        assert all(torch.equal(value, resumed[part][name]) for name, value in whole[part].items())


def test_layers_are_compiled(task, tmp_path):
    with_encoder(task, tmp_path / "encoder", dropout=0.0)
    task.config["training_params"] |= {"compile": True, "precision": "bf16", "max_epoch": 1}
    said: list[str] = []
    assert math.isfinite(trained(task.path, said=said.append)["accuracy"])
    assert "compiled: 4 layers inside of blocks" in said


@pytest.mark.parametrize("encoder", [False, True])
def test_no_step_waits_for_the_device(task, tmp_path, monkeypatch, encoder):
    if encoder:
        with_encoder(task, tmp_path / "encoder")
    task.config["training_params"] |= {"precision": "bf16", "max_epoch": 1, "batch_num_to_show_results": 1000}
    steps, loss_of = itertools.count(), Objective.forward

    def watched(*arguments):
        torch.cuda.set_sync_debug_mode("error" if next(steps) in (2, 3) else "default")
        return loss_of(*arguments)

    monkeypatch.setattr(Objective, "forward", watched)
    trained(task.path)
    assert next(steps) > 4
