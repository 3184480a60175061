"""Tables of results: every model beside what is published, mean and standard deviation over the seeds."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.records import Record
from benchmarks.tasks import SUITES, Task
from core.errors import UserError
from core.files import written_aside

PUBLISHED = Path(__file__).with_name("published.json")
"""Figures of others, each with its source: suite -> rows of model, source, scores by task and metric, in percent."""


def write(records: Sequence[Record], folder: Path) -> str:
    """The tables as Markdown, also written to the folder, beside a CSV file with every score of every record."""
    shown = markdown(records)
    for name, text in (("results.md", shown + "\n"), ("results.csv", comma_separated(records))):
        with written_aside(folder / name) as aside:
            aside.write_text(text, encoding="utf-8")
    return f"{shown}\n\nwritten to {folder}"


def markdown(records: Sequence[Record]) -> str:
    """A table of scores for each suite, then one of size and speed."""
    parts = []
    for suite, tasks in SUITES.items():
        if found := [record for record in records if record.suite == suite]:
            parts += ["\n".join(_scores(suite, tasks, found)), "\n".join(_costs(found)), "\n".join(_origin(found))]
    return "\n\n".join(parts)


def comma_separated(records: Sequence[Record]) -> str:
    """A line for each score of each record."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["suite", "task", "model", "seed", "part", "rows", "metric", "value", "low", "high", "config"])
    for record in records:
        for part, scores in record.scores.items():
            for number, (metric, value) in enumerate(scores.items()):
                low, high = record.interval.get(part, ("", "")) if number == 0 else ("", "")
                where = [record.suite, record.task, record.variant, record.seed, part, record.rows.get(part, "")]
                lines.writerow([*where, metric, value, low, high, record.config])
    return text.getvalue()


def _scores(suite: str, tasks: Sequence[Task], records: Sequence[Record]) -> Iterator[str]:
    """Models as rows, tasks and their metrics as columns; the parts that have right answers."""
    columns = [
        (task, part, metric)
        for task in tasks
        for part in dict.fromkeys(part for record in records if record.task == task.name for part in record.scores)
        for metric in task.metrics
    ]
    average = ["Average"] if suite == "glue" else []
    titles = [" ".join([task.title, *([part] if part != "dev" else []), metric]) for task, part, metric in columns]
    yield f"| Model | Seeds | {' | '.join([*titles, *average])} |"
    yield "|---" * (2 + len(titles) + len(average)) + "|"
    for variant in dict.fromkeys(record.variant for record in records):
        own = [record for record in records if record.variant == variant]
        found = {
            column: [
                100 * value
                for record in own
                if record.task == column[0].name
                and (value := record.scores.get(column[1], {}).get(column[2])) is not None
            ]
            for column in columns
        }
        seeds = sorted({len(values) for values in found.values() if values})
        cells = [_spread(found[column]) for column in columns]
        if average:
            cells.append(_average(tasks, {column: mean(values) for column, values in found.items() if values}))
        yield f"| {variant} | {' to '.join(map(str, [seeds[0], seeds[-1]][: len(seeds)]))} | {' | '.join(cells)} |"
    for row in published(suite):
        known = row["scores"]
        cells = [_number(known.get(task.name, {}).get(_name(part, metric))) for task, part, metric in columns]
        if any(cells):
            yield f"| {row['model']} ({row['source']}) | | {' | '.join([*cells, *([''] if average else [])])} |"


def _average(tasks: Sequence[Task], found: Mapping[tuple[Task, str, str], float]) -> str:
    """The mean over the tasks of the mean of their metrics on dev (GLUE's); empty where a task is missing."""
    by_task = []
    for task in tasks:
        values = [found[column] for column in found if column[0] == task and column[1] != "test"]
        if not values:
            return ""
        by_task.append(mean(values))
    return f"{mean(by_task):.1f}"


def _costs(records: Sequence[Record]) -> Iterator[str]:
    """Size and speed of each model, the medians of what its records say."""
    titles = ["Model", "Parameters", "Weights, MiB", "Rows/s at batch 1", "32", "256", "Latency p50, ms", "p95"]
    titles += ["predict.py, MiB", "Training, s"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for variant in dict.fromkeys(record.variant for record in records):
        own = [record for record in records if record.variant == variant and record.footprint]
        if not own:
            continue
        costs = [record.footprint for record in own]
        cells = [
            f"{_middle(cost['parameters'] for cost in costs):,.0f}",
            f"{_middle(cost['weights_mib'] for cost in costs):,.1f}",
            *(f"{_middle(cost['rows_per_second'][size] for cost in costs):,.0f}" for size in ("1", "32", "256")),
            *(f"{_middle(cost['latency_ms'][share] for cost in costs):,.2f}" for share in ("p50", "p95")),
            f"{_middle(cost['predict_mib'] for cost in costs):,.0f}",
            f"{_middle(record.seconds for record in own):,.0f}",
        ]
        yield f"| {variant} | {' | '.join(cells)} |"


def _origin(records: Sequence[Record]) -> Iterator[str]:
    """What the numbers come from: rows of each task, machines."""
    for name in dict.fromkeys(record.task for record in records):
        rows = next(record.rows for record in records if record.task == name)
        yield f"- {name}: {', '.join(f'{part} {count:,} rows' for part, count in rows.items())}"
    machines = dict.fromkeys(
        f"{record.machine.get('gpu') or record.machine.get('processor')}, {record.machine.get('threads')} threads, "
        f"torch {record.machine.get('torch')}"
        for record in records
    )
    yield f"- measured on: {'; '.join(machines)}"


def published(suite: str) -> list[dict[str, Any]]:
    """Figures of others for a suite."""
    try:
        rows: list[dict[str, Any]] = json.loads(PUBLISHED.read_text("utf-8"))[suite]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{PUBLISHED}: damaged ({error}).") from error
    return rows


def _name(part: str, metric: str) -> str:
    return metric if part == "dev" else f"{part} {metric}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def _middle(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
