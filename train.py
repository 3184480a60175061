"""Train the model that a config describes: `python train.py --conf_path configs/demo/matching.json`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core.command_line import run_door, set_argument
from core.errors import UserError

if TYPE_CHECKING:
    from engine.experiment import Experiment

REPORT_SECONDS = 1.5
"""How long the report of a training may answer validation rows; report.py answers all of them."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the model that a config describes.")
    parser.add_argument("--conf_path", required=True, type=Path, help="the config, a JSON file")
    set_argument(parser, "override a value of the config, for example training_params.batch_size=64; may be repeated")
    parser.add_argument("--check", action="store_true", help="only check the config and show its layers")
    parser.add_argument("--check_teachers", action="store_true", help="only show how good the teachers are")
    parser.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="train K runs more, each without one fold of the training rows, for a teacher with folds; goes on with "
        "what was begun",
    )
    earlier = parser.add_mutually_exclusive_group()
    earlier.add_argument("--force", action="store_true", help="replace a run that lies in the output folder")
    earlier.add_argument("--resume", action="store_true", help="continue an interrupted training")
    return parser.parse_args()


def main() -> None:
    """Check, then train."""
    options = arguments()
    from engine.experiment import load_experiment  # late: --help must not wait for torch

    experiment = load_experiment(options.conf_path, options.overrides)
    for notice in experiment.notices:
        print(f"note: {notice}", file=sys.stderr)
    if options.check:
        from engine.summary import summary
        from engine.workplace import arithmetic

        for number, stage in enumerate(stages := [*experiment.earlier, experiment], start=1):
            if len(stages) > 1:
                print(f"stage {number} of {len(stages)}")
            print(summary(stage))
        try:
            arithmetic(experiment.conf)
        except UserError as error:  # it may be meant for another machine
            print(f"note: not on this machine: {error}", file=sys.stderr)
        print(f"{options.conf_path}: no problems")
        return
    if options.check_teachers:
        from engine.teacher_report import teacher_report

        print(f"\n{teacher_report(experiment, say=print)}")
    elif options.folds is not None:
        from engine.out_of_fold import train_folds

        train_folds(experiment, options.folds, say=print, force=options.force)
    else:
        from engine.training import train

        train(experiment, say=print, force=options.force, resume=options.resume)
        _report(experiment)
    from engine.processes import leave

    leave()


def _report(experiment: "Experiment") -> None:
    """The page of a run that has ended, unless the config wants none; without one the run is still whole."""
    from accelerate import PartialState

    if not experiment.conf.report or not PartialState().is_main_process:
        return
    from engine.experiment import models_with_code
    from views.run_report import write_report

    try:
        trusted = [*experiment.conf.plugins, *(model for _, model in models_with_code(experiment.document()))]
        run = Path(experiment.conf.outputs.save_base_dir)
        print(f"report: {write_report(run, seconds=REPORT_SECONDS, plugins=trusted)}")
    except Exception as error:  # the training has come to its end: whatever a page lacks must not spoil that
        print(f"note: no report: {str(error) or type(error).__name__}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_door(main))
