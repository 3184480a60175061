"""Plots of results: score against latency, score by seed, learning curves."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from statistics import mean, median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.records import Record
from benchmarks.tables import SUITE_TITLES, shared_tasks, variants
from benchmarks.tasks import SUITES, TITLES

COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000", "#999933"]
"""Of Okabe and Ito 2008, which the colour-blind tell apart."""
MARKERS = "osD^vPX*"


def plots(records: Sequence[Record]) -> Iterator[tuple[str, str, Figure]]:
    """File name, title and figure of each."""
    for suite in SUITES:
        title = SUITE_TITLES[suite]
        if own := [record for record in records if record.suite == suite]:
            if any(record.footprint for record in own):
                yield f"{suite}_latency", f"{title}: score against latency", latency(own)
            yield f"{suite}_seeds", f"{title}: score by seed", seeds(own)
            yield f"{suite}_curves", f"{title}: score on dev while training", curves(own)


def latency(records: Sequence[Record]) -> Figure:
    """Each model at its latency and its mean score on dev; a line through those that none beats in both."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    common = shared_tasks(records)
    points = {}
    for variant, own in variants(records).items():
        counted = [record for record in own if record.task in common and record.footprint]
        if counted:
            by_task = [mean(_first(r) for r in counted if r.task == task) for task in {r.task for r in counted}]
            points[variant] = (median(r.footprint["latency_ms"]["p50"] for r in counted), mean(by_task))
    for number, (variant, (x, y)) in enumerate(points.items()):
        axes.scatter(x, y, color=_colour(number), marker=_marker(number), s=60, label=variant, zorder=3)
    front, best = [], float("-inf")
    for x, y in sorted(points.values(), key=lambda point: (point[0], -point[1])):
        if y > best:
            front.append((x, y))
            best = y
    if len(front) > 1:
        axes.plot(*zip(*front, strict=True), color="#888888", linewidth=1, linestyle="--", label="Pareto front")
    axes.set(xscale="log", xlabel="median latency of one row, ms", ylabel=f"mean score of {_tasks(common)}, %")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    _legend(figure, axes)
    return figure


def seeds(records: Sequence[Record]) -> Figure:
    """The first metric of each task on dev: a point for each seed, a line for the mean."""
    names = list(dict.fromkeys(record.task for record in records))
    groups = variants(records)
    figure = Figure(figsize=(max(5, len(names) + 2), 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (variant, own) in enumerate(groups.items()):
        colour, half = _colour(number), 0.3 / len(groups)
        shift = (number - (len(groups) - 1) / 2) * 0.8 / len(groups)
        places = [names.index(record.task) + shift for record in own]
        axes.scatter(places, [_first(r) for r in own], s=22, color=colour, marker=_marker(number), label=variant)
        for at, name in enumerate(names):
            if found := [_first(record) for record in own if record.task == name]:
                axes.hlines(mean(found), at + shift - half, at + shift + half, colour)
    axes.set_xticks(range(len(names)), [TITLES[name] for name in names])
    axes.set_ylabel("first metric on dev, %")
    axes.grid(alpha=0.3)
    _legend(figure, axes)
    return figure


def curves(records: Sequence[Record]) -> Figure:
    """For each task the score of each validation by step; one line for each seed."""
    names = list(dict.fromkeys(record.task for record in records))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4 * columns + 0.5, 2.8 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, name in zip(grid, names, strict=False):
        for number, own in enumerate(variants(records).values()):
            for record in own:
                if record.task == name and record.curve:
                    steps, values = zip(*record.curve, strict=True)
                    axes.plot(steps, [100 * value for value in values], color=_colour(number), linewidth=1, marker=".")
        axes.set(title=TITLES[name], xlabel="step", ylabel="%")
        axes.grid(alpha=0.3)
    for axes in list(grid)[len(names) :]:
        axes.set_axis_off()
    for number, variant in enumerate(variants(records)):
        figure.axes[0].plot([], [], color=_colour(number), label=variant)
    _legend(figure, figure.axes[0])
    return figure


def _colour(number: int) -> str:
    return COLOURS[number % 8]


def _marker(number: int) -> str:
    """Of 64 variants no two have the same colour and the same marker."""
    return MARKERS[(number + number // 8) % 8]


def _first(record: Record) -> float:
    """The first metric on dev, in percent."""
    return 100 * record.dev_score if math.isfinite(record.dev_score) else float("nan")


def _tasks(names: Sequence[str]) -> str:
    return TITLES[names[0]] if len(names) == 1 else f"{len(names)} tasks"


def _legend(figure: Figure, axes: Axes) -> None:
    """What the colours are, below the drawing."""
    lines, names = axes.get_legend_handles_labels()
    room = int(figure.get_figwidth() * 14)  # letters of a line
    columns = max(1, min(3, room // (max(map(len, names)) + 6)))
    shown = [textwrap.fill(name, room) for name in names]
    figure.legend(lines, shown, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
