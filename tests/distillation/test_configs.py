"""The configs of distillation on the data that ships: each is trained for a moment, and used without its teachers."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, WORDS
from tiny_encoders import write_encoder

from core.document import read_document

FOLDER = ROOT / "configs" / "distillation" / "demo"
TEACHERS = ["teacher_attention", "teacher_cnn", "teacher_reading"]
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
    if name == "scores":
        for part in ("train", "valid"):
            scored = places / f"{part}.tsv"
            fields = named["big"]["conf"]["columns"].values()
            rows = ROOT / "dataset" / "demo_classification" / scored.name
            words = ["--input", rows, "--output", scored, "--fields", *fields]
            code, _, err = door("predict", "--model", places / "teacher_attention", *words)
            assert code == 0, err
            options += ["--set", f"inputs.data_paths.{part}_data_path={scored}"]
    for teacher, settings in named.items():
        if settings["type"] != "Run":
            continue
        run = places / Path(settings["conf"]["path"]).name.removeprefix("demo_")
        options += ["--set", f"teachers.{teacher}.conf.path={run}"]
        if "min_confidence" in settings:  # a teacher that is hardly trained is never sure
            options += ["--set", f"teachers.{teacher}.min_confidence=0.1"]
    if name == "tmkd":
        options += ["--set", "trainer.conf.stages[0].training_params.max_epoch=1"]
    if name == "rl_kd":
        options += ["--set", "trainer.conf.average_epochs=0"]
    code, out, err = door("train", "--conf_path", path, "--check", *options)
    assert code == 0, err
    assert "has no effect" not in err
    code, out, err = door("train", "--conf_path", path, *options)
    assert code == 0, err
    told = re.findall(r"teacher '\w+': (?:answered )?1,[25]00 rows", out)
    assert len(told) == (2 if name == "tmkd" else 1) * len(named)
    shutil.rmtree(places)
    code, out, err = door("test", "--model", tmp_path / "run")
    assert code == 0, err
    assert ("exact_match" if name == "reading" else "accuracy") in out


PAIRS = ROOT / "configs" / "distillation" / "mrpc"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """The arguments for a config on pairs of texts: few rows with the columns of MRPC, a tiny encoder, its teachers
    and their out-of-fold runs.
    """
    from benchmarks.data import encoder_overrides
    from engine.experiment import load_experiment
    from engine.out_of_fold import train_folds

    folder = tmp_path_factory.mktemp("pairs")
    encoder = write_encoder(folder / "encoder", num_hidden_layers=6, hidden_size=200)
    for part, words in (("train", WORDS[:7]), ("valid", WORDS[5:]), ("test", WORDS[6:])):
        rows = [f"{number % 2}\t{words[number % 7]} {words[3]}\t{words[number % 5]}" for number in range(40)]
        (folder / f"{part}.tsv").write_text("\n".join(["Quality\t#1 String\t#2 String", *rows]) + "\n")

    def changes(path: Path, run: Path) -> list[str]:
        named = read_document(path).get("teachers", {}).items()
        return [
            *(f"inputs.data_paths.{part}_data_path={folder / f'{part}.tsv'}" for part in ("train", "valid", "test")),
            *encoder_overrides(path, str(encoder)),
            *(f"teachers.{name}.conf.path={folder / Path(conf['conf']['path']).name}" for name, conf in named),
            "training_params.max_epoch=1",
            "training_params.vocabulary.min_word_frequency=1",
            f"outputs.save_base_dir={run}",
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLOCKSMITH_CACHE", str(folder / "cache"))
        for path in PAIRS.glob("teacher_*.json"):
            train_folds(load_experiment(path, changes(path, folder / f"mrpc_{path.stem}")), 3, lambda _: None)
    return changes


@pytest.mark.parametrize("path", sorted(set(PAIRS.glob("*.json")) - set(PAIRS.glob("teacher_*"))), ids=lambda p: p.stem)
def test_a_config_on_pairs_trains_its_student(path, pairs, door, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = [f"--set={change}" for change in pairs(path, tmp_path / "run")]
    if path.stem.startswith("rl_kd"):
        options.append("--set=trainer.conf.average_epochs=0")
    code, out, err = door("train", "--conf_path", path, "--check", *options)
    assert (code, "has no effect" in err) == (0, False), err
    code, out, err = door("train", "--conf_path", path, *options)
    assert code == 0, err
    assert all(f"teacher '{name}'" in out for name in read_document(path).get("teachers", {}))
    code, out, err = door("test", "--model", tmp_path / "run")
    assert code == 0, err
