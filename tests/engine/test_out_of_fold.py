"""Teachers that answer training rows out of fold."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from tiny_encoders import write_encoder

from core.errors import ConfigError, UserError
from core.run_folder import RunFolder
from engine.data import read_data, row_file
from engine.draft import Draft
from engine.experiment import checked, load_experiment
from engine.out_of_fold import train_folds
from engine.predictor import Predictor
from engine.processes import Processes
from engine.teaching import prepare
from engine.training import train
from engine.workplace import make_accelerator

SOFT = {"type": "SoftTargetLoss", "inputs": ["output", "big"]}


def silent(_):
    pass


def rows_of(folder):
    """The texts that a run was trained on, in the place where training takes them."""
    conf = checked(RunFolder(folder).read_config(), str(folder)).conf
    lines = Path(conf.inputs.data_paths.train_data_path or "").read_text().splitlines()
    return [lines[line - 1].split("\t")[0] for line in read_data(conf, silent).train.lines]


def probabilities(folder, texts):
    """What a run says to texts, by predict."""
    fields = ["confidence@up", "confidence@down"]
    found = Predictor.load(folder).predict([{"text": text} for text in texts], fields)
    return np.array([[prediction.cells[field] for field in fields] for prediction in found])


def answers(task, file, is_training):
    """What the teacher of the task's config says to the rows of a file: its texts, and their probabilities."""
    experiment = load_experiment(task.path)
    conf = experiment.conf
    data = read_data(conf, silent)
    teachers, processes = experiment.teachers(data.problem), Processes(make_accelerator(conf))
    rows = data.train if is_training else data.valid
    teaching = prepare(
        Draft.of(conf), teachers, ["big"], row_file(conf, file), rows, None, processes, silent, is_training
    )
    given = teaching.stored["big"].features(np.arange(len(rows)))[""]
    labels = data.problem.labels or ()
    order = [labels.index(label) for label in ("up", "down")]
    lines = Path(file).read_text().splitlines()
    return [lines[line - 1].split("\t")[0] for line in rows.lines], given.values.float().softmax(1).numpy()[:, order]


def taught(task):
    """The task with a student that learns from a teacher of two folds, which is trained."""
    student = task.config["outputs"]["save_base_dir"]
    task.config["outputs"]["save_base_dir"] = str(task.folder / "big")
    task.config["training_params"]["max_epoch"] = 4
    train_folds(load_experiment(task.path), 2, silent)
    task.config["outputs"]["save_base_dir"] = student
    conf = {"path": str(task.folder / "big"), "folds": 2}
    task.config["teachers"] = {"big": {"type": "Run", "conf": conf}}
    task.config["loss"]["losses"] = [SOFT]
    return task


@pytest.fixture
def school(task):
    """A student and its teacher; some rows stand there twice."""
    rows = (task.folder / "train.tsv").read_text().splitlines()
    task.file("train.tsv", "\n".join(rows[:100] + rows[:20]) + "\n")
    return taught(task)


def check_that_rows_are_answered_out_of_fold(school):
    """A student's file has the rows of the teacher in another order, and one more: who answers which."""
    big = school.folder / "big"
    seen = [set(rows_of(big / "folds" / fold)) for fold in "21"]  # what the run of fold 1 has not seen, and of fold 2
    whole = set(rows_of(big))
    assert seen[0] | seen[1] == whole
    assert seen[0].isdisjoint(seen[1])  # so rows of equal texts share a fold
    assert min(map(len, seen)) > 20
    rows = (school.folder / "train.tsv").read_text().splitlines()
    student = school.file("student.tsv", "\n".join([*rows[50:], "cat cat dog\tup", *rows[:30]]) + "\n")
    school.config["inputs"]["data_paths"]["train_data_path"] = student
    texts, given = answers(school, student, is_training=True)
    by_fold = [probabilities(big / "folds" / fold, texts) for fold in "12"]
    known = [at for at, text in enumerate(texts) if text in whole]
    assert len(known) == len(texts) - 1
    for at in known:
        fold = 0 if texts[at] in seen[0] else 1
        assert given[at] == pytest.approx(by_fold[fold][at], abs=2e-3)
    assert np.abs(by_fold[0] - by_fold[1]).max() > 0.02


def test_each_training_row_is_answered_by_the_run_that_has_not_seen_it(school):
    check_that_rows_are_answered_out_of_fold(school)


def test_words_that_a_teacher_learns_as_they_come_do_not_change_the_fold(task):
    rows = (task.folder / "train.tsv").read_text().splitlines()
    rare = [f"{name} {row}" for name, row in zip(("zebra", "bluish", "treehouse", "catbird"), rows, strict=False)]
    task.file("train.tsv", "\n".join(rare + rows[4:100]) + "\n")
    init = {"encoder": str(write_encoder(task.folder / "encoder"))}
    task.config["architecture"][0]["conf"]["word"]["init"] = init
    task.config["training_params"]["vocabulary"]["min_word_frequency"] = 2
    check_that_rows_are_answered_out_of_fold(taught(task))


def test_other_files_are_answered_by_the_whole_run(school):
    paths = school.config["inputs"]["data_paths"]
    paths["valid_data_path"] = paths["train_data_path"]
    texts, given = answers(school, paths["train_data_path"], is_training=False)
    assert given == pytest.approx(probabilities(school.folder / "big", texts), abs=2e-3)
    _, out_of_fold = answers(school, paths["train_data_path"], is_training=True)
    assert np.abs(given - out_of_fold).max() > 0.05


def test_labels_and_words_are_those_of_all_training_rows(school):
    states = [RunFolder(school.folder / "big" / at).read_problem() for at in (".", "folds/1", "folds/2")]
    assert states[0] == states[1] == states[2]


def test_a_student_learns_from_folds_stored_and_online_and_new_folds_are_asked_anew(school):
    said: list[str] = []
    experiment = load_experiment(school.path)
    train(experiment, said.append)
    assert any("teacher 'big': answered 120 rows" in line for line in said)
    stored = RunFolder(school.run).read_weights()[0]
    said.clear()
    train(experiment, said.append, force=True)
    assert any("teacher 'big': 120 rows from the store" in line for line in said)
    train(load_experiment(school.path, ["teachers.big.online=true"]), silent, force=True)
    online = RunFolder(school.run).read_weights()[0]
    assert all(torch.allclose(stored[name], online[name], atol=2e-2) for name in stored)
    (school.folder / "big/folds/1/weights.safetensors").write_bytes(
        (school.folder / "big/folds/2/weights.safetensors").read_bytes()
    )
    said.clear()
    train(experiment, said.append, force=True)
    assert any("teacher 'big': answered 120 rows" in line for line in said)


def test_with_groups_no_group_is_split(ranking):
    ranking.config["training_params"]["max_epoch"] = 1
    train_folds(load_experiment(ranking.path), 2, silent)
    groups = []
    for fold in "12":
        conf = checked(RunFolder(ranking.run / "folds" / fold).read_config(), "").conf
        groups.append(set(read_data(conf, silent).train.targets["group"].tolist()))
    assert groups[0] and groups[1] and groups[0].isdisjoint(groups[1])
    ranking.config["teachers"] = {"big": {"type": "Run", "conf": {"path": str(ranking.run), "folds": 2}}}
    ranking.config["loss"]["losses"] = [{"type": "MarginMSELoss", "inputs": ["output", "big", "label"]}]
    said: list[str] = []
    experiment = load_experiment(ranking.path, [f"outputs.save_base_dir={ranking.folder / 'student'}"])
    train(experiment, said.append)
    assert any("teacher 'big': answered" in line for line in said)


def test_after_a_kill_folds_go_on_and_finished_ones_are_not_trained_again(task, door):
    task.config["training_params"]["max_epoch"] = 30
    command = [sys.executable, "-u", ROOT / "train.py", "--conf_path", task.path, "--folds", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = iter(process.stdout)
    for wanted in ("fold 1 of 2", "epoch 3,"):
        next(line for line in lines if line.startswith(wanted))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert 2 <= RunFolder(task.run / "folds/1").read_state()["progress"]["epoch"] < 30
    whole = (task.run / "weights.safetensors").stat().st_mtime_ns
    code, out, err = door("train", "--conf_path", task.path, "--folds", "2")
    assert code == 0, err
    assert (task.run / "weights.safetensors").stat().st_mtime_ns == whole
    assert "epoch 1, " not in out.partition("fold 2 of 2")[0]
    left = RunFolder(task.run / "folds/1").read_state()["model"]
    task.config["training_params"]["left_out"] = {"fold": 1, "of": 2}
    train(load_experiment(task.path, [f"outputs.save_base_dir={task.folder / 'direct'}"]), silent)
    direct = RunFolder(task.folder / "direct").read_state()["model"]
    assert all(torch.equal(left[name], direct[name]) for name in direct)
    code, _, err = door("train", "--conf_path", task.path, "--folds", "2")
    assert code == 2
    assert "training_params.left_out: --folds says itself what is left out." in err


def test_folds_of_another_number_or_config_are_not_gone_on_with(school):
    school.config["outputs"]["save_base_dir"] = str(school.folder / "big")
    del school.config["teachers"]
    school.config["loss"]["losses"] = [{"type": "CrossEntropyLoss", "inputs": ["output", "label"]}]
    with pytest.raises(UserError, match=r"folds/1: cannot resume, .* changed since: training_params.left_out.of"):
        train_folds(load_experiment(school.path), 3, silent)
    with pytest.raises(UserError, match="--folds: 1 is no number of folds"):
        train_folds(load_experiment(school.path), 1, silent)
    school.config["trainer"] = {"type": "Staged", "conf": {"stages": [{}, {}]}}
    with pytest.raises(UserError, match="--folds trains configs of one stage"):
        train_folds(load_experiment(school.path), 2, silent)


def test_more_folds_than_rows_are_refused(school):
    with pytest.raises(UserError, match=r"--folds: 5,000 folds of \d+ training rows leave some without any row."):
        train_folds(load_experiment(school.path), 5000, lambda _: None)


def test_folds_that_were_not_trained_are_refused_in_one_sentence(school):
    conf = school.config["teachers"]["big"]["conf"]

    def problem():
        with pytest.raises(ConfigError) as caught:
            load_experiment(school.path)
        return str(caught.value)

    conf["folds"] = 3
    assert "leaves out fold 1 of 2, not fold 1 of 3. Train the folds: train.py --folds 3." in problem()
    conf["folds"] = 2
    scores_file = school.folder / "big/folds/1/scores.json"
    scores = scores_file.read_text()
    scores_file.write_text(json.dumps({key: value for key, value in json.loads(scores).items() if key != "finished"}))
    assert "folds/1 is not trained to its end. Train the folds: train.py --folds 2." in problem()
    scores_file.write_text(scores)
    problem_file = school.folder / "big/folds/2/problem.json"
    state = json.loads(problem_file.read_text())
    state["inputs"]["vocabularies"]["word"]["words"][-1] = "another"
    problem_file.write_text(json.dumps(state))
    assert "folds/2 was fitted on other rows than" in problem()
    (school.folder / "big/folds/2").rename(school.folder / "away")
    assert "teachers.big.conf: has no run of fold 2 of 2: no such run folder: " in problem()
