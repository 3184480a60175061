"""Training rows that are made of others, which teachers alone teach."""

import json

import pytest
import torch
from safetensors.torch import load_file

from core.errors import ConfigError
from engine.experiment import load_experiment
from engine.training import train

SOFT = {"type": "SoftTargetLoss", "inputs": ["output", "big"]}


def trained(task, *overrides, **more):
    said: list[str] = []
    train(load_experiment(task.path, overrides), said.append, **more)
    return said


def problems(task, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_experiment(task.path, overrides)
    return str(caught.value)


@pytest.fixture
def school(task):
    """A teacher, and a student that learns from it with more rows."""
    trained(task, f"outputs.save_base_dir={task.folder / 'big'}")
    task.config["inputs"]["augmentation"] = {"copies": 3, "mask": 0.3, "replace": 0}
    task.config["teachers"] = {"big": {"type": "Run", "conf": {"path": str(task.folder / "big")}}}
    task.config["loss"]["losses"].append(SOFT)
    task.config["training_params"]["max_epoch"] = 1
    return task


def augmented(said):
    line = next(line for line in said if line.startswith("augmented rows"))
    return int(line.split()[2].strip(";"))


def test_every_epoch_goes_through_them_and_teachers_answer_them(school):
    said = trained(school)
    made = augmented(said)
    assert 200 < made <= 360
    assert f"augmented rows: {made}; {360 - made} more would stand twice, or in another file" in said
    assert f"answered {made} rows" in "".join(said)
    records = [json.loads(line) for line in (school.run / "metrics.jsonl").read_text().splitlines()]
    assert max(record["step"] for record in records) == 8 + -(-made // 16)


def test_another_seed_of_the_training_finds_them_made_and_answered(school):
    made = augmented(trained(school))
    said = trained(school, "training_params.seed=7", force=True)
    assert augmented(said) == made
    assert f"teacher 'big': {made} rows from the store" in "".join(said)
    assert not any("answered" in line for line in said)


def test_they_leave_the_vocabulary_as_it_is(school):
    def words():
        return json.loads((school.run / "problem.json").read_text())["inputs"]["vocabularies"]

    trained(school, "training_params.vocabulary.min_word_frequency=45")
    with_more = words()
    school.config["inputs"]["augmentation"] = None
    trained(school, "training_params.vocabulary.min_word_frequency=45", force=True)
    assert words() == with_more


def test_without_a_cache_a_training_goes_the_same_way(school):
    trained(school)
    cached = load_file(school.run / "weights.safetensors")
    trained(school, "inputs.use_cache=false", force=True)
    found = load_file(school.run / "weights.safetensors")
    assert all(torch.allclose(value, found[name], atol=1e-4) for name, value in cached.items())


def test_rows_without_labels_are_made_to_more_rows_too(school):
    alone = augmented(trained(school))
    more = [f"large {word} house tree bird" for word in "red green blue cat dog".split()]
    school.config["inputs"]["data_paths"]["unlabelled_data_path"] = school.file("more.tsv", "\n".join(more) + "\n")
    assert alone < augmented(trained(school, force=True)) <= alone + 3 * len(more) + 50


def test_rows_of_a_fold_that_is_left_out_are_not_used(school):
    whole = augmented(trained(school))
    part = augmented(trained(school, 'training_params.left_out={"fold": 1, "of": 2}', force=True))
    assert part < 0.75 * whole


def test_rows_that_teach_nothing_are_refused(school):
    school.config["loss"]["losses"].pop()
    assert "inputs.augmentation: teaches nothing: every loss reads a target" in problems(school)


def test_texts_whose_words_have_tags_are_refused(school):
    school.config["inputs"]["dataset_type"] = "sequence_tagging"
    assert "inputs.augmentation: makes other texts, but tags, answers or features belong" in problems(school)


def test_parts_of_speech_of_chinese_are_refused(school):
    school.config["language"] = "chinese"
    school.config["inputs"]["augmentation"]["replace"] = 0.1
    assert "inputs.augmentation.replace: knows the parts of speech of English words only" in problems(school)


def test_a_teacher_that_knows_the_rows_of_a_file_only_is_refused(school):
    rows = (school.folder / "train.tsv").read_text().splitlines()
    scores = school.file("scores.tsv", "score\n" + "0.5\n" * len(rows))
    conf = {"kind": "score", "column": "score", "path": scores}
    school.config["teachers"]["big"] = {"type": "Scores", "conf": conf}
    assert "teachers.big: answers the rows of a file only" in problems(school)


def test_a_setting_without_effect_is_reported(school):
    notices = map(str, load_experiment(school.path, ["inputs.augmentation.recombine=0.5"]).notices)
    assert "inputs.augmentation.recombine: has no effect. Rows have one text." in list(notices)
