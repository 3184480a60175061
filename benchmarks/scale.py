"""Time and memory with millions of rows: encoding, the first training step, prediction of the whole file.

    python -m benchmarks.scale --rows 200000 1000000            # about ten minutes
    python -m benchmarks.scale --rows 5000000 --keep /tmp/scale # half an hour; a second run reuses what lies there

The rows are made up: about ten words each, drawn from 50,000 by Zipf's law, and a label. Each stage is a process of its
own. `own` is the peak of its anonymous memory, `with files` what the system counts with mapped files (ru_maxrss): those
pages go when memory is short. Prediction uses a model trained on the first 20,000 rows.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.processes import Watched, first_step_done, watch

WORDS, MEAN_LENGTH, SMALL = 50_000, 10, 20_000
_CHUNK = 100_000
CONFIG = {
    "inputs": {
        "dataset_type": "classification",
        "data_paths": {},
        "file_header": {"text": 0, "label": 1},
        "model_inputs": {"sentence": ["text"]},
        "target": ["label"],
    },
    "outputs": {"save_base_dir": ""},
    "training_params": {
        "tokenizer": "whitespace",
        "optimizer": {"name": "Adam", "params": {"lr": 0.001}},
        "batch_size": 128,
        "max_epoch": 1,
        "batch_num_to_show_results": 1,
    },
    "architecture": [
        {"layer": "Embedding", "conf": {"word": {"cols": ["text"], "dim": 32}}},
        {"layer_id": "vector", "layer": "Pooling", "conf": {"pool_type": "mean"}, "inputs": ["sentence"]},
        {
            "layer_id": "output", "layer": "Linear", "conf": {"hidden_dim": -1}, "inputs": ["vector"],
            "output_layer_flag": True,
        },
    ],
    "loss": {"losses": [{"type": "CrossEntropyLoss", "inputs": ["output", "label"]}]},
    "metrics": ["accuracy"],
}  # fmt: skip
ENCODE = (
    "import sys; from pathlib import Path; from engine.experiment import load_experiment; "
    "from engine.data import read_data; read_data(load_experiment(Path(sys.argv[1])).conf, print)"
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory with many rows.")
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--keep", type=Path, help="folder for the files, left there; by default a temporary one")
    return parser.parse_args()


def lines(count: int) -> Iterator[str]:
    """Rows as TSV, in chunks; a row is the same in every file."""
    words = np.array([f"w{number}" for number in range(WORDS)], dtype=object)
    shares = 1 / np.arange(1, WORDS + 1)
    edges = np.cumsum(shares / shares.sum())
    for start in range(0, count, _CHUNK):
        random = np.random.default_rng(start)
        lengths = random.poisson(MEAN_LENGTH - 1, _CHUNK) + 1
        drawn = np.minimum(np.searchsorted(edges, random.random(lengths.sum())), WORDS - 1)
        texts, ends = words[drawn], np.cumsum(lengths)
        labels = random.integers(0, 2, _CHUNK)
        rows = zip(ends - lengths, ends, labels, strict=True)
        made = [f"{' '.join(texts[a:b])}\t{'ny'[label]}\n" for a, b, label in rows]
        yield "".join(made[: count - start])


def write_rows(path: Path, count: int) -> Path:
    """A file of so many rows, made once."""
    if not path.exists():
        aside = path.with_suffix(".part")
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(lines(count))
        aside.rename(path)
    return path


def write_config(folder: Path, name: str, train: Path, valid: Path) -> Path:
    """A config and the name of its run folder."""
    paths = {"train_data_path": str(train), "valid_data_path": str(valid)}
    config = {**CONFIG, "inputs": {**CONFIG["inputs"], "data_paths": paths}}  # type: ignore[dict-item]
    config["outputs"] = {"save_base_dir": str(folder / name)}
    (folder / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
    return folder / f"{name}.json"


def measure(folder: Path, count: int) -> Iterator[tuple[str, Watched]]:
    """The stages for one size, each as it is done."""
    env, log = {"BLOCKSMITH_CACHE": str(folder / f"cache_{count}")}, folder / "errors"
    small, big = write_rows(folder / "small.tsv", SMALL), write_rows(folder / f"{count}.tsv", count)
    config = write_config(folder, f"run_{count}", big, small)
    yield "encode", watch([sys.executable, "-c", ENCODE, str(config)], log, env=env)
    train = [sys.executable, "train.py", "--force", "--conf_path"]
    yield "first step", watch([*train, str(config)], log, first_step_done(folder / f"run_{count}"), env)
    model = folder / "run_small"
    if not (model / "weights.safetensors").exists():
        watch([*train, str(write_config(folder, "run_small", small, small))], log, env=env)
    answer = ["predict.py", "--model", str(model), "--input", str(big), "--output", str(folder / "answers.tsv")]
    yield "predict", watch([sys.executable, *answer], log, env=env)


def main() -> None:
    options = arguments()
    print("| rows | stage | s | rows/s | own, GiB | with files, GiB |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for count in options.rows:
            for stage, took in measure(folder, count):
                memory = f"{took.peak_anonymous / 2**30:.2f} | {took.peak_resident / 2**30:.2f}"
                speed = f"{took.seconds:,.1f} | {count / took.seconds:,.0f}"
                print(f"| {count:,} | {stage} | {speed} | {memory} |", flush=True)


if __name__ == "__main__":
    main()
