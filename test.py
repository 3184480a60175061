"""Score a trained model on a file with right answers: `python test.py --model runs/demo_matching`."""

import argparse
import sys
from pathlib import Path

from core.command_line import run_arguments, run_door


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Score a trained model on a file with right answers.")
    run_arguments(parser)
    parser.add_argument("--input", type=Path, help="the file; by default the config's test file")
    parser.add_argument("--output", type=Path, help="where the scores go; by default scores.json of the run folder")
    return parser.parse_args()


def main() -> None:
    """Score and print a table."""
    options = arguments()
    from core.run_folder import refuse_output  # late: --help must not wait for torch
    from engine.inference import keep_scores, load_run, test
    from engine.reporter import score_text

    if options.output is not None:
        refuse_output(options.output, options.input)
    run, predictor = load_run(options)
    scores, rows, file = test(predictor, options.input)
    for notice in predictor.notices:
        print(f"note: {notice}", file=sys.stderr)
    kept = keep_scores(run, scores, file, len(rows), options.output)
    print(f"{file}: {len(rows):,} rows" + (f", {rows.skipped} bad rows skipped" if rows.skipped else ""))
    width = max(map(len, scores))
    for name, value in scores.items():
        print(f"  {name:<{width}}  {score_text(value)}")
    print(f"written to {kept}")


if __name__ == "__main__":
    sys.exit(run_door(main))
