"""Many trainings one after the other, or several at once: which are left to do, how far they are, how long it takes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.data import AbsentFilesError
from benchmarks.records import Record
from benchmarks.tasks import Job, Places
from core.conf import JSON
from core.document import ROOT
from core.errors import UserError
from core.run_folder import METRICS

STEP = 0.5
"""Seconds between two looks at what runs."""


def with_needed(jobs: Sequence[Job]) -> list[Job]:
    """The jobs and those they need, each once, what is needed first."""
    found: dict[Job, None] = {}
    for job in jobs:
        for needed in with_needed(job.needs()):
            found[needed] = None
        found[job] = None
    return list(found)


def left_to_do(jobs: Sequence[Job], records: Sequence[Record], places: Places) -> list[Job]:
    """The jobs without a record of this config, these files and teachers, and what these need and has no finished run.

    Where the teachers are not at hand, a record counts whatever they were. UserError that names all missing files.
    """
    done: dict[Any, list[Mapping[str, str]]] = {}
    for record in records:
        done.setdefault((record.training, record.version), []).append(record.teachers)
    version = cache(lambda job: (job.digest(), job.data(places)))
    is_finished = cache(lambda job: job.is_finished(places))
    todo: dict[Job, None] = {}
    absent: list[Path] = []
    for job in jobs:
        try:
            learnt_from = done.get((job.training, version(replace(job, seed=1))))  # a version is that of all seeds
            if learnt_from and job.teachers(places) in (*learnt_from, None):
                continue
            for needed in with_needed([job]):
                if needed == job or not is_finished(needed):
                    todo[needed] = None
        except AbsentFilesError as error:
            absent += error.files
    if absent:
        raise AbsentFilesError(places.data, absent)
    return list(todo)


def seconds_left(todo: Sequence[Job], done: Sequence[Record]) -> float | None:
    """How long these would take one after the other, by what records of the same task, else of the same model, took."""
    known = [record for record in done if record.seconds]
    total = 0.0
    for job in todo:
        alike = [record.seconds for record in known if (record.task, record.model) == (job.task.name, job.model)]
        alike = alike or [record.seconds for record in known if record.model == job.model]
        alike = alike or [record.seconds for record in known]
        if not alike:
            return None
        total += mean(alike)
    return total


class Running:
    """A job in a process of its own."""

    def __init__(self, job: Job, command: Sequence[str], places: Places, device: str | None, place: int) -> None:
        self.job, self.device, self.place = job, device, place
        self._lines = job.folder(places) / METRICS
        environment = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by end
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C comes from here, once
        )
        self._bar = tqdm(position=place + 1, bar_format="{desc}", leave=False, disable=None)

    def show(self) -> None:
        """Refresh its line."""
        state = _last(self._lines)
        shown = ", ".join(f"{key} {value:.4g}" for key, value in state.items() if isinstance(value, float))
        self._bar.set_description_str(f"  {self.job}: epoch {state.get('epoch', '-')}, {shown}")

    def end(self) -> str:
        """What it wrote to standard error."""
        self._bar.close()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        self._errors.close()
        return said

    def stop(self) -> None:
        """Ask it to end as by Ctrl-C, so that it keeps its state."""
        self.process.send_signal(signal.SIGINT)


def run_all(
    todo: Sequence[Job],
    command: Callable[[Job], Sequence[str]],
    places: Places,
    records: Callable[[], Sequence[Record]],
    devices: Sequence[str],
    at_once: int,
    say: Callable[[str], None],
) -> list[Job]:
    """Run the jobs, each after those it needs; those that failed. Ctrl-C stops what runs, which keeps its state.

    command  what runs a job and writes its record
    devices  the GPUs, taken in turn; none: all jobs see the same machine
    """
    try:
        places.runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--runs {places.runs}: cannot be used as a folder ({error.strerror or error}).") from error
    waiting, failed, running = list(todo), list[Job](), list[Running]()
    needs = {job: set(job.needs()) for job in todo}
    bar = "{desc}: {n_fmt} of {total_fmt}, {elapsed} gone{postfix}"
    total = tqdm(total=len(todo), desc="trainings", bar_format=bar, disable=None)

    def tell(text: str) -> None:
        with tqdm.external_write_mode():
            say(text)

    def left() -> str:
        seconds = seconds_left([*waiting, *(one.job for one in running)], records())
        return f"about {_time(seconds / at_once)} left" if seconds else ""

    total.set_postfix_str(left())
    try:
        while waiting or running:
            for job in [job for job in waiting if not needs[job].isdisjoint(failed)]:
                waiting.remove(job)
                failed.append(job)
                tell(f"{job}: not trained, what it needs failed")
            unfinished = {*waiting, *(one.job for one in running)}
            ready = [job for job in waiting if needs[job].isdisjoint(unfinished)]
            for job in ready[: at_once - len(running)]:
                waiting.remove(job)
                place = min(set(range(at_once)) - {one.place for one in running})
                device = devices[place % len(devices)] if devices else None
                running.append(Running(job, command(job), places, device, place))
            time.sleep(STEP)
            for one in running:
                one.show()
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                said = one.end()
                if one.process.returncode:
                    failed.append(one.job)
                    tell(f"{one.job}: failed\n{said[-2000:]}")
                else:
                    still = left()
                    total.set_postfix_str(still)
                    tell(", ".join(filter(None, [f"{one.job}: done", still])))
            total.update(len(todo) - len(waiting) - len(running) - total.n)
    finally:
        for one in running:
            one.stop()
        for one in running:
            one.process.wait()
            one.end()
        total.close()
    return failed


def _last(path: Path) -> Mapping[str, JSON]:
    """The last record of a training, or nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2000))
            lines = file.read().decode(errors="replace").splitlines()
        return dict(json.loads(lines[-1])) if lines else {}
    except (OSError, ValueError):
        return {}


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"


def gpus() -> list[str]:
    """The GPUs of this machine, or those of them that are to be seen, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [name for name in named.split(",") if name] if named else list(map(str, range(torch.cuda.device_count())))


def command_of(job: Job, places: Places, results: Path) -> list[str]:
    """The command that runs one job here."""
    words = [sys.executable, str(ROOT / "benchmark.py"), job.task.suite, "--here", "--models", job.model]
    words += ["--tasks", job.task.name, "--first_seed", str(job.seed), "--seeds", "1", "--vectors", job.vectors]
    for change in job.changes:
        words += ["--set", change]
    words += ["--data", str(places.data), "--runs", str(places.runs), "--results", str(results)]
    words += ["--parent", str(os.getpid())]
    return words + (["--encoder", job.encoder] if job.encoder else [])


def end_with(parent: int) -> None:
    """Stop this process as Ctrl-C does, once its parent is gone without having done so (killed, for one)."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(STEP)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()
