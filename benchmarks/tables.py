"""Tables of results: every model beside what is published, mean and standard deviation over the seeds."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from benchmarks.records import Record
from benchmarks.suites import COMMANDS
from benchmarks.tasks import PEERS, SUITES, TITLES, Task, is_fold
from core.document import ROOT
from core.errors import UserError

PUBLISHED = Path(__file__).with_name("published.json")
"""Figures of others, each with its source: suite -> rows of model, source, scores by task and metric, in percent."""
MINUS = " − "
Column = tuple[Task, str, str]
"""Task, part of its rows, metric."""


@dataclass(frozen=True)
class Table:
    """Texts in rows and columns."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    is_folded: bool = False
    """On a page, until someone wants to see it."""

    def markdown(self) -> str:
        """As Markdown, without its title."""
        rows = [[cell.replace("|", "\\|") for cell in cells] for cells in (self.header, *self.rows)]
        lines = [f"| {' | '.join(cells)} |" for cells in rows]
        table = "\n".join([lines[0], "|---" * len(self.header) + "|", *lines[1:]])
        return "\n\n".join([table, *(["\n".join(f"- {note}" for note in self.notes)] if self.notes else [])])

    def html(self) -> str:
        """As HTML; on a narrow screen it scrolls by itself."""
        head = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in self.header)
        body = "".join(
            f"<tr><th scope=row>{_breakable(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>"
            for row in self.rows
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        notes = re.sub("`(.+?)`", r"<code>\1</code>", notes)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        shown = f"<div class=wide tabindex=0>{table}</div><ul>{notes}</ul>"
        if self.is_folded:
            shown = f"<details><summary>{len(self.rows)} rows</summary>{shown}</details>"
        return f"<h3>{escape(self.title)}</h3>{shown}"


def _breakable(name: str) -> str:
    """A name of parts, as HTML; it is broken between them first."""
    return re.sub(r"([_.=/])", r"\1<wbr>", escape(name))


def by_suite(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each suite that has some, by model; without those of folds, which are for students alone."""
    own = {suite: {task.name for task in tasks} for suite, tasks in SUITES.items()}
    shown = [one for one in records if one.task in own.get(one.suite, ()) and not is_fold(one.variant)]
    shown.sort(key=lambda one: (one.variant, one.seed))
    return {suite: found for suite in SUITES if (found := [one for one in shown if one.suite == suite])}


def tables(suite: str, records: Sequence[Record]) -> list[Table]:
    """The scores of a suite, how far they are from others, those of each training, then size and speed."""
    tasks, found = SUITES[suite], []
    beside = [[task] for task in tasks] if suite == "distillation" else [tasks]  # many methods, a table each
    for some in beside:
        found += [scores(suite, some, records), differences(suite, some, records), by_seed(suite, some, records)]
    return [table for table in [*found, costs(suite, tasks, records)] if table.rows]


def variants(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records by model and what was changed in it."""
    return {name: [one for one in records if one.variant == name] for name in dict.fromkeys(r.variant for r in records)}


def scores(suite: str, tasks: Sequence[Task], records: Sequence[Record], is_brief: bool = False) -> Table:
    """Models as rows, tasks and their metrics as columns, in percent; the parts that have right answers.

    is_brief  only the mean of the first metric of each task on dev, and how many rows were to train on
    """
    records, columns = _of_tasks(tasks, records)
    if is_brief:
        columns = [(task, "dev", task.metrics[0]) for task in tasks]
    has_average = suite == "glue" and len(tasks) == len(SUITES["glue"])
    rows = []
    for variant, own in variants(records).items():
        values = {column: _values(own, column) for column in columns}
        if not any(values.values()):  # trained for other metrics
            continue
        cells = [_number(mean(found) if found else None) if is_brief else _spread(found) for found in values.values()]
        rows.append([variant, _counts(values.values()), *cells] + ([average(tasks, own)] if has_average else []))
    if is_brief:
        had = ["; ".join(_said_once(_of_tasks([task], records)[0], _training_rows(task))) for task, *_ in columns]
        rows.append(["rows to train on", "", *had] + ([""] if has_average else []))
    sources: dict[str, int] = {}
    for row in published(suite):
        known = row["scores"]
        cells = [_number(known.get(task.name, {}).get(_name(part, metric))) for task, part, metric in columns]
        if any(cells):
            source = sources.setdefault(row["source"], len(sources) + 1)
            rows.append([f"{row['model']} [{source}]", "", *cells] + ([""] if has_average else []))
    header = ["Model", "Trainings", *map(_column_title, columns), *(["Average"] if has_average else [])]
    if has_average and not any(row[-1] for row in rows):  # some task is missing everywhere
        header, rows = header[:-1], [row[:-1] for row in rows]
    notes = [f"[{number}] {source}" for source, number in sources.items()]
    notes += [] if is_brief else _origin(tasks, records)
    return Table(f"{_title(suite, tasks)}: scores, %", header, rows, notes)


def differences(suite: str, tasks: Sequence[Task], records: Sequence[Record]) -> Table:
    """How far each model is from the one that it is to beat with the same seed, in percent; see `rival`."""
    records, columns = _of_tasks(tasks, records)
    rows = []
    for variant, own in variants(records).items():
        found = [(record, other) for record in own if (other := rival(record, records))]
        for name in dict.fromkeys(other.variant for _, other in found):
            pairs = [(record, other) for record, other in found if other.variant == name]
            values = [list(_differences(pairs, column)) for column in columns]
            rows.append([f"{variant}{MINUS}{name}", _counts(values), *(_spread(of_one, "+") for of_one in values)])
    header = ["By seed", "Trainings", *map(_column_title, columns)]
    return Table(f"{_title(suite, tasks)}: differences, %", header, rows)


def rival(record: Record, records: Sequence[Record]) -> Record | None:
    """What a model is to beat, with the same seed and teachers: for a student the same model without a teacher, in the
    suite of distillation the student of the average for all others. None for others, and where it is not there.

    Of several variants of it the one that has most in common.
    """
    if record.suite != "distillation":
        name = "bilstm_attention" if record.model == "student" else None
    else:
        name = "average_encoder" if record.model.endswith("_encoder") else "average"
    if name is None or record.model in (name, *PEERS) or record.model.startswith("teacher_"):
        return None
    own = set(record.variant.split(", ")[1:])
    alike = [one for one in records if (one.model, one.task, one.seed) == (name, record.task, record.seed)]
    alike = [one for one in alike if all(record.teachers.get(of, same) == same for of, same in one.teachers.items())]
    found = {frozenset(one.variant.split(", ")[1:]): one for one in alike}
    return found[max(possible, key=len)] if (possible := [known for known in found if known <= own]) else None


def _differences(pairs: Sequence[tuple[Record, Record]], column: Column) -> Iterator[float]:
    for one, other in pairs:
        values, base = _values([one], column), _values([other], column)
        if values and base:
            yield values[0] - base[0]


def _of_tasks(tasks: Sequence[Task], records: Sequence[Record]) -> tuple[list[Record], list[Column]]:
    """The records of these tasks, and what there is of them to show."""
    names = {task.name for task in tasks}
    own = [record for record in records if record.task in names]
    parts = {task: dict.fromkeys(part for one in own if one.task == task.name for part in one.scores) for task in tasks}
    columns = ((task, part, metric) for task in tasks for part in parts[task] for metric in task.metrics_of(part))
    return own, [column for column in columns if _values(own, column)]  # AUC has no value against scores


def _column_title(column: Column) -> str:
    task, part, metric = column
    return " ".join([task.title, *([part] if part != "dev" else []), metric])


def _title(suite: str, tasks: Sequence[Task]) -> str:
    return f"{COMMANDS[suite].title} on {tasks[0].title}" if suite == "distillation" else COMMANDS[suite].title


def costs(suite: str, tasks: Sequence[Task], records: Sequence[Record]) -> Table:
    """Size and speed of each model on each machine: medians over the tasks that all models have, else over its own."""
    header = ["Model", "Parameters", "Weights, MiB", "Rows/s at batch 1", "at 32", "at 256"]
    header += ["Latency p50, ms", "p95, ms", "predict.py, MiB", "on the GPU, MiB", "Training, s", "Over"]
    measured = [record for record in _of_tasks(tasks, records)[0] if record.footprint]
    common = shared_tasks(measured)
    machines: dict[str, int] = {}
    rows, loads = [], []
    for variant, own in variants(measured).items():
        for machine in dict.fromkeys(map(measured_on, measured)):
            here = [one for one in own if measured_on(one) == machine]
            here = [one for one in here if one.task in common] or here
            if found := [record.footprint for record in here if record.footprint]:
                row = [f"{variant} [{machines.setdefault(machine, len(machines) + 1)}]"]
                row.append(f"{median(cost.parameters for cost in found):,.0f}")
                row.append(f"{median(cost.weights_mib for cost in found):,.1f}")
                row += [f"{median(cost.rows_per_second[size] for cost in found):,.0f}" for size in ("1", "32", "256")]
                row += [f"{median(cost.latency_ms[share] for cost in found):,.2f}" for share in ("p50", "p95")]
                row.append(f"{median(cost.predict_mib for cost in found):,.0f}")
                gpu = [cost.gpu_mib for cost in found if cost.gpu_mib]
                trained = [record.seconds for record in here if record.seconds and machine_of(record) == machine]
                row += [f"{median(of):,.0f}" if of else "" for of in (gpu, trained)]
                rows.append([*row, ", ".join(dict.fromkeys(TITLES[record.task] for record in here))])
                loads += [cost.load for cost in found if cost.load is not None]
    without = [at for at in range(1, len(header)) if not any(row[at] for row in rows)]
    header, *rows = ([cell for at, cell in enumerate(row) if at not in without] for row in [header, *rows])
    notes = ["medians", *(f"[{number}] measured on {machine}" for machine, number in machines.items())]
    if loads:
        notes.append(f"processes at work meanwhile: {min(loads):.1f} to {max(loads):.1f}, the measured one among them")
    return Table(f"{COMMANDS[suite].title}: size and speed", header, rows, notes)


def shared_tasks(records: Sequence[Record]) -> list[str]:
    """The tasks that all variants have."""
    by_variant = [{record.task for record in own} for own in variants(records).values()]
    common = set.intersection(*by_variant) if by_variant else set()
    return [name for name in dict.fromkeys(record.task for record in records) if name in common]


def by_seed(suite: str, tasks: Sequence[Task], records: Sequence[Record]) -> Table:
    """Each training by itself: its scores in percent, with the interval that drawing the rows again gives."""
    records, columns = _of_tasks(tasks, records)
    rows = []
    for variant, own in variants(records).items():
        for seed in sorted({record.seed for record in own}):
            left = [one for one in own if one.seed == seed]
            while left:  # more than one of a task where teachers were trained again
                shown = {one.task: one for one in left}
                rows.append([variant, str(seed), *(_with_interval([*shown.values()], column) for column in columns)])
                left = [one for one in left if one is not shown[one.task]]
    header = ["Model", "Seed", *map(_column_title, columns)]
    notes = ["in brackets: 2.5 and 97.5 % of the score when the rows are drawn again (bootstrap)"]
    return Table(f"{_title(suite, tasks)}: scores of each training, %", header, rows, notes, is_folded=True)


def _with_interval(records: Sequence[Record], column: Column) -> str:
    task, part, metric = column
    for record in records:
        value = record.scores.get(part, {}).get(metric)
        if record.task == task.name and value is not None:
            ends = record.interval.get(part, {}).get(metric)
            return f"{100 * value:.1f}" + (f" ({100 * ends[0]:.1f}–{100 * ends[1]:.1f})" if ends else "")
    return ""


def average(tasks: Sequence[Task], records: Sequence[Record]) -> str:
    """The mean over the tasks of the mean of their metrics on dev, GLUE's way; empty where a task is missing."""
    by_task = []
    for task in tasks:
        scored = {part for record in records if record.task == task.name for part in record.scores} - {"test"}
        parts = [part for part in scored if task.metrics_of(part) == task.metrics]  # the diagnostic set does not count
        found = [_values(records, (task, part, metric)) for part in parts for metric in task.metrics]
        if not any(found):
            return ""
        by_task.append(mean(mean(values) for values in found if values))
    return f"{mean(by_task):.1f}"


KINDS: Mapping[str, Callable[[str, Sequence[Task], Sequence[Record]], Table]] = {
    "scores": scores,
    "summary": partial(scores, is_brief=True),
    "differences": differences,
    "seeds": by_seed,
    "costs": costs,
}
"""Of what a page may hold tables."""


def comma_separated(records: Sequence[Record]) -> str:
    """A line for each score of each record, with what it was made of and on, and what it costs."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    names = ["suite", "task", "variant", "seed", "part", "rows", "metric", "value", "low", "high", "training_rows"]
    names += ["config", "data", "vectors", "teachers", "machine", "training_seconds", "parameters", "weights_mib"]
    lines.writerow([*names, "rows_per_second_32", "latency_ms_p50"])
    for record in records:
        teachers = " ".join(f"{model}={digest}" for model, digest in record.teachers.items())
        of = [record.config, record.data, record.vectors, teachers, machine_of(record), record.seconds or ""]
        cost = record.footprint
        of += [cost.parameters, cost.weights_mib] if cost else ["", ""]
        of += [cost.rows_per_second.get("32", ""), cost.latency_ms.get("p50", "")] if cost else ["", ""]
        for part, found in record.scores.items():
            for metric, value in found.items():
                low, high = record.interval.get(part, {}).get(metric, ("", ""))
                where = [record.suite, record.task, record.variant, record.seed, part, record.rows.get(part, "")]
                lines.writerow([*where, metric, value, low, high, record.rows.get("train", ""), *of])
    return text.getvalue()


def published(suite: str) -> list[dict[str, Any]]:
    """Figures of others for a suite."""
    try:
        rows: list[dict[str, Any]] = json.loads(PUBLISHED.read_text("utf-8")).get(suite, [])
    except (OSError, ValueError) as error:
        raise UserError(f"{PUBLISHED}: damaged ({error}).") from error
    return rows


def _values(records: Sequence[Record], column: Column) -> list[float]:
    """A score of each seed in percent."""
    task, part, metric = column
    found = [record.scores.get(part, {}).get(metric) for record in records if record.task == task.name]
    return [100 * value for value in found if value is not None]


def _origin(tasks: Sequence[Task], records: Sequence[Record]) -> Iterable[str]:
    """What the numbers come from: configs, rows of each task, machines."""
    names = dict.fromkeys(record.task for record in records)
    places = {task.name: str(task.config("*").relative_to(ROOT)) for task in tasks if task.name in names}
    if len(places) > 1:
        places = {name: place.replace(f"/{name}_", "/TASK_") for name, place in places.items()}
    shown = (f"`{place.replace('*', 'MODEL')}`" for place in dict.fromkeys(places.values()))
    yield f"configs: {', '.join(shown)}"
    for name in names:
        whole = next((task.whole for task in tasks if task.name == name), {})
        yield from _said_once([record for record in records if record.task == name], partial(_rows, whole))
    yield from _said_once(records, lambda record: f"word vectors: {record.vectors}" if record.vectors else "")
    yield f"trained on {'; '.join(dict.fromkeys(map(machine_of, records)))}"


def _said_once(records: Iterable[Record], say: Callable[[Record], str]) -> Iterator[str]:
    """What there is to say of records; where it is not the same of all of them, with the models of which it is."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        found.setdefault(say(record), {})[record.variant] = None
    for sentence, of in found.items():
        if sentence:
            yield sentence if len(found) == 1 else f"{sentence} ({'; '.join(of)})"


def _rows(whole: Mapping[str, int], record: Record) -> str:
    """How many rows it was trained and scored on, and of how many that are published."""
    parts = (f"{part} {_counted(count, whole.get(part, count))} rows" for part, count in record.rows.items())
    return f"{TITLES[record.task]}: {', '.join(parts)}"


def _training_rows(task: Task) -> Callable[[Record], str]:
    """How many of those that are published a record was trained on."""
    return lambda record: _counted(record.rows["train"], task.whole.get("train", record.rows["train"]))


def _counted(count: int, whole: int) -> str:
    """Where it is a part of what is published, of how many."""
    return f"{count:,}" if count == whole else f"{count:,} of {whole:,} published"


def machine_of(record: Record) -> str:
    """What a model was trained on."""
    return _machine(record.machine)


def measured_on(record: Record) -> str:
    """What its size and speed were measured on."""
    return _machine((record.footprint and record.footprint.machine) or record.machine)


def _machine(machine: Mapping[str, Any]) -> str:
    device = machine.get("gpu") or f"{machine.get('processor')}, {machine.get('threads')} thread(s)"
    return f"{device}, torch {machine.get('torch')}"


def _name(part: str, metric: str) -> str:
    return metric if part == "dev" else f"{part} {metric}"


def _counts(values: Iterable[Sequence[float]]) -> str:
    """How many there are of each, least to most, where there are any."""
    counts = sorted({len(found) for found in values if found})
    return " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "0"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _spread(values: Sequence[float], sign: str = "") -> str:
    if not values:
        return ""
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.1f}{spread}"
