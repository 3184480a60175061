"""The three commands, as a user meets them: what they write, and what they say to a mistake."""

import gzip
import io
import json
import os
import random
import resource
import sys
import threading

import numpy as np
import pytest
import torch
from conftest import ROOT, sentences
from sklearn.metrics import ndcg_score

from core.document import read_document
from core.run_folder import RunFolder


def refused(result, *sentences: str) -> None:
    """Exit code 2, these sentences, no stack trace."""
    code, _, err = result
    assert code == 2, err
    assert "Traceback" not in err
    for sentence in sentences:
        assert sentence in err, err


def test_train_test_and_predict_from_the_command_line(door, task):
    code, out, _ = door("train", "--conf_path", task.path)
    assert code == 0
    assert out.startswith("1 process, ")
    assert "training rows: 120" in out and "epoch 2, step 16: loss" in out
    code, out, _ = door("test", "--model", task.run)
    assert code == 0 and "37 rows" in out
    scores = json.loads((task.run / "scores.json").read_text())
    assert set(scores) == {"validation", "step", "epoch", "finished", "test"}
    answers = task.folder / "answers.tsv"
    code, _, err = door("predict", "--model", task.run, "--input", task.folder / "test.tsv", "--output", answers)
    assert code == 0 and "37 rows, 0 bad;" in err
    given = [line.split("\t") for line in answers.read_text().splitlines()]
    assert [line[:2] for line in given] == [[text, label] for text, label in sentences(37, 2)]
    accuracy = sum(line[1] == line[2] for line in given) / 37
    assert scores["test"]["accuracy"] == pytest.approx(accuracy)


@pytest.fixture(params=sorted((ROOT / "configs/demo").glob("*.json")), ids=lambda path: path.stem)
def demo(request, door, tmp_path, monkeypatch):
    """A demo config, and what trains it on the data that ships and gives its scores on the test file."""
    monkeypatch.chdir(ROOT)

    def scores(*changes: str) -> dict[str, float]:
        wanted = [f"--set={change}" for change in (f"outputs.save_base_dir={tmp_path / 'run'}", *changes)]
        code, _, err = door("train", "--conf_path", request.param, *wanted)
        assert code == 0, err
        assert door("test", "--model", tmp_path / "run")[0] == 0
        return json.loads((tmp_path / "run" / "scores.json").read_text())["test"]

    return read_document(request.param), scores


def test_every_demo_trains_tests_and_predicts(demo, door, tmp_path):
    config, scores = demo
    fewer = config["inputs"]["data_paths"]["valid_data_path"]
    found = scores("training_params.max_epoch=1", f"inputs.data_paths.train_data_path={fewer}")
    assert set(config["metrics"]) <= set(found)
    code, _, err = door("predict", "--model", tmp_path / "run")
    assert code == 0 and " 0 bad;" in err


@pytest.mark.slow
def test_every_demo_learns_its_task(demo):
    config, scores = demo
    assert scores()[config["metrics"][0]] > 0.95


def test_the_config_finds_its_run_too(door, task):
    door("train", "--conf_path", task.path)
    assert door("test", "--conf_path", task.path)[0] == 0
    assert door("predict", "--conf_path", task.path)[0] == 0
    assert (task.run / "predict.tsv").exists()


def test_the_config_that_names_a_run_is_checked(door, task):
    door("train", "--conf_path", task.path)
    task.config |= {"inputs": "data_paths", "plugins": 5}
    task.config["outputs"]["predict_feilds"] = ["prediction"]
    for name in ("test", "predict"):
        refused(
            door(name, "--conf_path", task.path),
            "config.json: 3 problems",
            'inputs: must be an object, got "data_paths".',
            "plugins: must be a list or null, got 5.",
            "outputs.predict_feilds: unknown field of outputs. Did you mean 'predict_fields'?",
        )


def test_what_a_config_says_now_of_testing_and_predicting_counts(door, task):
    door("train", "--conf_path", task.path)
    task.config["inputs"]["data_paths"] |= {"test_data_path": str(task.folder / "valid.tsv")}
    task.config["metrics"] = ["auc@up"]
    task.config["outputs"] |= {"predict_fields": ["confidence@up"], "predict_output_name": "now.tsv"}
    code, out, _ = door("test", "--conf_path", task.path)
    assert code == 0 and "valid.tsv: 40 rows" in out and "auc@up" in out and "accuracy" not in out
    assert door("predict", "--conf_path", task.path, "--set", "outputs.predict_output_name=set.tsv")[0] == 0
    assert [len(line.split("\t")) for line in (task.run / "set.tsv").read_text().splitlines()] == [3] * 40
    assert not (task.run / "now.tsv").exists()


def test_check_prints_the_table_and_writes_nothing(door, task):
    code, out, _ = door("train", "--conf_path", task.path, "--check")
    assert code == 0
    assert "BiLSTM" in out and "B x T x 16" in out and "no problems" in out
    assert not task.run.exists()


def test_options_of_neuronblocks_are_shorthands_of_set(door, task):
    moved, other = task.folder / "moved", task.folder / "answers.tsv"
    code, _, err = door(
        "train", "--conf_path", task.path, "--model_save_dir", moved, "--learning_rate", "0.02", "--cache_dir", "x"
    )
    assert code == 0 and "note: outputs.cache_dir: has no effect." in err
    kept = json.loads((moved / "config.json").read_text())
    assert kept["training_params"]["optimizer"]["params"] == {"lr": 0.02}
    where = ["--conf_path", task.path, "--model_save_dir", moved]
    code, out, _ = door("test", *where, "--test_data_path", task.folder / "valid.tsv")
    assert code == 0 and "valid.tsv: 40 rows" in out
    code, _, err = door(
        "predict", *where, "--predict_data_path", task.folder / "valid.tsv", "--predict_output_path", other
    )
    assert code == 0 and len(other.read_text().splitlines()) == 40


def test_set_overrides_the_config(door, task):
    code, out, _ = door("train", "--conf_path", task.path, "--set", "training_params.max_epoch=1")
    assert code == 0 and "epoch 2" not in out


def test_layers_without_settings_come_back_from_the_run(door, task):
    task.config["architecture"][3] = {"layer_id": "vector", "layer": "Pooling", "inputs": ["dropped"]}
    assert door("train", "--conf_path", task.path)[0] == 0
    assert door("test", "--model", task.run)[0] == 0
    kept = json.loads((task.run / "config.json").read_text())
    assert kept["architecture"][3]["conf"] == {"pool_type": "max", "pool_axis": 1}
    assert kept["architecture"][1]["conf"] == {"hidden_dim": 8, "dropout": 0.0, "num_layers": 1}


def test_whole_numbers_may_be_written_as_floats(door, task):
    task.config["training_params"] |= {"batch_size": 16.0, "max_epoch": 1.0, "steps_per_validation": 4.0}
    task.config["inputs"]["file_header"] = {"text": 0.0, "label": 1}
    assert door("train", "--conf_path", task.path)[0] == 0


@pytest.mark.parametrize(
    ("value", "sentence"),
    [("NaN", "NaN is no number of JSON"), ("1e999", "too large"), ("123456789012345678901", "too large")],
)
def test_numbers_that_are_none(door, task, value, sentence):
    refused(
        door("train", "--conf_path", task.path, "--set", f"training_params.clip_grad_norm_max_norm={value}"), sentence
    )
    config = task.path.read_text().replace('"max_epoch": 2', f'"max_epoch": {value}')
    refused(door("train", "--conf_path", task.file("other.json", config)), "other.json", sentence)


def test_an_architecture_beside_a_config_is_found_by_those_that_extend_it(door, task):
    (task.folder / "base").mkdir()
    architecture = {"architecture": task.config["architecture"]}
    task.file("base/small.json", json.dumps(architecture))
    task.file("base/base.json", json.dumps({**task.config, "architecture": {"file": "small.json"}}))
    child = task.file("child.json", json.dumps({"extends": "base/base.json"}))
    assert door("train", "--conf_path", child, "--check")[0] == 0


def test_stdin_to_stdout(door, task, monkeypatch):
    door("train", "--conf_path", task.path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"cat runs\nred dog\n")))
    code, out, _ = door("predict", "--model", task.run, "--input", "-")
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["cat runs", "red dog"]


def test_a_pipe_is_read_in_the_format_of_the_training_file(door, task):
    door("train", "--conf_path", task.path)
    pipe = task.folder / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"cat runs\nred dog\n",))
    writer.start()
    code, out, _ = door("predict", "--model", task.run, "--input", pipe, "--output", "-")
    writer.join()
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["cat runs", "red dog"]


def test_set_overrides_the_config_of_a_run(door, task):
    door("train", "--conf_path", task.path)
    code, out, _ = door("test", "--model", task.run, "--set", 'metrics=["weighted_f1"]')
    assert code == 0 and "weighted_f1" in out and "accuracy" not in out
    refused(door("predict", "--model", task.run, "--set", "outputs.predict_fields=[1]"), "outputs.predict_fields[0]")


def test_interactive_mode_asks_for_each_column(door, task, monkeypatch):
    door("train", "--conf_path", task.path)
    typed = iter(["cat runs", "  "])
    asked = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    code, out, _ = door("predict", "--model", task.run, "--interactive")
    assert code == 0
    assert asked == ["text: "] * 3
    assert "prediction: " in out and "text is empty." in out
    given = door("predict", "--model", task.run, "--interactive", "--input", "x.tsv")
    refused(given, "--interactive asks for rows and prints the answers: leave out --input, --output and --format.")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "tsv.gz", "jsonl.gz"])
def test_every_format_trains_tests_and_predicts(door, task, suffix):
    paths = task.config["inputs"]["data_paths"]
    for seed, (name, count) in enumerate({"train": 120, "valid": 40, "test": 37}.items()):
        rows = [{"text": text, "label": label} for text, label in sentences(count, seed)]
        paths[f"{name}_data_path"] = str(task.folder / f"{name}.{suffix}")
        write(task.folder / f"{name}.{suffix}", rows)
    if not suffix.startswith("tsv"):
        task.config["inputs"]["file_header"] = {"text": "text", "label": "label"}
    for command in (["train", "--conf_path", task.path], ["test", "--model", task.run]):
        code, _, err = door(*command)
        assert code == 0, err
    output = task.folder / f"answers.{suffix}"
    code, _, err = door("predict", "--model", task.run, "--output", output)
    assert code == 0 and "37 rows, 0 bad" in err


FORMATS = ["tsv", "csv", "jsonl", "parquet"]


@pytest.mark.parametrize("has_header", [False, True])
def test_the_output_has_the_format_and_the_packing_of_its_name_and_can_be_read_again(door, task, has_header):
    task.config["inputs"]["file_with_col_header"] = has_header
    texts = [*(text for text, _ in sentences(20, 2)), 'cat "runs"', "red, green"]
    for name in ("train", "valid"):
        rows = (task.folder / f"{name}.tsv").read_text()
        task.file(f"{name}.tsv", "words\tside\n" + rows if has_header else rows)
    rows = "".join(f"{text}\tup\n" for text in texts)
    source = task.file("rows.tsv", "words\tside\n" + rows if has_header else rows)
    assert door("train", "--conf_path", task.path)[0] == 0

    def answered(path, output):
        code, _, err = door("predict", "--model", task.run, "--input", path, "--output", output)
        assert code == 0 and "22 rows, 0 bad" in err, err
        return output

    plain = answered(source, task.folder / "plain").read_bytes()  # a name that says nothing: as the input
    assert plain == answered(source, task.folder / "out.tsv").read_bytes()
    for suffix in [*FORMATS, *(f"{format}.gz" for format in FORMATS)]:
        output = answered(source, task.folder / f"out.{suffix}")
        assert (output.read_bytes()[:2] == b"\x1f\x8b") == suffix.endswith(".gz")
        again = answered(output, task.folder / f"again.{suffix}.jsonl").read_text().splitlines()
        for text, line in zip(texts, map(json.loads, again), strict=True):
            own, _, before, _, *now = line.values()
            assert (own, before) == (text, now[0])
        if has_header or suffix.startswith(("jsonl", "parquet")):
            assert list(line)[:3] == [*(("words", "side") if has_header else ("text", "label")), "prediction"]


def write(path, rows) -> None:
    """Rows in the format of the suffix."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet

        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
        return
    lines = {
        "csv": [",".join(rows[0]), *(",".join(f'"{cell}"' for cell in row.values()) for row in rows)],
        "jsonl": [json.dumps(row) for row in rows],
        "tsv": ["\t".join(map(str, row.values())) for row in rows],
    }[path.name.split(".")[1]]
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_invalid_json_is_named_with_line_and_column(door, task):
    config = task.file("broken.json", '{\n  "inputs": {"target": ["label"],}\n}')
    refused(door("train", "--conf_path", config), f"{config}:2:", "not valid JSON")


def test_a_missing_config_says_what_lies_beside_it(door, task):
    assert task.path.exists()
    refused(door("train", "--conf_path", task.folder / "confg.json"), "no such file. Did you mean 'config.json'?")


def test_all_problems_of_a_config_come_at_once(door, task):
    config = task.config
    config["training_params"]["batch_size"] = "64"
    config["training_params"]["learning_rate"] = 0.1
    config["architecture"][1]["conf"] = {"hiden_dim": 8}
    config["architecture"][2]["layer"] = "Dropuot"
    config["architecture"][4]["inputs"] = ["vektor"]
    config["inputs"]["data_paths"]["train_data_path"] = str(task.folder / "trian.tsv")
    config["metrics"] = ["acuracy"]
    result = door("train", "--conf_path", task.path)
    refused(
        result,
        'training_params.batch_size: must be a whole number, got "64".',
        "training_params.learning_rate: unknown field of training.",
        "architecture[1].conf.hiden_dim: unknown field of BiLSTM. Did you mean 'hidden_dim'?",
        "architecture[2].layer: no block and no earlier layer is called 'Dropuot'. Did you mean 'Dropout'?",
        "architecture[4].inputs[0]: no layer or input is called 'vektor'. Did you mean 'vector'?",
        "inputs.data_paths.train_data_path: no such file:",
        "Did you mean 'train.tsv'?",
        "metrics[0]",
        "Did you mean 'accuracy'?",
    )
    assert "problems" in result[2].splitlines()[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"inputs": ["states"]}, "architecture[4].inputs: "),
        ({"conf": {"hidden_dim": 3}}, "architecture[4]: must give one score for each of the 2 labels, but gives 3."),
        ({"inputs": ["vector", "vector"]}, "architecture[4].inputs: Linear takes 1 (states), got 2."),
        ({"layer_id": "states"}, "'states' is already the id of architecture[1]."),
    ],
)
def test_layers_that_do_not_fit(door, task, change, sentence):
    task.config["inputs"]["labels"] = ["up", "down"]
    task.config["architecture"][4] |= change
    if change.get("inputs") == ["states"]:  # B x T x 2 cannot answer for a row
        sentence = "architecture[4]: "
    refused(door("train", "--conf_path", task.path), sentence)


TRAIN = "cat runs\tup\ndog eats\tdown\n" * 10


@pytest.mark.parametrize(
    ("data", "sentences"),
    [
        (b"", ["train.tsv: is empty."]),
        (b"\x00\x01\x02\x03" * 50, ["train.tsv: is binary"]),
        (TRAIN.encode() + b"caf\xe9\tup\n", ["train.tsv:21: not valid UTF-8"]),
        (TRAIN + "one\ttwo\tthree\n", ["train.tsv:21: 3 columns, but line 1 has 2."]),
        (TRAIN + "alone\n", ["train.tsv:21: 1 column, but the config names 2 (text, label)."]),
        (TRAIN + "  \tup\n", ["train.tsv:21: text is empty."]),
        (TRAIN + "cat\t\n", ["train.tsv:21: the label in column label is empty."]),
        ("cat\tup\n" * 9, ["column label needs 2 or more labels in train, but has only 'up'."]),
    ],
    ids=["empty", "binary", "latin-1", "more-columns", "fewer-columns", "empty-text", "empty-label", "one-label"],
)
def test_training_files_that_cannot_be_used(door, task, data, sentences):
    task.file("train.tsv", data)
    refused(door("train", "--conf_path", task.path), *sentences)
    assert not task.run.exists()


def test_a_missing_column_is_named(door, task):
    task.config["inputs"]["file_header"] = {"text": "sentence", "label": "label"}
    task.file("train.tsv", "sentnce\tlabel\ncat\tup\n")
    refused(door("train", "--conf_path", task.path), "train.tsv: the header has no column 'sentence'. Did you mean")


def test_the_first_ten_bad_rows_are_listed(door, task):
    task.file("train.tsv", TRAIN + "broken\n" * 12)
    result = door("train", "--conf_path", task.path)
    refused(result, "12 rows cannot be used", "train.tsv:30: ", "... and 2 more")
    assert "train.tsv:31" not in result[2]


def test_bad_rows_can_be_skipped_and_are_counted(door, task):
    task.config["inputs"]["on_bad_row"] = "skip"
    task.file("train.tsv", TRAIN + "broken\n" * 12)
    code, out, _ = door("train", "--conf_path", task.path)
    assert code == 0 and "training rows: 20, 12 bad rows skipped" in out


def test_an_unknown_label_in_the_validation_file(door, task):
    task.file("valid.tsv", "cat runs\tupp\n")
    refused(
        door("train", "--conf_path", task.path), "valid.tsv:1: unknown label 'upp' in column label. Did you mean 'up'?"
    )


NAMES = {"anna": "PER", "otto": "PER", "paris": "LOC", "rome": "LOC"}


def tagged(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences whose names are spans; a title before a name belongs to it."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        words, tags = [], []
        for _ in range(rng.randint(1, 4)):
            name = rng.choice([*NAMES, "", ""])
            words += ["old", name] if name else [rng.choice(["sees", "the", "old house", "and"])]
            tags += [f"B-{NAMES[name]}", f"I-{NAMES[name]}"] if name else ["O"] * len(words[-1].split())
        rows.append((" ".join(words), " ".join(tags)))
    return rows


@pytest.fixture
def tagging(task):
    """Tags of words, in CoNLL files."""
    for seed, (name, count) in enumerate({"train": 120, "valid": 40, "test": 37}.items()):
        sentences = [zip(words.split(), tags.split(), strict=True) for words, tags in tagged(count, seed)]
        text = "\n".join("".join(f"{word} {tag}\n" for word, tag in sentence) for sentence in sentences)
        task.config["inputs"]["data_paths"][f"{name}_data_path"] = task.file(f"{name}.conll", text)
    task.config["inputs"] |= {
        "dataset_type": "sequence_tagging",
        "file_header": {"words": 0, "tags": 1},
        "model_inputs": {"sentence": ["words"]},
        "target": ["tags"],
        "tagging_scheme": "BIO",
        "learned_tagging_scheme": "BIOES",
    }
    task.config["training_params"] |= {"max_epoch": 6}
    task.config["training_params"]["optimizer"]["params"]["lr"] = 0.03
    task.config["architecture"] = [
        {"layer": "Embedding", "conf": {"word": {"cols": ["words"], "dim": 8}}},
        {"layer_id": "states", "layer": "BiLSTM", "conf": {"hidden_dim": 8}, "inputs": ["sentence"]},
        {"layer_id": "scores", "layer": "Linear", "conf": {"hidden_dim": "#target#"}, "inputs": ["states"]},
        {"layer_id": "output", "layer": "CRF", "inputs": ["scores"], "output_layer_flag": True},
    ]
    task.config["loss"] = {"losses": [{"type": "CRFLoss", "inputs": ["output", "tags"]}]}
    task.config["metrics"] = ["f1", "f1@PER", "accuracy", "sentence_accuracy"]
    return task


@pytest.mark.parametrize("has_crf", [True, False])
def test_tagging_learns_spans_and_answers_word_by_word(door, tagging, has_crf):
    if not has_crf:
        tagging.config["architecture"].pop()
        tagging.config["architecture"][2] |= {"layer_id": "output", "output_layer_flag": True}
        tagging.config["loss"]["losses"][0] = {"type": "CrossEntropyLoss", "inputs": ["output", "tags"]}
    code, _, err = door("train", "--conf_path", tagging.path)
    assert code == 0, err
    code, _, _ = door("test", "--model", tagging.run)
    scores = json.loads((tagging.run / "scores.json").read_text())["test"]
    assert code == 0 and scores["f1"] > 0.9 and scores["f1@PER"] > 0.9
    answers = tagging.folder / "answers.conll"
    assert door("predict", "--model", tagging.run, "--output", answers)[0] == 0
    given = answers.read_text().split("\n\n")
    assert len(given) == 37 + 1
    right = total = 0
    for sentence, (words, tags) in zip(given, tagged(37, 2), strict=False):
        columns = list(zip(*map(str.split, sentence.splitlines()), strict=True))
        assert " ".join(columns[0]) == words and " ".join(columns[1]) == tags
        assert set(columns[2]) <= {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}
        right += sum(a == b for a, b in zip(columns[1], columns[2], strict=True))
        total += len(columns[1])
    assert right / total > 0.9


def test_tags_that_do_not_fit_are_named_with_their_line(door, tagging):
    tagging.file("train.tsv", "the old house\tO O\nsees anna\tO I-PER\nanna\tB-PER\n")
    tagging.config["inputs"]["data_paths"]["train_data_path"] = str(tagging.folder / "train.tsv")
    refused(
        door("train", "--conf_path", tagging.path),
        "train.tsv:1: column tags has 2 tags for 3 words.",
        "train.tsv:2: tag 'I-PER' after 'O' is no BIO.",
    )


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("metrics", ["map"], "metrics[0]: metric 'map' belongs to classification, this is sequence_tagging."),
        (
            "loss.losses[0].type",
            "MultiMarginLoss",
            "needs one target for each row, but this one has one for each token.",
        ),
        (
            "architecture[1].layer",
            "BiLSTMLast",
            "architecture[3].inputs: CRF expects B x T x D, but the input is B x C.",
        ),
        ("inputs.tagging_scheme", "BOI", "Did you mean 'BIO'?"),
        ("inputs.tagging_scheme", None, "learned_tagging_scheme needs tagging_scheme"),
    ],
)
def test_what_does_not_fit_tagging(door, tagging, path, value, sentence):
    refused(door("train", "--conf_path", tagging.path, "--check", "--set", f"{path}={json.dumps(value)}"), sentence)


TOPICS = {"colours": {"red", "green", "blue"}, "animals": {"cat", "dog", "bird"}, "places": {"house", "tree", "river"}}


def with_topics(count: int, seed: int) -> list[tuple[str, list[str]]]:
    """Sentences with the topics that one of their words belongs to; some have none."""
    rows = [(text, set(text.split())) for text, _ in sentences(count, seed)]
    return [(text, [topic for topic, of_topic in TOPICS.items() if words & of_topic]) for text, words in rows]


@pytest.fixture
def multi_label(task):
    """Any number of topics for each row."""
    for seed, (name, count) in enumerate({"train": 200, "valid": 60, "test": 37}.items()):
        task.file(f"{name}.tsv", "".join(f"{text}\t{', '.join(found)}\n" for text, found in with_topics(count, seed)))
    task.config["inputs"] |= {
        "dataset_type": "multi_label",
        "file_header": {"text": 0, "topics": 1},
        "target": ["topics"],
    }
    task.config["training_params"] |= {"max_epoch": 6}
    task.config["training_params"]["optimizer"]["params"]["lr"] = 0.03
    task.config["loss"] = {"losses": [{"type": "BCEWithLogitsLoss", "inputs": ["output", "topics"]}]}
    task.config["metrics"] = ["micro_f1", "f1@animals", "exact_match"]
    return task


@pytest.mark.parametrize(
    "loss",
    [
        {"type": "BCEWithLogitsLoss", "conf": {"pos_weight": {"colours": 1, "animals": 2, "places": 1}}},
        {"type": "FocalLoss"},
        {"type": "MultiLabelMarginLoss"},
    ],
)
def test_multi_label_finds_the_topics_of_each_row(door, multi_label, loss):
    multi_label.config["loss"]["losses"] = [loss | {"inputs": ["output", "topics"]}]
    multi_label.config["outputs"]["predict_fields"] = ["prediction", "confidence@animals"]
    code, _, err = door("train", "--conf_path", multi_label.path)
    assert code == 0, err
    assert door("test", "--model", multi_label.run)[0] == 0
    scores = json.loads((multi_label.run / "scores.json").read_text())["test"]
    assert scores["micro_f1"] > (0.8 if loss["type"] == "MultiLabelMarginLoss" else 0.9)
    assert door("predict", "--model", multi_label.run)[0] == 0
    lines = [line.split("\t") for line in (multi_label.run / "predict.tsv").read_text().splitlines()]
    right = sum(
        {*line[2].split(",")} - {""} == {*topics} for line, (_, topics) in zip(lines, with_topics(37, 2), strict=True)
    )
    assert right / 37 == pytest.approx(scores["exact_match"])
    assert all((float(line[3]) >= 0.5) == ("animals" in line[2]) for line in lines)


def test_tuned_thresholds_are_those_of_the_best_model_and_go_with_it(door, multi_label):
    multi_label.config["inputs"]["threshold"] = "tuned_per_label"
    multi_label.config["training_params"]["max_epoch"] = 2
    paths = multi_label.config["inputs"]["data_paths"]
    paths["test_data_path"] = paths["valid_data_path"]
    assert door("train", "--conf_path", multi_label.path)[0] == 0
    _, tuned = RunFolder(multi_label.run).read_weights()
    assert len(tuned) == 3 and tuned != [0.5] * 3
    assert door("test", "--model", multi_label.run)[0] == 0
    kept = json.loads((multi_label.run / "scores.json").read_text())
    assert kept["test"]["micro_f1"] == kept["validation"]["micro_f1"]
    assert door("predict", "--model", multi_label.run, "--fields", "prediction", "confidence@animals")[0] == 0
    lines = [line.split("\t") for line in (multi_label.run / "predict.tsv").read_text().splitlines()]
    labels = json.loads((multi_label.run / "problem.json").read_text())["target"]["labels"]["topics"]
    threshold = tuned[labels.index("animals")]
    assert all((float(line[3]) >= threshold) == ("animals" in line[2]) for line in lines)
    everything = ["--set", "inputs.threshold=0.001"]
    assert door("predict", "--model", multi_label.run, *everything)[0] == 0
    lines = [line.split("\t") for line in (multi_label.run / "predict.tsv").read_text().splitlines()]
    assert all(set(line[2].split(",")) == set(labels) for line in lines)
    sentence = "inputs.threshold: 'tuned', but this training chose none so. Set a number."
    refused(door("test", "--model", multi_label.run, "--set", "inputs.threshold=tuned"), sentence)


def test_sets_of_labels_beside_another_target(door, multi_label):
    for seed, (name, count) in enumerate({"train": 120, "valid": 40, "test": 37}.items()):
        both = zip(with_topics(count, seed), sentences(count, seed), strict=True)
        rows = "".join(f"{text}\t{','.join(found)}\t{label}\n" for (text, found), (_, label) in both)
        multi_label.file(f"{name}.tsv", rows)
    multi_label.config["inputs"] |= {
        "dataset_type": "multi_target",
        "file_header": {"text": 0, "topics": 1, "label": 2},
        "target": ["topics", "label"],
        "problems": {
            "topics": {"dataset_type": "multi_label", "threshold": "tuned"},
            "label": {"dataset_type": "classification"},
        },
    }
    layers = multi_label.config["architecture"]
    layers[4]["conf"]["hidden_dim"] = "#topics#"
    layers.append({**layers[4], "layer_id": "side", "conf": {"hidden_dim": "#label#"}})
    multi_label.config["loss"]["losses"].append({"type": "CrossEntropyLoss", "inputs": ["side", "label"]})
    multi_label.config["metrics"] = ["sentence_accuracy", "topics.micro_f1", "topics.exact_match", "label.accuracy"]
    code, _, err = door("train", "--conf_path", multi_label.path)
    assert code == 0, err
    assert door("test", "--model", multi_label.run)[0] == 0
    scores = json.loads((multi_label.run / "scores.json").read_text())["test"]
    assert scores["topics.micro_f1"] > 0.8
    assert 0 < scores["sentence_accuracy"] <= min(scores["topics.exact_match"], scores["label.accuracy"])


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_labels_may_be_lists(door, multi_label, suffix):
    paths = multi_label.config["inputs"]["data_paths"]
    for seed, (name, count) in enumerate({"train": 60, "valid": 40, "test": 37}.items()):
        rows = [{"text": text, "topics": topics} for text, topics in with_topics(count, seed)]
        paths[f"{name}_data_path"] = str(multi_label.folder / f"{name}.{suffix}")
        write(multi_label.folder / f"{name}.{suffix}", rows)
    multi_label.config["inputs"]["file_header"] = {"text": "text", "topics": "topics"}
    multi_label.config["training_params"]["max_epoch"] = 1
    for command in (["train", "--conf_path", multi_label.path], ["test", "--model", multi_label.run]):
        code, _, err = door(*command)
        assert code == 0, err
    answers = multi_label.folder / "answers.jsonl"
    assert door("predict", "--model", multi_label.run, "--output", answers)[0] == 0
    given = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [row["topics"] for row in given] == [topics for _, topics in with_topics(37, 2)]


def test_sets_of_labels_come_from_the_cache_as_they_were(door, multi_label):
    multi_label.config["training_params"]["max_epoch"] = 1
    first, again = (door("train", "--conf_path", multi_label.path, "--force")[1] for _ in range(2))
    assert first == again
    assert door("train", "--conf_path", multi_label.path, "--force", "--set", "inputs.label_separator=;")[0] == 0
    assert "colours, animals" in (multi_label.run / "problem.json").read_text()


def test_labels_of_a_set_that_are_not_known(door, multi_label):
    multi_label.file("valid.tsv", "cat runs\tanimals\ncat runs\tplaces, animal\n")
    refused(
        door("train", "--conf_path", multi_label.path),
        "valid.tsv:2: unknown label 'animal' in column topics. Did you mean 'animals'?",
    )
    multi_label.file("valid.tsv", "cat runs\t\n")
    assert door("train", "--conf_path", multi_label.path, "--set", "training_params.max_epoch=1")[0] == 0


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "loss.losses[0].type",
            "CrossEntropyLoss",
            "1 problem\n  loss.losses[0]: needs one target for each row, but this one holds any number of labels. "
            "Take BCEWithLogitsLoss.",
        ),
        ("loss.losses[0].type", "MSELoss", "this one holds any number of labels. Take BCEWithLogitsLoss."),
        (
            "inputs.dataset_type",
            "classification",
            "loss.losses[0]: needs one number for each row (B x 1), but the layer gives B x C. "
            "For one score for each label take CrossEntropyLoss.",
        ),
        ("architecture[4].inputs", ["states"], "architecture[4]: expects B x D, but the input is B x T x C."),
        ("inputs.labels", ["a", "b", "c"], "must give one score for each of the 3 labels, but gives 2."),
        ("inputs.threshold", "tunde", "Did you mean 'tuned'?"),
        ("inputs.threshold", 1.5, "inputs.threshold: must be below 1, got 1.5."),
        ("inputs.label_separator", "", "inputs: label_separator is empty."),
        ("inputs.positive_label", "animals", "inputs: positive_label belongs to classification"),
        ("metrics", ["accuracy"], "metrics[0]: metric 'accuracy' belongs to classification, this is multi_label."),
    ],
)
def test_what_does_not_fit_multi_label(door, multi_label, path, value, sentence):
    multi_label.config["architecture"][4]["conf"]["hidden_dim"] = 2 if path == "inputs.labels" else -1
    refused(door("train", "--conf_path", multi_label.path, "--check", "--set", f"{path}={json.dumps(value)}"), sentence)


@pytest.fixture
def regression(task):
    """The task with numbers for labels."""
    for name in ("train", "valid", "test"):
        task.file(f"{name}.tsv", "".join(f"{text}\t{len(text) / 40}\n" for text, _ in sentences(60, 5)))
    task.config["inputs"]["dataset_type"] = "regression"
    task.config["loss"]["losses"][0]["type"] = "MSELoss"
    task.config["metrics"] = ["rmse", "pearson"]
    return task


def test_regression_learns_a_length(door, regression):
    code, _, err = door("train", "--conf_path", regression.path, "--set", "training_params.max_epoch=15")
    assert code == 0, err
    scores = json.loads((regression.run / "scores.json").read_text())
    assert scores["validation"]["pearson"] > 0.8
    assert door("predict", "--model", regression.run)[0] == 0
    lines = (regression.run / "predict.tsv").read_text().splitlines()
    assert all(float(line.split("\t")[2]) < 3 for line in lines)


def test_regression_needs_numbers(door, regression):
    regression.file("train.tsv", "cat runs\t1.5\ndog eats\tmany\n")
    refused(door("train", "--conf_path", regression.path), "train.tsv:2: 'many' in column label is not a number.")


@pytest.mark.parametrize("loss", ["PairwiseHingeLoss", "RankNetLoss", "ListNetLoss", "LambdaLoss"])
def test_ranking_learns_the_order_of_grades(door, ranking, loss):
    ranking.config["loss"]["losses"][0]["type"] = loss
    code, _, err = door("train", "--conf_path", ranking.path, "--set", "training_params.max_epoch=5")
    assert code == 0, err
    assert door("test", "--model", ranking.run)[0] == 0
    scores = json.loads((ranking.run / "scores.json").read_text())["test"]
    assert door("predict", "--model", ranking.run)[0] == 0
    groups: dict[str, list[tuple[float, float]]] = {}
    for line in (ranking.run / "predict.tsv").read_text().splitlines():
        _, gain, group, score = line.split("\t")
        groups.setdefault(group, []).append((float(gain), float(score)))
    lists = [np.array(pairs).T[:, None] for pairs in groups.values() if len(pairs) > 1 and any(g for g, _ in pairs)]
    learned = np.mean([ndcg_score(gains, answers, k=5) for gains, answers in lists])
    chance = np.random.default_rng(0)
    random_order = np.mean([ndcg_score(gains, chance.random(gains.shape), k=5) for gains, _ in lists])
    assert learned > 0.95 > 0.85 > random_order
    alone = [gain > 0 for ((gain, _), *rest) in groups.values() if not rest]  # sklearn refuses lists of one
    wanted = (learned * len(lists) + sum(alone)) / (len(lists) + sum(alone))
    assert scores["ndcg@5"] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("classes", [["0", "1"], ["1", "0"]])
@pytest.mark.parametrize(("loss", "size"), [("RankNetLoss", 1), ("LambdaLoss", "#target#"), ("ListNetLoss", 1)])
def test_ranking_puts_the_positive_label_first(door, ranking, classes, loss, size):
    for name in ("train", "valid", "test"):
        rows = [line.split("\t") for line in (ranking.folder / f"{name}.tsv").read_text().splitlines()]
        ranking.file(f"{name}.tsv", "".join(f"{text}\t{int(gain > '0')}\t{group}\n" for text, gain, group in rows))
    ranking.config["inputs"] |= {"dataset_type": "classification", "labels": classes}
    ranking.config["architecture"][4]["conf"]["hidden_dim"] = size
    ranking.config["loss"]["losses"][0]["type"] = loss
    code, _, err = door("train", "--conf_path", ranking.path, "--set", "training_params.max_epoch=5")
    assert code == 0, err
    assert json.loads((ranking.run / "scores.json").read_text())["validation"]["map"] > 0.9


def test_ranking_needs_groups_with_an_order(door, ranking):
    ranking.config["loss"]["losses"].append({"type": "MSELoss", "inputs": ["output", "label"]})
    ranking.file("train.tsv", "cat\t1\tq1\nred\t0\tq2\ndog\t1\tq1\n")
    refused(
        door("train", "--conf_path", ranking.path),
        "train.tsv: no two rows of one group differ in label; RankNetLoss learns from such rows.",
    )
    ranking.config["inputs"]["group_by"] = None
    ranking.config["metrics"] = ["rmse"]
    result = door("train", "--conf_path", ranking.path, "--check")
    refused(result, "1 problem", "loss.losses[0]: RankNetLoss needs to know which rows belong together: name their")


def test_a_run_is_never_overwritten_unasked(door, task):
    door("train", "--conf_path", task.path)
    before = (task.run / "weights.safetensors").read_bytes()
    refused(
        door("train", "--conf_path", task.path), "holds a run already. Use --resume to continue it, --force to replace"
    )
    assert (task.run / "weights.safetensors").read_bytes() == before
    assert door("train", "--conf_path", task.path, "--force")[0] == 0


def test_force_with_a_mistake_in_the_data_keeps_the_old_run(door, task):
    door("train", "--conf_path", task.path)
    before = (task.run / "weights.safetensors").read_bytes()
    task.file("train.tsv", "broken\n")
    refused(door("train", "--conf_path", task.path, "--force"), "train.tsv")
    assert (task.run / "weights.safetensors").read_bytes() == before


def test_a_run_of_a_newer_version_and_a_missing_run(door, task):
    refused(door("test", "--model", task.folder / "nowhere"), "nowhere: no such run folder.")
    door("train", "--conf_path", task.path)
    state = json.loads((task.run / "problem.json").read_text())
    (task.run / "problem.json").write_text(json.dumps({**state, "version": 99}))
    refused(door("predict", "--model", task.run), "written by a newer version (layout 99")


def test_a_prediction_that_fails_leaves_the_old_answers(door, task):
    door("train", "--conf_path", task.path)
    output = task.folder / "out.tsv"
    output.write_text("old")
    refused(
        door("predict", "--model", task.run, "--input", task.folder / "none.tsv", "--output", output), "no such file"
    )
    refused(
        door("predict", "--model", task.run, "--output", output, "--fields", "confidence@upp"),
        "unknown field 'confidence@upp'. Did you mean 'confidence@up'?",
    )
    assert output.read_text() == "old"


def test_a_run_cannot_write_outside_its_folder(door, task):
    task.config["outputs"]["predict_output_name"] = "../victim.tsv"
    refused(door("train", "--conf_path", task.path), "predict_output_name must be the name of a file, without folders.")


def test_metrics_of_the_command_line_are_checked_against_the_labels_of_the_run(door, task):
    door("train", "--conf_path", task.path)
    refused(door("test", "--model", task.run, "--set", 'metrics=["f1@upp"]'), "Did you mean 'up'?")
    code, out, _ = door("test", "--model", task.run, "--set", 'metrics=["f1"]')
    assert code == 0 and "f1 " in out  # of two labels the rarer one


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("config.json", "[]", "config.json: damaged, it holds no JSON object."),
        ("problem.json", "[]", "problem.json: damaged, it holds no JSON object."),
        ("scores.json", "[]", "scores.json: damaged, it holds no JSON object."),
        ("config.json", "{}", "'inputs' is missing"),
    ],
)
def test_a_damaged_run(door, task, file, text, sentence):
    door("train", "--conf_path", task.path)
    (task.run / file).write_text(text)
    refused(door("test", "--model", task.run), sentence)
    (task.run / "config.json").write_text("{}")
    refused(door("train", "--conf_path", task.path, "--resume"), "the config has changed since: ")


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        ({"layer": "Embeding", "conf": {"word": {"cols": ["text"], "dim": 8}}}, "Did you mean 'Embedding'?"),
        ({"layer": "Embedding", "conf": {}}, "architecture[0].conf: names no cluster."),
        (
            {"layer": "Embedding", "conf": {"word": {"cols": ["text", "text"], "dim": 8}}},
            "stands in cols more than once",
        ),
        ({"layer_id": "first", "layer": "Dropout", "inputs": ["sentence"]}, "the first layer must be the Embedding."),
    ],
)
def test_an_embedding_that_is_wrong_hides_nothing_else(door, task, first, sentence):
    task.config["architecture"][0] = first
    task.config["architecture"][4]["inputs"] = ["vektor"]
    refused(
        door("train", "--conf_path", task.path, "--check"), sentence, "architecture[4].inputs[0]: no layer or input"
    )


def test_resuming_on_other_data_is_refused(door, task):
    door("train", "--conf_path", task.path)
    task.file("train.tsv", "".join(f"{text} new\t{label}\n" for text, label in sentences(120, 0)))
    refused(
        door("train", "--conf_path", task.path, "--resume", "--set", "training_params.max_epoch=3"),
        "train.tsv gives another vocabulary or other labels than before.",
    )


def test_resuming_a_training_that_is_done_says_so(door, task):
    door("train", "--conf_path", task.path)
    code, out, _ = door("train", "--conf_path", task.path, "--resume")
    assert code == 0 and "nothing to resume: all 2 epochs are done" in out and "epoch 2" not in out


def test_more_patience_lets_a_stopped_training_go_on(door, task):
    task.config["training_params"] |= {"early_stop_patience": 1, "max_epoch": 30}
    task.config["training_params"]["optimizer"]["params"]["lr"] = 1e-9
    assert "step 16" in door("train", "--conf_path", task.path)[1]
    code, out, _ = door("train", "--conf_path", task.path, "--resume")
    assert code == 0 and "nothing to resume: early stopping ended this training" in out and "epoch" not in out
    code, out, _ = door("train", "--conf_path", task.path, "--resume", "--set", "training_params.early_stop_patience=3")
    assert code == 0 and "epoch 4, step 32" in out and "epoch 5" not in out


def test_the_file_to_predict_is_never_replaced(door, task):
    door("train", "--conf_path", task.path)
    given = task.folder / "test.tsv"
    link = task.folder / "link.tsv"
    link.symlink_to(given)
    before = given.read_text()
    for output in (given, link):
        refused(
            door("predict", "--model", task.run, "--input", given, "--output", output),
            "is the file that is read. Name another one in --output.",
        )
    assert given.read_text() == before


def test_no_output_replaces_a_part_of_a_run_or_a_file_of_another_kind(door, task):
    door("train", "--conf_path", task.path)
    before = {path: path.read_bytes() for path in task.run.iterdir() if path.is_file()}
    for name in ("weights.safetensors", "config.json", "metrics.jsonl"):
        for command in ("test", "predict"):
            given = door(command, "--model", task.run, "--output", task.run / name)
            refused(given, f"{task.run / name}: belongs to a run. Name another file in --output.")
        refused(door("report", task.run, "-o", task.run / name), "a report is a page; its name ends with .html.")
    door("report", task.run)
    before = {path: path.read_bytes() for path in task.run.iterdir() if path.is_file()}
    refused(door("report", task.run, task.run, "-o", task.run / "report.html"), "belongs to a run.")
    given = door("test", "--model", task.run, "--output", task.folder / "test.tsv")
    refused(given, "is the file that is read. Name another one in --output.")
    assert {path: path.read_bytes() for path in task.run.iterdir() if path.is_file()} == before


def test_a_second_training_in_the_same_folder_is_kept_out(door, task):
    with RunFolder(task.run).locked():
        refused(door("train", "--conf_path", task.path), "another training is at work in this folder.")
    assert not task.run.exists()


def test_resuming_with_another_config_says_what_changed(door, task):
    door("train", "--conf_path", task.path)
    options = ["--resume", "--set", "architecture[1].conf.hidden_dim=4", "--set", "training_params.batch_size=8"]
    refused(
        door("train", "--conf_path", task.path, *options),
        "cannot resume, the config has changed since: training_params.batch_size, architecture",
    )


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["predict", "--batch_size", "-1"], "must be a whole number, at least 1, got '-1'."),
        (["test", "--batch_size", "many"], "must be a whole number, at least 1, got 'many'."),
        (["train", "--force", "--resume"], "not allowed with argument"),
    ],
)
def test_options_that_make_no_sense(door, task, command, sentence, capsys):
    name, *options = command
    which = "--conf_path" if name == "train" else "--model"
    with pytest.raises(SystemExit) as stopped:
        door(name, which, task.path, *options)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("architecture", [], "architecture: names no layer."),
        ("outputs", {"save_base_dir": " "}, "outputs: save_base_dir is empty."),
    ],
)
def test_parts_that_are_empty(door, task, key, value, sentence):
    task.config[key] = value
    refused(door("train", "--conf_path", task.path, "--check"), sentence)


def test_a_positive_label_that_the_data_has_not(door, task):
    task.config["inputs"]["positive_label"] = "upp"
    for _ in ("encoded anew", "from the cache"):
        refused(door("train", "--conf_path", task.path), "Did you mean 'up'?")


@pytest.mark.parametrize("kept", ["weights.safetensors", "training_state.pt"])
def test_a_full_disc_is_one_sentence_and_keeps_the_last_checkpoint(door, task, kept):
    """The largest file that may be written is a little smaller than the file asked for, as when a disc fills up."""
    task.config["metrics"] = ["log_loss"]  # gets better from epoch to epoch, so that weights are written, too
    task.config["inputs"]["data_paths"]["valid_data_path"] = task.config["inputs"]["data_paths"]["train_data_path"]
    door("train", "--conf_path", task.path)
    before = {name: (task.run / name).read_bytes() for name in ("weights.safetensors", "training_state.pt")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before[kept]) - 100, limits[1]))
    try:
        options = ["--resume", "--set", "training_params.max_epoch=30"]
        result = door("train", "--conf_path", task.path, *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    refused(result, f"{kept}: cannot be written", "What was kept before is safe.")
    assert (task.run / kept).read_bytes() == before[kept]
    assert not list(task.run.glob(".*.part"))
    assert door("test", "--model", task.run)[0] == 0


@pytest.mark.parametrize("device", ["cuda"])
@pytest.mark.parametrize("name", ["train", "predict"])
def test_cuda_asked_for_and_absent(door, task, monkeypatch, name, device):
    door("train", "--conf_path", task.path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = {
        "train": ["--conf_path", task.path, "--force", "--set", f"training_params.device={device}"],
        "predict": ["--model", task.run, "--device", device],
    }
    refused(door(name, *options[name]), "cuda is asked for, but torch finds no CUDA device here.")


def test_a_plugin_brings_a_block_of_ones_own(door, task, monkeypatch):
    task.file(
        "my_block.py",
        '''
from block_zoo.base import BLOCKS, Block
from core.types import Features, Spec

@BLOCKS.register
class Doubled(Block):
    """Twice its input."""
    class Conf(Block.Conf):
        times: int = 2
        def output_spec(self, states: Spec) -> Spec:
            return states
    def __init__(self, conf, states):
        super().__init__()
        self.times = conf.times
    def forward(self, states: Features) -> Features:
        return states.with_values(states.values * self.times)
''',
    )
    monkeypatch.syspath_prepend(str(task.folder))
    monkeypatch.delitem(sys.modules, "my_block", raising=False)
    task.config["plugins"] = ["my_block"]
    task.config["architecture"][2] = {
        "layer_id": "dropped",
        "layer": "Doubled",
        "conf": {"times": 3},
        "inputs": ["states"],
    }
    try:
        assert door("train", "--conf_path", task.path)[0] == 0
        refused(door("test", "--model", task.run), "plugins[0]: 'my_block' is not imported for a run unless you ask")
        assert door("test", "--model", task.run, "--plugins", "my_block")[0] == 0
        assert door("predict", "--conf_path", task.path)[0] == 0
        task.config["architecture"][2]["conf"] = {"tims": 3}
        refused(door("train", "--conf_path", task.path), "unknown field of Doubled. Did you mean 'times'?")
    finally:
        from block_zoo import BLOCKS

        BLOCKS._classes.pop("Doubled", None)
    task.config["plugins"] = ["no_such_module"]
    refused(door("train", "--conf_path", task.path), "plugins[0]: cannot import 'no_such_module'")


@pytest.mark.parametrize("name", ["train", "test", "predict"])
def test_help_is_there_at_once(name):
    text = (ROOT / f"{name}.py").read_text()
    head = text.split("def main")[0]
    assert "import torch" not in head and "from engine" not in head.split("if TYPE_CHECKING")[0]


@pytest.mark.parametrize("char", ["CNNCharEmbedding", "LSTMCharEmbedding"])
def test_characters_and_a_feature_column_train_and_predict(door, task, char):
    for seed, (name, count) in enumerate({"train": 120, "valid": 40, "test": 37}.items()):
        rows = [
            (text, label, " ".join("NV"[len(word) % 2] for word in text.split()))
            for text, label in sentences(count, seed)
        ]
        task.file(f"{name}.tsv", "".join("\t".join(row) + "\n" for row in rows))
    task.config["inputs"]["file_header"] = {"text": 0, "label": 1, "text_postag": 2}
    task.config["inputs"]["model_inputs"] = {"sentence": ["text", "text_char", "text_postag"]}
    task.config["training_params"]["fixed_lengths"] = {"word": 6}
    task.config["architecture"][0]["conf"] = {
        "word": {"cols": ["text"], "dim": 8},
        "char": {"cols": ["text_char"], "type": char, "dim": 6, "embedding_matrix_dim": 4},
        "postag": {"cols": ["text_postag"], "dim": 3},
    }
    code, out, err = door("train", "--conf_path", task.path, "--check")
    assert code == 0, err
    assert f"B x T x {8 + 6 + 3}" in out
    assert door("train", "--conf_path", task.path)[0] == 0
    code, _, err = door("predict", "--model", task.run)
    assert code == 0 and "37 rows, 0 bad" in err
    task.file("test.tsv", "cat runs\tup\tN V\ncat runs\tup\tN\n")
    code, _, err = door("predict", "--model", task.run)
    assert code == 0 and "test.tsv:2: text_postag has 1 features, but text has 2 tokens." in err


def test_real_questions_train_test_and_rank(door, task, real_data):
    """WikiQA as it is published, its smaller file for everything, one epoch: the scores are those of its own qrels."""
    dev = str(real_data / "WikiQA" / "WikiQA-dev.tsv")
    config = read_document(ROOT / "configs" / "wikiqa" / "cnn.json")
    config["inputs"]["data_paths"] = dict.fromkeys(["train_data_path", "valid_data_path", "test_data_path"], dev)
    config["outputs"]["save_base_dir"] = str(task.run)
    config["training_params"]["max_epoch"] = 1
    task.config = config
    code, out, err = door("train", "--conf_path", task.path)
    assert code == 0 and "training rows: 2,733" in out, err
    assert door("predict", "--model", task.run, "--input", dev, "--output", task.folder / "answers.tsv")[0] == 0
    header, *rows = [line.split("\t") for line in (task.folder / "answers.tsv").read_text("utf-8").splitlines()]
    assert header[-1] == "confidence@1"
    questions: dict[str, list[tuple[float, int]]] = {}
    for row in rows:
        questions.setdefault(row[0], []).append((-float(row[-1]), int(row[6])))
    ranks = [
        next(rank for rank, (_, label) in enumerate(sorted(pairs), start=1) if label)
        for pairs in questions.values()
        if any(label for _, label in pairs)
    ]
    scores = json.loads((task.run / "scores.json").read_text())["validation"]
    assert scores["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks), abs=2e-3)
