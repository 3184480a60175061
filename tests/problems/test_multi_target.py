import copy
import json
import random
from typing import Any

import numpy as np
import pytest
import torch

import core.conf
from core.config import InputsConf
from core.types import Features, Row
from problems.multi_target import MultiTarget

INPUTS: dict[str, Any] = {
    "dataset_type": "multi_target",
    "file_header": {"text": 0, "slots": 1, "intent": 2},
    "model_inputs": {"sentence": ["text"]},
    "target": ["intent", "slots"],
    "problems": {
        "intent": {"dataset_type": "classification"},
        "slots": {"dataset_type": "sequence_tagging", "tagging_scheme": "BIO"},
    },
}
ROWS = [
    Row(1, {"text": "play blue", "slots": "O B-song", "intent": "music"}),
    Row(2, {"text": "find red fish", "slots": "O B-place I-place", "intent": "search"}),
    Row(3, {"text": "play red", "slots": "O B-song", "intent": "music"}),
]


def made(**changes) -> MultiTarget:
    return MultiTarget(core.conf.read(InputsConf, {**INPUTS, **changes}))


def fitted() -> tuple[MultiTarget, dict[str, Any]]:
    problem = made()
    arrays, errors = problem.encode(ROWS, growing=True)
    assert errors == ["", "", ""]
    remaps = problem.finish()
    arrays["intent"] = remaps["intent"][arrays["intent"]]
    arrays["slots"] = arrays["slots"].with_values(remaps["slots"][arrays["slots"].values])
    return problem, arrays


def answer(problem: MultiTarget, intents: list[str], slots: list[list[str]]):
    """What a model that is sure of these answers gives."""
    intent, tags = problem.parts["intent"].labels, problem.parts["slots"].labels
    assert intent is not None and tags is not None
    eye = torch.eye(len(tags))
    longest = max(map(len, slots))
    scores_BTD = torch.stack([eye[[tags.index(tag) for tag in row] + [0] * (longest - len(row))] for row in slots])
    mask_BT = torch.tensor([[place < len(row) for place in range(longest)] for row in slots])
    return problem.decode(
        {
            "intent": Features(torch.eye(len(intent))[[intent.index(label) for label in intents]]),
            "slots": Features(scores_BTD, mask_BT),
        }
    )


def test_each_target_has_scores_of_its_own_and_a_sentence_is_right_as_a_whole():
    problem, targets = fitted()
    decoded = answer(
        problem,
        ["music", "search", "search"],
        [["O", "B-song"], ["O", "B-place", "O"], ["O", "B-song"]],
    )
    names = ["sentence_accuracy", "slots.f1", "intent.accuracy", "slots.sentence_accuracy"]
    scores = problem.score(names, decoded, targets)
    assert list(scores) == names
    assert scores == pytest.approx(dict(zip(names, [1 / 3, 2 / 3, 2 / 3, 2 / 3], strict=True)))
    assert all(problem.check_metric(name) is None for name in names)
    assert problem.default_metrics == ["sentence_accuracy", "intent.accuracy", "slots.f1", "slots.accuracy"]


def test_answers_stand_in_columns_of_their_targets():
    problem, _ = fitted()
    decoded = answer(problem, ["music", "search", "music"], [["O", "O"], ["O", "B-place", "I-place"], ["O", "B-song"]])
    backwards = decoded.taken(np.array([2, 1, 0]))
    both = backwards.concatenate([backwards, decoded])
    cells = [row.cells for row in problem.predictions([*ROWS[::-1], *ROWS], both)]
    assert [cell["intent.prediction"] for cell in cells] == ["music", "search", "music"] * 2
    assert [cell["slots.prediction"] for cell in cells[:3]] == ["O B-song", "O B-place I-place", "O O"]
    assert list(cells[0]) == ["intent.prediction", "intent.confidence", "slots.prediction"]
    assert problem.check_fields(["intent.confidence@music", "slots.prediction"]) is None
    assert "unknown field 'prediction'" in (problem.check_fields(["prediction"]) or "")


def test_what_was_fitted_comes_back():
    problem, _ = fitted()
    again = made()
    again.restore(json.loads(json.dumps(problem.state())))
    assert again.target_specs() == problem.target_specs()
    assert again.answer_sizes == {"intent": 2, "slots": 4}


def test_the_first_error_of_a_row_counts():
    rows = [
        Row(4, {"text": "a b", "slots": "O", "intent": ""}),
        Row(5, {"text": "a", "slots": "I-song", "intent": "x"}),
    ]
    _, errors = made().encode(rows, growing=True)
    assert errors == ["the label in column intent is empty.", "tag 'I-song' at the start is no BIO."]


def test_scores_of_numbers_are_not_right_or_wrong():
    problem = made(problems={"intent": {"dataset_type": "regression"}, "slots": {"dataset_type": "sequence_tagging"}})
    assert "'intent' is a number" in (problem.check_metric("sentence_accuracy") or "")
    assert not problem.higher_is_better("intent.rmse") and problem.higher_is_better("slots.f1")
    assert problem.default_metrics == ["intent.rmse", "slots.f1", "slots.accuracy"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"problems": {"intent": {"dataset_type": "classification"}}}, "nothing for target 'slots'"),
        ({"problems": {**INPUTS["problems"], "slot": {"dataset_type": "regression"}}}, "Did you mean 'slots'"),
        ({"labels": ["a", "b"]}, "problems.intent.labels"),
        (
            {"problems": {**INPUTS["problems"], "intent": {"dataset_type": "classification", "labels": ["a"]}}},
            "problems.intent: labels must be 2 or more",
        ),
    ],
)
def test_targets_and_problems_must_match(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        made(**changes)


def test_metrics_name_their_target():
    problem, _ = fitted()
    assert "as intent.accuracy does" in (problem.check_metric("accuracy") or "")
    assert "unknown metric 'acuracy'" in (problem.check_metric("intent.acuracy") or "")


def test_a_target_may_begin_as_another_does():
    problems = {"a": {"dataset_type": "classification"}, "a.b": {"dataset_type": "regression"}}
    problem = made(target=["a", "a.b"], problems=problems)
    rows = [Row(at, {"a": label, "a.b": "2"}) for at, label in enumerate(("yes", "no", "yes"))]
    targets, _ = problem.encode(rows, growing=True)
    problem.finish()
    decoded = problem.decode({"a": Features(torch.eye(2)[[0, 1, 1]]), "a.b": Features(torch.tensor([2.0, 3.0, 1.0]))})
    assert [problem.check_metric(name) for name in ("a.accuracy", "a.b.mse")] == [None, None]
    scores = problem.score(["a.accuracy", "a.b.mse"], decoded, targets)
    assert scores == pytest.approx({"a.accuracy": 2 / 3, "a.b.mse": 2 / 3})
    assert [list(row.cells.values()) for row in problem.predictions(rows, decoded, ["a.b.prediction"])] == [
        [2],
        [3],
        [1],
    ]


@pytest.fixture
def joint(task):
    """The small task of the doors, with a tag for each word: whether it is in the first half of the alphabet."""
    for name in ("train", "valid", "test"):
        path = task.folder / f"{name}.tsv"
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        tagged = [
            (text, " ".join("B-low" if word < "g" else "O" for word in text.split()), label) for text, label in rows
        ]
        random.Random(1).shuffle(tagged)
        path.write_text("".join("\t".join(row) + "\n" for row in tagged))
    inputs = {key: copy.deepcopy(INPUTS[key]) for key in ("dataset_type", "file_header", "target", "problems")}
    task.config["inputs"] |= inputs
    layers = task.config["architecture"]
    layers[-1]["conf"]["hidden_dim"] = -1
    layers += [
        {"layer_id": "scores", "layer": "Linear", "conf": {"hidden_dim": "#slots#"}, "inputs": ["states"]},
        {"layer_id": "path", "layer": "CRF", "inputs": ["scores"], "output_layer_flag": True},
    ]
    task.config["loss"]["losses"] = [
        {"type": "CrossEntropyLoss", "inputs": ["output", "intent"]},
        {"type": "CRFLoss", "conf": {"reduction": "mean"}, "inputs": ["path", "slots"]},
    ]
    task.config["metrics"] = ["sentence_accuracy", "intent.accuracy", "slots.f1"]
    task.config["training_params"]["max_epoch"] = 12
    return task


def test_two_outputs_are_trained_scored_and_predicted(door, joint):
    assert door("train", "--conf_path", joint.path)[0] == 0
    code, _, _ = door("test", "--model", joint.run)
    scores = json.loads((joint.run / "scores.json").read_text())["test"]
    assert code == 0 and scores["slots.f1"] > 0.9 and scores["intent.accuracy"] > 0.6
    answers = joint.folder / "answers.jsonl"
    assert door("predict", "--model", joint.run, "--output", answers)[0] == 0
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    both = [row["intent.prediction"] == row["intent"] and row["slots.prediction"] == row["slots"] for row in rows]
    assert scores["sentence_accuracy"] == pytest.approx(sum(both) / len(rows))


def test_what_changes_nothing_for_a_target_is_noticed(door, joint):
    joint.config["inputs"]["problems"]["slots"]["positive_label"] = "O"
    joint.config["inputs"]["problems"]["intent"]["tagging_scheme"] = "BIO"
    code, _, err = door("train", "--conf_path", joint.path, "--check")
    assert code == 0
    assert "inputs.problems.slots.positive_label: has no effect. Spans are scored by their type" in err
    assert "inputs.problems.intent.tagging_scheme: has no effect. Rows have no tags" in err


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            lambda config: config["loss"]["losses"].pop(),
            ["architecture[6]: 'path' is an output layer, but no loss reads it together with a target (intent, slots)"],
        ),
        (
            lambda config: config["loss"]["losses"][1].update(inputs=["path", "intent"]),
            ["output and path both answer target 'intent'"],
        ),
        (lambda config: config["architecture"][6].pop("output_layer_flag"), ["no output layer answers target 'slots'"]),
        (lambda config: config["metrics"].append("slots.auc"), ["metrics[3]: metric 'auc' belongs to classification"]),
        (lambda config: config["inputs"]["problems"]["slots"].update(dataset_type="taging"), ["no problem is called"]),
        (
            lambda config: config["inputs"]["problems"]["intent"].update(dataset_type="multi_target"),
            ["cannot be multi"],
        ),
        (lambda config: config["inputs"].pop("problems"), ["problems has nothing for target 'intent'"]),
        (
            lambda config: config["architecture"][5]["conf"].update(hidden_dim="#target#"),
            ["architecture[5].inputs: Linear has hidden_dim '#target#'"],
        ),
    ],
)
def test_mistakes_are_found_before_training(door, joint, change, sentences):
    change(joint.config)
    code, _, err = door("train", "--conf_path", joint.path, "--check")
    assert code == 2 and "Traceback" not in err
    assert any(sentence in err for sentence in sentences), err
