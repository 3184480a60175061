"""Drawings of numbers, as SVG that takes the colour of the page's text."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

INK = "#010203"
"""What becomes the colour of the page's text."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Of Okabe and Ito 2008, which the colour-blind tell apart; beside them lines have dashes and points of their own."""
DASHES = ("-", "--", "-.", ":")
MARKERS = "os^Dv*X"
LETTERS = 64
"""That fit above a drawing."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "views",
    "text.parse_math": False,
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "legend.frameon": False,
}

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Name -> points."""


def lines(
    series: Series,
    x: str,
    y: str,
    marks: Mapping[str, tuple[float, float]] | None = None,
    from_zero: bool = False,
    names: Sequence[str] = (),
) -> str:
    """Lines over a common axis.

    marks  points to point out, by the name of their line
    names  all that have a colour and a place in the legend, on pages where some drawings lack some of them
    """
    known = list(names or series)

    def draw(axes: Axes) -> None:
        for name, points in series.items():
            number = known.index(name)
            style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
            if len(points) < 30:
                style["marker"], style["markersize"] = MARKERS[number % len(MARKERS)], 4
            axes.plot(*zip(*points, strict=True), label=name, linewidth=1.4, **style)
            if marks and name in marks:
                axes.plot(*marks[name], marker="o", markersize=9, markerfacecolor="none", markeredgecolor=INK)
        axes.set(xlabel=x, ylabel=y)
        if from_zero:
            axes.set_ylim(bottom=0)
        if len(known) > 1:
            _legend(axes)

    return _drawn(draw)


def bars(heights: Sequence[float], edges: Sequence[float], x: str, y: str) -> str:
    """A histogram: heights between edges."""

    def draw(axes: Axes) -> None:
        widths = [end - start for start, end in pairwise(edges)]
        axes.bar(edges[:-1], heights, widths, align="edge", color=COLOURS[0], edgecolor="white", linewidth=0.5)
        axes.set(xlabel=x, ylabel=y)

    return _drawn(draw)


def points(found: Sequence[tuple[float, float]], x: str, y: str) -> str:
    """A point for each pair, and the line where both are equal."""

    def draw(axes: Axes) -> None:
        x_N, y_N = zip(*found, strict=True)
        axes.scatter(x_N, y_N, s=8, color=COLOURS[0], alpha=0.6, rasterized=len(found) > 500)
        low, high = min(map(min, found)), max(map(max, found))
        axes.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel=x, ylabel=y)

    return _drawn(draw)


def calibration(confidence: Sequence[float], right: Sequence[float], share: Sequence[float]) -> str:
    """How often answers are right by how sure they are; the larger a point, the more rows."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        axes.plot(confidence, right, color=COLOURS[0], linewidth=1)
        axes.scatter(confidence, right, s=[20 + 220 * part for part in share], color=COLOURS[0], alpha=0.7)
        axes.set(xlabel="confidence", ylabel="share that is right", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    return _drawn(draw)


def labelled_points(named: Mapping[str, tuple[float, float]], x: str, y: str, names: Sequence[str]) -> str:
    """Named points, with the colours of `names`; the first axis is logarithmic."""

    def draw(axes: Axes) -> None:
        for name, place in named.items():
            number = names.index(name)
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            axes.scatter(*place, s=60, color=colour, marker=marker, label=name)
        axes.set(xscale="log", xlabel=x, ylabel=y)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        _legend(axes)

    return _drawn(draw)


def _legend(axes: Axes) -> None:
    """The names, above the axes, where they hide nothing."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    longest = max(len(text) for text in axes.get_legend_handles_labels()[1])
    figure.legend(loc="outside upper left", ncols=max(1, min(4, LETTERS // (longest + 6))))


def _drawn(draw: Callable[[Axes], None]) -> str:
    """What a function draws on axes, as an element of a page."""
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(5.2, 2.9), layout="constrained")
        axes = drawn.subplots()
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        raw = io.StringIO()
        drawn.savefig(raw, format="svg", metadata={"Date": None}, transparent=True)
    text = raw.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
