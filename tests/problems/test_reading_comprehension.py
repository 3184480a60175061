import itertools
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from problem_of import problem_of
from tiny_encoders import write_encoder
from transformers import AutoTokenizer

import core.conf
from core.config import InputsConf
from core.types import Features, Row, Spec
from problems.reading_comprehension import DecodedSpans, ReadingComprehension
from text.alignment import character_spans
from text.tokens import Tokens
from text.windows import Windows

TARGET = ["start_label", "end_label", "answers"]
PASSAGE = "The cat sat in old Rome, not in Oslo."
WORDS = "The cat sat in old Rome , not in Oslo .".split()


def problem(**conf) -> ReadingComprehension:
    return problem_of(ReadingComprehension, *TARGET, model_inputs={"passage": ["passage"]}, **conf)


def row(start: object, answers: str, passage: str = PASSAGE) -> Row:
    return Row(7, {"passage": passage, "question": "Where?", "start_label": str(start), "answers": answers})


def encoded(reader: ReadingComprehension, *rows: Row) -> tuple[dict[str, Any], list[str]]:
    starts, ends = character_spans(PASSAGE, PASSAGE, WORDS)
    spans = np.tile(np.stack([starts, ends], 1), (len(rows), 1))
    return reader.encode(rows, growing=True, tokens={"passage": Tokens.of_lists([WORDS] * len(rows), spans)})


def scores(*rows: list[float]) -> Features:
    """B x T x 1, padding has the highest score of all."""
    size = max(map(len, rows))
    values = torch.tensor([[*row, *[99.0] * (size - len(row))] for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (size - len(row)) for row in rows])
    return Features(values.unsqueeze(-1), mask)


@pytest.mark.parametrize(
    ("start", "answers", "places"),
    [
        (19, "Rome", (5, 5)),
        (15, '["old Rome", "Rome"]', (4, 5)),
        (16, "ld Ro", (4, 5)),  # parts of words: the words that they are in
        (0, PASSAGE, (0, 10)),
    ],
)
def test_characters_become_tokens(start, answers, places):
    arrays, errors = encoded(problem(), row(start, answers))
    assert errors == [""]
    assert (arrays["start_label"][0], arrays["end_label"][0]) == places


@pytest.mark.parametrize(
    ("start", "answers", "sentence"),
    [
        (18, "Rome", "answer 'Rome' is not at character 18 of passage, it is at 19."),
        (3, "Paris", "answer 'Paris' is not at character 3 of passage, nor anywhere else in it."),
        (3, "[" * 100_000, f"answer '{'[' * 40}' is not at character 3 of passage, nor anywhere else in it."),
        ("x", "Rome", "'x' in column start_label is no whole number."),
        ("", "Rome", "column start_label is empty, but there is an answer 'Rome'."),
        (-1, "[]", "the question has no answer. inputs.unanswerable takes such questions."),
    ],
)
def test_answers_that_are_none(start, answers, sentence):
    assert encoded(problem(), row(start, answers), row(19, "Rome"))[1] == [sentence, ""]


def test_without_a_column_of_answers_the_end_says_where_one_ends():
    reader = problem_of(ReadingComprehension, *TARGET[:2], model_inputs={"passage": ["passage"]})
    found = [Row(7, {"passage": PASSAGE, "start_label": "19", "end_label": end}) for end in ("23", "")]
    arrays, errors = encoded(reader, *found)
    assert (arrays["start_label"][0], arrays["end_label"][0]) == (5, 5)
    assert errors == ["", "column end_label is empty, but an answer starts at 19."]


def test_questions_without_answer():
    arrays, errors = encoded(problem(unanswerable=True), row(-1, "[]"), row("", ""))
    assert errors == ["", ""] and arrays["start_label"].tolist() == [-1, -1]


@pytest.mark.parametrize("unanswerable", [False, True])
def test_the_best_spans_are_those_of_a_loop_over_all_spans(unanswerable):
    torch.manual_seed(3)
    reader = problem(max_answer_length=3, unanswerable=unanswerable, n_best=4)
    longest, begun = 3, int(unanswerable)
    lengths = [9, 4, 2, 9]
    starts, ends = (scores(*[torch.randn(length).tolist() for length in lengths]) for _ in range(2))
    decoded = reader.decode({"start_label": starts, "end_label": ends})
    for at, length in enumerate(lengths):
        first, last = starts.values[at, :length, 0].double(), ends.values[at, :length, 0].double()
        spans = {
            (i, j): float(first[i] + last[j])
            for i, j in itertools.product(range(begun, length), repeat=2)
            if i <= j < i + longest
        }
        best = sorted(spans, key=lambda span: -spans[span])[:4]
        found = list(zip(decoded.starts[at] + begun, decoded.ends[at] + begun, strict=True))
        assert found[: len(best)] == best and (decoded.scores[at, len(best) :] == -np.inf).all()
        np.testing.assert_allclose(decoded.scores[at, : len(best)], [spans[span] for span in best])
        every = torch.stack([i + j for i, j in itertools.product(first, last)])
        assert decoded.norms[at] == pytest.approx(float(every.logsumexp(0)))
        assert decoded.nulls[at] == pytest.approx(float(first[0] + last[0]) if unanswerable else -np.inf)


def test_a_row_has_the_best_span_of_its_windows():
    values = [np.array(part, float) for part in ([[3], [1], [5]], [-1, 0, -2], [3.5, 2, 6])]
    found = DecodedSpans(np.array([[0], [1], [2]]), np.array([[1], [1], [3]]), *values)
    rows = found.of_rows(Windows(np.array([0, 0, 1]), np.array([0, 4, 0])))
    assert rows.starts.tolist() == [[0], [2]] and rows.ends.tolist() == [[1], [3]]
    assert rows.scores.tolist() == [[3], [5]] and rows.nulls.tolist() == [-1, -2]
    np.testing.assert_allclose(rows.norms, [np.log(np.exp(3.5) + np.exp(2)), 6])
    later = found.of_rows(Windows(np.array([0, 1, 1]), np.array([0, 0, 4])))
    assert later.starts.tolist() == [[0], [6]]


def test_a_span_that_two_windows_have_counts_once_with_its_better_score():
    starts, ends, values = np.array([[5, 2], [1, 0]]), np.array([[6, 2], [2, 3]]), np.array([[3.0, 1], [4, 2]])
    found = DecodedSpans(starts, ends, values, np.zeros(2), np.ones(2))
    rows = found.of_rows(Windows(np.array([0, 0]), np.array([0, 4])))
    assert rows.starts.tolist() == [[5, 4]] and rows.ends.tolist() == [[6, 7]] and rows.scores.tolist() == [[4, 2]]


def test_the_n_best_answers_are_listed_with_no_answer_among_them():
    reader = problem(unanswerable=True, n_best=3)
    decoded, _ = answered(reader, (4, 5, 7.0), rows=[row(15, '["old Rome", "Rome"]')])
    (cell,) = [p.cells["n_best"] for p in reader.predictions([row(1, "")], decoded, ["n_best"])]
    listed = json.loads(cell)
    assert [answer["text"] for answer in listed][:2] == ["old Rome", ""] and len(listed) == 4
    shares = [answer["confidence"] for answer in listed]
    assert shares == sorted(shares, reverse=True) and sum(shares) < 1
    assert "n_best" in (problem().check_fields(["n_best"]) or "")


def answered(reader: ReadingComprehension, *places: tuple[int, int, float], rows: list[Row]) -> tuple[Any, Any]:
    """What a model that is sure of these tokens answers; the last number is the score of no answer."""
    targets, errors = encoded(reader, *rows)
    assert not any(errors)
    begun = int(reader.conf.unanswerable)

    def sure(place: int, null: float) -> list[float]:
        return [*[null / 2] * begun, *[4.0 if at == place else 0.0 for at in range(len(WORDS))]]

    outputs = {
        "start_label": scores(*[sure(start, null) for start, _, null in places]),
        "end_label": scores(*[sure(end, null) for _, end, null in places]),
    }
    return reader.resolved(reader.decode(outputs), targets, None), targets


def test_answers_are_cut_from_the_passage_as_it_was():
    reader = problem()
    decoded, targets = answered(reader, (4, 5, 0), (9, 9, 0), rows=[row(15, '["old Rome", "Rome"]'), row(19, "Rome")])
    cells = [p.cells for p in reader.predictions([row(1, ""), row(2, "")], decoded, ["prediction", "start", "end"])]
    assert cells == [
        {"prediction": "old Rome", "start": 15, "end": 23},
        {"prediction": "Oslo", "start": 32, "end": 36},
    ]
    assert reader.score(["exact_match", "f1"], decoded, targets) == {"exact_match": 0.5, "f1": 0.5}
    assert reader.right_rows(decoded, targets).tolist() == [True, False]


def test_the_threshold_of_no_answer_is_the_best_for_f1():
    reader = problem(unanswerable=True)
    none, rome = row(-1, "[]"), row(19, "Rome")
    places = [(5, 5, 1.0), (5, 5, 10.0), (9, 9, 11.0), (5, 5, 9.0)]
    decoded, targets = answered(reader, *places, rows=[rome, rome, none, none])
    assert reader.score(["f1"], decoded, targets)["f1"] == 0.75  # 10 is above 8, the score of the span
    reader.tune(decoded, targets)
    assert -7 < reader.no_answer_threshold < 1 and reader.score(["f1"], decoded, targets)["f1"] == 0.75
    decoded, targets = answered(reader, *places[:3], rows=[rome, rome, none])
    reader.tune(decoded, targets)
    assert reader.score(["f1"], decoded, targets)["f1"] == 1.0
    fixed = problem(unanswerable=True, no_answer_threshold=-100.0)
    fixed.tune(decoded, targets)
    assert fixed.tuned is None and fixed.score(["f1"], decoded, targets)["f1"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": ["label"]}, "target must be start_label, end_label and the column of the answers"),
        ({"model_inputs": {"text": ["passage"]}}, "a branch called 'passage'"),
        ({"labels": ["a", "b"]}, "labels has no place"),
        ({"window_stride": 3}, "window_stride must be window_size at most"),
        ({"window_stride": 30, "window_size": 20}, "window_stride must be window_size at most"),
    ],
)
def test_inputs_that_cannot_be_read(changes, sentence):
    inputs = {
        "dataset_type": "mrc",
        "model_inputs": {"passage": ["passage"], "question": ["question"]},
        "target": TARGET,
        **changes,
    }
    with pytest.raises(ValueError, match=sentence):
        ReadingComprehension(core.conf.read(InputsConf, inputs))


def test_one_score_for_each_token():
    for good in (Spec("BT"), Spec("BTD", {"D": 1})):
        problem().check_output(good, "start_label")
    for bad in (Spec("BD", {"D": 2}), Spec("BTD", {"D": 2})):
        with pytest.raises(ValueError, match="expects|must give one score"):
            problem().check_output(bad, "start_label")


@pytest.fixture
def reading(task):
    """A small task: where is the word after "at"? Passages of up to 40 words."""
    rng = np.random.default_rng(0)
    for name, count in {"train": 60, "valid": 20, "test": 20}.items():
        paragraphs = []
        for number in range(count):
            words = rng.choice(["sun", "moon", "tree", "lake", "bird"], rng.integers(4, 40)).tolist()
            place = int(rng.integers(0, len(words) - 1))
            words[place] = "at"
            start = len(" ".join(words[: place + 1])) + 1
            answer = {"text": words[place + 1], "answer_start": start}
            question = {"id": f"{name}{number}", "question": "What is at ?", "answers": [answer]}
            paragraphs.append({"context": " ".join(words), "qas": [question]})
        document = {"version": "1.1", "data": [{"title": "x", "paragraphs": paragraphs}]}
        task.file(f"{name}.json", json.dumps(document))
        task.config["inputs"]["data_paths"][f"{name}_data_path"] = str(task.folder / f"{name}.json")
    del task.config["inputs"]["file_header"]
    task.config["inputs"] |= {
        "dataset_type": "mrc",
        "model_inputs": {"passage": ["passage"], "question": ["question"]},
        "target": TARGET,
        "max_answer_length": 1,
        "window_size": 12,
        "window_stride": 6,
    }
    task.config["training_params"] |= {"max_epoch": 8, "text_preprocessing": ["lowercase"]}
    task.config["architecture"] = [
        {"layer": "Embedding", "conf": {"word": {"cols": ["passage", "question"], "dim": 16}}},
        {"layer_id": "states", "layer": "BiLSTM", "conf": {"hidden_dim": 16}, "inputs": ["passage"]},
        {"layer_id": "vector", "layer": "LinearAttention", "inputs": ["question"]},
        {"layer_id": "start", "layer": "BilinearAttention", "inputs": ["states", "vector"], "output_layer_flag": True},
        {"layer_id": "end", "layer": "BilinearAttention", "inputs": ["states", "vector"], "output_layer_flag": True},
    ]
    task.config["loss"]["losses"] = [
        {"type": "CrossEntropyLoss", "inputs": ["start", "start_label"]},
        {"type": "CrossEntropyLoss", "inputs": ["end", "end_label"]},
    ]
    task.config["metrics"] = ["f1", "exact_match"]
    return task


def test_a_reader_of_windows_learns_and_answers_as_squad_wants_it(door, reading):
    assert door("train", "--conf_path", reading.path)[0] == 0
    assert door("test", "--model", reading.run)[0] == 0
    scores = json.loads((reading.run / "scores.json").read_text())["test"]
    assert scores["exact_match"] > 0.9
    answers = reading.folder / "answers.json"
    assert door("predict", "--model", reading.run, "--output", answers)[0] == 0
    given = json.loads(answers.read_text())
    paragraphs = json.loads((reading.folder / "test.json").read_text())["data"][0]["paragraphs"]
    right = {question["id"]: question["answers"][0]["text"] for p in paragraphs for question in p["qas"]}
    assert list(given) == list(right)
    same = sum(given[question] == right[question] for question in right)
    assert same / len(right) == pytest.approx(scores["exact_match"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["inputs"].update(target=["label"]), "target must be start_label, end_label"),
        (lambda c: c["loss"]["losses"].pop(), "'end' is an output layer, but no loss reads it"),
        (
            lambda c: c["architecture"][3].update(layer="Linear", inputs=["vector"], conf={"hidden_dim": 1}),
            "expects B x T",
        ),
        (lambda c: c.update(metrics=["accuracy"]), "metric 'accuracy' belongs to"),
        (lambda c: c["inputs"].update(window_stride=20), "window_stride must be window_size at most"),
        (lambda c: c["loss"]["losses"][0].update(type="MultiMarginLoss"), "places of tokens. Take CrossEntropyLoss"),
        (lambda c: c["loss"]["losses"][0].update(conf={"label_smoothing": 0.1}), "label_smoothing belongs to labels"),
    ],
)
def test_mistakes_are_found_before_training(door, reading, change, sentence):
    change(reading.config)
    code, _, err = door("train", "--conf_path", reading.path, "--check")
    assert code == 2 and "Traceback" not in err
    assert sentence in err, err


def test_rows_whose_answer_is_cut_off_teach_nothing_and_are_counted(door, reading):
    del reading.config["inputs"]["window_size"], reading.config["inputs"]["window_stride"]
    reading.config["training_params"] |= {"max_epoch": 1, "max_lengths": {"passage": 12}}
    paragraphs = json.loads((reading.folder / "train.json").read_text())["data"][0]["paragraphs"]
    cut = sum("at" not in paragraph["context"].split()[:11] for paragraph in paragraphs)
    code, out, _ = door("train", "--conf_path", reading.path)
    assert code == 0 and 0 < cut < len(paragraphs)
    assert f"{cut} training rows teach nothing" in out
    reading.config["training_params"]["max_lengths"] = {"passage": 1}
    code, _, err = door("train", "--conf_path", reading.path, "--force")
    assert code == 2 and "train.json: no answer lies inside what is read of its text. Raise max_lengths" in err


def test_answers_in_what_an_encoder_cuts_are_counted_and_told(door, reading, tmp_path):
    folder = write_encoder(tmp_path / "encoder")
    conf = {"model": str(folder), "max_length": 24, "cut": "second"}
    layers: list[Any] = [
        {"layer_id": "encoder", "layer": "PretrainedEncoder", "conf": conf, "inputs": ["question", "passage"]}
    ]
    layers += [
        {"layer_id": name, "layer": "Linear", "conf": {"hidden_dim": 1}, "inputs": ["encoder.second"]}
        for name in ("start", "end")
    ]
    for layer in layers[1:]:
        layer["output_layer_flag"] = True
    reading.config["architecture"] = layers
    del reading.config["inputs"]["window_size"], reading.config["inputs"]["window_stride"]
    reading.config["training_params"] |= {"max_epoch": 1, "text_preprocessing": []}
    lost, tokenizer = 0, AutoTokenizer.from_pretrained(folder)
    paragraphs = json.loads((reading.folder / "train.json").read_text())["data"][0]["paragraphs"]
    for paragraph in paragraphs:
        (question,) = paragraph["qas"]
        (answer,) = question["answers"]
        texts = (question["question"], paragraph["context"])
        read = tokenizer(*texts, truncation="only_second", max_length=24, return_offsets_mapping=True)
        last = max(end for (_, end), text in zip(read["offset_mapping"], read.sequence_ids(), strict=True) if text)
        lost += answer["answer_start"] + len(answer["text"]) > last
    code, out, err = door("train", "--conf_path", reading.path)
    assert code == 0 and 0 < lost < len(paragraphs), err
    assert f"training rows: {lost} answers lie in what is cut, where nothing can learn or find them" in out


def test_settings_that_answers_overrule_are_noticed(door, reading):
    reading.config["inputs"]["add_start_end_for_seq"] = True
    reading.config["training_params"]["text_preprocessing"] = ["remove_stopwords"]
    code, _, err = door("train", "--conf_path", reading.path, "--check")
    assert code == 0
    assert "inputs.add_start_end_for_seq: has no effect" in err and "remove_stopwords leaves the text alone" in err


def soft(layer: str, teacher: str) -> dict[str, Any]:
    return {"type": "SoftTargetLoss", "inputs": [layer, teacher]}


@pytest.fixture
def taught(door, reading):
    """The task with two readers, `big` and `small`, as its teachers, from which alone a student is to learn."""
    for name, size in (("big", 12), ("small", 4)):
        options = [
            "--set",
            f"outputs.save_base_dir={reading.folder / name}",
            "--set",
            f"architecture[1].conf.hidden_dim={size}",
        ]
        assert door("train", "--conf_path", reading.path, *options)[0] == 0
    reading.config["teachers"] = {
        name: {"type": "Run", "conf": {"path": str(reading.folder / name)}} for name in ("big", "small")
    }
    reading.config["loss"]["losses"] = [soft("start", "big.start_label"), soft("end", "big.end_label")]
    del reading.config["inputs"]["window_size"], reading.config["inputs"]["window_stride"]
    return reading


def table_of(out: str, first: str) -> dict[str, list[str]]:
    """First cell -> the others, of the table whose first cell is this."""
    lines = [re.split(" {2,}", line) for line in out.split("\n")]
    at = next(at for at, cells in enumerate(lines) if cells[0] == first)
    return {cells[0]: cells[1:] for cells in itertools.takewhile(any, lines[at + 2 :])}


def test_a_student_with_other_tokens_and_windows_learns_from_a_teacher_alone(door, taught, tmp_path):
    folder = write_encoder(tmp_path / "tiny", max_position_embeddings=300)
    config = json.loads((folder / "config.json").read_text())
    encoder = {"config": config, "tokenizer": str(folder), "dropout": 0}
    taught.config["architecture"] = [
        {"layer_id": "read", "layer": "PretrainedEncoder", "conf": encoder, "inputs": ["question", "passage"]},
        {"layer_id": "states", "layer": "BiLSTM", "conf": {"hidden_dim": 16}, "inputs": ["read.second"]},
        {
            "layer_id": "start",
            "layer": "Linear",
            "conf": {"hidden_dim": 1},
            "inputs": ["states"],
            "output_layer_flag": True,
        },
        {
            "layer_id": "end",
            "layer": "Linear",
            "conf": {"hidden_dim": 1},
            "inputs": ["states"],
            "output_layer_flag": True,
        },
    ]
    taught.config["inputs"] |= {"window_size": 50, "window_stride": 25, "max_answer_length": 6}
    taught.config["training_params"] |= {"text_preprocessing": [], "max_epoch": 6}
    code, out, err = door("train", "--conf_path", taught.path)
    assert code == 0, err
    assert "has no answer for" not in out
    assert json.loads((taught.run / "scores.json").read_text())["validation"]["exact_match"] > 0.8


def test_the_report_scores_readers_as_they_are_scored_alone_whatever_windows_the_student_has(door, taught):
    taught.config["teachers"]["all"] = {"type": "Ensemble", "conf": {"teachers": ["big", "small"]}}
    taught.config["loss"]["losses"] = [soft("start", "all.start_label"), soft("end", "all.end_label")]
    code, out, err = door("train", "--conf_path", taught.path, "--check_teachers")
    assert code == 0, err
    shown = table_of(out, "teacher")
    for name in ("big", "small"):
        scores = json.loads((taught.folder / name / "scores.json").read_text())["validation"]
        assert [float(cell) for cell in shown[name]] == pytest.approx([scores["f1"], scores["exact_match"]], abs=1e-4)
    assert shown["all"] == shown["average"]
    alike, right = float(table_of(out, "teachers")["big, small"][0]), float(out.split("right for ")[1].split()[0])
    best = max(float(shown[name][1]) for name in ("big", "small"))
    assert best <= right <= 1 and 0 <= alike <= 1 and out.rstrip().endswith("of all questions")
    assert door("train", "--conf_path", taught.path, "--set", "training_params.max_epoch=1")[0] == 0


def test_wrong_teachers_of_readers_are_refused_before_any_row_is_read(door, taught):
    def said(*overrides: str, **losses: dict[str, Any]) -> str:
        options = [option for override in overrides for option in ("--set", override)]
        found = {"start": soft("start", "big.start_label"), "end": soft("end", "big.end_label")} | losses
        taught.config["loss"]["losses"] = list(found.values())
        code, _, err = door("train", "--conf_path", taught.path, "--check", *options)
        assert code == 2
        return err

    column = 'teachers.big.conf.columns={"passage": "question"}'
    assert "parts of column 'question', but the passage here is column 'passage'. Say in columns" in said(column)
    assert "finds an answer to every question, but here one may have none" in said("inputs.unanswerable=true")
    assert "teachers.big.online: answers that are places in a passage come from" in said("teachers.big.online=true")
    assert "teacher 'big' does not have one answer of its own." in said(start=soft("start", "big"))
    assert "teacher 'big' does not have 'stat'. Did you mean 'start'?" in said(start=soft("start", "big.stat"))
    weighed = said(more=soft("start", "teachers.start_label"))
    assert "loss.losses[2]: teacher 'big' does not have one answer of its own." in weighed
    crossed = said(more=soft("start", "big.end"))
    assert (
        "loss.losses[2].inputs: 'start' answers start_label, but 'big.end' is what the teacher says to end_label."
        in crossed
    )
    assert "'start' is an output layer, but no loss reads it together with a target" in said(
        start=soft("start", "big.start")
    )
    other = {**soft("start", "big.start"), "type": "LogitMSELoss"}
    assert "the teacher answers by places of tokens. Take SoftTargetLoss." in said(more=other)
    scored = said('teachers.small={"type": "Scores", "conf": {"kind": "score", "column": "x"}}')
    assert "scores answer for rows, but the target here has tags or places of tokens." in scored
    missing = said('teachers.all={"type": "Ensemble", "conf": {"teachers": ["big", "bog"]}}')
    assert "no teacher before it is called 'bog'" in missing


def test_a_teacher_of_labels_is_no_reader(door, task, request):
    assert door("train", "--conf_path", task.path, "--set", f"outputs.save_base_dir={task.folder / 'big'}")[0] == 0
    reading = request.getfixturevalue("reading")
    reading.config["teachers"] = {"big": {"type": "Run", "conf": {"path": str(reading.folder / "big")}}}
    code, _, err = door("train", "--conf_path", reading.path, "--check")
    assert code == 2
    assert "teachers.big.conf: answers label, but the target here is start_label, end_label." in err
