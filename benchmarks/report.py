"""The report of a benchmark: Markdown, CSV, plots, and one HTML page that needs nothing else."""

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import matplotlib
from matplotlib.figure import Figure

from benchmarks.plots import plots
from benchmarks.records import Record
from benchmarks.tables import comma_separated, tables
from benchmarks.tasks import TITLES
from core.files import written_aside

PAGE = Path(__file__).with_name("page.html")


def markdown(records: Sequence[Record]) -> str:
    """All tables."""
    return "\n\n".join(f"## {table.title}\n\n{table.markdown()}" for table in tables(records))


def write(records: Sequence[Record], folder: Path) -> str:
    """Write the report to a folder; its tables as Markdown."""
    shown = markdown(records)
    parts = [table.html() for table in tables(records)]
    drawn = [record for record in records if record.task in TITLES]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "text.parse_math": False}):
        for name, title, figure in plots(drawn):
            with written_aside(folder / f"{name}.png") as aside:
                figure.savefig(aside, format="png", dpi=150)
            parts.append(
                f"<h2>{escape(title)}</h2><figure role=img aria-label='{escape(title)}'>{_svg(figure)}</figure>"
            )
    texts = {
        "results.md": shown + "\n",
        "results.csv": comma_separated(records),
        "results.html": Template(PAGE.read_text("utf-8")).substitute(body="\n".join(parts)),
    }
    for name, text in texts.items():
        with written_aside(folder / name) as aside:
            aside.write_text(text, encoding="utf-8")
    return f"{shown}\n\nwritten to {folder / 'results.html'}"


def _svg(figure: Figure) -> str:
    """The drawing as an element of a page."""
    raw = io.StringIO()
    figure.savefig(raw, format="svg", metadata={"Date": None})
    return raw.getvalue()[raw.getvalue().index("<svg") :]
