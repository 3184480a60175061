"""Show what a training came to: `python report.py runs/wikiqa_student`, several runs: side by side."""

import argparse
import sys
from pathlib import Path

from core.command_line import run_door
from core.errors import UserError


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write a page that shows a run, or several side by side.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    parser.add_argument("-o", "--output", type=Path, help="the page (default: report.html in the run folder)")
    parser.add_argument("--input", type=Path, help="rows to answer (default: the validation rows)")
    parser.add_argument("--plugins", nargs="*", default=[], help="modules that the run may import")
    return parser.parse_args()


def main() -> None:
    """Answer the rows and write the page."""
    options = arguments()
    if len(options.runs) > 1 and options.output is None:
        raise UserError("--output: several runs need the name of a page, such as -o compare.html.")
    if options.output is not None and options.output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output {options.output}: a report is a page; its name ends with .html.")
    from core.run_folder import refuse_output  # late: --help must not wait for torch

    if options.output is not None:
        refuse_output(options.output, options.input)
    if len(options.runs) > 1:
        from views.comparison import write_comparison

        print(f"written to {write_comparison(options.runs, options.output, options.input, options.plugins)}")
    else:
        from views.run_report import write_report

        print(f"written to {write_report(options.runs[0], options.output, options.input, plugins=options.plugins)}")


if __name__ == "__main__":
    sys.exit(run_door(main))
