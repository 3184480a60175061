"""Students that learn from teachers, through the doors and the engine."""

import json
import math
import shutil
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_encoders import write_encoder
from transformers import AutoConfig, AutoModelForSequenceClassification

from core.errors import ConfigError, UserError
from core.run_folder import RunFolder
from core.types import Features, Spec
from distillation import Run
from distillation.ensemble import mean_answer
from engine.experiment import load_experiment
from engine.predictor import Predictor
from engine.teaching import Asked
from engine.training import train
from losses.teacher_loss import same_tokens


def trained(task, *overrides, said=None, **more):
    return train(load_experiment(task.path, overrides), (said if said is not None else []).append, **more)


def weights(folder):
    return load_file(folder / "weights.safetensors")


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


SOFT = {"type": "SoftTargetLoss", "conf": {"temperature": 2}, "inputs": ["output", "big"]}


@pytest.fixture
def school(task):
    """A task with two trained teachers, `big` and `other`, and a student that learns from the first."""
    for name, seed in (("big", 1), ("other", 2)):
        trained(
            task,
            f"outputs.save_base_dir={task.folder / name}",
            f"training_params.seed={seed}",
            "training_params.max_epoch=8",
        )
    task.config["teachers"] = {"big": {"type": "Run", "conf": {"path": str(task.folder / "big")}}}
    task.config["loss"]["losses"] = [SOFT]
    task.config["training_params"]["seed"] = 3
    return task


def problems(task, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_experiment(task.path, overrides)
    return str(caught.value)


def test_a_student_of_one_teacher_comes_to_answer_as_it_does(school):
    trained(school, "training_params.max_epoch=25")
    rows = [line.split("\t")[0] for line in (school.folder / "train.tsv").read_text().splitlines()]

    def answers(folder):
        found = Predictor.load(folder).predict([{"text": row} for row in rows])
        return [prediction.cells["prediction"] for prediction in found]

    student, teacher = answers(school.run), answers(school.folder / "big")
    agreement = sum(mine == its for mine, its in zip(student, teacher, strict=True)) / len(rows)
    largest = max(teacher.count(label) for label in set(teacher)) / len(rows)
    assert agreement > max(0.9, largest)


def test_a_distilled_student_needs_no_teacher_to_be_used(school, door):
    trained(school)
    shutil.rmtree(school.folder / "big")
    code, out, err = door("test", "--model", school.run)
    assert code == 0, err
    assert "accuracy" in out
    code, _, err = door("predict", "--model", school.run, "--output", school.folder / "out.tsv")
    assert code == 0, err


def test_online_and_from_the_store_a_student_learns_the_same(school):
    school.config["training_params"]["optimizer"] = {"name": "SGD", "params": {"lr": 0.5}}
    trained(school)
    stored = weights(school.run)
    trained(school, "teachers.big.online=true", force=True)
    online = weights(school.run)
    assert all(torch.allclose(stored[name], online[name], atol=1e-3) for name in stored)
    assert not equal(stored, online)  # the store rounds


def test_found_answers_lead_to_the_same_student_as_made_ones(school):
    said: list[str] = []
    trained(school, said=said)
    assert any("teacher 'big': answered 120 rows" in line for line in said)
    first, said = weights(school.run), []
    trained(school, said=said, force=True)
    assert any("teacher 'big': 120 rows from the store" in line for line in said)
    assert equal(first, weights(school.run))


def test_labels_are_matched_by_name(school):
    """The teacher knows them in another order: by name its answers are right, by place they would be wrong."""
    school.config["inputs"]["labels"] = ["down", "up"]
    trained(school, "training_params.max_epoch=12", f"outputs.save_base_dir={school.folder / 'listed'}")
    school.config["inputs"]["labels"] = ["up", "down"]
    trained(school, "training_params.max_epoch=12")
    first, second = (Predictor.load(folder) for folder in (school.folder / "listed", school.run))
    rows = [{"text": "cat tree"}, {"text": "tree cat"}, {"text": "red blue"}, {"text": "bird small large"}]
    said = [[p.cells["confidence"] for p in predictor.predict(rows)] for predictor in (first, second)]
    assert [p.cells["prediction"] for p in first.predict(rows)] == [p.cells["prediction"] for p in second.predict(rows)]
    assert said[0] == pytest.approx(said[1], abs=0.35)


def test_a_teacher_with_other_labels_is_refused_with_both_lists(school):
    school.config["inputs"]["labels"] = ["up", "sideways"]
    assert "teachers.big.conf: knows the labels " in problems(school)
    assert "but those here are up, sideways" in problems(school)


def test_a_teacher_with_another_architecture_tokenizer_and_column_names_teaches(task):
    encoder = write_encoder(task.folder / "encoder")
    config = json.loads(json.dumps(task.config))
    task.config["inputs"]["file_header"] = {"words": 0, "label": 1}
    task.config["inputs"]["model_inputs"] = {"sentence": ["words"]}
    task.config["architecture"] = [
        {"layer_id": "encoder", "layer": "PretrainedEncoder", "conf": {"model": str(encoder), "pooling": "mean"},
         "inputs": ["sentence"]},
        {"layer_id": "output", "layer": "Linear", "conf": {"hidden_dim": -1}, "inputs": ["encoder"],
         "output_layer_flag": True},
    ]  # fmt: skip
    trained(task, f"outputs.save_base_dir={task.folder / 'big'}")
    task.config = config
    conf = {"path": str(task.folder / "big"), "columns": {"words": "text"}}
    task.config["teachers"] = {"big": {"type": "Run", "conf": conf}}
    task.config["loss"]["losses"] = [SOFT]
    said: list[str] = []
    trained(task, said=said)
    assert any("answered 120 rows" in line for line in said)
    task.config["teachers"]["big"]["conf"] = {"path": str(task.folder / "big")}
    with pytest.raises(UserError, match="words"):
        trained(task, force=True)


def test_a_checkpoint_of_transformers_teaches(task):
    folder = write_encoder(task.folder / "checkpoint")
    settings = AutoConfig.from_pretrained(folder, id2label={0: "LABEL_0", 1: "LABEL_1"})
    AutoModelForSequenceClassification.from_config(settings).save_pretrained(folder)
    task.config["teachers"] = {"big": {"type": "Transformers", "conf": {"model": str(folder)}}}
    task.config["loss"]["losses"] = [SOFT, {"type": "HiddenMSELoss", "inputs": ["vector", "big.pooled"]}]
    with pytest.raises(
        ConfigError,
        match=r"teachers.big.conf: knows the labels LABEL_0, LABEL_1, but .* First rows: down, up. Say in labels",
    ):
        trained(task)
    task.config["teachers"]["big"]["conf"]["labels"] = ["down", "up"]
    said: list[str] = []
    trained(task, said=said)
    assert any("teacher 'big': answered 120 rows" in line for line in said)


def test_several_teachers_are_weighed_and_their_weights_recorded(school):
    school.config["teachers"]["other"] = {"type": "Run", "conf": {"path": str(school.folder / "other")}}
    school.config["loss"]["losses"] = [{**SOFT, "inputs": ["output", "teachers"]}]
    school.config["weighting"] = {"type": "Fixed", "conf": {"weights": {"big": 3, "other": 1}}}
    trained(school)
    record = json.loads((school.run / "metrics.jsonl").read_text().splitlines()[0])
    assert (record["weight of big"], record["weight of other"]) == pytest.approx((0.75, 0.25))


def test_at_a_validation_the_weights_are_told_by_label_and_by_who_is_right(school):
    school.config["teachers"]["other"] = {"type": "Run", "conf": {"path": str(school.folder / "other")}}
    school.config["loss"]["losses"] = [{**SOFT, "inputs": ["output", "teachers"]}]
    school.config["weighting"] = {"type": "BestPerExample"}
    trained(school)
    records = [json.loads(line) for line in (school.run / "metrics.jsonl").read_text().splitlines()]
    told = [record for record in records if "weight of big@up" in record]
    validated = [record["step"] for record in records if record["kind"] == "validation"]
    assert [record["step"] for record in told] == validated
    labels = [line.split("\t")[1] for line in (school.folder / "train.tsv").read_text().splitlines()]
    share = labels.count("up") / len(labels)
    steps = [record for record in records if record["kind"] == "train" and record["epoch"] == 1]
    assert len(steps) == 1, "the mean below is that of all batches of the epoch"
    mean = share * told[0]["weight of big@up"] + (1 - share) * told[0]["weight of big@down"]
    assert mean == pytest.approx(steps[0]["weight of big"], abs=0.02)
    for label in ("up", "down"):
        assert told[0][f"weight of big@{label}"] + told[0][f"weight of other@{label}"] == pytest.approx(1)
    assert "weight of other@where it is right" in told[0]


def test_the_weighted_loss_is_the_weighted_sum_of_the_losses_of_the_teachers(school):
    school.config["teachers"]["other"] = {"type": "Run", "conf": {"path": str(school.folder / "other")}}
    school.config["weighting"] = {"type": "Fixed", "conf": {"weights": {"big": 3, "other": 1}}}
    school.config["loss"]["losses"] = [{**SOFT, "inputs": ["output", "teachers"]}]
    trained(school)
    together = weights(school.run)
    school.config["loss"]["losses"] = [
        {**SOFT, "weight": 0.75},
        {**SOFT, "inputs": ["output", "other"], "weight": 0.25},
    ]
    trained(school, force=True)
    apart = weights(school.run)
    assert all(torch.allclose(together[name], apart[name], atol=1e-5) for name in together)


def test_an_ensemble_is_the_mean_of_the_probabilities_of_its_members(school):
    """Cross-entropy is linear in the probabilities: the mean teacher is the uniform weighting."""
    school.config["teachers"] |= {
        "other": {"type": "Run", "conf": {"path": str(school.folder / "other")}},
        "all": {"type": "Ensemble", "conf": {"teachers": ["big", "other"]}},
    }
    loss = {"type": "SoftTargetLoss", "conf": {"divergence": "ce"}, "inputs": ["output", "all"]}
    school.config["loss"]["losses"] = [loss]
    trained(school)
    mean = weights(school.run)
    school.config["loss"]["losses"] = [{**loss, "inputs": ["output", "teachers"]}]
    school.config["weighting"] = {"type": "Uniform", "conf": {"teachers": ["big", "other"]}}
    trained(school, force=True)
    assert all(torch.allclose(mean[name], value, atol=1e-4) for name, value in weights(school.run).items())


def test_members_without_weight_do_not_answer_for_others():
    silent = Features(torch.zeros(2, 2), torch.tensor([True, False]))
    answer = Features(torch.ones(2, 2), torch.tensor([True, True]))
    mean = mean_answer([silent, answer], Spec("BD", {"D": 2}), [1.0, 0.0])
    assert mean.mask is not None and mean.mask.tolist() == [True, False]


def test_a_teacher_that_is_asked_for_rows_that_it_cannot_read_gives_nothing_for_them():
    states = Features(torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), torch.tensor([3, 3]))
    teacher: Any = SimpleNamespace(answer=lambda rows, places, addresses: {"states": states})
    found = Asked(teacher, cast(Any, None), ["states"], np.array([5, -1])).features(np.array([0, 1]))["states"]
    assert found.real_mask().sum(1).tolist() == [3, 0]
    student = Features(torch.ones(2, 3, 4), states.mask, torch.tensor([3, 2]))
    assert same_tokens(student, found).sum(1).tolist() == [3, 0]  # of the second row there is nothing to compare


def test_scores_of_some_rows_teach_beside_the_labels(school):
    rows = (school.folder / "train.tsv").read_text().splitlines()
    scored = [f"{row}\t{'' if at % 3 else '0.9'}" for at, row in enumerate(rows)]
    (school.folder / "train.tsv").write_text("\n".join(scored) + "\n")
    for name in ("valid", "test"):
        rows = (school.folder / f"{name}.tsv").read_text().splitlines()
        (school.folder / f"{name}.tsv").write_text("".join(f"{row}\t\n" for row in rows))
    school.config["inputs"]["file_header"]["score"] = 2
    school.config["inputs"]["positive_label"] = "up"
    school.config["teachers"] = {"big": {"type": "Scores", "conf": {"kind": "score", "column": "score"}}}
    school.config["loss"]["losses"].append({"type": "CrossEntropyLoss", "inputs": ["output", "label"]})
    said: list[str] = []
    trained(school, said=said)
    assert "teacher 'big' has no answer for 80 of 120 rows; no loss reads it there" in said


def test_inner_states_of_a_teacher_have_addresses(school):
    hidden = {"type": "HiddenMSELoss", "inputs": ["states", "big.states"]}
    school.config["loss"]["losses"] = [SOFT, hidden]
    school.config["architecture"][1]["conf"]["hidden_dim"] = 4
    trained(school)
    first = [json.loads(line) for line in (school.run / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in first if record["kind"] == "train"]
    assert losses[-1] < losses[0]
    assert "teacher 'big' does not have 'sttes'. Did you mean 'states'?" in problems(
        school, 'loss.losses[1].inputs=["states", "big.sttes"]'
    )
    assert "loss.losses[1]" in problems(school, "loss.losses[1].conf.projection=false")


def test_a_teacher_that_is_weighed_by_its_score_gives_inner_states_too(school):
    school.config["teachers"]["more"] = school.config["teachers"]["big"]
    soft = {"type": "SoftTargetLoss", "inputs": ["output", "teachers"]}
    hidden = {"type": "HiddenMSELoss", "inputs": ["vector", "big.vector"]}
    school.config["loss"]["losses"] = [soft, hidden]
    school.config["weighting"] = {"type": "ByValidationScore"}
    trained(school)


def test_what_a_loss_learns_itself_is_trained_kept_and_resumed(school):
    """A projection of the student's states to the teacher's width."""
    school.config["loss"]["losses"] = [{"type": "HiddenMSELoss", "inputs": ["states", "big.states"]}, SOFT]
    school.config["architecture"][1]["conf"]["hidden_dim"] = 4
    trained(school, "training_params.max_epoch=3")
    whole = RunFolder(school.run).read_state()
    trained(school, "training_params.max_epoch=1", force=True)
    (early,) = [RunFolder(school.run).read_state()["objective"]]
    trained(school, "training_params.max_epoch=3", resume=True)
    resumed = RunFolder(school.run).read_state()
    assert whole["objective"]
    assert equal(whole["objective"], resumed["objective"])
    assert equal(whole["model"], resumed["model"])
    assert not equal(early, whole["objective"])


def test_a_resumed_student_ends_as_an_uninterrupted_one(school):
    overrides = ["training_params.max_epoch=3"]
    trained(school, *overrides)
    whole = RunFolder(school.run).read_state()["model"]
    trained(school, "training_params.max_epoch=2", force=True)
    trained(school, *overrides, resume=True)
    assert equal(whole, RunFolder(school.run).read_state()["model"])


def test_a_training_does_not_go_on_with_a_teacher_that_was_trained_again(school):
    trained(school)
    shutil.rmtree(school.folder / "big")
    (school.folder / "other").rename(school.folder / "big")
    with pytest.raises(UserError, match="run: cannot resume, other teachers than before: big"):
        trained(school, "training_params.max_epoch=3", resume=True)


def test_a_weight_that_moves_begins_and_ends_as_it_says(school):
    """From a weight of 1 to 0: the last updates change nothing any more."""
    ramp = {"start": 1, "end": 0, "until": 0.5}
    school.config["loss"]["losses"] = [{**SOFT, "weight": ramp}]
    school.config["training_params"]["optimizer"] = {"name": "SGD", "params": {"lr": 0.1}}
    trained(school, "training_params.max_epoch=4")
    whole = RunFolder(school.run).read_state()["model"]
    losses = [json.loads(line) for line in (school.run / "metrics.jsonl").read_text().splitlines()]
    by_epoch = {record["epoch"]: record["loss"] for record in losses if record["kind"] == "train"}
    assert by_epoch[1] > 0
    assert by_epoch[4] == 0
    assert len(whole) > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ('teachers.big.conf.path="nowhere"', "teachers.big.conf.path: no such run folder: nowhere."),
        ('teachers.big.type="Rum"', "teachers.big.type: no teacher is called \"Rum\". Did you mean 'Run'?"),
        ('loss.losses[0].inputs=["output", "bug"]', "no layer or input is called 'bug'. Did you mean 'big'?"),
        ('teachers={"teachers": {"type": "Run", "conf": {"path": "x"}}}', "teachers.teachers: means all of them"),
        ('weighting={"type": "Unform"}', "weighting.type: no weighting is called \"Unform\". Did you mean 'Uniform'?"),
        ('teachers.all={"type": "Ensemble", "conf": {"teachers": ["big", "bug"]}}', "no teacher before it is called 'bug'"),
        (
            'teachers={"a": {"type": "Run", "conf": {"path": "{folder}/big"}},'
            ' "b": {"type": "Run", "conf": {"path": "{folder}/other"}},'
            ' "both": {"type": "Ensemble", "conf": {"teachers": ["a", "b"]}},'
            ' "all": {"type": "Ensemble", "conf": {"teachers": ["a", "both"]}}}',
            "teachers.all.conf: 'both' is made of other teachers itself: name those.",
        ),
        ("loss.losses[0].conf.temperature=0", "temperature"),
        ('loss.losses[0].inputs=["big", "output"]', "losses[0].inputs: what the student gives comes first, then teacher 'big'."),
        (
            'loss.losses[0].inputs=["teachers", "output"]',
            "losses[0].inputs: what the student gives comes first, then teacher 'big'.",
        ),
        (
            'loss.losses[0].inputs=["output", "label"]',
            "losses[0].inputs[1]: 'label' is a target column; SoftTargetLoss reads a teacher there.",
        ),
        (
            'loss.losses[0].inputs=["output", "vector"]',
            "losses[0].inputs[1]: 'vector' is no teacher; SoftTargetLoss reads one there.",
        ),
        (
            'teachers.big.conf.columns={"tekst": "text"}',
            "teachers.big.conf.columns: the teacher reads no column 'tekst'. Did you mean 'text'?",
        ),
        (
            'teachers.big.conf.columns={"text": "txet"}',
            "teachers.big.conf.columns: {folder}/train.tsv: has no column 'txet'. Did you mean 'text'?",
        ),
        (
            'teachers.big={"type": "Scores", "conf": {"kind": "score", "column": "lable"}}',
            "teachers.big.conf.column: {folder}/train.tsv: has no column 'lable'. Did you mean 'label'?",
        ),
        (
            'teachers.big={"type": "Scores", "conf": {"kind": "logits", "columns": {"up": "text", "down": "dwn"}}}',
            "teachers.big.conf.columns.down: {folder}/train.tsv: has no column 'dwn'.",
        ),
        (
            'teachers.big={"type": "Scores", "conf": {"kind": "score", "column": "score", "path": "scores.tsv"}}',
            "teachers.big.conf.path: scores.tsv: no such file.",
        ),
        (
            'teachers.states={"type": "Run", "conf": {"path": "{folder}/other"}}',
            "1 problem\n  teachers.states: is the name of a layer, an input or a column, too; rename one.",
        ),
        (
            'loss.losses[0].weight={"start": 1, "end": 0, "begin": 0.5, "until": 0.2}',
            "1 problem\n  loss.losses[0].weight: until must be above begin (0.5), got 0.2.",
        ),
        (
            'loss.losses[0].conf.temperature={"start": 4, "end": 1, "begin": 0.5, "until": 0.2}',
            "1 problem\n  loss.losses[0].conf.temperature: until must be above begin",
        ),
        ("training_params.r_drop=1", "training_params.r_drop: compares answers to a target, but no loss reads one."),
        ('loss.losses[0].conf.temperature={"start": 4, "end": 0}', "temperature must be above 0"),
    ],
)  # fmt: skip
def test_a_wrong_teacher_is_found_before_any_row_is_read(school, change, sentence):
    folder = str(school.folder)
    assert sentence.replace("{folder}", folder) in problems(school, change.replace("{folder}", folder))


def test_labels_that_a_teacher_does_not_know_are_found_in_the_first_rows(school):
    rows = (school.folder / "train.tsv").read_text().replace("\tup", "\tupp")
    school.file("other.tsv", rows)
    school.config["inputs"]["data_paths"]["train_data_path"] = str(school.folder / "other.tsv")
    said = problems(school)
    assert "teachers.big.conf: knows the labels " in said
    assert "has 'upp'. Did you mean 'up'?" in said
    columns = {"up": "text", "down": "text"}
    school.config["teachers"]["big"] = {"type": "Scores", "conf": {"kind": "logits", "columns": columns}}
    assert "teachers.big.conf: knows the labels up, down, but " in problems(school)


def test_a_file_of_scores_is_joined_by_an_id_that_both_files_have(school):
    scores = school.file("scores.tsv", "name\tscore\n1\t0.5\n")
    conf = {"kind": "score", "column": "score", "path": scores, "id": "nam"}
    school.config["teachers"]["big"] = {"type": "Scores", "conf": conf}
    assert f"teachers.big.conf.id: {scores}: has no column 'nam'. Did you mean 'name'?" in problems(school)
    conf["id"] = "name"
    assert f"teachers.big.conf.id: {school.folder / 'train.tsv'}: has no column 'name'." in problems(school)


def test_scores_of_the_training_rows_alone_do_not_serve_where_others_are_asked_for(school):
    (school.folder / "scores.tsv").write_text("score\n" + "0.5\n" * 120)
    conf = {"kind": "score", "column": "score", "path": str(school.folder / "scores.tsv")}
    school.config["teachers"]["scores"] = {"type": "Scores", "conf": conf}
    school.config["loss"]["losses"] = [{**SOFT, "inputs": ["output", "teachers"]}]
    school.config["weighting"] = {"type": "Uniform"}
    load_experiment(school.path)
    school.config["weighting"] = {"type": "ByValidationScore"}
    paths, place = school.config["inputs"]["data_paths"], "teachers.scores.conf.id: has the scores of the training rows"
    valid = paths["valid_data_path"]
    found = problems(school)
    assert f"{place} alone, row by row. Name a column in id, for {valid} needs scores, too." in found
    paths["unlabelled_data_path"] = paths["train_data_path"]
    assert f"for {paths['train_data_path']} and {valid} need scores, too." in problems(school)


def test_teachers_are_not_weighed_by_the_rows_of_the_test(school):
    school.config["teachers"]["other"] = {"type": "Run", "conf": {"path": str(school.folder / "other")}}
    school.config["loss"]["losses"] = [{**SOFT, "inputs": ["output", "teachers"]}]
    school.config["weighting"] = {"type": "ByValidationScore"}
    paths = school.config["inputs"]["data_paths"]
    paths["test_data_path"] = paths.pop("valid_data_path")
    assert (
        "weighting: ByValidationScore reads validation scores: inputs.data_paths.valid_data_path is missing."
        in problems(school)
    )


def test_a_weighting_with_a_single_teacher_is_noted(school):
    school.config["loss"]["losses"] = [{**SOFT, "inputs": ["output", "teachers"]}]
    school.config["weighting"] = {"type": "Confidence"}
    assert "weighting: weighs 'big' alone." in map(str, load_experiment(school.path).notices)


def test_a_run_that_was_never_trained_is_no_teacher(school):
    (school.folder / "big" / "weights.safetensors").unlink()
    assert "big: has no model, weights.safetensors is missing" in problems(school)


def test_a_teacher_whose_weights_are_cut_off_is_found_before_any_row_is_read(school):
    path = school.folder / "big" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "teachers.big.conf.path: " in (said := problems(school)) and "weights.safetensors: damaged" in said


def test_no_training_writes_over_its_teacher(school):
    kept = weights(school.folder / "big")
    school.config["outputs"]["save_base_dir"] = str(school.folder / "big" / ".." / "big")
    sentence = "is the folder that this training writes; name another in outputs.save_base_dir."
    with pytest.raises(ConfigError) as caught:
        trained(school, force=True)
    assert [str(finding) for finding in caught.value.findings] == [f"teachers.big.conf.path: {sentence}"]
    assert equal(weights(school.folder / "big"), kept)


def test_a_teacher_that_is_not_trained_to_its_end_is_noticed(school):
    path = school.folder / "big" / "scores.json"
    path.write_text(path.read_text().replace("finished", "begun"))
    said = [str(notice) for notice in load_experiment(school.path).notices]
    assert "teachers.big.conf: its training has not come to its end; the best model so far teaches." in said


def test_a_teacher_of_another_problem_is_refused(school):
    school.config["inputs"] |= {"dataset_type": "regression"}
    school.config["metrics"] = ["mse"]
    assert "answers with a label of each row, but here the answer is a number." in problems(school)


def test_idle_teachers_and_weightings_are_noticed(school):
    school.config["teachers"]["other"] = {"type": "Run", "conf": {"path": str(school.folder / "other")}}
    school.config["weighting"] = {"type": "Confidence"}
    said = [str(notice) for notice in load_experiment(school.path).notices]
    assert "teachers.other: has no effect. No loss reads it." in said
    both = {"type": "Ensemble", "conf": {"teachers": ["big", "other"]}, "online": True}
    school.config["teachers"]["both"] = both
    (online,) = (notice for notice in load_experiment(school.path).notices if notice.path == "teachers.both.online")
    assert online.message == "has no effect. Each of its members answers as that one's says."
    assert "weighting: has no effect. No loss reads 'teachers'." in said


def test_a_teacher_that_gives_the_policy_its_vector_is_not_idle(school):
    school.config["teachers"]["other"] = {"type": "Run", "conf": {"path": str(school.folder / "other")}}
    hard = {"type": "CrossEntropyLoss", "inputs": ["output", "label"]}
    school.config["loss"]["losses"] = [hard, {**SOFT, "inputs": ["output", "teachers"]}]
    school.config["weighting"] = {"type": "Reinforced", "conf": {"teachers": ["big"], "vector": "other.vector"}}
    school.config["trainer"] = {"type": "Reinforced"}
    noted = [str(notice) for notice in load_experiment(school.path).notices]
    assert noted == ["weighting: weighs 'big' alone."]


def test_numbers_that_move_need_the_length_of_the_training(school):
    del school.config["training_params"]["max_epoch"]
    said = problems(school, 'loss.losses[0].weight={"start": 1, "end": 0}')
    assert "training_params.max_epoch: is missing, but a number of the losses moves until the end." in said


def test_the_report_shows_what_teachers_are_worth(school, door):
    school.config["teachers"]["other"] = {"type": "Run", "conf": {"path": str(school.folder / "other")}}
    school.config["loss"]["losses"] = [{**SOFT, "inputs": ["output", "teachers"]}]
    code, out, err = door("train", "--conf_path", school.path, "--check_teachers")
    assert code == 0, err
    table = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    for name in ("big", "other"):
        kept = json.loads((school.folder / name / "scores.json").read_text())["validation"]
        assert float(table[name][0]) == pytest.approx(kept["accuracy"], abs=1e-4)
    assert {"average", "big,", "weight", "up", "down"} <= table.keys()
    assert not school.run.exists()


def test_the_report_weighs_an_ensemble_and_counts_less_of_a_loss_as_more(school, door):
    trained(school, f"outputs.save_base_dir={school.folder / 'other'}", "training_params.max_epoch=1", force=True)
    school.config["teachers"]["other"] = {"type": "Run", "conf": {"path": str(school.folder / "other")}}
    school.config["teachers"]["both"] = {"type": "Ensemble", "conf": {"teachers": ["big", "other"]}}
    school.config["loss"]["losses"] = [{**SOFT, "inputs": ["output", "teachers"]}]
    school.config["metrics"] = ["log_loss"]
    school.config["weighting"] = {"type": "ByValidationScore"}
    code, out, err = door("train", "--conf_path", school.path, "--check_teachers")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines() if line]
    losses = {line[0]: float(line[1]) for line in lines if line[0] in ("big", "other", "both")}
    names, found = (line[-3:] for line in lines if line[0] in ("weight", "all"))
    shown = dict(zip(names, map(float, found), strict=True))
    powers = {name: math.exp(-loss / 0.05) for name, loss in losses.items()}
    assert shown == pytest.approx({name: powers[name] / sum(powers.values()) for name in powers}, abs=2e-3)


def test_a_teacher_that_answers_anew_is_looked_at_in_batches(school, door, monkeypatch):
    school.config["teachers"]["big"]["online"] = True
    rows = (school.folder / "valid.tsv").read_text()
    school.file("valid.tsv", rows * 4)
    sizes, answer = [], Run.answer

    def noted(self, rows, places, addresses):
        sizes.append(len(places))
        return answer(self, rows, places, addresses)

    monkeypatch.setattr(Run, "answer", noted)
    code, _, err = door("train", "--conf_path", school.path, "--check_teachers")
    assert code == 0, err
    assert sum(sizes) == 160 and max(sizes) < 160
