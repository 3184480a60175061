"""A job of a benchmark from start to record: train, score every part, measure what the model costs to use."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.footprint import footprint
from benchmarks.records import Record
from benchmarks.tasks import PEERS, Job, Places
from core.machine import this_machine
from core.run_folder import METRICS, STATE, RunFolder
from core.types import Scores
from engine.data import checked_scores, row_file
from engine.experiment import Experiment
from engine.inference import rows_to_score
from engine.predictor import Predictor
from engine.training import train
from problems.base import Problem
from text.readers import RowFile, opened

DRAWS = 400
"""Times that the rows of a part are drawn again."""


def train_to_the_end(experiment: Experiment, say: Callable[[str], None]) -> RunFolder:
    """The finished run of a config: trained, taken up again where it was interrupted, or as it lies there."""
    run = RunFolder(Path(experiment.conf.outputs.save_base_dir))
    if not run.is_finished:
        begun = (run / STATE).exists()
        train(experiment, say, force=not begun, resume=begun)
    return run


def record_of(job: Job, places: Places, say: Callable[[str], None]) -> Record:
    """Train, score and measure. UserError for what the config, the data or the machine refuse."""
    experiment = job.experiment(places)
    measured = _of_peer(job, experiment, places) if job.model in PEERS else _of_run(job, experiment, places, say)
    return Record(
        suite=job.task.suite,
        task=job.task.name,
        model=job.model,
        variant=job.variant,
        seed=job.seed,
        config=job.digest(),
        data=job.data(places),
        teachers=job.teachers(places) or {},
        vectors=_vectors(experiment.conf.inputs.data_paths.pre_trained_emb),
        machine=this_machine(),
        **measured,
    )


def _vectors(path: str | None) -> str:
    """The name of a file of word vectors; of a text also how many: a part of a file may stand for the whole."""
    if path is None:
        return ""
    name = Path(path).name
    if not name.removesuffix(".gz").endswith((".txt", ".vec")):
        return name
    with opened(Path(path)) as file:
        return f"{name}, {sum(1 for _ in file):,} lines"


def _of_peer(job: Job, experiment: Experiment, places: Places) -> dict[str, Any]:
    """What a record says of a peer."""
    from benchmarks.peers import peer_scores  # late: scikit-learn's models are seldom needed

    start = time.perf_counter()
    also = {part: (job.experiment(places, job.task.also[part]), path) for part, path in job.also(places).items()}
    scores, rows = peer_scores(job.model, experiment, job.seed, also)
    seconds = round(time.perf_counter() - start, 1)
    return {"scores": {part: _finite(own) for part, own in scores.items()}, "rows": rows, "seconds": seconds}


def _of_run(job: Job, experiment: Experiment, places: Places, say: Callable[[str], None]) -> dict[str, Any]:
    """What a record says of a training."""
    is_new, start = not job.folder(places).exists(), time.perf_counter()
    run = train_to_the_end(experiment, say)
    seconds = time.perf_counter() - start if is_new else 0.0
    predictor = Predictor.load(run.path)
    paths = experiment.conf.inputs.data_paths
    first = checked_scores(predictor.conf, predictor.problem, experiment.source)[0]
    assert paths.train_data_path is not None and paths.valid_data_path is not None
    files = {"dev": Path(paths.valid_data_path), **job.also(places)}
    if paths.test_data_path is not None:
        files["test"] = Path(paths.test_data_path)
    scores: dict[str, dict[str, float | None]] = {}
    rows = {"train": _count(row_file(predictor.conf, paths.train_data_path))}
    interval = {}
    for part, path in files.items():
        changes = job.task.also[part].overrides() if part in job.task.also else []
        reader = Predictor.load(run.path, overrides=changes) if changes else predictor
        metrics = checked_scores(reader.conf, reader.problem, experiment.source)
        found, _ = rows_to_score(reader, path)
        decoded = reader.decoded(found)
        scores[part] = _finite(reader.problem.score(metrics, decoded, found.targets))
        interval[part] = bootstrap(reader.problem, metrics, decoded, found.targets)
        rows[part] = len(found)
    return {
        "scores": scores,
        "rows": rows,
        "interval": interval,
        "curve": _curve(run, first),
        "footprint": footprint(run, row_file(predictor.conf, str(files["dev"]))),
        "seconds": round(seconds, 1),
    }


def _finite(scores: Scores) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def measured_again(job: Job, known: Record, places: Places) -> Record:
    """A record with the size and speed that its finished run has on this machine now."""
    conf = job.experiment(places).conf
    assert conf.inputs.data_paths.valid_data_path is not None
    found = footprint(RunFolder(job.folder(places)), row_file(conf, conf.inputs.data_paths.valid_data_path))
    return replace(known, footprint=replace(found, machine=this_machine()))


def bootstrap(
    problem: Problem, metrics: Sequence[str], decoded: Any, targets: Mapping[str, Any]
) -> dict[str, list[float]]:
    """Intervals of scores over rows drawn again with replacement, those of a group together: 2.5 and 97.5 %.

    They say how much the choice of these rows matters, not how much the training does (Efron and Tibshirani 1993). A
    score that no draw defines has none.
    """
    random, group_by = np.random.default_rng(0), problem.group_by
    members: list[Any] = []
    if group_by is not None:
        order = np.argsort(targets[group_by], kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(targets[group_by][order])) + 1)
    found = []
    for _ in range(DRAWS):
        count = len(members or decoded)
        rows = random.integers(count, size=count)
        renamed: dict[str, Any] = {}
        if group_by is not None:
            drawn = [members[at] for at in rows]
            rows, sizes = np.concatenate(drawn), [len(part) for part in drawn]
            renamed = {group_by: np.repeat(np.arange(count), sizes)}  # a group that is drawn twice counts twice
        again = {column: values[rows] for column, values in targets.items()} | renamed
        found.append(problem.score(metrics, decoded.taken(rows), again))
    intervals = {}
    for metric in found[0]:
        if defined := [scores[metric] for scores in found if math.isfinite(scores[metric])]:
            intervals[metric] = [round(float(end), 4) for end in np.percentile(defined, [2.5, 97.5])]
    return intervals


def _count(file: RowFile) -> int:
    return sum(not row.error for row in file)


def _curve(run: RunFolder, metric: str) -> list[list[float]]:
    """Step and score of each validation."""
    lines = [json.loads(line) for line in (run / METRICS).read_text("utf-8").splitlines()]
    found = [line for line in lines if line["kind"] == "validation" and line[metric] is not None]
    return [[line["step"], line[metric]] for line in found]
