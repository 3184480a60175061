"""Trainings in stages."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import ConfigError, UserError
from core.run_folder import RunFolder
from engine.experiment import load_experiment
from engine.training import train


def trained(task, *overrides, **more):
    said: list[str] = []
    train(load_experiment(task.path, overrides), said.append, **more)
    return said


def weights(folder):
    return load_file(folder / "weights.safetensors")


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def staged(task):
    """Three epochs with one seed, then two with another loss and batch size."""
    first = {"training_params": {"max_epoch": 3, "seed": 5}}
    second = {"training_params": {"batch_size": 8}, "metrics": ["macro_f1"]}
    task.config["trainer"] = {"type": "Staged", "conf": {"stages": [first, second]}}
    return task


def test_each_stage_starts_from_the_weights_of_the_one_before(staged):
    said = trained(staged)
    assert [line for line in said if line.startswith("stage")] == ["stage 1 of 2", "stage 2 of 2"]
    together = weights(staged.run)
    stages = staged.config.pop("trainer")["conf"]["stages"]
    by_hand = staged.folder / "first"
    trained(staged, "training_params.max_epoch=3", "training_params.seed=5", f"outputs.save_base_dir={by_hand}")
    assert equal(weights(by_hand), weights(staged.run / "stages" / "1"))
    staged.config["training_params"] |= stages[1]["training_params"]
    staged.config["metrics"] = ["macro_f1"]
    staged.config["inputs"]["data_paths"]["pretrained_model_path"] = str(by_hand)
    trained(staged, force=True)
    assert equal(together, weights(staged.run))


def test_a_head_for_other_labels_is_made_anew_and_said_so(staged):
    rows = [line.split("\t")[0] for line in (staged.folder / "train.tsv").read_text().splitlines()]
    path = staged.file("other.tsv", "".join(f"{row}\t{'abc'[len(row) % 3]}\n" for row in rows))
    other = {"train_data_path": path, "valid_data_path": path}
    staged.config["trainer"]["conf"]["stages"][0]["inputs"] = {"data_paths": other}
    said = trained(staged)
    assert any("taken over: " in line and "states" in line for line in said)
    assert any("not taken over: output (other labels)" in line for line in said)


class Stop(Exception):
    """Ends a training in the middle, as a kill would."""


@pytest.mark.parametrize("at", [2, 5, 20, 26, 30])
def test_a_training_that_was_killed_in_any_stage_is_resumed_exactly(staged, monkeypatch, at):
    elsewhere = staged.folder / "elsewhere"
    trained(staged, "training_params.steps_per_validation=3", f"outputs.save_base_dir={elsewhere}")
    whole = weights(elsewhere)
    trained(staged, "training_params.steps_per_validation=3")
    for old in (staged.run, staged.run / "stages" / "1"):  # of an earlier training, which is to be replaced
        save_file({name: torch.zeros_like(weight) for name, weight in whole.items()}, old / "weights.safetensors")
    from engine.trainers.standard import Standard

    update, count = Standard._update, [0]

    def dying(self, *args):
        count[0] += 1
        if count[0] > at:
            raise Stop
        return update(self, *args)

    monkeypatch.setattr(Standard, "_update", dying)
    with pytest.raises(Stop):
        trained(staged, "training_params.steps_per_validation=3", force=True)
    monkeypatch.undo()
    said = trained(staged, "training_params.steps_per_validation=3", resume=True)
    assert ("stage 1 of 2 is finished" in said) == (at > 24)
    assert equal(whole, weights(staged.run))


def test_a_training_that_stopped_between_two_stages_goes_on(staged):
    trained(staged)
    whole = weights(staged.run)
    RunFolder(staged.run).clear()
    trained(staged, resume=True)
    assert equal(whole, weights(staged.run))


def test_a_finished_stage_is_not_gone_on_from_with_another_config(staged):
    trained(staged)
    RunFolder(staged.run).clear()
    with pytest.raises(UserError, match="cannot resume, the config has changed since: training_params.batch_size"):
        trained(staged, "trainer.conf.stages[0].training_params.batch_size=3", resume=True)


def test_more_epochs_are_no_more_of_a_stage_that_is_finished_and_it_is_said(staged):
    trained(staged)
    first = weights(staged.run / "stages" / "1")
    RunFolder(staged.run).clear()
    said = trained(staged, "trainer.conf.stages[0].training_params.max_epoch=9", resume=True)
    assert "note: max_epoch changed after it: it stays as it is" in said
    assert equal(first, weights(staged.run / "stages" / "1"))


def test_nobody_clears_the_run_of_a_later_stage_that_is_at_work(staged):
    trained(staged)
    before = weights(staged.run)
    with RunFolder(staged.run).locked(), pytest.raises(UserError, match="another training is at work"):
        trained(staged, force=True)
    assert equal(before, weights(staged.run))


def test_a_later_stage_begins_with_nothing_but_the_one_before(staged):
    stages = staged.config["trainer"]["conf"]["stages"]
    stages[1]["inputs"] = {"data_paths": {"pretrained_model_path": "/elsewhere"}}
    with pytest.raises(
        ConfigError, match=r"stages\[1\]: inputs.data_paths.pretrained_model_path: a later stage begins"
    ):
        load_experiment(staged.path)


def test_a_run_that_stopped_before_its_last_stage_says_how_it_goes_on(staged, door):
    trained(staged)
    RunFolder(staged.run).clear()
    code, _, err = door("test", "--model", staged.run)
    assert code == 2
    assert err == f"{staged.run}: its training stopped before the last stage; train.py --resume goes on.\n"


def test_no_stage_is_overwritten_unasked(staged):
    trained(staged)
    RunFolder(staged.run).clear()
    with pytest.raises(UserError, match="stages/1: holds a run already"):
        trained(staged)


def test_the_problems_of_all_stages_are_told_at_once(staged):
    stages = staged.config["trainer"]["conf"]["stages"]
    stages[0]["metrics"] = ["acuracy"]
    stages[1]["training_params"]["batch_size"] = 0
    with pytest.raises(ConfigError) as caught:
        load_experiment(staged.path)
    assert [finding.path for finding in caught.value.findings] == [
        "trainer.conf.stages[0]: metrics[0]",
        "trainer.conf.stages[1]: training_params.batch_size",
    ]


def test_every_teacher_that_is_missing_is_named_once_for_all_stages(staged):
    staged.config["teachers"] = {
        name: {"type": "Run", "conf": {"path": str(staged.folder / name)}} for name in ("big", "other")
    }
    with pytest.raises(ConfigError) as caught:
        load_experiment(staged.path)
    found = {finding.path: finding.message for finding in caught.value.findings}
    assert list(found) == ["teachers.big.conf.path", "teachers.other.conf.path"]
    assert "train the teacher first" in found["teachers.big.conf.path"]
    run = staged.folder / "othre"
    run.mkdir()
    (run / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="other.conf.path: no such run folder: .*Did you mean 'othre'"):
        load_experiment(staged.path)


def test_layers_that_the_next_stage_does_not_have_are_noticed(staged):
    assert not [notice for notice in load_experiment(staged.path).notices if "is lost" in str(notice)]
    layers = json.loads(json.dumps(staged.config["architecture"]).replace('"states"', '"others"'))
    staged.config["trainer"]["conf"]["stages"][1]["architecture"] = layers
    (notice,) = [notice for notice in load_experiment(staged.path).notices if "is lost" in str(notice)]
    told = "architecture: has no states, so what the stage before it learnt there is lost."
    assert str(notice) == f"trainer.conf.stages[1]: {told}"


@pytest.mark.parametrize("conf", [{}, {"stages": 3}, {"stages": [1]}, {"stages": []}, {"stages": [], "steps": 2}])
def test_what_is_no_list_of_stages_is_refused(task, conf):
    task.config["trainer"] = {"type": "Staged", "conf": conf}
    with pytest.raises(ConfigError, match=r"trainer"):
        load_experiment(task.path)


@pytest.mark.parametrize(
    ("overlay", "place"),
    [
        ({"outputs": {"save_base_dir": "elsewhere"}}, r"stages\[1\]: outputs.save_base_dir: all stages share one run"),
        ({"trainer": {"type": "Staged", "conf": {"stages": [{}, {}]}}}, r"stages\[1\]: trainer: Staged cannot stand"),
    ],
)
def test_what_belongs_to_all_stages_is_refused_in_one(staged, overlay, place):
    staged.config["trainer"]["conf"]["stages"][1] |= overlay
    with pytest.raises(ConfigError, match=place):
        load_experiment(staged.path)


def test_an_architecture_of_a_stage_may_name_a_file(staged, door):
    file = {"file": "classification/bilstm.json", "params": {"dim": 8, "hidden_dim": 4, "num_layers": 1}}
    staged.config["trainer"]["conf"]["stages"][0]["architecture"] = file
    code, out, err = door("train", "--conf_path", staged.path, "--check")
    assert code == 0, err
    first, second = out.split("stage 2 of 2")
    assert "Dropout    sentence" in first
    assert "Dropout    states" in second


def test_a_finished_run_says_so(task):
    trained(task)
    assert json.loads((task.run / "scores.json").read_text())["finished"] is True
    assert RunFolder(task.run).is_finished
