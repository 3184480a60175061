"""Write a run for other programs: `python export.py --model runs/encoder --export_transformers folder`."""

import argparse
import sys
from pathlib import Path

from core.command_line import run_arguments, run_door


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write a run in the form of another library.")
    run_arguments(parser)
    meaning = "the folder to write: AutoModelFor... and AutoTokenizer of transformers load it"
    parser.add_argument("--export_transformers", required=True, type=Path, metavar="FOLDER", help=meaning)
    return parser.parse_args()


def main() -> None:
    """Load the run, write it."""
    options = arguments()
    from engine.export import export_transformers, refuse_if_there  # late: --help must not wait for torch
    from engine.inference import load_run

    refuse_if_there(options.export_transformers)
    _, predictor = load_run(options)
    name = export_transformers(predictor, options.export_transformers)
    print(f"written to {options.export_transformers}: a {name} with equal logits")


if __name__ == "__main__":
    sys.exit(run_door(main))
