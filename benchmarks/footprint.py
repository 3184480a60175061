"""What a trained model costs to use: its size, its speed by the size of batches, its latency, its memory."""

import gzip
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.processes import watch
from core.conf import JSON
from core.document import ROOT
from core.errors import UserError
from core.run_folder import WEIGHTS, RunFolder
from core.types import Row
from engine.predictor import Predictor
from text.readers import RowFile

ROWS = 1024
"""Rows that are answered, the first of the file: so many that the largest batches are of like length, too."""
SINGLE = 64
"""Rows that are answered one by one, after as many to warm up."""


def footprint(run: RunFolder, file: RowFile) -> dict[str, JSON]:
    """Parameters, MiB of the weights, rows/s by batch size, latency in ms, MiB of predict.py.

    Speeds are from texts to answers, the words known, on the device of the run; memory is that of the process alone,
    without what it only maps from files.
    """
    rows = [row for row in islice(file, ROWS) if not row.error]
    predictor = Predictor.load(run.path)
    _answer(predictor, rows)
    speeds = {}
    for size in (1, 32, 256):
        predictor.batch_size = size
        answered = rows[: SINGLE if size == 1 else ROWS]
        speeds[str(size)] = round(len(answered) / _seconds(predictor, [answered])[0], 1)
    latencies = 1000 * np.array(_seconds(predictor, [[row] for row in rows[:SINGLE]]))
    return {
        "parameters": sum(weight.numel() for weight in predictor.model.parameters()),
        "weights_mib": round((run / WEIGHTS).stat().st_size / 2**20, 2),
        "rows_per_second": speeds,
        "latency_ms": {f"p{share}": round(float(np.percentile(latencies, share)), 3) for share in (50, 95)},
        "predict_mib": round(_memory(run, file.path)),
    }


def _answer(predictor: Predictor, rows: Iterable[Row]) -> None:
    for _ in predictor.predict(rows):
        pass
    if predictor.device.type == "cuda":
        torch.cuda.synchronize()


def _seconds(predictor: Predictor, works: list[list[Row]]) -> list[float]:
    """How long each of them takes."""
    taken = []
    for rows in works:
        start = time.perf_counter()
        _answer(predictor, rows)
        taken.append(time.perf_counter() - start)
    return taken


def _memory(run: RunFolder, path: Path) -> float:
    """The peak of predict.py answering the first rows of a file, in MiB."""
    opened = gzip.open if path.suffix == ".gz" else open
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / path.name.removesuffix(".gz")
        with opened(path, "rb") as lines:
            part.write_bytes(b"".join(islice(lines, ROWS + 1)))
        command = [sys.executable, str(ROOT / "predict.py"), "--model", str(run.path), "--input", str(part)]
        try:
            watched = watch([*command, "--output", str(Path(folder) / "answers.tsv")], Path(folder) / "log")
        except RuntimeError as error:
            raise UserError(f"{run.path}: predict.py failed on it: {error}") from error
    return watched.peak_anonymous / 2**20
