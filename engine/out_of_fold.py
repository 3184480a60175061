"""Out-of-fold runs: for each training row a teacher that has not seen it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from core.config import LeftOutConf
from core.errors import UserError
from core.run_folder import STATE, RunFolder
from distillation.run import fold_folder
from engine.data import row_file
from engine.experiment import Experiment
from engine.training import train


def train_folds(experiment: Experiment, count: int, say: Callable[[str], None], force: bool = False) -> None:
    """Train the run of a config, and for each of `count` folds one without the training rows of it, in its folder.

    What was begun goes on, what is finished stays; `force` begins anew. Errors are those of a training.
    """
    if count < 2:
        raise UserError(f"--folds: {count} is no number of folds, take 2 or more.")
    if experiment.conf.training_params.left_out is not None:
        raise UserError("training_params.left_out: --folds says itself what is left out. Leave it out.")
    if experiment.earlier:
        raise UserError("trainer: --folds trains configs of one stage, but this one is Staged.")
    path = experiment.conf.inputs.data_paths.train_data_path
    rows = 0 if path is None else sum(1 for _ in row_file(experiment.conf, path))
    if count > rows:
        raise UserError(f"--folds: {count:,} folds of {rows:,} training rows leave some without any row.")
    whole = Path(experiment.conf.outputs.save_base_dir)
    _train(experiment, whole, None, say, force)
    for fold in range(1, count + 1):
        say(f"fold {fold} of {count}")
        _train(experiment, fold_folder(whole, fold), LeftOutConf(fold=fold, of=count), say, force)


def _train(
    experiment: Experiment, folder: Path, left_out: LeftOutConf | None, say: Callable[[str], None], force: bool
) -> None:
    """Train one run, or go on with it; one of a fold that was stopped before its first state begins anew."""
    conf = experiment.conf
    training = replace(conf.training_params, left_out=left_out)
    outputs = replace(conf.outputs, save_base_dir=str(folder))
    part = replace(experiment, conf=replace(conf, training_params=training, outputs=outputs))
    resume = not force and (RunFolder(folder) / STATE).exists()
    train(part, say, force=not resume and (force or left_out is not None), resume=resume)
