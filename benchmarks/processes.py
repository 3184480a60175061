"""Commands as processes of their own, watched from outside: how long they take and how much memory they use."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STEP = 0.01
"""Seconds between two looks."""


@dataclass
class Watched:
    """What a process needed."""

    seconds: float
    peak_anonymous: int
    """Bytes of its own (RssAnon of Linux): without what is only mapped from files."""
    peak_resident: int
    """Bytes, files that are mapped included (ru_maxrss)."""
    errors: str
    """What it wrote to standard error."""


def watch(
    command: Sequence[str], log: Path, until: Callable[[], bool] | None = None, env: Mapping[str, str] | None = None
) -> Watched:
    """Run a command to its end, or until something is true; standard error goes to `log`.

    RuntimeError where it fails by itself.
    """
    start, anonymous, reached = time.perf_counter(), 0, False
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **(env or {})})
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            seconds = time.perf_counter() - start
            if pid:
                break
            anonymous = max(anonymous, _anonymous(process.pid))
            if until is not None and until():
                reached = True
                process.kill()
                _, status, usage = os.wait4(process.pid, 0)
                break
            time.sleep(STEP)
    process.returncode = os.waitstatus_to_exitcode(status)
    written = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode and not reached:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}\n{written[-2000:]}")
    return Watched(seconds, anonymous, usage.ru_maxrss * 1024, written)


def first_step_done(run: Path) -> Callable[[], bool]:
    """Whether a training with batch_num_to_show_results=1 has written the record of its first step."""
    records = run / "metrics.jsonl"
    return lambda: records.exists() and records.stat().st_size > 0


def _anonymous(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines.get("RssAnon", "0 kB").split()[0]) * 1024
