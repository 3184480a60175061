"""What pages are made of: tables, figures, sections. All texts are escaped here, and nowhere else."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

PAGE = Path(__file__).with_name("report.html")


class Html(str):
    """Markup that is not escaped again."""


def safe(value: object) -> str:
    """A text as it stands in a page."""
    return value if isinstance(value, Html) else escape(str(value))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], texts: int = 1) -> Html:
    """A table; its first columns are texts, the others numbers."""

    def line(cells: Sequence[object], tag: str) -> str:
        kinds = ["" if place < texts else " class=number" for place in range(len(cells))]
        return "".join(f"<{tag}{kind}>{safe(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    body = "".join(f"<tr>{line(cells, 'td')}</tr>" for cells in rows)
    return Html(f"<div class=wide><table><thead><tr>{line(head, 'th')}</tr></thead><tbody>{body}</tbody></table></div>")


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """Names and what they are."""
    items = "".join(f"<div><dt>{safe(name)}</dt><dd>{safe(value)}</dd></div>" for name, value in pairs)
    return Html(f"<dl>{items}</dl>")


def matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    """A confusion matrix: rows are right, columns are answered; the darker, the larger the share of the row."""
    head = "".join(f"<th scope=col>{safe(name)}</th>" for name in names)
    lines = []
    for at, (name, row) in enumerate(zip(names, counts, strict=True)):
        whole = max(sum(row), 1)
        cells = "".join(
            f"<td class='number{' right' if at == column else ''}' style='--share:{count / whole:.3f}'>{count:,}</td>"
            for column, count in enumerate(row)
        )
        lines.append(f"<tr><th scope=row>{safe(name)}</th>{cells}</tr>")
    return Html(
        "<div class=wide><table class=matrix><thead><tr><th>right ↓ answered →</th>"
        f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def figure(drawing: str, caption: str) -> Html:
    """A drawing (SVG) with what it shows."""
    return Html(f"<figure>{drawing}<figcaption>{safe(caption)}</figcaption></figure>")


def paragraph(text: object) -> Html:
    """A few sentences."""
    return Html(f"<p>{safe(text)}</p>")


def side_by_side(*parts: Html) -> Html:
    """Parts beside each other where there is room."""
    return Html(f"<div class=beside>{''.join(parts)}</div>")


def section(title: str, *parts: Html, level: int = 2) -> Html:
    """Parts under a heading; nothing where there are none."""
    shown = "".join(part for part in parts if part)
    return Html(f"<section><h{level}>{safe(title)}</h{level}>{shown}</section>" if shown else "")


def page(title: str, body: str) -> str:
    """One HTML file that needs nothing else."""
    return Template(PAGE.read_text("utf-8")).substitute(title=safe(title), body=body)
