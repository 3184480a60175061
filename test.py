"""Score a trained model on a file with right answers: `python test.py --model runs/demo_matching`."""

import argparse
import sys
from pathlib import Path

from core.errors import positive_int, run_door


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Score a trained model on a file with right answers.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", type=Path, help="the run folder")
    which.add_argument("--conf_path", type=Path, help="or the config that it was trained with")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        dest="overrides",
        help="override a value of the run's config, as for train.py",
    )  # fmt: skip
    parser.add_argument("--input", type=Path, help="the file; by default the config's test file")
    parser.add_argument("--output", type=Path, help="where the scores go; by default scores.json of the run folder")
    parser.add_argument("--batch_size", type=positive_int, help="rows per batch; changes the speed only")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="where to compute")
    return parser.parse_args()


def main() -> None:
    """Score and print a table."""
    options = arguments()
    from engine.checkpoint import RunFolder
    from engine.inference import keep_scores, run_folder_of, test  # late: --help must not wait for torch
    from engine.predictor import Predictor

    run = RunFolder(options.model or run_folder_of(options.conf_path, options.overrides))
    predictor = Predictor.load(run.path, options.device, options.batch_size, options.overrides)
    scores, rows, file = test(predictor, options.input)
    kept = keep_scores(run, scores, file, len(rows), options.output)
    print(f"{file}: {len(rows):,} rows" + (f", {rows.skipped} bad rows skipped" if rows.skipped else ""))
    width = max(map(len, scores))
    for name, value in scores.items():
        print(f"  {name:<{width}}  {value:.4f}")
    print(f"written to {kept}")


if __name__ == "__main__":
    sys.exit(run_door(main))
