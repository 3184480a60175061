"""The report of a run: its numbers are those of the run, for every problem; texts stay texts."""

import json
import re
from html import unescape
from typing import Any

import numpy as np
import pytest
from browser import opened
from conftest import ROOT
from sklearn.metrics import confusion_matrix

from core.errors import UserError
from core.run_folder import ENVIRONMENT, FINISHED, METRICS, RunFolder
from engine.predictor import Predictor
from views.figures import COLOURS
from views.graph import run_drawings
from views.run_report import Run, write_report

DEMOS = sorted((ROOT / "configs" / "demo").glob("*.json"))


def texts(page):
    """What a page says, without its markup."""
    body = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", " ", body))


def trained(task, door, **changes):
    task.config |= changes
    code, out, err = door("train", "--conf_path", task.path, report=True)
    assert code == 0, err
    return out


def test_a_training_ends_with_its_report_unless_the_config_wants_none(task, door):
    out = trained(task, door)
    report = task.folder / "run" / "report.html"
    assert f"report: {report}" in out and report.exists()
    known = json.loads((task.folder / "run" / ENVIRONMENT).read_text())
    assert "train.py" in known["command"] and known["torch"]
    task.config["report"] = False
    task.config["outputs"]["save_base_dir"] = str(task.folder / "without")
    assert "report" not in trained(task, door)
    assert not (task.folder / "without" / "report.html").exists()


def test_its_numbers_are_those_of_the_run(task, door):
    trained(task, door, metrics=["accuracy", "macro_f1"])
    folder = task.folder / "run"
    page = write_report(folder).read_text()
    said = texts(page)
    kept = json.loads((folder / "scores.json").read_text())
    for name, value in kept["validation"].items():
        assert re.search(rf"{name}, validation\s+{value:.4f}", said)
        assert re.search(rf"{name}\s+{value:.4f}", said)
    predictor = Predictor.load(folder)
    rows = [line.split("\t") for line in (task.folder / "valid.tsv").read_text().splitlines()]
    answers = [one.cells["prediction"] for one in predictor.predict([{"text": text} for text, _ in rows])]
    labels = list(predictor.problem.labels or ())
    counts = confusion_matrix([label for _, label in rows], answers, labels=labels)
    (matrix,) = re.findall(r"<table class=matrix>.*?</table>", page, re.DOTALL)
    shown = [int(count) for count in re.findall(r"<td[^>]*>([\d,]+)</td>", matrix)]
    assert shown == counts.ravel().tolist()
    wrong = sum(answer != label for answer, (_, label) in zip(answers, rows, strict=True))
    assert f"{wrong} of 40 rows are wrong" in said
    assert f"{sum(weight.numel() for weight in predictor.model.parameters()):,}" in said
    assert "All 40 rows of valid.tsv" in said and re.search(r"training rows\s+120", said)


def test_the_surest_mistakes_come_first_with_their_texts(task, door):
    trained(task, door)
    folder = task.folder / "run"
    predictor = Predictor.load(folder)
    rows = [line.split("\t") for line in (task.folder / "valid.tsv").read_text().splitlines()]
    found = list(predictor.predict([{"text": text} for text, _ in rows]))
    wrong = [
        (float(one.cells["confidence"]), text)
        for one, (text, label) in zip(found, rows, strict=True)
        if one.cells["prediction"] != label
    ]
    page = write_report(folder).read_text()
    places = [page.index(f">{text}<") for _, text in sorted(wrong, reverse=True)[:20]]
    assert places == sorted(places) and len(places) > 2


def test_texts_of_the_data_stay_texts(task, door):
    evil = "<script>alert(1)</script> <img src=x onerror=alert(2)>"
    valid = task.folder / "valid.tsv"
    valid.write_text("".join(f"{evil} {number} red\t{'up' if number % 2 else 'down'}\n" for number in range(30)))
    trained(task, door, model_description=evil)
    page = (task.folder / "run" / "report.html").read_text()
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.stem)
def test_there_is_one_for_every_problem(path, door, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = ["--set", f"outputs.save_base_dir={tmp_path / 'run'}", "--set", "training_params.max_epoch=1"]
    code, out, err = door("train", "--conf_path", path, *options, report=True)
    assert code == 0, err
    assert "report:" in out, err
    said = texts((tmp_path / "run" / "report.html").read_text())
    for title in ("How training went", "What it answers", "Size and speed", "Data", "The model", "How to repeat it"):
        assert title in said
    assert "Mistakes" in said or "Largest errors" in said
    if path.stem == "reading":
        page = (tmp_path / "run" / "report.html").read_text()
        answered = re.findall(r"<td>([^<]*)</td><td>([^<]*)</td><td>[\d.]+</td><td>\d+</td></tr>", page)
        assert any(right != "–" and not right.lstrip("-").isdigit() for right, _ in answered)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())["validation"]
    for name, value in scores.items():
        if value is not None:
            assert re.search(rf"{re.escape(name)}, validation\s+{value:.4f}", said)


def test_rows_that_are_gone_are_said_and_the_rest_is_shown(task, door):
    trained(task, door)
    folder = task.folder / "run"
    (task.folder / "valid.tsv").unlink()
    said = texts(write_report(folder).read_text())
    assert "Nothing could be answered" in said and "How training went" in said
    with pytest.raises(UserError, match="no such file"):
        write_report(folder, data=task.folder / "none.tsv")


def test_a_record_that_was_cut_off_does_no_harm(task, door):
    trained(task, door)
    lines = task.folder / "run" / METRICS
    whole = Run.read(task.folder / "run").curves("validation")
    lines.write_text(lines.read_text() + '{"kind": "tra')
    assert Run.read(task.folder / "run").curves("validation") == whole


def test_a_damaged_record_is_named(task, door):
    trained(task, door)
    lines = task.folder / "run" / METRICS
    lines.write_text("garbage\n" + lines.read_text())
    with pytest.raises(UserError, match=rf"{METRICS}:1: damaged"):
        Run.read(task.folder / "run")


def test_a_staged_training_names_its_earlier_stages(task, door):
    task.config["trainer"] = {"type": "Staged", "conf": {"stages": [{"training_params": {"max_epoch": 1}}, {}]}}
    trained(task, door)
    said = texts((task.folder / "run" / "report.html").read_text())
    first = task.folder / "run" / "stages" / "1"
    kept = json.loads((first / "scores.json").read_text())["validation"]["accuracy"]
    assert "the last of 2 stages" in said and f"python report.py {first}" in said and f"accuracy {kept:.4f}" in said
    del task.config["trainer"]
    (code, _, err) = door("train", "--conf_path", task.path, "--force", report=True)  # the earlier stage stays there
    assert code == 0, err
    assert first.is_dir() and "stages" not in texts((task.folder / "run" / "report.html").read_text())


def test_a_run_is_drawn_with_the_sizes_that_its_data_told(task, door):
    trained(task, door)
    predictor = Predictor.load(task.run)
    (drawing,) = run_drawings(RunFolder(task.run))
    assert drawing.parameters == f"{sum(weight.numel() for weight in predictor.model.parameters()):,}"
    assert drawing.legend == "B rows, T tokens" and {edge.shape for edge in drawing.edges} >= {"B x 2"}
    code, _, err = door("visualize", task.run, "-o", task.folder / "run.svg")
    assert code == 0, err
    assert " V<" not in (task.folder / "run.svg").read_text()


def test_of_a_large_file_as_many_rows_are_answered_as_time_allows(task, door):
    trained(task, door)
    rows = (task.folder / "valid.tsv").read_text().splitlines()
    (task.folder / "large.tsv").write_text("\n".join(rows * 2500) + "\n")
    page = write_report(task.folder / "run", task.folder / "some.html", task.folder / "large.tsv", seconds=0.0)
    assert re.search(r"[\d,]+ of 100,000 rows of large.tsv", texts(page.read_text()))
    page = write_report(task.folder / "run", task.folder / "all.html", task.folder / "large.tsv")
    assert "All 100,000 rows of large.tsv" in texts(page.read_text())
    assert page.stat().st_size < 1_000_000
    with opened(page, width=390) as shown:
        assert "All 100,000 rows" in shown.locator("body").inner_text()


def test_in_a_browser_it_shows_the_scores_and_fits_a_phone(task, door):
    trained(task, door)
    folder = task.folder / "run"
    score = json.loads((folder / "scores.json").read_text())["validation"]["accuracy"]
    for width, scheme in ((1440, "light"), (390, "dark")):
        with opened(folder / "report.html", width, scheme) as shown:
            assert shown.locator("header dd").first.inner_text() == f"{score:.4f}"
            assert shown.evaluate("document.documentElement.scrollWidth") <= width
            assert shown.locator("figure svg").count() >= 3


def test_runs_are_compared_side_by_side(task, door):
    trained(task, door, metrics=["accuracy"])
    task.config["outputs"]["save_base_dir"] = str(task.folder / "other")
    trained(task, door, metrics=["accuracy"])
    output = task.folder / "compare.html"
    code, out, err = door("report", task.folder / "run", task.folder / "other", "-o", output)
    assert (code, out) == (0, f"written to {output}\n"), err
    said = texts(output.read_text())
    kept = json.loads((task.folder / "other" / "scores.json").read_text())["validation"]["accuracy"]
    assert re.search(rf"other\s+{kept:.4f}", said) and "Score against latency" in said
    assert f"All answer {task.folder / 'valid.tsv'} (40 rows)" in said
    with opened(output) as shown:
        assert shown.locator("tbody tr").count() == 2


def test_runs_of_other_metrics_keep_their_colours_and_say_what_they_lack(task, door):
    trained(task, door, metrics=["accuracy"])
    task.config["outputs"]["save_base_dir"] = str(task.folder / "other")
    trained(task, door, metrics=["macro_f1"])
    scores = task.folder / "other" / "scores.json"
    kept = {name: value for name, value in json.loads(scores.read_text()).items() if name != FINISHED}
    scores.write_text(json.dumps(kept))
    output = task.folder / "compare.html"
    code, _, err = door("report", task.folder / "run", task.folder / "other", "-o", output)
    assert code == 0, err
    page = output.read_text()
    assert "Without other: no accuracy." in page and texts(page).count("training not finished") == 1
    figure = page[: page.index("macro_f1 on the validation rows.")].rpartition("<svg")[2]
    assert COLOURS[1] in figure and COLOURS[0] not in figure and ">other<" in figure


def test_a_run_whose_rows_are_gone_is_compared_by_what_is_left(task, door):
    trained(task, door)
    task.config["outputs"]["save_base_dir"] = str(task.folder / "other")
    (task.folder / "moved.tsv").write_text((task.folder / "valid.tsv").read_text())
    task.config["inputs"]["data_paths"]["valid_data_path"] = str(task.folder / "moved.tsv")
    trained(task, door)
    (task.folder / "moved.tsv").unlink()
    output = task.folder / "compare.html"
    code, _, err = door("report", task.folder / "run", task.folder / "other", "-o", output)
    assert code == 0, err
    said = texts(output.read_text())
    assert "other could not answer:" in said and "Without" not in said and "How training went" in said


def test_mistakes_of_the_door_are_one_sentence(task, door):
    for words, said in (
        ([task.folder / "none"], "no such run folder"),
        ([task.folder], "not a run folder"),
        ([task.folder, task.folder], "--output: several runs need the name of a page"),
        ([task.folder, task.folder, "-o", task.folder / "x.html"], "not a run folder"),
    ):
        code, _, err = door("report", *words)
        assert code == 2 and said in err and len(err.splitlines()) == 1
    trained(task, door)
    run = task.folder / "run"
    code, _, err = door("report", run, run, "-o", task.folder / "x.html")
    assert code == 2 and "is named twice" in err


def test_the_weights_of_teachers_are_drawn(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    records = [{"kind": "train", "step": step, "epoch": 1, "loss": 1.0, "weight of big": step / 9} for step in range(9)]
    (folder / METRICS).write_text("".join(json.dumps(record) + "\n" for record in records))
    from views.run_report import _records, _teachers

    run = Run(RunFolder(folder), {}, {}, {}, list(_records(folder / METRICS)))
    assert np.allclose([value for _, value in run.curves("train")["weight of big"]], np.arange(9) / 9)
    assert "How much each teacher counted" in _teachers(run)


def test_groups_are_placed_by_their_best_row_and_those_without_one_are_counted():
    from types import SimpleNamespace

    from core.types import Row, Spec
    from problems.base import Decoded
    from views.answers import Answers, ranked

    problem: Any = SimpleNamespace(
        group_by="group",
        is_exact=True,
        labels=("no", "yes"),
        positive_label="yes",
        target_columns=["label"],
        target_specs=lambda: {"label": Spec("B", ids=True, labels=("no", "yes"))},
    )
    yes_N = np.array([0.9, 0.2, 0.5, 0.1, 0.8, 0.4, 0.3])
    targets = {"label": np.array([0, 1, 0, 0, 1, 0, 0]), "group": np.array([7, 7, 7, 3, 3, 5, 5])}
    answers = Answers(
        problem,
        Decoded(np.stack([1 - yes_N, yes_N], 1)),
        targets,
        np.ones(7, int),
        lambda places: [Row(place, {"text": f"row {place}"}) for place in places],
        ["text"],
    )
    said = texts(ranked(answers))
    assert re.search(r"1\.\s+1\s+2\.\s+0\s+3\.\s+1\s+4\.\s+0", said)  # group 3 at the first place, group 7 at the third
    assert re.search(r"3 of 3\s+row 1\s+row 0", said)
    assert "1 groups have no row that is better" in said


def test_groups_of_three_labels_have_no_places(task, door):
    task.config["inputs"]["group_by"] = "group"
    task.config["inputs"]["file_header"] = {"group": 0, "text": 1, "label": 2}
    for name in ("train", "valid", "test"):
        path = task.folder / f"{name}.tsv"
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        labels = ["even" if number % 3 == 0 else label for number, (_, label) in enumerate(rows)]
        path.write_text("".join(f"g{at // 4}\t{row[0]}\t{labels[at]}\n" for at, row in enumerate(rows)))
    trained(task, door)
    assert "What it answers" in (task.run / "report.html").read_text()


def test_a_part_of_a_file_has_whole_groups_only(task):
    from types import SimpleNamespace

    from views.measured import _spread

    rows: Any = SimpleNamespace(targets={"group": np.array([4, 4, 1, 1, 1, 9, 9])})
    assert _spread(rows, "group", 4).tolist() == [0, 1]
    assert _spread(rows, "group", 5).tolist() == [0, 1, 2, 3, 4]
    assert _spread(rows, "group", 1).tolist() == [0, 1]


def test_a_report_that_fails_leaves_the_training_as_it_is(task, door, monkeypatch):
    import views.run_report

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(views.run_report, "write_report", fail)
    code, _, err = door("train", "--conf_path", task.path, report=True)
    assert code == 0 and "note: no report: MemoryError" in err
    assert (task.run / "scores.json").exists()
