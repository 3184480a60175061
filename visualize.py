"""Draw the model that a config describes: `python visualize.py configs/wikiqa/arc_ii.json -o arc_ii.html`."""

import argparse
import sys
from pathlib import Path

from core.command_line import run_door, set_argument
from core.errors import UserError

KINDS = (".html", ".svg", ".png")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draw the model that a config describes, as far as it is sound.")
    parser.add_argument("conf_path", type=Path, help="the config, a JSON file, or a run folder")
    parser.add_argument("-o", "--output", type=Path, help=f"{', '.join(KINDS)}; by default the config's name .html")
    parser.add_argument("--plugins", nargs="*", default=[], help="modules that a run folder may import")
    set_argument(parser, "override a value of the config, for example architecture.params.dim=64; may be repeated")
    return parser.parse_args()


def main() -> None:
    """Trace the config and write the picture."""
    options = arguments()
    path = options.conf_path / "config.json" if options.conf_path.is_dir() else options.conf_path
    output = options.output or Path(f"{options.conf_path.stem}.html")
    if output.suffix.lower() not in KINDS:
        raise UserError(f"--output {output}: ends with none of {', '.join(KINDS)}.")
    from core.document import read_document  # late: --help must not wait for torch
    from core.files import written_aside
    from core.run_folder import PROBLEM, RunFolder
    from views.drawing import page, png, svg
    from views.graph import drawings, run_drawings

    document = read_document(path, options.overrides)
    if (options.conf_path / PROBLEM).exists() and not options.overrides:
        drawn = run_drawings(RunFolder(options.conf_path), options.plugins)
    else:
        drawn = drawings(document, options.plugins if options.conf_path.is_dir() else None)
    makers = {".svg": lambda one: svg(one).encode(), ".png": png}
    if output.suffix.lower() == ".html":
        about = document.get("model_description") or ""
        contents = {output: page(drawn, str(options.conf_path), str(about)).encode()}
    else:
        names = [output.with_stem(f"{output.stem}_{number}") for number in range(1, len(drawn) + 1)]
        make = makers[output.suffix.lower()]
        contents = {name: make(one) for name, one in zip(names if len(drawn) > 1 else [output], drawn, strict=True)}
    for name, content in contents.items():
        with written_aside(name) as aside:
            aside.write_bytes(content)
    problems = sum(len(one.problems) + sum(len(node.problems) for node in one.nodes) for one in drawn)
    said = f"; {problems} problem{'s' if problems > 1 else ''} in the config" if problems else ""
    for one in drawn:
        for sentence in [*one.problems, *(f"{node.title}: {text}" for node in one.nodes for text in node.problems)]:
            print(f"  {sentence}", file=sys.stderr)
        for note in (f"{node.title}: {text}" for node in one.nodes for text in node.notes):
            print(f"  note: {note}", file=sys.stderr)
    print(f"written to {', '.join(map(str, contents))}{said}")


if __name__ == "__main__":
    sys.exit(run_door(main))
