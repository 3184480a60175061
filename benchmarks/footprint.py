"""What a trained model costs to use: its size, its speed by the size of batches, its latency, its memory."""

import gzip
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.processes import watch
from benchmarks.records import Footprint
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
PASSES = 5
LONG = 10.0
"""Seconds after which no further pass is begun."""


def footprint(run: RunFolder, file: RowFile) -> Footprint:
    """Parameters, MiB of the weights, rows/s by batch size, latency in ms, MiB of predict.py and on the GPU.

    Speeds are from texts to answers, the words known, on the device of the run; memory is that of the process alone,
    without what it only maps from files.
    """
    rows = [row for row in islice(file, ROWS) if not row.error]
    predictor = Predictor.load(run.path)
    is_on_gpu = predictor.device.type == "cuda"
    if is_on_gpu:
        torch.cuda.reset_peak_memory_stats(predictor.device)
    _answer(predictor, rows)
    speeds = {}
    for size in (1, 32, 256):
        predictor.batch_size = size
        answered = rows[: SINGLE if size == 1 else ROWS]
        speeds[str(size)] = round(len(answered) / _seconds(predictor, [answered])[0], 1)
    latencies = 1000 * _seconds(predictor, [[row] for row in rows[:SINGLE]])
    return Footprint(
        parameters=sum(weight.numel() for weight in predictor.model.parameters()),
        weights_mib=round((run / WEIGHTS).stat().st_size / 2**20, 2),
        rows_per_second=speeds,
        latency_ms={f"p{share}": round(float(np.percentile(latencies, share)), 3) for share in (50, 95)},
        predict_mib=round(_memory(run, file.path)),
        gpu_mib=round(torch.cuda.max_memory_allocated(predictor.device) / 2**20) if is_on_gpu else None,
        load=round(os.getloadavg()[0], 1),
    )


def _answer(predictor: Predictor, rows: Iterable[Row]) -> None:
    for _ in predictor.predict(rows):
        pass
    if predictor.device.type == "cuda":
        torch.cuda.synchronize()


def _seconds(predictor: Predictor, works: Sequence[Sequence[Row]]) -> np.ndarray:
    """How long each of them takes: the least of several passes, since all else on the machine only adds to it."""
    passes: list[list[float]] = []
    while len(passes) < PASSES and sum(map(sum, passes)) < LONG:
        taken = []
        for rows in works:
            start = time.perf_counter()
            _answer(predictor, rows)
            taken.append(time.perf_counter() - start)
        passes.append(taken)
    return np.min(passes, axis=0)


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
