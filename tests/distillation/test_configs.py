"""The configs of distillation on the data that ships: each is trained for a moment, and used without its teachers."""

import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from core.document import read_document

FOLDER = ROOT / "configs" / "distillation" / "demo"
TEACHERS = ["teacher_attention", "teacher_cnn"]
STUDENTS = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem not in TEACHERS)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """The runs of the teachers, hardly trained."""
    from engine.experiment import load_experiment
    from engine.training import train

    folder = tmp_path_factory.mktemp("teachers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("BLOCKSMITH_CACHE", str(folder / "cache"))
        for name in TEACHERS:
            changes = [f"outputs.save_base_dir={folder / name}", "training_params.max_epoch=1"]
            train(load_experiment(FOLDER / f"{name}.json", changes), lambda _: None)
    return folder


@pytest.mark.parametrize("name", STUDENTS)
def test_a_config_trains_and_its_student_answers_without_teachers(name, teachers, door, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    places = tmp_path / "teachers"
    shutil.copytree(teachers, places)
    path = FOLDER / f"{name}.json"
    options = ["--set", f"outputs.save_base_dir={tmp_path / 'run'}", "--set", "training_params.max_epoch=1"]
    named = read_document(path).get("teachers", {})
    for teacher, settings in named.items():
        run = places / Path(settings["conf"]["path"]).name.removeprefix("demo_")
        options += ["--set", f"teachers.{teacher}.conf.path={run}"]
    if name == "tmkd":
        options += ["--set", "trainer.conf.stages[0].training_params.max_epoch=1"]
    if name == "rl_kd":
        options += ["--set", "trainer.conf.average_epochs=0"]
    code, out, err = door("train", "--conf_path", path, "--check", *options)
    assert code == 0, err
    assert "has no effect" not in err
    code, out, err = door("train", "--conf_path", path, *options)
    assert code == 0, err
    assert (
        out.count("answered 1,500 rows") == (2 * len(named) if name == "tmkd" else len(named))
        or "from the store" in out
    )
    shutil.rmtree(places)
    code, out, err = door("test", "--model", tmp_path / "run")
    assert code == 0, err
    assert "accuracy" in out
