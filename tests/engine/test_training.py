import json
import math

import pytest
import torch

from core.errors import UserError
from core.run_folder import RunFolder
from engine.experiment import load_experiment
from engine.training import train


def quiet(_):
    """Says nothing."""


def trained(task, *overrides, **more):
    return train(load_experiment(task.path, overrides), quiet, **more)


def weights(task):
    return RunFolder(task.run).read_state()["model"]


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_training_learns_and_keeps_the_best_model(task):
    scores = trained(task, "training_params.max_epoch=12")
    kept = json.loads((task.run / "scores.json").read_text())
    records = [json.loads(line) for line in (task.run / "metrics.jsonl").read_text().splitlines()]
    validations = [record for record in records if record["kind"] == "validation"]
    assert scores["accuracy"] > 0.7  # the larger class has about half of the rows
    assert kept["validation"]["accuracy"] == max(record["accuracy"] for record in validations)
    assert len(validations) == 12


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(task):
    trained(task)
    first = weights(task)
    trained(task, force=True)
    assert equal(first, weights(task))
    trained(task, "training_params.seed=2", force=True)
    assert not equal(first, weights(task))


class Stop(Exception):
    """Ends a training in the middle, as a kill would."""


@pytest.mark.parametrize(
    ("name", "stop_at", "precision"),
    [(*case, "fp32") for case in (("task", 3), ("task", 8), ("task", 9), ("task", 20), ("ranking", 25))]
    + [("task", 20, "bf16")],
)
def test_a_resumed_training_ends_in_exactly_the_weights_of_an_uninterrupted_one(
    request, monkeypatch, name, stop_at, precision
):
    task = request.getfixturevalue(name)
    overrides = (
        f"training_params.precision={precision}",
        "training_params.max_epoch=3",
        "training_params.steps_per_validation=3",
        "training_params.lr_decay=0.5",
    )
    trained(task, *overrides)
    whole, lines = weights(task), (task.run / "metrics.jsonl").read_text()

    from engine.trainers.standard import Standard

    update, count = Standard._update, [0]

    def dying(self, *args):
        count[0] += 1
        if count[0] > stop_at:
            raise Stop
        return update(self, *args)

    monkeypatch.setattr(Standard, "_update", dying)
    with pytest.raises(Stop):
        trained(task, *overrides, force=True)
    monkeypatch.setattr(Standard, "_update", update)
    trained(task, *overrides, resume=True)
    assert equal(whole, weights(task))
    validations = [line for line in lines.splitlines() if '"validation"' in line]
    assert [
        line for line in (task.run / "metrics.jsonl").read_text().splitlines() if '"validation"' in line
    ] == validations


def test_more_epochs_may_be_added_when_resuming_but_nothing_else(task):
    trained(task)
    trained(task, "training_params.max_epoch=3", resume=True)
    assert RunFolder(task.run).read_state()["progress"]["epoch"] == 3
    with pytest.raises(UserError, match="cannot resume, the config has changed since: metrics"):
        trained(task, 'metrics=["accuracy"]', resume=True)


def test_an_existing_run_is_not_overwritten_without_force(task):
    trained(task)
    before = (task.run / "weights.safetensors").read_bytes()
    with pytest.raises(UserError, match="holds a run already"):
        trained(task)
    assert (task.run / "weights.safetensors").read_bytes() == before


def test_accumulated_batches_give_the_gradient_of_the_whole(task):
    """Two batches of 60 rows in one update are one batch of 120: the mean of means of equal sizes."""
    plain = ["training_params.max_epoch=1", 'training_params.optimizer={"name": "SGD", "params": {"lr": 0.5}}']
    task.config["architecture"][2]["conf"]["dropout"] = 0.0
    trained(task, *plain, "training_params.batch_size=120")
    whole = weights(task)
    trained(task, *plain, "training_params.batch_size=60", "training_params.accumulation_steps=2", force=True)
    for name, tensor in weights(task).items():
        torch.testing.assert_close(tensor, whole[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_schedule_ends_with_the_last_batch_of_groups(ranking, accumulated):
    trained(
        ranking,
        "training_params.batch_size=12",
        f"training_params.accumulation_steps={accumulated}",
        "training_params.batch_num_to_show_results=1",
        'training_params.schedule={"name": "linear"}',
    )
    records = [json.loads(line) for line in (ranking.run / "metrics.jsonl").read_text().splitlines()]
    rates = [record["learning_rate"] for record in records if record["kind"] == "train"]
    rows = (ranking.folder / "train.tsv").read_text().count("\n")
    batches = 1 + math.ceil((rows - 20) / 12)  # a group of 20 rows is a batch of its own
    assert batches != math.ceil(rows / 12)
    assert len(rates) == 2 * math.ceil(batches / accumulated)
    assert rates == pytest.approx([0.01 * (1 - step / len(rates)) for step in range(len(rates))])


@pytest.mark.parametrize(
    ("setting", "steps"),
    [("valid_times_per_epoch=2", [4, 8, 12, 16]), ("steps_per_validation=3", [3, 6, 8, 9, 12, 15, 16])],
)
def test_validations_happen_when_the_config_says(task, setting, steps):
    trained(task, f"training_params.{setting}")
    records = [json.loads(line) for line in (task.run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if record["kind"] == "validation"] == steps


def test_without_a_number_of_epochs_early_stopping_ends_the_training(task):
    del task.config["training_params"]["max_epoch"]
    (notice,) = load_experiment(task.path).notices
    assert str(notice).startswith("training_params.max_epoch: is missing: training ends after 10 validations")
    trained(task, "training_params.optimizer.params.lr=0")  # no validation is better than the first
    records = [json.loads(line) for line in (task.run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records if record["kind"] == "validation"] == list(range(1, 12))
    with pytest.raises(UserError, match="training_params: schedule counts the steps to the end, so it needs max_epoch"):
        load_experiment(task.path, ['training_params.schedule={"name": "linear"}'])


def test_early_stopping_counts_validations_without_gain(task):
    trained(task, "training_params.max_epoch=50", "training_params.early_stop_patience=2", "training_params.seed=3")
    records = [json.loads(line) for line in (task.run / "metrics.jsonl").read_text().splitlines()]
    scores = [record["accuracy"] for record in records if record["kind"] == "validation"]
    assert len(scores) < 50
    assert max(scores[-2:]) <= max(scores[:-2])


def test_as_long_as_the_first_score_is_undefined_the_latest_model_is_kept(task):
    task.file("valid.tsv", "red cat\tup\nblue dog\tup\n")  # AUC needs rows of both labels
    task.config["metrics"] = ["auc@up", "accuracy"]
    task.config["training_params"] |= {"max_epoch": 5, "early_stop_patience": 2}
    lines: list[str] = []
    train(load_experiment(task.path), lines.append)
    assert lines[-1].startswith("best auc@up undefined at step 24;")


def test_a_loss_that_is_not_finite_stops_with_step_and_lines_and_keeps_the_checkpoint(task):
    with pytest.raises(
        UserError,
        match=r"the loss is (nan|inf) at step \d+ \(lines \d+, .*The model of the last validation, if any, is kept",
    ):
        trained(task, "training_params.lr_decay=1e38", "training_params.max_epoch=3")  # sound in the first epoch only
    assert RunFolder(task.run).read_state()["progress"]["step"] in (8, 16)
    assert all(tensor.isfinite().all() for tensor in RunFolder(task.run).read_weights()[0].values())
    assert "accuracy" in json.loads((task.run / "scores.json").read_text())["validation"]


def test_cuda_that_is_absent_is_refused(task, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="cuda is asked for, but torch finds no CUDA device"):
        trained(task, "training_params.device=cuda")
    assert not task.run.exists()


def test_fp16_on_a_cpu_is_refused(task):
    with pytest.raises(UserError, match="fp16 needs a CUDA device"):
        trained(task, "training_params.precision=fp16", "training_params.device=cpu")


def test_bf16_on_a_device_without_it_is_refused(task, monkeypatch):
    monkeypatch.setattr("engine.workplace.pick_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: False)
    with pytest.raises(UserError, match="this CUDA device has no bf16"):
        trained(task, "training_params.precision=bf16")


def test_bf16_on_a_cpu_trains(task):
    assert math.isfinite(trained(task, "training_params.precision=bf16", "training_params.device=cpu")["accuracy"])


def test_frozen_pretrained_vectors_stay_as_they_are(task):
    vectors = task.file("vectors.txt", "cat " + " ".join(["0.5"] * 8) + "\ndog " + " ".join(["-0.25"] * 8) + "\n")
    task.config["architecture"][0]["conf"]["word"]["fix_weight"] = True
    task.config["inputs"]["data_paths"]["pre_trained_emb"] = vectors
    trained(task)
    words = RunFolder(task.run).read_problem()["inputs"]["vocabularies"]["word"]
    (table,) = [t for name, t in weights(task).items() if name.endswith("word_table.weight")]
    assert torch.equal(table[len(words["specials"]) + words["words"].index("cat")], torch.full((8,), 0.5))
    assert torch.equal(table[0], torch.zeros(8))


def test_vectors_of_another_dimension_are_refused(task):
    task.config["inputs"]["data_paths"]["pre_trained_emb"] = task.file("vectors.txt", "cat 1 2 3\n")
    with pytest.raises(UserError, match=r"vectors.txt: the pretrained vectors have 3 features, but dim .* is 8"):
        trained(task)
