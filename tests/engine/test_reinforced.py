"""The trainer that teaches a student and the policy that chooses its teachers."""

import json

import pytest
import torch

from core.errors import ConfigError
from core.run_folder import RunFolder
from engine.experiment import load_experiment
from engine.objective import Objective
from engine.training import train


def trained(task, *overrides, **more):
    return train(load_experiment(task.path, overrides), lambda _: None, **more)


@pytest.fixture
def school(task):
    for name, epochs in (("good", 8), ("bad", 1)):
        trained(task, f"outputs.save_base_dir={task.folder / name}", f"training_params.max_epoch={epochs}")
    runs = {name: {"type": "Run", "conf": {"path": str(task.folder / name)}} for name in ("good", "bad")}
    soft = {"type": "SoftTargetLoss", "inputs": ["output", "teachers"]}
    task.config["loss"]["losses"].append(soft)
    task.config["teachers"] = runs
    task.config["weighting"] = {"type": "Reinforced", "conf": {"vector": "good.vector"}}
    task.config["trainer"] = {"type": "Reinforced", "conf": {"episode": 3}}
    task.config["training_params"] |= {"max_epoch": 3, "seed": 3}
    return task


def records(task):
    return [json.loads(line) for line in (task.run / "metrics.jsonl").read_text().splitlines()]


def test_the_average_teaches_first_then_the_policy_chooses_and_its_rewards_are_recorded(school):
    trained(school, "training_params.batch_num_to_show_results=1")
    steps = [record for record in records(school) if record["kind"] == "train"]
    first = [step for step in steps if step["epoch"] == 1]
    assert all(step["weight of good"] == pytest.approx(0.5) for step in first)
    assert not any("reward" in step for step in first)
    later = [step for step in steps if step["epoch"] > 1]
    assert any(step["weight of good"] != pytest.approx(0.5) for step in later)
    assert sum("reward" in step for step in later) == len(later) // 3
    assert all(step["reward"] < 0 for step in later if "reward" in step)
    assert all(0 <= step["time share of policy"] < 1 for step in steps)
    assert all(step["cost of good"] > 0 and 0 < step["time share of policy"] < 1 for step in later)
    assert "weight of good@where it is right" in later[-1]


def test_the_weights_of_a_policy_that_has_learnt_nothing_are_not_shown(school, door):
    code, out, err = door("train", "--conf_path", school.path, "--check_teachers")
    assert code == 0, err
    assert "good" in out and "weight" not in out


@pytest.mark.parametrize("conf", [{}, {"update": "paper"}, {"reward": 2}, {"reward": 3, "gamma": 0.3}])
@pytest.mark.parametrize("selection", ["choice", "weights"])
def test_every_reward_and_update_changes_the_policy(school, conf, selection):
    if selection == "weights" and conf.get("update") == "paper":
        return
    school.config["trainer"]["conf"] |= conf
    school.config["weighting"]["conf"]["selection"] = selection
    trained(school, "training_params.max_epoch=1")
    before = RunFolder(school.run).read_state()["objective"]
    trained(school, "training_params.max_epoch=2", resume=True)
    after = RunFolder(school.run).read_state()["objective"]
    assert not torch.equal(before["weighting.bias_K"], after["weighting.bias_K"])
    assert all(torch.isfinite(value).all() for value in after.values())


def test_a_score_of_which_less_is_better_is_a_negative_reward(school):
    school.config["trainer"]["conf"] |= {"reward": 3, "gamma": 0.0}
    school.config["metrics"] = ["log_loss"]
    trained(school, "training_params.max_epoch=2", "training_params.batch_num_to_show_results=1")
    first = next(record for record in records(school) if record["kind"] == "validation")
    rewards = [record["reward"] for record in records(school) if "reward" in record]
    assert rewards and rewards == pytest.approx([-first["log_loss"]] * len(rewards))


def test_rows_that_r_drop_reads_twice_are_chosen_for_and_rewarded_twice(school):
    trained(school, "training_params.r_drop=0.5", "training_params.batch_num_to_show_results=1")
    assert any("reward" in record for record in records(school))


@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_training_ends_with_the_same_student_and_policy(school, stop):
    """Epochs have 8 updates and episodes 3, so that a state lies within an episode."""
    trained(school)
    whole = RunFolder(school.run).read_state()
    trained(school, f"training_params.max_epoch={stop}", force=True)
    trained(school, resume=True)
    resumed = RunFolder(school.run).read_state()
    for part in ("model", "objective"):
        assert all(torch.equal(value, resumed[part][name]) for name, value in whole[part].items())


@pytest.mark.parametrize(
    ("options", "left", "of_each"), [([], 2, 1), (["accumulation_steps=2"], 1, 2), (["adversarial=0.1"], 2, 1)]
)
def test_every_choice_that_taught_is_remembered_once(school, options, left, of_each):
    """An epoch of 8 batches after the first, episodes of 3 updates: what is left is of an episode that has begun."""
    trained(school, "training_params.max_epoch=2", *(f"training_params.{option}" for option in options))
    episode = RunFolder(school.run).read_state()["kept"]["episode"]
    assert episode["updates"] == left and len(episode["choices"][0]) == left * of_each


def test_the_student_is_asked_for_its_reward_without_dropout(school, monkeypatch):
    seen = []
    parts = Objective.hard_and_soft

    def noted(self, *inputs):
        seen.append(self.training)
        return parts(self, *inputs)

    monkeypatch.setattr(Objective, "hard_and_soft", noted)
    trained(school)
    assert seen and not any(seen)


def test_a_policy_that_never_chooses_is_noticed(school):
    assert "average_epochs" not in str(load_experiment(school.path).notices)
    notices = load_experiment(school.path, ["trainer.conf.average_epochs=3"]).notices
    assert "trainer.conf.average_epochs: all 3 epochs come before the policy chooses." in map(str, notices)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (['trainer={"type": "Standard"}'], "weighting Reinforced learns only with trainer Reinforced"),
        (['weighting={"type": "Uniform"}'], "trainer Reinforced trains a policy: set weighting Reinforced"),
        (["inputs.data_paths.valid_data_path=null", "trainer.conf.reward=3"], "reward 3 reads validation scores"),
        (["loss.losses[0].inputs=[\"output\", \"good\"]", "loss.losses[0].type=SoftTargetLoss"], "there is none"),
        (["weighting.conf.vector=good.vektor"], "Did you mean 'vector'?"),
        (["weighting.conf.vector=good.states"], "weighting.conf.vector: expects B x D"),
        (["trainer.conf.update=paper", "weighting.conf.selection=weights"], "the paper's update is for a choice"),
    ],
)  # fmt: skip
def test_what_cannot_be_rewarded_is_refused_before_any_row_is_read(school, changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_experiment(school.path, changes)
