"""The report of a benchmark: Markdown, CSV, plots, and one HTML page that needs nothing else."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from html import escape
from pathlib import Path
from string import Template

import matplotlib
from matplotlib.figure import Figure

from benchmarks.plots import plots
from benchmarks.records import Record
from benchmarks.suites import COMMANDS
from benchmarks.tables import KINDS, MINUS, by_suite, comma_separated, tables
from benchmarks.tasks import SUITES, chosen_tasks
from core.errors import UserError, known_names
from core.files import written_aside

PAGE = Path(__file__).with_name("page.html")
START = re.compile(r"^<!-- (?:table|kept) .*-->$", re.MULTILINE)
PLACE = re.compile(r"^(<!-- (table|kept) (.+) -->\n)((?:(?!<!-- )[^\n]*\n)*)(<!-- end -->)$", re.MULTILINE)
WANTED = re.compile(rf"(?P<suite>\w+) (?P<kind>{'|'.join(KINDS)})(?: on (?P<tasks>.+?))?(?: of (?P<variants>.+))?")


def markdown(records: Sequence[Record]) -> str:
    """All tables."""
    found = (table for suite, own in by_suite(records).items() for table in tables(suite, own))
    return "\n\n".join(f"## {table.title}\n\n{table.markdown()}" for table in found)


def filled(text: str, records: Sequence[Record], kept: Mapping[str, str]) -> str:
    """A text in Markdown, its tables made anew: what stands between `<!-- table ... -->` and `<!-- end -->`.

    A place names suite and kind, and may name tasks and variants (patterns, with | between them, in their order):
    `<!-- table glue scores on rte mrpc of minilm* | bag_of_words -->`. `<!-- kept speed -->` is a measurement that
    benchmarks.keep kept. UserError where it says anything else.
    """

    def made(place: re.Match[str]) -> str:
        return f"{place[1]}{table(place[3]) if place[2] == 'table' else measurement(place[3])}\n{place[5]}"

    def measurement(name: str) -> str:
        if name not in kept:
            raise UserError(f"<!-- kept {name} -->: there is no such measurement.{known_names(kept)}")
        return kept[name].strip()

    def table(described: str) -> str:
        wanted = WANTED.fullmatch(described)
        if wanted is None or wanted["suite"] not in SUITES:
            raise UserError(f"<!-- table {described} -->: names no table: SUITE {'|'.join(KINDS)} on ... of ...")
        patterns = [pattern.strip() for pattern in (wanted["variants"] or "*").split("|")]
        try:
            tasks = chosen_tasks(wanted["suite"], (wanted["tasks"] or "").split())
        except UserError as error:
            raise UserError(f"<!-- table {described} -->: {str(error).removeprefix('--tasks: ')}") from error

        def rank(variant: str) -> int:
            """Of the first pattern that it matches, after all if there is none."""
            return next((at for at, pattern in enumerate(patterns) if fnmatch(variant, pattern)), len(patterns))

        def is_wanted(variant: str) -> bool:
            return rank(variant) < len(patterns)

        known = sorted(by_suite(records).get(wanted["suite"], []), key=lambda one: rank(one.variant))
        unknown = [own for own in patterns if not any(fnmatch(one.variant, own) for one in known)]
        if unknown:
            raise UserError(f"<!-- table {described} -->: there are no results of {', '.join(unknown)}.")
        shown = known if wanted["kind"] == "differences" else [one for one in known if is_wanted(one.variant)]
        found = KINDS[wanted["kind"]](wanted["suite"], tasks, shown)
        if wanted["kind"] == "differences":
            found = replace(found, rows=[row for row in found.rows if is_wanted(row[0].partition(MINUS)[0])])
        if not found.rows or not shown:
            raise UserError(f"<!-- table {described} -->: there are no such results.")
        return found.markdown()

    if len(PLACE.findall(text)) != len(START.findall(text)):
        raise UserError(
            "<!-- table ... --> or <!-- kept ... -->: stands on a line of its own, and ends with a line <!-- end -->."
        )
    return PLACE.sub(made, text)


def fill(page: Path, records: Sequence[Record], kept: Mapping[str, str]) -> None:
    """Make the tables of a page anew. UserError where it is no page, or names a table that there is not."""
    try:
        text = page.read_text("utf-8")
    except OSError as error:
        raise UserError(f"--page {page}: cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise UserError(f"--page {page}: is no text in UTF-8.") from error
    with written_aside(page) as aside:
        aside.write_text(filled(text, records, kept), encoding="utf-8")


def write(records: Sequence[Record], folder: Path) -> str:
    """Write the report to a folder; its tables as Markdown. UserError where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "is a file, not a folder" if folder.is_file() else f"cannot be written ({error.strerror or error})"
        raise UserError(f"--output {folder}: {why}.") from error
    shown, sections = markdown(records), {}
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "text.parse_math": False}):
        for suite, own in by_suite(records).items():
            parts = [table.html() for table in tables(suite, own)]
            for name, title, figure in plots(suite, own):
                with written_aside(folder / f"{name}.png") as aside:
                    figure.savefig(aside, format="png", dpi=150)
                drawing = f"<figure role=img aria-label='{escape(title)}'>{_svg(figure)}</figure>"
                parts.append(f"<h3>{escape(title)}</h3>{drawing}")
            heading = f"<h2>{escape(COMMANDS[suite].title)}</h2>"
            sections[suite] = "\n".join([f"<section id='{suite}'>{heading}", *parts, "</section>"])
    links = " ".join(f"<a href='#{suite}'>{escape(COMMANDS[suite].title)}</a>" for suite in sections)
    page = Template(PAGE.read_text("utf-8")).substitute(links=links, body="\n".join(sections.values()))
    texts = {"results.md": shown + "\n", "results.csv": comma_separated(records), "results.html": page}
    for name, text in texts.items():
        with written_aside(folder / name) as aside:
            aside.write_text(text, encoding="utf-8")
    return f"{shown}\n\nwritten to {folder / 'results.html'}"


def _svg(figure: Figure) -> str:
    """The drawing as an element of a page."""
    raw = io.StringIO()
    figure.savefig(raw, format="svg", metadata={"Date": None})
    return raw.getvalue()[raw.getvalue().index("<svg") :]
