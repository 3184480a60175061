"""Trainings that are killed or interrupted in a process of their own, and go on."""

import signal
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from core.run_folder import RunFolder
from engine.experiment import load_experiment
from engine.training import train

EPOCHS = "training_params.max_epoch=40"


def start(task, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", ROOT / "train.py", "--conf_path", task.path, "--set", EPOCHS, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stopped_after(task, epoch: int, number: signal.Signals) -> tuple[int, str]:
    """Train until the line of an epoch comes, send the signal: exit code and errors."""
    process = start(task)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"epoch {epoch},"):
            process.send_signal(number)
            break
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_keeps_its_model_and_resumes_to_the_weights_of_an_uninterrupted_one(task, number):
    code, err = stopped_after(task, 3, number)
    assert code == (-9 if number == signal.SIGKILL else 130)
    assert "Traceback" not in err
    run = RunFolder(task.run)
    done = run.read_state()["progress"]
    assert 2 <= done["epoch"] < 40  # a kill may come between the line and the state
    assert run.read_weights()[0]
    process = start(task, "--resume")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"epoch {done['epoch'] + 1}, " in out and "epoch 1, " not in out
    resumed = run.read_state()["model"]
    train(load_experiment(task.path, [EPOCHS]), lambda _: None, force=True)
    whole = run.read_state()["model"]
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
