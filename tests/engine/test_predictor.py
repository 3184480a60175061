import json

import pytest
import torch
from conftest import sentences

from core.errors import UserError
from core.types import Row
from engine.experiment import load_experiment
from engine.inference import predict_file
from engine.inference import test as score_file
from engine.predictor import Predictor
from engine.training import train


@pytest.fixture
def run(task):
    train(load_experiment(task.path), lambda _: None)
    return task.run


def answers(run, rows, **more):
    return list(Predictor.load(run, **more).predict(rows))


def test_rows_may_be_mappings_and_every_row_gets_one_answer_in_order(run):
    rows = [{"text": text} for text, _ in sentences(9, 7)]
    found = answers(run, rows)
    assert [prediction.row.cells["text"] for prediction in found] == [row["text"] for row in rows]
    assert all(prediction.cells["prediction"] in ("up", "down") for prediction in found)


def test_the_answer_for_a_row_does_not_depend_on_its_neighbours_or_the_batch_size(run):
    rows = [{"text": text} for text, _ in sentences(50, 7)]
    fields = ["prediction", "confidence@up"]
    alone = [next(Predictor.load(run).predict([row], fields)) for row in rows]
    for batch_size in (1, 7, 64):
        together = list(Predictor.load(run, batch_size=batch_size).predict(rows, fields))
        for one, other in zip(alone, together, strict=True):
            assert one.cells["prediction"] == other.cells["prediction"]
            assert one.cells["confidence@up"] == pytest.approx(other.cells["confidence@up"], abs=1e-6)


def test_a_row_that_cannot_be_read_keeps_its_place_and_says_why(run):
    rows = [Row(1, {"text": "cat runs"}), Row(2, {"text": "  "}), Row(3, {}, "broken."), Row(4, {"text": "dog"})]
    found = answers(run, rows)
    assert [bool(prediction.cells["prediction"]) for prediction in found] == [True, False, False, True]
    assert found[1].row.error == "text is empty."
    assert found[2].row.error == "broken."


def test_many_windows_of_rows_stay_in_order(run, monkeypatch):
    monkeypatch.setattr("engine.predictor.WINDOW", 8)
    rows = [{"text": text} for text, _ in sentences(50, 7)]
    expected = [p.cells["prediction"] for p in answers(run, rows)]
    monkeypatch.setattr("engine.predictor.WINDOW", 8192)
    assert [p.cells["prediction"] for p in answers(run, rows)] == expected


def test_test_scores_are_those_of_the_predictions(run, task):
    predictor = Predictor.load(run)
    scores, rows, _ = score_file(predictor, None)
    labels = [line.split("\t")[1] for line in (task.folder / "test.tsv").read_text().splitlines()]
    found = predictor.predict(
        {"text": line.split("\t")[0]} for line in (task.folder / "test.tsv").read_text().splitlines()
    )
    right = sum(label == prediction.cells["prediction"] for label, prediction in zip(labels, found, strict=True))
    assert len(rows) == len(labels)
    assert scores["accuracy"] == pytest.approx(right / len(labels))


def test_scores_of_the_rows_that_chose_the_model_are_told_to_be_such(run, door):
    code, _, err = door("test", "--model", run, "--set", "inputs.data_paths.test_data_path=null")
    assert code == 0 and "note: inputs.data_paths: names no test file, so the validation rows are scored" in err
    code, _, err = door("test", "--model", run)
    assert code == 0 and err == ""


def test_a_score_without_meaning_is_called_undefined(run, task, door):
    ups = "".join(f"{text}\tup\n" for text in ("red cat", "blue dog"))
    options = ("--input", task.file("ups.tsv", ups), "--set", 'metrics=["accuracy", "auc"]')
    code, out, _ = door("test", "--model", run, *options)
    assert code == 0 and "auc       undefined" in out and "nan" not in out


def test_validation_during_training_gives_the_scores_of_the_kept_model(run, task):
    kept = json.loads((run / "scores.json").read_text())["validation"]
    scores, _, _ = score_file(Predictor.load(run), task.folder / "valid.tsv")
    assert scores == pytest.approx(kept)


def test_a_file_keeps_its_columns_and_needs_no_label_column(run, task):
    source = task.file("new.tsv", "cat runs\n\nsmall tree eats\n")
    output = str(task.folder / "out.tsv")
    done = predict_file(Predictor.load(run), run, source, output)
    lines = (task.folder / "out.tsv").read_text().splitlines()
    assert (done.rows, done.bad) == (3, 1)
    assert done.bad_rows == [f"{source}:2: blank line."]
    assert [line.split("\t")[0] for line in lines] == ["cat runs", "", "small tree eats"]
    assert lines[1].strip() == ""


def test_unknown_fields_are_refused_with_what_is_known(run, task):
    with pytest.raises(UserError, match=r"unknown field 'confidence@upp'\. Did you mean 'confidence@up'\?"):
        predict_file(Predictor.load(run), run, str(task.folder / "test.tsv"), "-", fields=["confidence@upp"])


@pytest.mark.parametrize("name", ["weights.safetensors", "problem.json", "config.json"])
def test_a_damaged_run_is_refused_by_name(run, name):
    (run / name).write_bytes((run / name).read_bytes()[:60])
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        Predictor.load(run)


def test_weights_of_another_model_are_refused(run):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, run / "weights.safetensors")
    with pytest.raises(UserError, match="does not fit the run's config"):
        Predictor.load(run)


def test_a_run_moves_to_another_folder_and_needs_no_data_files(run, task):
    moved = run.rename(task.folder / "elsewhere")
    for name in ("train", "valid", "test"):
        (task.folder / f"{name}.tsv").unlink()
    assert answers(moved, [{"text": "cat runs"}])[0].cells["prediction"] in ("up", "down")
