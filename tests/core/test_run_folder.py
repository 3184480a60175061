import json

import pytest
import torch

from core.errors import UserError
from core.run_folder import RunFolder


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin({"a": 1})
    folder.write_problem({"inputs": {}, "target": {}})
    folder.write_weights({"w": torch.arange(6.0).reshape(2, 3).t()})
    folder.write_state({"step": 3})
    return folder


def test_what_is_written_is_read_back(run):
    assert run.read_config() == {"a": 1}
    assert torch.equal(run.read_weights()[0]["w"], torch.arange(6.0).reshape(2, 3).t())
    assert run.read_state() == {"step": 3}


def test_a_model_of_transformers_is_no_run(run):
    run.write_json("config.json", {"model_type": "bert", "hidden_size": 16})
    with pytest.raises(UserError, match="is no run folder of Blocksmith, but a model of transformers"):
        run.read_config()


def test_a_taken_folder_is_refused_unless_forced_and_foreign_files_stay(run):
    (run / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds a run already. Use --resume to continue it, --force to replace it"):
        run.refuse_if_taken(force=False)
    run.refuse_if_taken(force=True)
    run.begin({"a": 2})
    assert (run / "notes.txt").read_text() == "mine"
    assert not (run / "weights.safetensors").exists()


def test_a_folder_that_cannot_be_made_is_named_with_its_key(tmp_path):
    (tmp_path / "file").write_text("mine")
    message = rf"^outputs\.save_base_dir: nothing can be written to {tmp_path}/file/run \(Not a directory\)\.$"
    with pytest.raises(UserError, match=message), RunFolder(tmp_path / "file" / "run").locked():
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_a_missing_folder_and_a_folder_that_is_no_run_are_told_apart(tmp_path):
    with pytest.raises(UserError, match="no such run folder"):
        RunFolder(tmp_path / "nowhere").read_config()
    with pytest.raises(UserError, match="not a run folder, config.json is missing"):
        RunFolder(tmp_path).read_config()


@pytest.mark.parametrize("name", ["weights.safetensors", "training_state.pt", "problem.json"])
@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_a_damaged_file_is_named(run, name, damage):
    path = run / name
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "garbage": b"\x00garbage" * 9, "empty": b""}[damage])
    read = {
        "weights.safetensors": run.read_weights,
        "training_state.pt": run.read_state,
        "problem.json": run.read_problem,
    }
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        read[name]()


def test_a_run_of_a_newer_version_is_refused(run):
    state = json.loads((run / "problem.json").read_text())
    (run / "problem.json").write_text(json.dumps({**state, "version": 99}))
    with pytest.raises(UserError, match=r"written by a newer version \(layout 99"):
        run.read_problem()


class Exploit:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_state_that_holds_code_is_refused_and_not_run(run, capsys):
    torch.save({"x": Exploit()}, run / "training_state.pt")
    with pytest.raises(UserError, match="damaged"):
        run.read_state()
    assert "executed" not in capsys.readouterr().out


def test_nothing_half_written_stays_behind(run, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    before = (run / "weights.safetensors").read_bytes()
    monkeypatch.setattr("core.run_folder.save_file", full)
    with pytest.raises(UserError, match="cannot be written .*No space left"):
        run.write_weights({"w": torch.zeros(3)})
    assert (run / "weights.safetensors").read_bytes() == before
    assert [path.name for path in run.path.iterdir() if "part" in path.name] == []
