"""benchmark.py: which trainings it does, what it keeps of them, and the tables."""

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from conftest import WORDS
from tiny_encoders import write_encoder

from benchmarks import plots, records, report, tables
from benchmarks.data import data_overrides, look_for
from benchmarks.jobs import bootstrap, record_of, train_to_the_end
from benchmarks.keep import as_markdown
from benchmarks.records import Footprint, Record
from benchmarks.runner import left_to_do, run_all, seconds_left, with_needed
from benchmarks.submission import TEST_SETS, _shown
from benchmarks.suites import COMMANDS
from benchmarks.tasks import BASELINES, PEERS, SUITES, Job, Places, _said, chosen_models, chosen_tasks
from block_zoo import Linear
from core.config import InputsConf
from core.document import ROOT, composed, read_document
from core.errors import UserError
from problems import Classification
from problems.base import Decoded

RTE = next(task for task in SUITES["glue"] if task.name == "rte")
RECORD = Record(
    suite="glue",
    task="rte",
    model="bilstm",
    variant="bilstm",
    seed=1,
    config="x",
    data="y",
    scores={"dev": {"accuracy": 0.5}},
    rows={"train": 4, "dev": 2},
)


@pytest.fixture
def published(tmp_path):
    """A folder with rows as RTE has them, and an encoder; the arguments that name them."""
    (tmp_path / "RTE").mkdir()
    for part, words in (("train", WORDS), ("dev", WORDS[2:])):
        rows = [
            f"{at}\t{words[at % 9]} {words[at % 5]}\t{words[at % 7]}\t{('entailment', 'not_entailment')[at % 2]}"
            for at in range(24)
        ]
        (tmp_path / "RTE" / f"{part}.tsv").write_text("\n".join(["index\tsentence1\tsentence2\tlabel", *rows]) + "\n")
    encoder = write_encoder(tmp_path / "encoder")
    options = [
        "--data",
        tmp_path,
        "--encoder",
        encoder,
        "--runs",
        tmp_path / "runs",
        "--results",
        tmp_path / "found.jsonl",
    ]
    changes = ["training_params.max_epoch=1", "training_params.batch_size=8"]
    return [
        *options,
        *(word for change in changes for word in ("--set", change)),
        "--seeds",
        "1",
        "--vectors",
        "random",
    ]


def test_a_benchmark_trains_what_is_left_and_says_what_came_out(published, tmp_path, door):
    command = ["benchmark", "glue", "--tasks", "rte", "--models", "student"]
    code, out, err = door(*command, *published)
    assert code == 0, err
    assert "1 trainings, 0 of them done before" in out
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [line["model"] for line in lines] == ["minilm", "student"]  # the teacher first
    student = lines[1]
    kept = json.loads((tmp_path / "runs" / "glue").glob("rte_student*").__next__().joinpath("scores.json").read_text())
    assert student["scores"]["dev"]["accuracy"] == pytest.approx(kept["validation"]["accuracy"])
    low, high = student["interval"]["dev"]["accuracy"]
    assert low <= student["scores"]["dev"]["accuracy"] <= high
    assert student["rows"] == {"train": 24, "dev": 24} and len(student["curve"]) == 1
    assert student["footprint"]["parameters"] > 0 and student["footprint"]["latency_ms"]["p50"] > 0
    assert f"{100 * kept['validation']['accuracy']:.1f}" in next(
        line for line in out.splitlines() if "| student" in line
    )
    code, out, _ = door(*command, *published, "--measure")
    assert code == 0 and out.startswith("rte student, ") and out.endswith("seed 1: measured\n")
    again = json.loads((tmp_path / "found.jsonl").read_text().splitlines()[2])
    assert {key for key in again if again[key] != student[key]} <= {"footprint", "machine"}
    code, _, err = door(*command, *published, "--measure", "--first_seed", "2")
    assert code == 2 and "has none of these trainings" in err
    before = (tmp_path / "found.jsonl").read_text()
    code, out, _ = door(*command, *published)
    assert code == 0 and "1 trainings, 1 of them done before" in out
    assert (tmp_path / "found.jsonl").read_text() == before
    weights = next((tmp_path / "runs" / "glue").glob("rte_minilm*")) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    code, out, _ = door(*command, *published)
    assert code == 0 and "1 trainings, 0 of them done before" in out  # it has learnt from another teacher
    assert len(list((tmp_path / "runs" / "glue").glob("rte_student*"))) == 2
    shutil.rmtree(weights.parent)
    code, out, _ = door(*command, *published)
    assert code == 0 and "1 trainings, 1 of them done before" in out  # whichever it was
    (tmp_path / "found.jsonl").write_text(before)
    (tmp_path / "found.jsonl").write_text(before + '{"version": 1, "suite"')
    code, out, err = door("benchmark", "report", "--results", tmp_path / "found.jsonl", "--output", tmp_path / "report")
    assert code == 0 and "found.jsonl:4: left out: not a whole line of JSON." in err
    assert (tmp_path / "report" / "results.md").read_text().strip() in out
    assert 'glue,rte,"student' in (tmp_path / "report" / "results.csv").read_text()
    drawn = {path.name for path in (tmp_path / "report").glob("*.png")}
    assert drawn == {f"glue_{name}.png" for name in ("latency", "seeds", "curves")}


def test_rows_that_ship_in_the_layout_of_wikiqa_are_trained_on_and_scored_by_question(tmp_path, door):
    (tmp_path / "WikiQA").mkdir()
    columns = ["QuestionID", "Question", "DocumentID", "DocumentTitle", "SentenceID", "Sentence", "Label"]
    for part, file in (("train", "train"), ("dev", "valid"), ("test", "test")):
        lines = (ROOT / "dataset" / "demo_ranking" / f"{file}.tsv").read_text().splitlines()[1:90]
        rows = [columns]
        for at, (query, text, document, relevance) in enumerate(line.split("\t") for line in lines):
            rows.append([query, text, "D1", "", f"D1-{at}", document, str(int(relevance != "0"))])
        (tmp_path / "WikiQA" / f"WikiQA-{part}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    small = ["max_epoch=1", "batch_size=16", "valid_times_per_epoch=1"]
    changes = [word for change in small for word in ("--set", f"training_params.{change}")]
    places = ["--data", tmp_path, "--runs", tmp_path / "runs"]
    models = ["--models", "bilstm", "word_overlap", "--vectors", "random", "--seeds", "1", "--here"]
    code, _, err = door("benchmark", "wikiqa", *models, *places, *changes)
    assert code == 0, err
    found, complaints = records.read([tmp_path / "runs" / "results.jsonl"])
    assert not complaints and {one.model for one in found} == {"bilstm", "word_overlap"}
    for one in found:
        assert one.rows == {"train": 89, "dev": 89, "test": 89}
        assert all(set(one.scores[part]) >= {"auc", "map", "mrr"} for part in ("dev", "test"))
        by_question = [one.scores["test"][metric] or 0 for metric in ("map", "mrr")]
        assert 0 < by_question[0] <= by_question[1] <= 1
    code, out, err = door("benchmark", "report", "--runs", tmp_path / "runs")
    assert code == 0 and "| WikiQA test map |" in out, err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["glue", "--set", "training_params.seed=3"],
            "--set training_params.seed=3: is settled by the benchmark itself.",
        ),
        (["glue", "--data", "absent"], "--data absent: no such folder."),
        (["glue", "--models", "all", "cnn"], "--models: 'all' stands alone."),
        (["submit", "--model", "all"], "--model: a submission is of one model that has a config."),
        (["glue", "--tasks", "rtee"], "--tasks: glue has no 'rtee'. Did you mean 'rte'?"),
        (
            ["glue", "--tasks", "rte", "--models", "bilstn"],
            "there is no config of 'bilstn' for rte. Did you mean 'bilstm",
        ),
        (
            ["glue", "--tasks", "cola", "wnli", "--vectors", "random"],
            "has no CoLA/train.tsv, CoLA/dev.tsv, WNLI/train.tsv, WNLI/dev.tsv. `python dataset/download.py glue",
        ),
        (["report", "--results", "nothing.jsonl"], "nothing.jsonl: no such file."),
        (["submit", "--model", "bilstm"], "RTE/train.tsv, RTE/dev.tsv, WNLI/train.tsv, WNLI/dev.tsv. `python dataset"),
    ],
)
def test_a_mistake_is_said_before_anything_is_trained(words, said, tmp_path, door):
    own = ["--data", tmp_path, "--runs", tmp_path / "runs"] if words[0] != "report" else []
    code, _, err = door("benchmark", words[0], *own, *words[1:])
    assert code == 2 and said in err
    assert not (tmp_path / "runs").exists()


def test_a_file_of_another_layout_is_refused_with_what_was_expected_and_found(published, tmp_path, door):
    path = tmp_path / "RTE" / "dev.tsv"
    path.write_text(path.read_text().replace("sentence2", "hypothesis", 1))
    code, _, err = door("benchmark", "glue", "--tasks", "rte", "--models", "bilstm", *published)
    assert code == 2 and "sentence2" in err and "hypothesis" in err
    assert not (tmp_path / "runs").exists()


def test_records_of_another_version_and_half_lines_are_left_out_and_later_ones_count(tmp_path):
    path = tmp_path / "found.jsonl"
    records.append(path, RECORD)
    with path.open("a") as file:
        file.write('{"version": 99}\n{"half')
    newer = replace(RECORD, scores={"dev": {"accuracy": 0.75}})
    records.append(path, newer)
    found, complaints = records.read([path, tmp_path / "absent.jsonl"])
    assert [record.scores for record in found] == [newer.scores]
    assert [complaint.split(": left out: ")[0] for complaint in complaints] == [f"{path}:2", f"{path}:3"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scores": {"dev": 0.5}}, "scores.dev"),
        ({"scores": {"test": {"accuracy": 0.5}}}, "scores has no dev."),
        ({"scores": {"dev": {"accuracy": float("nan")}}}, "NaN is no number of JSON."),
        ({"rows": None}, "rows"),
        ({"seed": "2"}, "seed"),
        ({"curve": [[1.0, 2.0, 3.0]]}, "a point of curve, or an interval, has not two numbers."),
        ({"footprint": {"parameters": 3}}, "footprint"),
        ({"variant": ["a"]}, "variant"),
    ],
)
def test_a_record_that_is_none_is_left_out_with_the_reason(changed, said, tmp_path):
    path = tmp_path / "found.jsonl"
    records.append(path, RECORD)
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | changed) + "\n" + json.dumps(whole) + "\n")
    found, (complaint,) = records.read([path])
    assert found == [RECORD] and complaint.startswith(f"{path}:1: left out: ") and said in complaint


def test_what_has_a_record_of_this_config_and_data_is_not_trained_again(published, tmp_path):
    jobs, places = [Job(RTE, "bilstm", seed, "random") for seed in (1, 2)], Places(tmp_path, tmp_path)
    done = replace(RECORD, variant=jobs[0].variant, config=jobs[0].digest(), data=jobs[0].data(places))
    assert left_to_do(jobs, [done], places) == [jobs[1]]
    assert left_to_do(jobs, [replace(done, config="of before")], places) == jobs
    assert left_to_do([replace(jobs[0], changes=("training_params.max_epoch=1",))], [done], places)
    before = jobs[0].folder(places)
    path = tmp_path / "RTE" / "dev.tsv"
    path.write_text(path.read_text().replace("not_entailment", "entailment", 1))
    assert left_to_do(jobs, [done], places) == jobs and jobs[0].folder(places) != before


def test_a_student_comes_after_its_teacher_with_the_same_seed():
    student = Job(RTE, "student", 2)
    assert with_needed([student, Job(RTE, "minilm", 2)]) == [Job(RTE, "minilm", 2), student]


def test_the_time_left_is_that_of_runs_of_the_same_task_else_of_the_same_model():
    done = [
        replace(RECORD, seconds=10.0),
        replace(RECORD, seed=2, seconds=30.0),
        replace(RECORD, task="cola", seconds=100.0),
    ]
    assert seconds_left([Job(RTE, "bilstm", 3)], done) == 20.0
    assert seconds_left([Job(SUITES["glue"][1], "bilstm", 1)], done) == pytest.approx(140 / 3)
    assert seconds_left([Job(RTE, "bilstm", 3)], []) is None


def test_every_task_has_a_config_of_each_model_of_a_benchmark():
    for task in [*SUITES["glue"], *SUITES["wikiqa"]]:
        assert {"bilstm", "bilstm_attention", "cnn", "minilm", "student"} <= set(task.models())
        assert Job(task, "student", 1).needs() == [Job(task, "minilm", 1)]
    assert chosen_models(SUITES["glue"], ["all"]) == ["bilstm", "bilstm_attention", "cnn", "minilm", "student"]
    assert chosen_tasks("wikiqa", []) == list(SUITES["wikiqa"])
    with pytest.raises(UserError, match="no config of 'arc_ii' for cola"):
        chosen_models(SUITES["glue"], ["arc_ii"])


def test_an_interval_holds_what_all_draws_give_and_draws_groups_whole():
    inputs = InputsConf(
        dataset_type="classification", model_inputs={}, target=["label"], labels=["0", "1"], group_by="group"
    )
    problem = Classification(inputs)
    targets = {"label": np.array([0, 1, 0, 1]), "group": np.array([7, 7, 9, 9])}
    right = Decoded(np.eye(2)[[0, 1, 0, 1]])
    assert bootstrap(problem, ["accuracy"], right, targets) == {"accuracy": [1.0, 1.0]}
    half = Decoded(np.eye(2)[[0, 1, 1, 0]])  # one group right, one wrong: accuracies 0, 0.5 and 1, never 0.25
    assert bootstrap(problem, ["accuracy", "mrr"], half, targets) == {"accuracy": [0.0, 1.0], "mrr": [0.5, 1.0]}
    alike = {"label": np.array([0, 0]), "group": np.array([7, 9])}
    assert bootstrap(problem, ["auc"], Decoded(np.eye(2)[[0, 1]]), alike) == {}  # one class has no AUC


def test_the_table_has_means_over_seeds_in_percent_and_the_average_of_tasks_by_their_metrics():
    found = [
        replace(RECORD, task=task.name, scores={"dev": dict.fromkeys(task.metrics, 0.5)}) for task in SUITES["glue"]
    ]
    mnli = next(at for at, record in enumerate(found) if record.task == "mnli")
    found[mnli] = replace(found[mnli], scores={"dev": {"accuracy": 0.8}, "mismatched": {"accuracy": 0.6}})
    found.append(replace(RECORD, seed=2, scores={"dev": {"accuracy": 0.7}}))
    table = tables.scores("glue", SUITES["glue"], found)
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert cells["RTE accuracy"] == "60.0 ± 14.1" and cells["Trainings"] == "1 to 2"
    assert cells["MNLI mismatched accuracy"] == "60.0"
    assert float(cells["Average"]) == pytest.approx((7 * 50 + 60 + 70) / 9, abs=0.05)
    assert "Average" not in tables.scores("glue", SUITES["glue"], found[1:]).header  # a task is missing


def test_a_table_tells_which_models_had_which_rows_and_word_vectors():
    more = replace(RECORD, variant="cnn", rows={"train": 9, "dev": 2}, vectors="glove.txt, 3 lines")
    assert tables.scores("glue", [RTE], [RECORD]).notes[-2:-1] == ["RTE: train 4 rows, dev 2 rows"]
    assert list(tables.scores("glue", [RTE], [RECORD, more]).notes)[-4:-1] == [
        "RTE: train 4 rows, dev 2 rows (bilstm)",
        "RTE: train 9 rows, dev 2 rows (cnn)",
        "word vectors: glove.txt, 3 lines (cnn)",
    ]


def test_speeds_that_are_drawn_together_were_measured_on_one_machine():
    def measured(processor, variant):
        footprint = Footprint(
            parameters=1, weights_mib=1.0, rows_per_second={"1": 9.0}, latency_ms={"p50": 2.0}, predict_mib=9.0
        )
        return replace(RECORD, variant=variant, footprint=footprint, machine={"processor": processor})

    found = [measured("fast", "cnn"), measured("slow", "bilstm"), measured("slow", "cnn")]
    figure = next(drawn for name, _, drawn in plots.plots("glue", found) if name == "glue_latency")
    assert "slow" in figure.get_suptitle() and "fast" not in figure.get_suptitle()
    signs = [len(np.asarray(drawn.get_offsets())) for drawn in figure.axes[0].collections]
    assert sum(signs) == 2, "those of its two models"


def test_the_page_needs_nothing_else_and_shows_texts_as_texts(tmp_path):
    text = "training_params.x=<script>alert(1)</script>"
    of_another = replace(RECORD, suite="wikiqa", task="wikiqa", scores={"dev": {"auc": 0.5}})
    report.write([RECORD, of_another, replace(RECORD, variant=text, curve=[[10, 0.4], [20, 0.5]])], tmp_path)
    page = (tmp_path / "results.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    shown = re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>|<(metadata)>.*?</metadata>', "", page, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["'](?!#)|url\((?!#)|@import""", shown)
    assert page.count("<figure") == page.count("<svg") == 3  # no footprint, so no latency
    assert re.findall(r"href='#(\w+)'", page) == re.findall(r"<section id='(\w+)'", page) == ["glue", "wikiqa"]
    assert "[1] Gong et al. 2019" in page and "<td>50.0</td>" in page


def test_a_submission_has_a_line_for_each_row_in_order_in_the_official_names(tmp_path, door):
    """Of runs that were trained on a few rows of each task; that of the better seed answers."""
    encoder = write_encoder(tmp_path / "encoder")
    places = Places(tmp_path / "data", tmp_path / "runs")
    changes = ("training_params.max_epoch=1", "training_params.batch_size=8")
    texts = [" ".join(WORDS[at : at + 3]) for at in range(8)]
    for task in SUITES["glue"]:
        conf = composed(task.config("minilm"))["inputs"]
        named, labels = conf["file_header"], conf.get("labels", ["1.5", "4.5"])
        for kind in ("train", "valid"):
            path = places.data / Path(conf["data_paths"][f"{kind}_data_path"]).relative_to("dataset")
            path.parent.mkdir(parents=True, exist_ok=True)
            if task.name == "cola":
                rows = [f"x\t{at % 2}\t\t{text}" for at, text in enumerate(texts)]
            else:
                rows = ["\t".join(named.values())]
                for at, text in enumerate(texts):
                    cells = {"label": labels[at % len(labels)], "score": labels[at % len(labels)]}
                    rows.append("\t".join(cells.get(column, text) for column in named))
            path.write_text("\n".join(rows) + "\n")
        for name, part in task.also.items():
            path = places.data / Path(part.file).relative_to("dataset")
            path.parent.mkdir(exist_ok=True)
            header, *rows = (places.data / "MNLI" / "dev_matched.tsv").read_text().splitlines()
            header = "Premise\tHypothesis\tLabel" if name == "diagnostic" else header
            path.write_text("\n".join([header, *rows]) + "\n")
        job = Job(task, "minilm", 1, changes=changes, encoder=str(encoder))
        train_to_the_end(job.experiment(places), lambda _: None)
        config, data = job.digest(), job.data(places)
        record = replace(RECORD, task=task.name, variant=job.variant, config=config, data=data)
        records.append(tmp_path / "found.jsonl", record)
        no_run = replace(record, seed=2, scores={"dev": {"accuracy": 0.99}})
        records.append(tmp_path / "found.jsonl", no_run)
        if task.also:
            for of_one in (job, Job(task, "majority", 1)):
                scores = record_of(of_one, places, print).scores
                assert {name: list(found) for name, found in scores.items()} == {
                    "dev": ["accuracy"],
                    "mismatched": ["accuracy"],
                    "diagnostic": ["matthews"],
                }
    for test in TEST_SETS:
        path = places.data / Path(test.file).relative_to("dataset")
        path.parent.mkdir(exist_ok=True)
        table = [["index", *dict(test.columns).values()]]
        table += [[str(at), *[text] * len(test.columns)] for at, text in enumerate(texts)]
        table[-1][-1] = "" if test.task == "qqp" else texts[-1]
        path.write_text("".join("\t".join(cells) + "\n" for cells in table))
    options = [
        "--data",
        places.data,
        "--runs",
        places.runs,
        "--results",
        tmp_path / "found.jsonl",
        "--output",
        tmp_path / "out",
    ]
    options += ["--encoder", encoder, *(word for change in changes for word in ("--set", change))]
    code, out, err = door("benchmark", "submit", "--model", "minilm", *options)
    assert code == 0, err
    assert "AX.tsv: 8 rows by mnli minilm" in out
    assert re.search(r"QQP.tsv: 8 rows by qqp minilm.*, seed 1, 1 of them not readable and given 0\n", out)
    names = [f"{name}.tsv" for name in "AX CoLA MNLI-m MNLI-mm MRPC QNLI QQP RTE SST-2 STS-B WNLI".split()]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*names, "submission.zip"]
    with ZipFile(tmp_path / "out" / "submission.zip") as upload:
        assert sorted(upload.namelist()) == names
        assert upload.read("RTE.tsv") == (tmp_path / "out" / "RTE.tsv").read_bytes()
    lines = (tmp_path / "out" / "RTE.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction" and [line.split("\t")[0] for line in lines[1:]] == list("01234567")
    assert {line.split("\t")[1] for line in lines[1:]} <= {"entailment", "not_entailment"}
    numbers = [float(line.split("\t")[1]) for line in (tmp_path / "out" / "STS-B.tsv").read_text().splitlines()[1:]]
    assert len(numbers) == 8 and all(0 <= number <= 5 for number in numbers)
    shutil.rmtree(Job(RTE, "minilm", 1, changes=changes, encoder=str(encoder)).folder(places))
    assert _shown(7.2) == "5.000" and _shown(-1.0) == "0.000"
    code, _, err = door("benchmark", "submit", "--model", "minilm", *options)
    assert code == 2 and "has no finished run of minilm" in err and "for RTE" in err


def test_a_failure_stops_neither_the_others_nor_hides_why(published, tmp_path):
    """The student waits for its teacher in vain; processes stand in for trainings."""
    said: list[str] = []
    jobs = [Job(RTE, model, 1, "random") for model in ("minilm", "student", "bilstm")]
    ends = {"minilm": "import sys; sys.exit('the reason')", "bilstm": "pass"}
    failed = run_all(
        jobs,
        lambda job: [sys.executable, "-c", ends[job.model]],
        Places(tmp_path, tmp_path / "runs"),
        list,
        [],
        2,
        said.append,
    )
    assert failed == jobs[:2]
    assert "rte minilm, seed 1: failed\nthe reason" in said
    assert "rte student, random vectors, seed 1: not trained, what it needs failed" in said
    assert "rte bilstm, random vectors, seed 1: done" in said
    assert list((tmp_path / "runs").iterdir()) == []


def test_jobs_are_spread_over_the_devices(published, tmp_path):
    places, seen = Places(tmp_path, tmp_path / "runs"), tmp_path / "seen"
    note = f"import os; open({str(seen)!r}, 'a').write(os.environ['CUDA_VISIBLE_DEVICES'] + ' ')"
    jobs = [Job(RTE, "bilstm", seed, "random") for seed in (1, 2)]
    assert run_all(jobs, lambda _: [sys.executable, "-c", note], places, list, ["4", "7"], 2, lambda _: None) == []
    assert sorted(seen.read_text().split()) == ["4", "7"]


def test_interrupted_it_stops_its_trainings(published, tmp_path):
    """Two processes stand in for trainings; when the second has ended, which waits for the first, Ctrl-C comes."""
    started, ended = tmp_path / "started", tmp_path / "ended"
    touch = "import pathlib, signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\ntry:\n  pathlib.Path({!r}).touch()\n  time.sleep(60)\n"
    touch += "except KeyboardInterrupt:\n  pathlib.Path({!r}).touch()"
    wait = "import pathlib, time\nwhile not pathlib.Path({!r}).exists(): time.sleep(0.05)"
    works = {"bilstm": touch.format(str(started), str(ended)), "cnn": wait.format(str(started))}

    def interrupt() -> list[Record]:
        if started.exists():
            raise KeyboardInterrupt
        return []

    jobs = [Job(RTE, model, 1, "random") for model in ("bilstm", "cnn")]
    places = Places(tmp_path, tmp_path / "runs")
    with pytest.raises(KeyboardInterrupt):
        run_all(jobs, lambda job: [sys.executable, "-c", works[job.model]], places, interrupt, [], 2, print)
    assert ended.exists()


def test_a_training_ends_when_its_parent_is_killed(tmp_path):
    """A process in between, killed as for want of memory; its child stands in for a training."""
    child = "import os, signal, sys, time, pathlib\nfrom benchmarks.runner import end_with\n"
    child += "signal.signal(signal.SIGINT, signal.default_int_handler)\nend_with(int(sys.argv[1]))\n"
    child += f"try:\n  pathlib.Path({str(tmp_path / 'started')!r}).touch()\n  time.sleep(60)\n"
    child += f"except KeyboardInterrupt:\n  pathlib.Path({str(tmp_path / 'ended')!r}).touch()"
    parent = f"import os, subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}, str(os.getpid())])"
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT)
    wait_for(tmp_path / "started")
    process.kill()
    wait_for(tmp_path / "ended")


def wait_for(path):
    """Until it is there; a minute at most."""
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} has not come")


def test_what_makes_another_training_makes_another_run(published, tmp_path):
    """Other vectors, changes (paths too), another encoder; and a student whose teacher became another one."""
    jobs = [Job(RTE, model, 1) for model in ("bilstm", "minilm", "student")]
    jobs += [Job(RTE, "bilstm", 1, vectors) for vectors in ("random", "encoder")]
    changes = [f"inputs.data_paths.pre_trained_emb={name}" for name in "ab"] + ["training_params.max_epoch=1"]
    jobs += [Job(RTE, "bilstm", 1, changes=(change,)) for change in changes]
    jobs += [Job(RTE, model, 1, encoder=str(tmp_path / "encoder")) for model in ("minilm", "student")]
    places = Places(tmp_path, tmp_path)
    (tmp_path / "glove.6B.100d.txt").write_text("")
    assert len({job.folder(places) for job in jobs}) == len({job.variant for job in jobs}) == len(jobs)
    before = jobs[-1].folder(places)
    weights = tmp_path / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[::-1])  # of the same config and size
    assert jobs[-1].folder(places) != before
    assert Job(RTE, "bilstm", 1).digest() == Job(RTE, "bilstm", 2).digest()
    assert Job(RTE, "bilstm", 1, encoder="x").variant == "bilstm"  # it reads words, of GloVe


def test_seeds_of_a_config_that_was_changed_since_are_left_out(tmp_path):
    path = tmp_path / "found.jsonl"
    for record in (RECORD, replace(RECORD, seed=2, config="new"), replace(RECORD, task="wnli", data="before")):
        records.append(path, record)
    read, complaints = records.read([path])
    assert len(read) == 3 and not complaints, "what is done with the config of before stays done"
    found, complaints = records.of_one_version(read)
    assert [(record.task, record.seed) for record in found] == [("rte", 2), ("wnli", 1)]
    assert complaints == ["left out: glue, rte, bilstm, seed 1: a later line has another config"]


def test_a_report_of_scores_that_are_not_defined_shows_the_others(tmp_path):
    """Such as the correlation of equal answers; and a variant that was trained for other metrics has no row."""
    found = [replace(RECORD, scores={"dev": {"accuracy": None}}), replace(RECORD, seed=2)]
    found += [replace(RECORD, variant="$a$ | b", scores={"dev": {"auc": 0.5}})]
    table = tables.scores("glue", SUITES["glue"], found)
    assert [row[0] for row in table.rows][:1] == ["bilstm"] and "$a$" not in table.markdown()
    assert table.rows[0][table.header.index("RTE accuracy")] == "50.0"
    assert "$a$ \\| b" in report.write([*found, replace(found[2], scores={"dev": {"accuracy": 0.5}})], tmp_path)
    assert found[0].dev_score < found[1].dev_score


def test_a_file_that_takes_no_results_is_refused_before_anything_is_trained(published, tmp_path, door):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    none, below = tmp_path / "folder", tmp_path / "file" / "x.jsonl"
    places = {none: f"--results {none}: is a folder, not a file", below: f"{below}: results cannot be written there"}
    for place, said in places.items():
        code, _, err = door("benchmark", "glue", "--tasks", "rte", "--models", "bilstm", *published, "--results", place)
        assert code == 2 and said in err
    assert not (tmp_path / "runs").exists()


def test_of_several_folders_of_a_set_that_directly_below_the_data_counts(tmp_path):
    for folder in ("RTE", "old/RTE"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "train.tsv").write_text("x")
    assert look_for(tmp_path, Path("dataset/RTE/train.tsv")) == tmp_path / "RTE/train.tsv"
    (tmp_path / "RTE").rename(tmp_path / "new")
    (tmp_path / "new").rename(tmp_path / "old" / "other")
    assert look_for(tmp_path, Path("dataset/RTE/train.tsv")) == tmp_path / "old/RTE/train.tsv"


def test_files_of_a_set_are_of_one_place(tmp_path, monkeypatch):
    """A set that does not lie below the data is read where configs name it; of one that does, nothing is."""
    monkeypatch.chdir(tmp_path)
    for name in ("dataset/RTE/dev.tsv", "dataset/WNLI/dev.tsv", "mine/RTE/train.tsv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert look_for(Path("mine"), Path("dataset/WNLI/dev.tsv")) == Path("dataset/WNLI/dev.tsv")
    assert look_for(Path("mine"), Path("dataset/RTE/dev.tsv")) is None


def test_data_is_found_through_a_link_to_its_folder(published, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "RTE").symlink_to(tmp_path / "RTE")
    assert "links/RTE/dev.tsv" in "".join(data_overrides(RTE.config("minilm"), tmp_path / "links"))


def test_methods_are_set_against_the_average_with_the_same_seed_and_encoder():
    def of(variant, seed, accuracy):
        scores = {"dev": {"accuracy": accuracy, "auc": accuracy}}
        return replace(
            RECORD, suite="distillation", model=variant.split(", ")[0], variant=variant, seed=seed, scores=scores
        )

    found = [of("average, encoder a", seed, 0.5 + seed / 100) for seed in (1, 2)]
    found += [of("average, encoder a, training_params.max_epoch=1", seed, 0.1) for seed in (1, 2)]
    found += [of("rl_kd, encoder a, trainer.conf.reward=2", seed, 0.55 + seed / 50) for seed in (1, 2, 3)]
    found += [of("average", 3, 0.5)]  # of another encoder: not the same rival
    found += [of("teacher_mean, encoder a", 1, 0.9), of("rl_kd_encoder, encoder a", 1, 0.9)]
    task = next(task for task in SUITES["distillation"] if task.name == "rte")
    table = tables.differences("distillation", [task], found)
    assert [row[:3] for row in table.rows] == [
        ["rl_kd, encoder a, trainer.conf.reward=2 − average, encoder a", "2", "+6.5 ± 0.7"],
        ["rl_kd, encoder a, trainer.conf.reward=2 − average", "1", "+11.0"],
    ]


def test_students_of_teachers_that_were_trained_again_are_set_against_those_of_the_same_teachers(tmp_path):
    def of(model, accuracy, **teachers):
        changed = {"model": model, "variant": model, "scores": {"dev": {"accuracy": accuracy, "auc": accuracy}}}
        return replace(RECORD, suite="distillation", teachers=teachers, **changed)

    found = [of("student", 0.4), of("average", 0.5, a="1", b="1"), of("one_teacher", 0.6, a="1")]
    found += [of("average", 0.7, a="2", b="2"), of("one_teacher", 0.9, a="2"), of("rl_kd", 0.9, a="2", b="3")]
    for record in found:
        records.append(tmp_path / "found.jsonl", record)
    assert records.read([tmp_path / "found.jsonl"])[0] == found  # each counts
    task = next(task for task in SUITES["distillation"] if task.name == "rte")
    rows = {row[0]: row[1:] for row in tables.differences("distillation", [task], found).rows}
    of_both = {"student − average": ["1", *["-30.0"] * 2], "one_teacher − average": ["2", *["+15.0 ± 7.1"] * 2]}
    assert rows == of_both
    shown = [row[:3] for row in tables.by_seed("distillation", [task], found).rows if row[0] == "average"]
    assert [row[1] for row in shown] == ["1", "1"] and len({row[2] for row in shown}) == 2


def test_a_student_needs_the_runs_that_its_config_names_all_of_one_seed():
    task = next(task for task in SUITES["distillation"] if task.name == "rte")
    names = ("pooler", "mean", "short", "match")
    teachers = {f"teachers.{name}.conf.path": Job(task, f"teacher_{name}", 1) for name in names}
    assert Job(task, "average", 3).runs() == teachers
    begins = {"architecture.params.model": Job(task, "teacher_pooler", 1)}
    assert Job(task, "rl_kd_encoder", 3).runs() == teachers | begins


def test_a_student_of_teachers_with_folds_needs_their_out_of_fold_runs(published, tmp_path):
    task = next(task for task in SUITES["distillation"] if task.name == "rte")
    places = Places(tmp_path, tmp_path)
    teachers = Job(task, "average", 3).needs()
    needed = Job(task, "average_out_of_fold", 3).needs()
    assert [job for job in needed if not job.changes] == teachers
    of_one = [job for job in needed if job.changes and job.model == "teacher_mean"]
    assert len(needed) == 4 * len(teachers) and len(of_one) == 3
    whole = Job(task, "teacher_mean", 1)
    assert [job.folder(places) for job in of_one] == [whole.folder(places) / "folds" / str(fold) for fold in (1, 2, 3)]
    assert all(job.needs() == [whole] for job in of_one)
    assert [read_document(job.path, job.overrides())["training_params"]["left_out"] for job in of_one] == [
        {"fold": fold, "of": 3} for fold in (1, 2, 3)
    ]


def test_a_student_of_two_layers_begins_with_those_of_its_teacher(published, tmp_path, door):
    command = ["benchmark", "distillation", "--tasks", "rte", "--models", "one_teacher_encoder"]
    code, out, err = door(*command, *published)
    assert code == 0, err
    assert [record.model for record in records.read([tmp_path / "found.jsonl"])[0]] == [
        "teacher_pooler",
        "one_teacher_encoder",
    ]
    assert "Distillation on RTE" in out
    runs = {re.split("_[0-9a-f]{12}_", path.name)[0]: path for path in (tmp_path / "runs" / "distillation").iterdir()}
    kept = json.loads((runs["rte_one_teacher_encoder"] / "config.json").read_text())
    assert kept["architecture"][0]["conf"]["model"] == str(runs["rte_teacher_pooler"])
    assert kept["teachers"]["teacher"]["conf"]["path"] == str(runs["rte_teacher_pooler"])
    assert kept["inputs"]["labels"] == ["entailment", "not_entailment"]


def test_peers_read_what_a_config_reads_and_are_scored_alike(published, tmp_path, door):
    """The labels of the fixture take turns; each baseline has a line, and so has transformers' Trainer."""
    peers = ["majority", "bag_of_words", "word_overlap", "trainer"]
    code, _, err = door("benchmark", "glue", "--tasks", "rte", "--here", "--models", *peers, *published)
    assert code == 0, err
    found = {record.model: record for record in records.read([tmp_path / "found.jsonl"])[0]}
    assert list(found) == peers and all(one.rows["dev"] == 24 for one in found.values())
    assert found["majority"].scores["dev"]["accuracy"] == 0.5 and found["majority"].variant == "majority"
    assert found["bag_of_words"].dev_score > 0.5  # it is fitted on words that tell the row
    assert 0 <= found["trainer"].dev_score <= 1
    code, _, err = door("benchmark", "glue", "--tasks", "rte", "--here", "--models", "word_tag", *published)
    assert code == 2 and "word_tag: is for tagging" in err


def test_a_page_has_its_tables_made_anew_and_keeps_all_else(tmp_path, door):
    records.append(tmp_path / "found.jsonl", RECORD)
    records.append(tmp_path / "found.jsonl", replace(RECORD, variant="cnn", scores={"dev": {"accuracy": 0.25}}))
    page = tmp_path / "page.md"
    before = "Before.\n<!-- table glue scores on rte of bil* -->\nold\n<!-- end -->\nBetween.\n"
    page.write_text(before)
    command = ["benchmark", "report", "--results", tmp_path / "found.jsonl", "--output", tmp_path / "report"]
    assert door(*command, "--page", page)[0] == 0
    text = page.read_text()
    assert text.startswith("Before.\n<!-- table glue") and text.endswith("\n<!-- end -->\nBetween.\n")
    assert "| bilstm | 1 | 50.0 |" in text and "cnn" not in text and "old" not in text
    assert "configs: `configs/glue/rte_MODEL.json`" in text
    for words, said in (
        (["--page", tmp_path / "nix.md"], "nix.md: cannot be read (No such file or directory)."),
        (["--output", page], f"--output {page}: is a file, not a folder."),
    ):
        code, out, err = door("benchmark", "report", "--results", tmp_path / "found.jsonl", *words)
        assert (code, out) == (2, "") and said in err
    page.write_text(before.replace("scores", "summary"))
    assert door(*command, "--page", page)[0] == 0
    text = page.read_text()
    assert "| Model | Trainings | RTE accuracy |" in text and "dev 2 rows" not in text
    assert "| rows to train on |  | 4 |" in text
    page.write_text(before.replace("bil*", "cnn | *"))
    assert door(*command, "--page", page)[0] == 0
    assert page.read_text().index("| cnn | 1 |") < page.read_text().index("| bilstm | 1 |")
    for old, new, said in [
        ("scores", "numbers", "<!-- table glue numbers on rte of bil* -->: names no table"),
        ("of bil*", "of bil* | b*t", "<!-- table glue scores on rte of bil* | b*t -->: there are no results of b*t."),
        ("on rte", "on wnli", "<!-- table glue scores on wnli of bil* -->: there are no such results."),
        ("on rte", "on rtee", "<!-- table glue scores on rtee of bil* -->: glue has no 'rtee'."),
        ("<!-- end -->\n", "", "ends with a line <!-- end -->"),
        ("table glue scores on rte of bil*", "kept other", "<!-- kept other -->: there is no such measurement."),
    ]:
        page.write_text(before.replace(old, new))
        code, _, err = door(*command, "--page", page)
        assert code == 2 and said in err
        assert page.read_text() == before.replace(old, new)


def test_a_measurement_is_kept_with_its_command_and_shown_in_a_page(tmp_path, door):
    printed = as_markdown(
        "encoders", ["--model", "/some/where/encoder", "--data=/some/data", "--rows", "9"], "| rows/s |\n|---|\n| 5 |\n"
    )
    assert "python -m benchmarks.encoders --model encoder --data=data --rows 9\n" in printed and "/some" not in printed
    assert "\n| 5 |\n" in printed and "- measured on " in printed
    (tmp_path / "encoders.md").write_text(printed)
    records.append(tmp_path / "found.jsonl", RECORD)
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- kept encoders -->\n<!-- end -->\nAfter.\n")
    for _ in range(2):
        code, _, err = door("benchmark", "report", "--results", tmp_path / "found.jsonl", "--page", page)
        assert code == 0, err
        assert page.read_text() == f"Before.\n<!-- kept encoders -->\n{printed}<!-- end -->\nAfter.\n"


def test_a_copy_of_the_encoder_that_a_config_names_makes_no_other_variant(tmp_path):
    (tmp_path / "all-MiniLM-L6-v2").mkdir()
    named, copied, of_others = (
        Job(RTE, "student", 1, encoder=encoder)
        for encoder in (None, str(tmp_path / "all-MiniLM-L6-v2"), "others/all-MiniLM-L6-v2")
    )
    assert copied.variant == named.variant == "student" and copied.digest() == named.digest()
    assert of_others.variant == "student, encoder others/all-MiniLM-L6-v2" and of_others.digest() != named.digest()


def test_every_further_part_is_looked_at_before_anything_is_trained(published, tmp_path, door):
    """Rows as MNLI has them, beside a diagnostic set without labels; then two of that name."""
    mnli = composed(next(task for task in SUITES["glue"] if task.name == "mnli").config("bilstm"))["inputs"]
    row = {column: "neutral" if column == "label" else "a word" for column in mnli["file_header"]}
    lines = ["\t".join(mnli["file_header"].values()), "\t".join(row.values())]
    for file in ("MNLI/train.tsv", "MNLI/dev_matched.tsv", "MNLI/dev_mismatched.tsv"):
        (tmp_path / "MNLI").mkdir(exist_ok=True)
        (tmp_path / file).write_text("\n".join(lines) + "\n")
    for folder, said in {"some/diagnostic": "Label", "more/diagnostic": "has more than one diagnostic"}.items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "diagnostic-full.tsv").write_text("index\tPremise\tHypothesis\n0\ta word\ta word\n")
        code, _, err = door("benchmark", "glue", "--tasks", "mnli", "--models", "bilstm", *published)
        assert code == 2 and said in err and "diagnostic-full.tsv" in err, err
    shutil.rmtree(tmp_path / "more")
    job, places = Job(SUITES["glue"][5], "bilstm", 1, "random"), Places(tmp_path, tmp_path / "runs")
    before = job.data(places)
    (tmp_path / "some" / "diagnostic" / "diagnostic-full.tsv").unlink()
    assert job.data(places) != before, "what was scored without it is not done with it"
    assert not (tmp_path / "runs").exists()


def test_every_model_and_peer_of_every_task_is_a_job_and_no_name_means_two_things():
    from benchmarks.peers import BASELINES as ANSWERED

    assert list(ANSWERED) == list(BASELINES) and COMMANDS.keys() == SUITES.keys()
    for task in [task for tasks in SUITES.values() for task in tasks]:
        assert set(PEERS).isdisjoint(task.models()), task
        for model in [*task.models(), *(peer for peer in PEERS if task.path(peer).exists())]:
            assert len(Job(task, model, 1).digest()) == 12
        assert task.path("majority").exists()
    with pytest.raises(UserError, match="nothing says how trainer would read conll2003"):
        chosen_models(SUITES["tagging"], ["trainer"])


def test_settings_that_a_layer_has_anyway_make_no_other_config():
    plain = Job(RTE, "bilstm", 1)
    assert Job(RTE, "bilstm", 1, changes=("architecture.params.dropout=0.9",)).digest() != plain.digest()
    usual = {field.name: field.default for field in fields(Linear.Conf)}
    assert usual["activation"] is not None  # null is something else there
    conf = {"hidden_dim": 3, "activation": None, "batch_norm": usual["batch_norm"]}
    assert _said({"layer": "Linear", "conf": conf})["conf"] == {"hidden_dim": 3, "activation": None}
