"""What every key means: in the schema that editors read, and on the terminal."""

import json

import jsonschema
import pytest
from conftest import CONFIGS, ROOT

from core.document import read_json
from core.errors import UserError
from engine.examples import with_examples
from engine.explain import explain

SCHEMA = json.loads((ROOT / "docs" / "config.schema.json").read_text())


def keys():
    """Every key of every definition: its name and its entry."""
    for name, definition in SCHEMA["$defs"].items():
        cases = [case["then"].get("properties", {}) for case in definition.get("allOf", ())]
        for properties in [definition.get("properties", {}), *cases]:
            for key, entry in properties.items():
                if not entry.get("deprecated") and entry.keys() - {"$ref"} and not entry.keys() <= {"anyOf"}:
                    yield f"{name}.{key}", entry


def test_every_key_has_a_description_and_examples_that_are_accepted():
    for name, entry in keys():
        if entry.get("description", "").startswith("Has no effect"):
            continue
        assert entry.get("description"), name
        assert entry["examples"], name
        checker = jsonschema.Draft202012Validator({**entry, "$defs": SCHEMA["$defs"]})
        for example in entry["examples"]:
            assert not list(checker.iter_errors(example)), (name, example)


def test_examples_are_those_of_the_shipped_configs():
    optimizer = SCHEMA["$defs"]["optimizer"]["properties"]["name"]
    assert optimizer["examples"][:2] == ["Adam", "AdamW"]
    assert 64 in SCHEMA["$defs"]["training"]["properties"]["batch_size"]["examples"]


def test_a_block_allows_only_its_own_keys():
    block = SCHEMA["$defs"]["block.BiLSTM"]
    assert set(block["properties"]) == {"hidden_dim", "dropout", "num_layers"} and not block["additionalProperties"]


def test_every_shipped_config_names_the_schema():
    for path in CONFIGS:
        named = read_json(path)["$schema"]
        assert (path.parent / named).resolve() == ROOT / "docs" / "config.schema.json", path


def test_documents_give_examples_the_most_frequent_first():
    schema = {
        "$ref": "#/$defs/config",
        "$defs": {
            "config": {
                "properties": {
                    "size": {"type": "integer", "minimum": 3, "description": "."},
                    "other": {"type": "number", "exclusiveMinimum": 0, "description": "."},
                }
            }
        },
    }
    properties = with_examples(schema, [{"size": 7}, {"size": 5}, {"size": 5}])["$defs"]["config"]["properties"]
    assert properties["size"]["examples"] == [5, 7]
    assert properties["other"]["examples"][0] > 0


def test_a_key_is_explained_by_its_place_its_class_or_alone():
    for asked in ("architecture.BiLSTM.hidden_dim", "BiLSTM.hidden_dim"):
        said = explain(asked)
        assert said.startswith("architecture.BiLSTM.hidden_dim\n  Hidden units per direction")
        assert "a whole number, at least 1; default 128" in said and "examples: 128" in said
    assert "Rows per step and device." in explain("batch_size")
    assert "loss.losses.SoftTargetLoss.temperature" in explain("loss.SoftTargetLoss.temperature")
    assert "Shape: B x T x D" in explain("BiLSTM") and "num_layers: a whole number" in explain("BiLSTM")
    assert "; required" in explain("outputs.save_base_dir")
    with pytest.raises(UserError, match="called 'hiden_dim'. Did you mean 'hidden_dim'"):
        explain("hiden_dim")
    assert explain("trainer.conf.reward") == explain("trainer.Reinforced.reward")
    assert explain("loss.losses[0].conf.temperature").count("temperature\n") > 2
    heads = [line for line in explain("dim").splitlines() if line and not line.startswith(" ")]
    assert heads and all(head.endswith(".dim") for head in heads)


def test_a_key_that_is_written_wrong_is_looked_for_where_it_stands():
    for asked, meant in {
        "BiLSTM.hidden_dimm": "BiLSTM.hidden_dim",
        "architecture[1].conf.hiden_dim": "architecture.hidden_dim",
        "training_params.batch_sise": "training_params.batch_size",
    }.items():
        with pytest.raises(UserError, match=rf"Did you mean '{meant}'\?"):
            explain(asked)
    assert explain("bilstm.hidden_dim") == explain("BiLSTM.hidden_dim")
    assert explain("training_params.optimizer.params.lr") == explain("training_params.optimizer.params")
    assert explain("teachers.big.conf.path") == explain("teachers.path")
    assert explain("teachers.big").startswith("teachers\n")
    with pytest.raises(UserError, match="nothing in a config is called 'teachers.big.tempratur'"):
        explain("teachers.big.tempratur")
    assert "required" not in explain("$schema")
