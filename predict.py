"""Answer for new rows: `python predict.py --model runs/demo_matching --input questions.tsv --output answers.tsv`."""

import argparse
import sys
import time
from typing import TYPE_CHECKING, get_args

from core.command_line import run_arguments, run_door
from core.config import DataFormat
from core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.predictor import Predictor


def arguments() -> argparse.Namespace:
    """The command line. UserError where parts of it contradict each other."""
    parser = argparse.ArgumentParser(description="Answer for new rows: a file, standard input, or interactively.")
    run_arguments(parser)
    parser.add_argument("--input", help="the file, or - for standard input; by default the config's file to predict")
    output = "the file, or - for standard output; with --input - that is the default"
    parser.add_argument("--output", "--predict_output_path", help=output)
    parser.add_argument("--format", choices=get_args(DataFormat), help="format of the input")
    parser.add_argument("--fields", nargs="+", help="columns to add: prediction, confidence, confidence@<label>")
    parser.add_argument("--interactive", action="store_true", help="ask for each column, answer, ask again")
    weigh = "with --interactive: colour tokens by how much they count, by attention where the model has it"
    parser.add_argument("--explain", nargs="?", const="auto", choices=["auto", "attention", "gradient"], help=weigh)
    options = parser.parse_args()
    if options.explain and not options.interactive:
        raise UserError("--explain colours what is typed: it needs --interactive.")
    if options.interactive and (options.input or options.output or options.format):
        raise UserError("--interactive asks for rows and prints the answers: leave out --input, --output and --format.")
    return options


def main() -> None:
    """Load the run, answer for every row."""
    options = arguments()
    from engine.inference import load_run, predict_file  # late: --help must not wait for torch

    run, predictor = load_run(options)
    for notice in predictor.notices:
        print(f"note: {notice}", file=sys.stderr)
    if options.interactive:
        interact(predictor, options.fields, options.explain)
        return
    start = time.perf_counter()
    done = predict_file(predictor, run.path, options.input, options.output, options.format, options.fields)
    seconds = time.perf_counter() - start
    for line in done.bad_rows:
        print(line, file=sys.stderr)
    for what, count in predictor.cut.items():
        print(f"note: {count:,} texts are cut to {what}", file=sys.stderr)
    rows = f"{done.rows:,} row{'s' * (done.rows != 1)}, {done.bad:,} bad"
    print(f"{rows}; written to {done.output} in {seconds:.1f} s", file=sys.stderr)


def interact(predictor: "Predictor", fields: list[str] | None, explained: str | None) -> None:
    """Ask for each column of a row, print the answer and what it rests on, until the input ends."""
    from core.types import Row
    from engine.attribution import attributions, method_of

    method = explained and method_of(predictor, explained)
    if sys.stdin.isatty():
        colours = " Blue tokens speak for the answer, orange ones against it." if method == "gradient" else ""
        print(f"One row at a time; end with Ctrl-D.{colours}", file=sys.stderr)
    while True:
        try:
            row = {
                column: input(f"{column}: " if sys.stdin.isatty() else "") for column in predictor.encoder.text_columns
            }
        except EOFError:
            print(file=sys.stderr)
            return
        (answer,) = predictor.predict([row], fields)
        if answer.row.error:
            print(f"  {answer.row.error}")
        for name, value in {} if answer.row.error else answer.cells.items():
            print(f"  {name}: {value:.6f}" if isinstance(value, float) else f"  {name}: {value}")
        if method and not answer.row.error:
            for text in attributions(predictor, Row(1, row), method):
                name = ", ".join(filter(None, (text.branch, text.layer)))
                print(f"  {name}: {coloured(text.tokens, text.weights, sys.stdout.isatty())}")


def coloured(tokens: "Sequence[str]", weights: "Sequence[float]", has_colours: bool) -> str:
    """Tokens on blue, the darker the more they speak for the answer, on orange where they speak against it; where
    there are no colours, their weights behind them.
    """
    if not has_colours:
        return " ".join(f"{token} {weight:.2f}" for token, weight in zip(tokens, weights, strict=True))
    most = max(map(abs, weights), default=0) or 1
    shades = {True: (195, 153, 117, 75, 33), False: (230, 223, 216, 215, 208)}
    parts = []
    for token, weight in zip(tokens, weights, strict=True):
        level = min(4, int(abs(weight) / most * 5))
        ground = f"\x1b[48;5;{shades[weight >= 0][level]}m\x1b[38;5;16m" if level else ""
        parts.append(f"{ground}{token}\x1b[0m" if ground else token)
    return " ".join(parts)


if __name__ == "__main__":
    sys.exit(run_door(main))
