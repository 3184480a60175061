"""Plots of results: score against latency, score by seed, learning curves."""

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.records import Record
from benchmarks.suites import COMMANDS
from benchmarks.tables import measured_on, variants
from benchmarks.tasks import SUITES, TITLES
from problems.metrics import METRICS

COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000", "#999933"]
"""Of Okabe and Ito 2008, which the colour-blind tell apart."""
MARKERS = "osD^vPX*"
FRONT: Mapping[str, Any] = {"color": "#888888", "linewidth": 1, "linestyle": "--"}


def plots(suite: str, records: Sequence[Record]) -> Iterator[tuple[str, str, Figure]]:
    """File name, title and figure of each plot of a suite; a model looks the same in all of them.

    records  those of the suite
    """
    title, styles = COMMANDS[suite].title, _styles(records)
    if any(record.footprint for record in records):
        yield f"{suite}_latency", f"{title}: score against latency", latency(records, styles)
    yield f"{suite}_seeds", f"{title}: score by seed", seeds(records, styles)
    if drawn := [one for one in records if one.curve and next(iter(one.scores["dev"])) == _metric(one)]:
        yield f"{suite}_curves", f"{title}: score on dev while training", curves(drawn, styles)


@dataclass(frozen=True)
class Style:
    """How a model is drawn: the best have a colour and a sign of their own, all others are grey."""

    name: str
    colour: str = "#bbbbbb"
    sign: str = "."
    zorder: int = 2

    @property
    def marker(self) -> dict[str, Any]:
        """As scatter takes it."""
        return {"color": self.colour, "marker": self.sign, "zorder": self.zorder}


def _styles(records: Sequence[Record]) -> dict[str, Style]:
    """Of each variant; colours are for those with the most tasks, and of these for the best in the mean."""

    def rank(variant: str) -> tuple[int, float]:
        found = _by_task(groups[variant]).values()
        means = [mean(map(_first, own)) * (1 if _is_better_high(own[0]) else -1) for own in found]
        defined = [value for value in means if math.isfinite(value)]
        return len(defined), mean(defined) if defined else -math.inf

    groups = variants(records)
    best = sorted(groups, key=rank, reverse=True)[: len(COLOURS)]
    shown = [variant for variant in groups if variant in best]
    own = {of[0]: Style(*of, zorder=3) for of in zip(shown, COLOURS, MARKERS, strict=False)}
    others = Style("others")
    return {**own, **{variant: others for variant in groups if variant not in own}}


def latency(records: Sequence[Record], styles: Mapping[str, Style]) -> Figure:
    """For each task the models at their latency and mean score on dev; a line through those that none beats in both.

    Of the machine on which most of them were measured: latencies of several do not compare.
    """
    machines = Counter(measured_on(record) for record in records if record.footprint)
    machine = machines.most_common(1)[0][0]
    measured = [record for record in records if record.footprint and measured_on(record) == machine]
    figure, panels = _panels(measured)
    for task, of_task in _by_task(measured).items():
        axes, points = panels[task], {}
        for variant, own in variants(of_task).items():
            cost = median(record.footprint.latency_ms["p50"] for record in own if record.footprint)
            points[variant] = (cost, mean(map(_first, own)))
        for variant, (x, y) in points.items():
            axes.scatter(x, y, s=45, **styles[variant].marker)
        axes.plot(*zip(*_front(points.values(), _is_better_high(of_task[0])), strict=True), **FRONT)
        axes.set(xscale="log", xlabel="median latency of one row, ms")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    figure.suptitle(f"measured on {machine}", fontsize=9)
    figure.axes[0].plot([], [], **FRONT, label="Pareto front")
    _legend(figure, measured, styles)
    return figure


def _front(points: Iterable[tuple[float, float]], is_better_high: bool) -> list[tuple[float, float]]:
    """The points that none beats in both, the fastest first."""
    sign = 1 if is_better_high else -1
    front, best = [], float("-inf")
    for x, y in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if sign * y > best:
            front.append((x, y))
            best = sign * y
    return front


def seeds(records: Sequence[Record], styles: Mapping[str, Style]) -> Figure:
    """For each task a row for each model: a point for each seed, a stroke at the mean."""
    by_task = {task: variants(own) for task, own in _by_task(records).items()}
    names = {task: [textwrap.fill(variant, 44) for variant in own] for task, own in by_task.items()}
    heights = [1 + 0.18 * sum(1 + name.count("\n") for name in own) for own in names.values()]
    figure, panels = _panels(records, heights, columns=1, width=7)
    for task, axes in panels.items():
        for place, (variant, own) in enumerate(by_task[task].items()):
            found = list(map(_first, own))
            axes.scatter(found, [place] * len(found), s=18, **styles[variant].marker)
            axes.vlines(mean(found), place - 0.35, place + 0.35, styles[variant].colour)
        axes.set_yticks(range(len(names[task])), names[task], fontsize=8)
        axes.set(ylim=(len(names[task]) - 0.5, -0.5), xlabel=axes.get_ylabel(), ylabel="")
    return figure


def curves(records: Sequence[Record], styles: Mapping[str, Style]) -> Figure:
    """For each task the score of each validation by step; one line for each seed."""
    figure, panels = _panels(records)
    for record in records:
        steps, values = zip(*record.curve, strict=True)
        style, percents = styles[record.variant], [100 * value for value in values]
        (line,) = panels[record.task].plot(steps, percents, color=style.colour, zorder=style.zorder, linewidth=1)
        line.set_marker("o" if len(steps) == 1 else "")
    for axes in panels.values():
        axes.set_xlabel("step")
    _legend(figure, records, styles)
    return figure


def _panels(
    records: Sequence[Record], heights: Sequence[float] = (), columns: int = 3, width: float = 4
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with axes for each task, those of a row of one height in inches."""
    by_task = _by_task(records)
    columns = min(columns, len(by_task))
    rows = -(-len(by_task) // columns)
    heights = heights or [2.8] * rows
    size = (max(7, width * columns + 0.5), sum(heights) + 0.6 + 0.15 * min(len(variants(records)), len(COLOURS)))
    figure = Figure(figsize=size, layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, height_ratios=heights).flat)
    for axes in grid[len(by_task) :]:
        axes.set_axis_off()
    panels = dict(zip(by_task, grid, strict=False))
    for name, axes in panels.items():
        axes.set(title=TITLES[name], ylabel=f"{_metric(by_task[name][0])} on dev, %")
        axes.grid(alpha=0.3)
    return figure, panels


def _by_task(records: Sequence[Record]) -> dict[str, list[Record]]:
    return {name: [r for r in records if r.task == name] for name in dict.fromkeys(r.task for r in records)}


def _metric(record: Record) -> str:
    """The first of its task."""
    return next(task.metrics[0] for task in SUITES[record.suite] if task.name == record.task)


def _is_better_high(record: Record) -> bool:
    name = _metric(record).rpartition(".")[2]
    return all(table[name].higher_is_better for table in METRICS.values() if name in table)


def _first(record: Record) -> float:
    """The first metric of its task on dev, in percent; NaN where there is none."""
    value = record.scores["dev"].get(_metric(record))
    return math.nan if value is None else 100 * value


def _legend(figure: Figure, drawn: Sequence[Record], styles: Mapping[str, Style]) -> None:
    """What the colours and signs are, below the drawing."""
    axes = figure.axes[0]
    for style in dict.fromkeys(styles[variant] for variant in styles if variant in variants(drawn)):
        axes.scatter([], [], s=45, label=style.name, **style.marker)
    lines, names = axes.get_legend_handles_labels()
    room = int(figure.get_figwidth() * 14)  # letters of a line
    columns = max(1, min(3, room // (max(map(len, names)) + 6)))
    shown = [textwrap.fill(name, room) for name in names]
    figure.legend(lines, shown, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
