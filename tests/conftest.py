"""What tests of several rooms share: a small task, written to files, and its config."""

import importlib.util
import json
import os
import random
import sys
from pathlib import Path

import pytest

from core.command_line import run_door

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(set((ROOT / "configs").rglob("*.json")) - set((ROOT / "configs" / "parts").rglob("*.json")))
"""The complete ones; configs/parts holds what several of them are made of."""

WORDS = "red green blue cat dog bird runs sleeps eats house tree river small large".split()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test meets the cache of another, or of the user."""
    monkeypatch.setenv("BLOCKSMITH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def real_data() -> Path:
    """The folder of real data; the test is skipped where there is none."""
    folder = Path(os.environ.get("BLOCKSMITH_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set BLOCKSMITH_DATA")
    return folder


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Rows (text, label): the label says whether the first word comes before the last in the alphabet."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        words = [rng.choice(WORDS) for _ in range(rng.randint(2, 9))]
        rows.append((" ".join(words), "up" if words[0] <= words[-1] else "down"))
    return rows


class Task:
    """A small classification task in a folder: files, config, and shortcuts to change and run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for seed, (name, count) in enumerate({"train": 120, "valid": 40, "test": 37}.items()):
            rows = sentences(count, seed)
            (folder / f"{name}.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in rows))
        self.config = {
            "inputs": {
                "dataset_type": "classification",
                "data_paths": {f"{name}_data_path": str(folder / f"{name}.tsv") for name in ("train", "valid", "test")},
                "file_header": {"text": 0, "label": 1},
                "model_inputs": {"sentence": ["text"]},
                "target": ["label"],
            },
            "outputs": {"save_base_dir": str(folder / "run")},
            "training_params": {
                "vocabulary": {"min_word_frequency": 1},
                "tokenizer": "whitespace",
                "optimizer": {"name": "Adam", "params": {"lr": 0.01}},
                "batch_size": 16,
                "max_epoch": 2,
            },
            "architecture": [
                {"layer": "Embedding", "conf": {"word": {"cols": ["text"], "dim": 8}}},
                {"layer_id": "states", "layer": "BiLSTM", "conf": {"hidden_dim": 8}, "inputs": ["sentence"]},
                {"layer_id": "dropped", "layer": "Dropout", "conf": {"dropout": 0.2}, "inputs": ["states"]},
                {"layer_id": "vector", "layer": "Pooling", "conf": {"pool_type": "max"}, "inputs": ["dropped"]},
                {
                    "layer_id": "output",
                    "layer": "Linear",
                    "conf": {"hidden_dim": "#target#"},
                    "inputs": ["vector"],
                    "output_layer_flag": True,
                },
            ],
            "loss": {"losses": [{"type": "CrossEntropyLoss", "inputs": ["output", "label"]}]},
            "metrics": ["accuracy", "macro_f1"],
        }

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def path(self) -> Path:
        """The config, written to its file as it is now."""
        path = self.folder / "config.json"
        path.write_text(json.dumps(self.config, indent=2))
        return path

    def file(self, name: str, text: str | bytes) -> str:
        """A file in the folder."""
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)


@pytest.fixture
def door(monkeypatch, capsys):
    """Runs train.py, test.py or predict.py in this process, as the command line would: exit code, output, errors."""

    def run(name: str, *options: str | Path, report: bool = False) -> tuple[int, str, str]:
        """report  whether a training ends with its page, which takes a second"""
        if name == "train" and not report:
            options = (*options, "--set", "report=false")
        spec = importlib.util.spec_from_file_location(f"door_{name}", ROOT / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
        capsys.readouterr()
        code = run_door(module.main)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def task(tmp_path) -> Task:
    return Task(tmp_path)


def ranked(count: int, seed: int) -> list[tuple[str, str, str]]:
    """Rows (text, gain, group) of groups of 1 to 9 rows, one of 20, mixed; a text gains by the colours in it."""
    rng = random.Random(seed)
    sizes = [20, *(rng.randint(1, 9) for _ in range(count))]
    rows = []
    for group, size in enumerate(sizes):
        for _ in range(size):
            words = [rng.choice(WORDS) for _ in range(rng.randint(2, 9))]
            gain = min(3, sum(word in ("red", "green", "blue") for word in words))
            rows.append((" ".join(words), str(gain), f"q{group}"))
    rng.shuffle(rows)
    return rows


@pytest.fixture
def ranking(task) -> Task:
    """Numbers that rank the texts of a group."""
    for seed, (name, count) in enumerate({"train": 60, "valid": 20, "test": 20}.items()):
        task.file(f"{name}.tsv", "".join("\t".join(row) + "\n" for row in ranked(count, seed)))
    task.config["inputs"] |= {"dataset_type": "regression", "group_by": "group"}
    task.config["inputs"]["file_header"]["group"] = 2
    task.config["loss"]["losses"] = [{"type": "RankNetLoss", "inputs": ["output", "label"]}]
    task.config["metrics"] = ["ndcg@5", "map", "mrr"]
    return task
