import json
import time

import pytest

from core.document import merged, read_document
from core.errors import ConfigError, UserError


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_invalid_json_is_reported_with_line_and_column(tmp_path):
    path = write(tmp_path / "x.json", '{\n  "a": 1,\n  "b": }\n')
    with pytest.raises(UserError, match=r"x\.json:3:8: not valid JSON: Expecting value\."):
        read_document(path)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = write(tmp_path / "x.json", '{"a": 1, "a": 2}')
    with pytest.raises(UserError, match="the key 'a' stands twice"):
        read_document(path)


def test_the_keys_of_a_large_object_are_read_in_time(tmp_path):
    pieces = {f"piece {number}": number for number in range(50_000)}
    started = time.perf_counter()
    assert read_document(write(tmp_path / "x.json", {"pieces": pieces}))["pieces"] == pieces
    assert time.perf_counter() - started < 10  # comparing each with each takes much longer


def test_a_missing_config_names_a_close_one(tmp_path):
    write(tmp_path / "matching.json", {})
    with pytest.raises(UserError, match=r"no such file\. Did you mean 'matching.json'\?"):
        read_document(tmp_path / "maching.json")


def test_a_config_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match="not UTF-8"):
        read_document(path)


def test_extends_merges_objects_and_replaces_lists(tmp_path):
    write(tmp_path / "base.json", {"a": {"x": 1, "y": 2}, "l": [1, 2]})
    path = write(tmp_path / "own.json", {"extends": "base.json", "a": {"y": 3}, "l": [9]})
    assert read_document(path) == {"a": {"x": 1, "y": 3}, "l": [9]}


def test_a_config_cannot_extend_itself(tmp_path):
    write(tmp_path / "a.json", {"extends": "b.json"})
    path = write(tmp_path / "b.json", {"extends": "a.json"})
    with pytest.raises(ConfigError, match="cannot extend itself"):
        read_document(path)


def test_set_takes_json_and_text_and_reaches_into_lists(tmp_path):
    path = write(tmp_path / "x.json", {"a": {"b": 1}, "l": [{"c": 1}]})
    document = read_document(path, ["a.b=2.5", "a.name=hello world", "l[0].c=[1, 2]", "new.key=true"])
    assert document == {"a": {"b": 2.5, "name": "hello world"}, "l": [{"c": [1, 2]}], "new": {"key": True}}


@pytest.mark.parametrize("override", ["a.b", "l[7].c=1", "a.b.c=1"])
def test_a_set_that_leads_nowhere_is_refused(tmp_path, override):
    path = write(tmp_path / "x.json", {"a": {"b": 1}, "l": []})
    with pytest.raises(UserError, match="--set"):
        read_document(path, [override])


def test_a_config_that_extends_none_and_a_folder_are_told_apart(tmp_path):
    write(tmp_path / "base.json", {})
    path = write(tmp_path / "own.json", {"extends": "bas.json"})
    with pytest.raises(
        ConfigError, match=rf"own\.json: 1 problem\n  extends: no such file: {tmp_path}/bas\.json\. Did"
    ):
        read_document(path)
    with pytest.raises(UserError, match=rf"^{tmp_path}: is a folder, not a file\.$"):
        read_document(tmp_path)


def test_an_architecture_file_is_filled_with_its_parameters(tmp_path):
    layers = [{"layer": "Embedding", "conf": {"word": {"cols": ["$text"], "dim": "$dim"}}}]
    write(tmp_path / "net.json", {"params": {"dim": 10, "text": "q"}, "architecture": layers})
    path = write(tmp_path / "x.json", {"architecture": {"file": "net.json", "params": {"dim": 20}}})
    assert read_document(path)["architecture"][0]["conf"]["word"] == {"cols": ["q"], "dim": 20}


def test_an_unknown_architecture_parameter_is_refused_with_a_hint(tmp_path):
    write(tmp_path / "net.json", {"params": {"hidden_dim": 10}, "architecture": []})
    path = write(tmp_path / "x.json", {"architecture": {"file": "net.json", "params": {"hiden_dim": 20}}})
    with pytest.raises(ConfigError, match=r"architecture.params.hiden_dim: .* Did you mean 'hidden_dim'\?"):
        read_document(path)


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ({"architecture": {}}, "an architecture file is an object with 'architecture', a list of layers"),
        ({"params": ["dim"], "architecture": []}, "'params', an object"),
        ({"parms": {"dim": 3}, "architecture": []}, "unknown key 'parms' .* Did you mean 'params'"),
    ],
)
def test_what_is_no_architecture_file_is_refused(tmp_path, template, sentence):
    write(tmp_path / "net.json", template)
    path = write(tmp_path / "x.json", {"architecture": {"file": "net.json"}})
    with pytest.raises(UserError, match=rf"net\.json: .*{sentence}"):
        read_document(path)


def test_an_unknown_architecture_file_names_a_close_one(tmp_path):
    path = write(tmp_path / "x.json", {"architecture": {"file": "matching/bilstn.json"}})
    with pytest.raises(ConfigError, match=r"Did you mean 'matching/bilstm.json'\?"):
        read_document(path)


def test_merging_leaves_its_arguments_alone():
    base, overlay = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merged(base, overlay) == {"a": {"b": 1, "c": 2}}
    assert base == {"a": {"b": 1}}
    assert overlay == {"a": {"c": 2}}


def test_branches_under_other_names_than_an_architecture_reads_are_said_as_such(tmp_path):
    path = tmp_path / "config.json"
    named = {"file": "matching/bilstm.json"}
    path.write_text(json.dumps({"inputs": {"model_inputs": {"premise": ["a"], "other": ["b"]}}, "architecture": named}))
    with pytest.raises(ConfigError, match="reads the branches question, answer, but these are premise, other"):
        read_document(path)
    path.write_text(json.dumps({"inputs": {"model_inputs": {"question": ["a"]}}, "architecture": named}))
    assert read_document(path)["architecture"]  # what is wrong here stands among all other problems
