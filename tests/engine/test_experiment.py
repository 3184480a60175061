"""The check of a config as a whole."""

import copy
import json
from typing import Any

import pytest
from conftest import CONFIGS, ROOT

from core.document import read_document
from core.errors import ConfigError
from core.run_folder import FINISHED, SCORES, RunFolder
from engine.experiment import checked, load_experiment
from engine.summary import summary

ARCHITECTURES = sorted((ROOT / "model_zoo").rglob("*.json"))


@pytest.fixture(scope="module")
def folder_of_teacher(tmp_path_factory):
    """A folder that has the run of the teacher whose layers some students begin with."""
    path = ROOT / "configs/distillation/mrpc/teacher_pooler.json"
    experiment = checked(read_document(path), str(path), files=False)
    folder = tmp_path_factory.mktemp("trained")
    run = RunFolder(folder / experiment.conf.outputs.save_base_dir)
    run.begin(experiment.document())
    run.write_weights({})
    run.write_json(SCORES, {FINISHED: True})
    return folder


@pytest.fixture
def trained_encoder(folder_of_teacher, monkeypatch):
    """That folder is the working one."""
    monkeypatch.chdir(folder_of_teacher)


def findings(config) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        checked(config, "config.json")
    return [str(finding) for finding in refused.value.findings]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_config_that_ships_checks_and_builds(path, trained_encoder):
    experiment = checked(read_document(path), str(path), files=False)
    assert experiment.notices == []
    assert "parameters" in summary(experiment)


@pytest.mark.parametrize(
    ("name", "entries"), [("classification", "words of the vocabulary"), ("tagging", "entries of each vocabulary")]
)
def test_the_summary_says_what_its_letters_count(name, entries):
    path = ROOT / f"configs/demo/{name}.json"  # tagging has a vocabulary of characters, too
    assert f"V {entries}, C labels)" in summary(checked(read_document(path), str(path), files=False))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_config_that_a_run_keeps_is_complete_and_sound(path, trained_encoder):
    kept = checked(read_document(path), str(path), files=False).document()
    assert checked(kept, "config.json", files=False).document() == kept
    assert all(layer["conf"] for layer in kept["architecture"] if layer["layer"] in ("BiLSTM", "Linear", "Pooling"))


def test_null_is_as_if_not_given(task):
    changed = copy.deepcopy(task.config) | {"metrics": None, "trainer": {"conf": None}, "plugins": None}
    changed["architecture"][1]["conf"] = changed["loss"]["losses"][0]["conf"] = None
    del task.config["metrics"], task.config["architecture"][1]["conf"]
    assert checked(changed, "config.json").document() == checked(task.config, "config.json").document()
    changed["inputs"]["target"] = None
    assert findings(changed) == ["inputs.target: names no column."]


def test_a_block_without_the_settings_that_it_needs_is_refused(task):
    task.config["architecture"][1] = {"layer_id": "states", "layer": "MultiHeadOutput", "inputs": ["sentence"]}
    assert findings(task.config) == ["architecture[1]: 'conf' is missing in MultiHeadOutput."]


def notices(config) -> list[str]:
    return [str(notice) for notice in checked(config, "config.json").notices]


def test_a_crf_without_its_loss_is_noticed():
    document = read_document(ROOT / "configs/demo/tagging.json", ["loss.losses[0].type=CrossEntropyLoss"])
    (notice,) = checked(document, "config.json", files=False).notices
    assert str(notice).startswith("loss.losses[0].inputs[0]: is a CRF, whose transitions learn nothing")


def test_a_head_that_no_loss_reads_is_noticed(task):
    layer = task.config["architecture"][4]
    layer |= {"layer": "MultiHeadOutput", "conf": {"heads": ["gold", "extra"]}}
    loss = task.config["loss"]["losses"][0]
    assert notices(task.config) == []  # a loss on the answer teaches all heads
    loss["inputs"] = [f"{layer['layer_id']}.gold", "label"]
    assert notices(task.config) == ["loss.losses: no loss reads 'output.extra', so it learns nothing by itself."]


def test_a_target_that_the_model_reads_or_that_no_loss_reads_is_noticed(task):
    task.config["inputs"]["target"] = ["label", "text"]
    assert notices(task.config) == [
        "inputs.model_inputs.sentence: 'text' is a target, too: the model reads what it should answer.",
        "inputs.target: no loss reads 'text', so nothing learns from it.",
    ]


def test_a_loss_that_names_the_target_first_hears_the_order(task):
    task.config["loss"]["losses"][0]["inputs"].reverse()
    assert findings(task.config) == ["loss.losses[0].inputs: the layer comes first, then the target column."]


def test_a_loss_that_would_be_maximised_is_refused(task):
    task.config["loss"]["losses"][0]["weight"] = -1
    assert findings(task.config) == ["loss.losses[0].weight: must be at least 0, got -1."]


def test_what_has_no_effect_is_noticed_with_its_place(task):
    config = task.config | {"license": "MIT", "tool_version": "1.1.0"}
    config["training_params"] |= {"use_gpu": True, "max_lengths": {"sentense": 9}, "fixed_lengths": {"word": 5}}
    config["architecture"][0]["weight_on_gpu"] = False
    config["architecture"][4]["conf"] |= {"last_hidden_softmax": True}
    assert sorted(notices(config)) == sorted(
        [
            "license: has no effect. It is a note for the reader.",
            "tool_version: has no effect. Configs of every version are read.",
            "training_params.use_gpu: has no effect. It is chosen automatically. Set `device` to insist on one.",
            "architecture[0].weight_on_gpu: has no effect. It is chosen automatically.",
            "training_params.max_lengths: has no effect. fixed_lengths cut the texts.",
            "training_params.max_lengths.sentense: has no effect. No branch or column is called so. Did you mean 'sentence'?",
            "training_params.fixed_lengths.word: has no effect. No column of characters is read.",
            "loss.losses[0].inputs[0]: 'output' gives probabilities; CrossEntropyLoss takes the scores before them.",
        ]
    )


@pytest.mark.parametrize("path", ARCHITECTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_architecture_is_used_by_a_config(path):
    name = f"{path.parent.name}/{path.name}"
    assert any(f'"{name}"' in config.read_text() for config in CONFIGS)


def places(value, path=()):
    """The path of every value inside a document."""
    if path:
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*path, key))


WRONG: tuple[Any, ...] = (None, True, -1, 0.5, "x", "", [], [1], ["x"], {}, {"x": 1})


def test_whatever_stands_anywhere_in_a_config_the_check_answers(task):
    """Every value replaced by every kind of wrong one, or missing: a report, never an exception of another kind."""
    task.config["loss"]["weights"] = [1.0]
    task.config["outputs"]["predict_fields"] = ["prediction"]
    task.config["inputs"] |= {"labels": ["up", "down"], "positive_label": "up", "group_by": None}
    task.config["training_params"] |= {"max_lengths": {"sentence": 5}, "text_preprocessing": ["lowercase"]}
    tried = refused = 0
    for path in list(places(task.config)):
        for wrong in (*WRONG, KeyError):
            config = copy.deepcopy(task.config)
            place = config
            for step in path[:-1]:
                place = place[step]
            if wrong is KeyError:
                del place[path[-1]]
            else:
                place[path[-1]] = wrong
            tried += 1
            try:
                checked(config, "config.json")
            except ConfigError as error:
                refused += 1
                assert error.findings
    assert refused > tried / 2


def test_a_broken_section_does_not_hide_what_is_wrong_elsewhere(task):
    del task.config["training_params"]["optimizer"]
    task.config["outputs"]["save_base_dir"] = 5
    task.config["architecture"][4]["inputs"] = ["vektor"]
    task.config["metrics"] = ["f2"]
    assert [finding.split(":")[0] for finding in findings(task.config)] == [
        "outputs.save_base_dir",
        "training_params",
        "architecture[4].inputs[0]",
        "metrics[0]",
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"labels": ["up"]}, "inputs: labels must be 2 or more different ones, got up."),
        ({"labels": ["up", "down"], "positive_label": "sideways"}, "inputs: positive_label 'sideways' is no label."),
        ({"group_by": "label"}, "inputs: column 'label' cannot be a target and group rows at the same time."),
        ({"target": []}, "inputs.target: names no column."),
        ({"target": ["lable"]}, "inputs.target: file_header has no column 'lable'. Did you mean 'label'?"),
        ({"model_inputs": {}}, "inputs.model_inputs: names no branch."),
        ({"model_inputs": {"sentence": ["txt"]}}, "file_header has no column 'txt'. Did you mean 'text'?"),
        ({"model_inputs": {"sentence": ["text", "label"]}}, "a branch needs one column of words, but this one has 2"),
        ({"dataset_type": "clasification"}, "no problem is called \"clasification\". Did you mean 'classification'?"),
    ],
)
def test_inputs_that_cannot_be_right(task, change, sentence):
    task.config["inputs"] |= change
    assert any(sentence in finding for finding in findings(task.config)), findings(task.config)


def test_a_branch_of_characters_alone_is_refused():
    document = read_document(ROOT / "configs/demo/tagging.json")
    document["inputs"]["model_inputs"]["sentence"].remove("words")
    with pytest.raises(ConfigError, match="sentence: a branch needs one column of words, but this one has none"):
        checked(document, "config.json", files=False)


def test_a_missing_validation_file_is_noticed_and_the_test_file_taken(task):
    del task.config["inputs"]["data_paths"]["valid_data_path"]
    (notice,) = checked(task.config, "config.json").notices
    assert "the best model is chosen on the test rows" in str(notice)


def test_a_layer_that_shares_with_a_refused_one_is_not_refused_as_well(task):
    task.config["architecture"][1]["conf"] = {"hiden_dim": 8}
    task.config["architecture"].insert(2, {"layer_id": "again", "layer": "states", "inputs": ["sentence"]})
    assert [finding.split(":")[0] for finding in findings(task.config)] == ["architecture[1].conf.hiden_dim"]


def test_columns_of_characters_are_not_missed_where_the_embedding_is_refused(task):
    task.config["inputs"]["model_inputs"]["sentence"].append("text_char")
    task.config["architecture"][0]["conf"] = {
        "word": {"cols": ["text"], "dim": 8, "trainable": False},
        "char": {"cols": ["text_char"], "type": "CNNCharEmbedding"},
    }
    assert [finding.split(":")[0] for finding in findings(task.config)] == ["architecture[0].conf.word.trainable"]


def test_a_tagging_scheme_of_another_problem_is_noticed(task):
    task.config["inputs"]["tagging_scheme"] = "BIO"
    assert notices(task.config) == ["inputs.tagging_scheme: has no effect. Rows have no tags."]
    task.config["inputs"]["tagging_scheme"] = None
    assert notices(task.config) == []


def test_extends_and_set_go_through_the_same_check(task):
    assert task.path.exists()
    child = task.folder / "child.json"
    child.write_text(json.dumps({"extends": "config.json", "training_params": {"batch_sise": 3}}))
    with pytest.raises(
        ConfigError, match=r"training_params.batch_sise: unknown field of training. Did you mean 'batch_size'"
    ):
        load_experiment(child)
    with pytest.raises(ConfigError, match=r"training_params.batch_size: must be at least 1, got 0"):
        load_experiment(task.path, ["training_params.batch_size=0"])


@pytest.mark.parametrize("column", ["label", "text"])
def test_a_layer_called_as_a_column_that_losses_read_is_refused(task, column):
    task.config["inputs"]["group_by"] = "text"
    task.config["architecture"][4]["layer_id"] = column
    task.config["loss"]["losses"][0]["inputs"][0] = column
    assert f"loss.losses[0].inputs[0]: '{column}' is a column of the data and a layer" in "\n".join(
        findings(task.config)
    )


def test_layers_that_share_the_weights_of_each_other_are_refused(task):
    task.config["architecture"][1:1] = [
        {"layer_id": "a", "layer": "b", "inputs": ["sentence"]},
        {"layer_id": "b", "layer": "a", "inputs": ["sentence"]},
    ]
    assert any("no block and no earlier layer is called 'b'" in finding for finding in findings(task.config))
