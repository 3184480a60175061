"""Training from start to end: data, model, trainer, validations, checkpoints; and how it goes on where it stopped."""

import math
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from core.conf import JSON
from core.errors import UserError
from core.machine import this_machine
from core.run_folder import ENVIRONMENT, FINISHED, SCORES, STATE, TEACHERS, RunFolder
from core.seeding import seed_everything
from core.types import Scores
from distillation.base import RowTeacher
from engine.data import Data, checked_scores, cut_texts, read_data, refuse_equal_groups, row_file
from engine.draft import Draft
from engine.experiment import Experiment, cache_folder
from engine.objective import Objective
from engine.predictor import Predictor
from engine.processes import Processes
from engine.reporter import Reporter, SilentReporter, score_text
from engine.starting_weights import load_pretrained
from engine.teaching import Said, TrainingSet, answers_for, ask, prepare, release
from engine.terms import Teachers
from engine.trainers.base import Progress, Report, Workplace, make_trainer
from engine.workplace import make_accelerator, make_workplace
from model_zoo.graph import Model
from text import store
from text.encoded import EncodedRows
from text.readers import RowFile


def train(experiment: Experiment, say: Callable[[str], None], force: bool = False, resume: bool = False) -> Scores:
    """Train to the end, keep the best model in the run folder; its validation scores.

    UserError where the run folder is taken, data cannot be used, CUDA is absent, the loss is not finite;
    KeyboardInterrupt after Ctrl-C, once the state is kept.
    """
    stages = [*experiment.earlier, experiment]
    runs = [RunFolder(Path(stage.conf.outputs.save_base_dir)) for stage in stages]
    if not resume:
        for run in runs:
            run.refuse_if_taken(force)
    scores: Scores = {}
    with ExitStack() as lock:
        is_locked = False
        for number, (stage, run) in enumerate(zip(stages, runs, strict=True), start=1):
            processes = Processes(make_accelerator(stage.conf))
            speak = say if processes.is_first else _nothing
            is_done = resume and number < len(stages) and run.is_finished
            if len(stages) > 1:
                speak(f"stage {number} of {len(stages)}{' is finished' if is_done else ''}")
            if is_done:
                _refuse_changed(run, stage.document())
                kept, wanted = (document["training_params"] for document in (run.read_config(), stage.document()))
                if without_effect := _differences(kept, wanted):
                    speak(f"note: {', '.join(without_effect)} changed after it: it stays as it is")
                continue
            has_begun = resume and (len(stages) == 1 or (run / STATE).exists())
            state = _state_to_resume(run, stage.document(), processes) if has_begun else None
            processes.wait()  # nobody begins before all have looked at what is there
            if processes.is_first and not is_locked:
                lock.enter_context(runs[-1].locked())
                is_locked = True
            scores = _train(stage, run, state, processes, speak, runs[: number - 1], runs[number:])
    return scores


def _train(
    experiment: Experiment,
    run: RunFolder,
    state: dict[str, Any] | None,
    processes: Processes,
    say: Callable[[str], None],
    before: Sequence[RunFolder],
    later: Sequence[RunFolder],
) -> Scores:
    """Train one stage.

    before  the runs of the stages before, of the last of which this one takes the weights
    later   the runs of the stages that follow: what lies there of an earlier training goes when this one begins
    """
    conf = experiment.conf
    say(str(processes))
    with processes.accelerator.main_process_first():  # the others find the data encoded
        data = read_data(conf, say)
    seed_everything(conf.training_params.seed)
    teachers = experiment.teachers(data.problem)
    graph, terms = experiment.trace(data.encoder.specs(), data.problem, teachers)
    refuse_equal_groups(terms, data.train, conf.inputs.data_paths.train_data_path)
    metrics = checked_scores(conf, data.problem, experiment.source)
    positive = data.problem.positive_label
    if conf.inputs.positive_label is None and positive not in (None, "1"):
        say(f"positive label of metrics: {positive}; inputs.positive_label names another one")
    model = Model(graph)
    if conf.training_params.compile:
        say(f"compiled: {len(model.inner_layers())} layers inside of blocks")
    if state is None:
        load_pretrained(conf, model, data, say, before[-1].path if before else None)
    for name, rows in (("training", data.train), ("validation", data.valid)):
        for line in cut_texts(graph.layers, rows):
            say(f"{name} rows: {line}")
    objective = Objective(terms)
    sets = _taught(experiment, teachers, objective, data, metrics[0], processes, say)
    place = make_workplace(conf, model, objective, sets, processes, experiment.source)
    trainer = make_trainer(conf, place)
    fitted = {"inputs": data.encoder.state(), "target": data.problem.state()}
    known = {name: store.key(one.key()) for name, one in teachers.items() if isinstance(one, RowTeacher)}
    if state is None:
        processes.own_random_numbers()
        if processes.is_first:
            for other in later:
                other.clear()
            run.begin(experiment.document())
            run.write_problem(fitted)
            command = shlex.join([Path(sys.executable).name, *sys.argv])
            stages = {"stages": len(before) + 1} if before else {}
            run.write_json(ENVIRONMENT, {"command": command, **stages, **this_machine(), TEACHERS: known})
    else:
        if not run.was_fitted_as(fitted):
            path = conf.inputs.data_paths.train_data_path
            raise UserError(f"{run.path}: cannot resume, {path} gives another vocabulary or other labels than before.")
        if others := [name for name, key in run.read_json(ENVIRONMENT).get(TEACHERS, {}).items() if known[name] != key]:
            raise UserError(f"{run.path}: cannot resume, other teachers than before: {', '.join(others)}.")
        _restore(place, state)
        place.progress.finished = _has_no_patience(place.progress, conf.training_params.early_stop_patience)
        if place.progress.finished:
            say("nothing to resume: early stopping ended this training")
        elif place.progress.epoch == conf.training_params.max_epoch:
            say(f"nothing to resume: all {place.progress.epoch} epochs are done; a larger max_epoch goes on")
    device = processes.accelerator.device
    predictor = Predictor(conf, place.answering, data.problem, data.encoder, device, processes=processes)
    _follow(trainer.run(), place, predictor, data.valid, metrics, run, say)
    kept: JSON = run.read_json(SCORES)
    if processes.is_first:
        run.write_json(SCORES, {**kept, FINISHED: True})
    shown = score_text(kept["validation"][metrics[0]])
    say(f"best {metrics[0]} {shown} at step {kept['step']}; model in {run.path}")
    return dict(kept["validation"])


def _follow(
    reports: Iterable[Report],
    place: Workplace,
    predictor: Predictor,
    valid: EncodedRows,
    metrics: Sequence[str],
    run: RunFolder,
    say: Callable[[str], None],
) -> None:
    """Let a trainer work by asking for its reports: show them, keep the best model and the state to go on from.

    KeyboardInterrupt after Ctrl-C, once the state is kept.
    """
    processes, problem = place.processes, predictor.problem
    speaks = Reporter if processes.is_first else SilentReporter
    with _interruptible() as interrupted, speaks(run, place, predictor.conf, say) as reporter:
        for report in reports:
            reporter.training(report)
            if report.validate:
                processes.share_buffers(place.answering)
                scores = predictor.tuned_score(valid, metrics)
                sign = 1 if problem.higher_is_better(metrics[0]) else -1
                best = _note_score(place.progress, scores[metrics[0]], sign, place.conf.early_stop_patience)
                reporter.validation(report, scores, best)
                if best:
                    weights = processes.weights(place.answering)
                    if processes.is_first:
                        run.write_weights(weights, problem.tuned)
                        run.write_json(SCORES, {"validation": scores, "step": report.step, "epoch": report.epoch + 1})
            stops = processes.agreed(interrupted())
            if report.validate or stops:
                now = _state(place)
                if processes.is_first:
                    run.write_state(now)
            if stops:
                say(f"stopped after step {report.step}; --resume goes on from here")
                raise KeyboardInterrupt
    processes.accelerator.wait_for_everyone()


def _taught(
    experiment: Experiment,
    teachers: Teachers,
    objective: Objective,
    data: Data,
    metric: str,
    processes: Processes,
    say: Callable[[str], None],
) -> list[TrainingSet]:
    """The training rows with what the teachers give for them; a weighting that asks for it hears how good they are."""
    conf, draft, folder = experiment.conf, Draft.of(experiment.conf), cache_folder(experiment.conf)
    paths, weighting, wanted = conf.inputs.data_paths, objective.weighting, objective.addresses
    ask(teachers, wanted)
    if weighting is not None and weighting.conf.reads_scores:
        file = row_file(conf, paths.valid_data_path or paths.test_data_path or "")
        answers = answers_for(draft, teachers, data.problem, file, data.valid, folder, processes, say)
        sign = 1 if data.problem.higher_is_better(metric) else -1
        known = {}
        for name, given in answers.items():
            known[name] = sign * Said.of(data.problem, given, data.valid).scores([metric])[metric]
        weighting.know(known)

    def taught(file: RowFile, rows: EncodedRows) -> TrainingSet:
        is_training = rows is data.train
        return TrainingSet(rows, prepare(draft, teachers, wanted, file, rows, folder, processes, say, is_training))

    labelled = taught(row_file(conf, paths.train_data_path or ""), data.train)
    sets = [labelled, *(taught(file, rows).answered(say) for file, rows in data.unlabelled)]
    release(draft, teachers)
    return sets


def _note_score(progress: Progress, score: float, sign: int, patience: int | None) -> bool:
    """Whether to keep this model: the best so far, or the latest as long as the score is undefined.

    Early stopping is decided here too. sign: -1 = lower is better
    """
    progress.last_gain, best = sign * score, progress.best_score
    gained = best is None or (not math.isnan(score) and (math.isnan(best) or sign * score > sign * best))
    if gained:
        progress.best_score, progress.validations_without_gain = score, 0
    else:
        progress.validations_without_gain += 1
        progress.finished = _has_no_patience(progress, patience)
    return gained or (best is not None and math.isnan(best))


def _has_no_patience(progress: Progress, patience: int | None) -> bool:
    return patience is not None and progress.validations_without_gain >= patience


def _state(place: Workplace) -> dict[str, Any]:
    """Everything that the rest of the training depends on."""
    scaler = place.processes.accelerator.scaler
    weights, moments = place.processes.state(place.trained, place.optimizer)
    return {
        "progress": asdict(place.progress),
        "model": weights,
        "optimizer": moments,
        "objective": place.objective.state_dict(),
        "kept": {name: part.state_dict() for name, part in place.kept.items()},
        "scaler": scaler.state_dict() if scaler is not None else {},
        "average": {} if place.average is None else place.average.state_dict(),
        "random": place.processes.gathered([torch.get_rng_state()]),
        "cuda_random": place.processes.gathered([torch.cuda.get_rng_state()] if torch.cuda.is_available() else []),
    }


def _restore(place: Workplace, state: Mapping[str, Any]) -> None:
    place.processes.restore(place.trained, place.optimizer, state["model"], state["optimizer"])
    place.objective.load_state_dict(state["objective"])
    for name, part in place.kept.items():
        part.load_state_dict(state["kept"][name])
    if place.average is not None:
        place.average.load_state_dict(state["average"])
    if place.processes.accelerator.scaler is not None and state["scaler"]:
        place.processes.accelerator.scaler.load_state_dict(state["scaler"])
    for name, value in state["progress"].items():
        setattr(place.progress, name, value)
    number = place.processes.number
    torch.set_rng_state(state["random"][number])
    if torch.cuda.is_available() and state["cuda_random"]:
        torch.cuda.set_rng_state(state["cuda_random"][number])


def _state_to_resume(run: RunFolder, document: JSON, processes: Processes) -> dict[str, Any]:
    """The kept state; UserError where the run was trained with another config, or by another number of processes."""
    _refuse_changed(run, document)
    state = run.read_state()
    if len(state["random"]) != processes.count:
        sentence = f"cannot resume with {processes.count} processes what {len(state['random'])} have begun."
        raise UserError(f"{run.path}: {sentence}")
    return state


def _refuse_changed(run: RunFolder, document: JSON) -> None:
    """UserError where the run was trained with another config; more epochs are allowed."""

    def essence(config: JSON) -> dict[str, JSON]:
        training = {**config.get("training_params", {}), "max_epoch": None, "early_stop_patience": None}
        return {**config, "training_params": training, "outputs": None, "report": None}

    changed = _differences(essence(run.read_config()), essence(document))
    if changed:
        raise UserError(f"{run.path}: cannot resume, the config has changed since: {', '.join(changed)}.")


def _nothing(_: str) -> None:
    """What the other processes say."""


def _differences(before: JSON, now: JSON, path: str = "") -> list[str]:
    """The paths at which two documents differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*now, *before])
        return [found for key in keys for found in _differences(before.get(key), now.get(key), f"{path}.{key}")]
    return [] if before == now else [path.removeprefix(".")]


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM are noted instead of obeyed at once; a second one is obeyed."""
    received: list[int] = []

    def note(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
