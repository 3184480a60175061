"""A drawing of a graph as a page of its own, as SVG, as PNG."""

import json
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from core.conf import JSON
from views.graph import Drawing

HERE = Path(__file__).parent
FAMILIES = (
    "data embedding recurrent convolution attention encoder pooling dense combination labels teacher loss".split()
)
CLONE = "var structuredClone = value => value === undefined ? value : JSON.parse(JSON.stringify(value));"
"""What dagre asks of a browser."""
ZOOM = 2
"""Pixels of a PNG for each unit of the SVG."""


@cache
def _file(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def svg(drawing: Drawing) -> str:
    """The graph of one stage, with its own style."""
    import dukpy  # late: only pictures need it

    code = [CLONE, _file("vendor/dagre.min.js"), _file("graph.js"), "draw(dukpy['drawing'], []);"]
    drawn = dukpy.evaljs(code, drawing=drawing.as_json())
    return str(drawn).replace("<defs>", f"<style>{_file('graph.css')}</style><defs>", 1)


def png(drawing: Drawing) -> bytes:
    """The same as a picture of pixels."""
    import matplotlib  # brings the font
    import resvg_py

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = [str(fonts / name) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")]
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg(drawing), background="#ffffff", zoom=ZOOM, font_files=files, font_family="DejaVu Sans"
        )
    )


def page(drawings: Sequence[Drawing], title: str, about: str) -> str:
    """One HTML file that needs nothing else: every stage, folded by a click, each box with all its settings."""
    data: JSON = {"drawings": [drawing.as_json() for drawing in drawings], "families": FAMILIES}
    return Template(_file("graph.html")).substitute(
        title=escape(title),
        about=escape(about),
        style=_file("graph.css"),
        data=json.dumps(data).replace("<", "\\u003c"),  # no text of the config ends the script
        dagre=_file("vendor/dagre.min.js.LEGAL.txt") + _file("vendor/dagre.min.js"),
        drawing=_file("graph.js"),
    )
