"""Training from start to end: data, model, trainer, validations, checkpoints; and how it goes on where it stopped."""

import functools
import math
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import core.conf
from block_zoo import PretrainedEncoder
from block_zoo.embedding import Embedding
from core.conf import JSON
from core.config import ExperimentConf
from core.errors import ConfigError, UserError
from core.seeding import seed_everything
from core.types import Batch, Scores
from distillation.untargeted import Untargeted
from engine.checkpoint import FINISHED, SCORES, RunFolder
from engine.draft import Draft, make_plan, make_problem, word_init
from engine.encoder_vectors import EncoderVectors, give_vectors
from engine.experiment import Experiment, cache_folder, score_problems
from engine.objective import Objective
from engine.optimizers import LearningRate, make_optimizer
from engine.parameter_groups import parameter_groups
from engine.predictor import Predictor, pick_device, pick_precision
from engine.prefetch import prefetched
from engine.processes import Processes
from engine.reporter import Reporter, SilentReporter, score_text
from engine.teachers import TrainingSet, answers_for, prepare, score_of
from engine.terms import Teachers, Term
from engine.trainers import TRAINERS
from engine.trainers.base import Progress, Report, Workplace
from engine.warm_start import basis_of, start_from
from model_zoo.graph import Graph, Model
from problems.base import Problem
from text.batching import batches_of_tokens, grouped_batches, mixed_batches, training_batches
from text.encoded import EncodedRows, encode_file, encode_training_file
from text.encoder import InputEncoder
from text.folds import folds
from text.readers import RowFile
from text.vectors import VectorWords, load_vectors


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
    before: Path | None = None
    for number, (stage, run) in enumerate(zip(stages, runs, strict=True), start=1):
        processes = Processes(make_accelerator(stage.conf))
        speak = say if processes.is_first else _nothing
        is_done = resume and number < len(stages) and run.is_finished
        if len(stages) > 1:
            speak(f"stage {number} of {len(stages)}{' is finished' if is_done else ''}")
        if not is_done:
            has_begun = resume and (number == len(stages) == 1 or run.holds_a_run())
            state = _state_to_resume(run, stage.document(), processes) if has_begun else None
            processes.wait()  # nobody begins before all have looked at what is there
            with run.locked() if processes.is_first else nullcontext():
                scores = _train(stage, run, state, processes, speak, before)
        before = run.path
    return scores


def _train(
    experiment: Experiment,
    run: RunFolder,
    state: dict[str, Any] | None,
    processes: Processes,
    say: Callable[[str], None],
    before: Path | None,
) -> Scores:
    """before  the run of the stage before, whose weights this one starts from"""
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
        load_pretrained(conf, model, data, say, before)
    for name, rows in (("training", data.train), ("validation", data.valid)):
        for line in cut_texts(graph, rows):
            say(f"{name} rows: {line}")
    objective = Objective(terms)
    sets = _taught(experiment, teachers, objective, data, metrics[0], processes, say)
    place = make_workplace(conf, model, objective, sets, processes, experiment.source)
    trainer_class = TRAINERS[conf.trainer.type]
    trainer = trainer_class(core.conf.read(trainer_class.Conf, conf.trainer.conf), place)  # type: ignore[attr-defined]
    fitted = {"inputs": data.encoder.state(), "target": data.problem.state()}
    if state is None:
        processes.own_random_numbers()
        if processes.is_first:
            run.begin(experiment.document())
            run.write_problem(fitted)
    else:
        if not run.was_fitted_as(fitted):
            path = conf.inputs.data_paths.train_data_path
            raise UserError(f"{run.path}: cannot resume, {path} gives another vocabulary or other labels than before.")
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
    total = place.learning_rate.total_steps
    with _interruptible() as interrupted, speaks(run, total, place.progress.step, say) as reporter:
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


def make_workplace(
    conf: ExperimentConf,
    model: Model,
    objective: Objective,
    sets: Sequence[TrainingSet],
    processes: Processes,
    source: str = "",
) -> Workplace:
    """What the trainer of a config works with, at the start of a training. ConfigError for idle parameter groups.

    sets  the training rows first, then those without targets
    """
    training, accelerator = conf.training_params, processes.accelerator
    weights = [*model.weights(), *objective.learned()]
    optimizer = make_optimizer(training.optimizer, parameter_groups(training.optimizer, weights, source))
    group_by = next((term.group_by for term in objective.terms if term.group_by is not None), None)
    labelled = sets[0].rows
    groups = None if group_by is None else labelled.targets[group_by]
    device, addresses = accelerator.device, objective.addresses
    alone = -1 - np.arange(sum(len(part.rows.lengths) for part in sets[1:]))  # a row without target is its own group
    firsts = np.cumsum([0, *(len(part.rows.lengths) for part in sets)])

    @functools.lru_cache(maxsize=1)
    def batches_of(epoch: int) -> list[np.ndarray]:
        size, found = training.batch_size * processes.count, []
        for first, part in zip(firsts, sets, strict=False):
            lengths = part.rows.lengths
            if training.batch_tokens is not None:
                made = batches_of_tokens(lengths, training.batch_tokens * processes.count, training.seed, epoch)
            elif groups is None or part is not sets[0]:
                made = training_batches(lengths, size, training.seed, epoch)
            else:
                made = grouped_batches(lengths, groups, size, training.seed, epoch)
            found.append([first + batch for batch in made] if first else made)
        return found[0] if len(found) == 1 else mixed_batches(found, training.seed, epoch)

    def batches(examples: Sequence[np.ndarray]) -> Iterator[Batch]:
        numbers = [int(np.searchsorted(firsts, these[0], side="right")) - 1 for these in examples]
        orders = [these - firsts[number] for number, these in zip(numbers, examples, strict=True)]
        made = [
            part.rows.batches([order for at, order in zip(numbers, orders, strict=True) if at == number], addresses)
            for number, part in enumerate(sets)
        ]
        with_stored = (
            sets[number].teaching.before(next(made[number]), order)
            for number, order in zip(numbers, orders, strict=True)
        )
        for number, order, batch in zip(numbers, orders, prefetched(with_stored, device), strict=True):
            yield sets[number].teaching.after(batch, order)

    updates = math.ceil(len(batches_of(0)) / training.accumulation_steps)  # every epoch has as many
    for layer in model.inner_layers() if training.compile else ():
        layer.compile(dynamic=True)
    objective = objective.to(device)
    if len(sets) > 1 or not model.all_learn_from(objective.addresses):
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=True)
    prepared_model, prepared_optimizer = accelerator.prepare(model.to(device), optimizer)
    vectors = [weight for weight in model.vectors() if weight.requires_grad]
    if training.adversarial and not vectors:
        sentence = "moves vectors of words or pieces that are trained, but here are none. Leave it out."
        raise UserError(f"training_params.adversarial: {sentence}")
    average = None
    if training.ema is not None and processes.is_sharded:
        raise UserError("training_params.ema: an average needs whole weights, but FSDP shares them out. Leave it out.")
    if training.ema is not None:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(training.ema))  # type: ignore[no-untyped-call]
    return Workplace(
        processes=processes,
        model=prepared_model,
        trained=cast(Model, prepared_model) if processes.is_sharded else model,
        objective=objective,
        optimizer=prepared_optimizer,
        learning_rate=LearningRate.of(
            training, optimizer.defaults["lr"], training.max_epoch and updates * training.max_epoch
        ),
        batches=batches,
        conf=training,
        batches_of=batches_of,
        groups=None if groups is None else np.concatenate([groups, alone]),
        average=average,
        vectors=vectors,
    )


@dataclass(frozen=True)
class Data:
    """Encoded training and validation rows, and what was fitted on the training rows."""

    train: EncodedRows
    valid: EncodedRows
    encoder: InputEncoder
    problem: Problem
    unlabelled: Sequence[EncodedRows] = ()
    """More training rows, for which nobody says what is right."""


def read_data(conf: ExperimentConf, say: Callable[[str], None]) -> Data:
    """Encode the training and validation files (or find them encoded); vocabularies and labels are fitted on train."""
    inputs, paths = conf.inputs, conf.inputs.data_paths
    problem = make_problem(inputs)
    valid_path = paths.valid_data_path or paths.test_data_path
    assert paths.train_data_path is not None and valid_path is not None
    takes_all = inputs.involve_all_words_in_pretrained_emb and paths.pre_trained_emb is not None
    extra = VectorWords(*_vector_source(conf)) if takes_all else ()
    plan = make_plan(conf, extra)
    more = [] if paths.unlabelled_data_path is None else [row_file(conf, paths.unlabelled_data_path, plan.text_columns)]
    train, encoder = encode_training_file(
        row_file(conf, paths.train_data_path), plan, problem, cache_folder(conf), inputs.on_bad_row, more
    )
    if word_init(conf) is not None and "word" in encoder.vocabularies:
        encoder.learn = encoder.vocabularies["word"].add
    valid = encode_file(row_file(conf, valid_path), encoder, problem, cache_folder(conf), inputs.on_bad_row)
    unlabelled = [encode_file(file, encoder, Untargeted(), cache_folder(conf), inputs.on_bad_row) for file in more]
    encoder.learn = None
    for name, rows in (("training", train), *(("unlabelled", rows) for rows in unlabelled), ("validation", valid)):
        skipped = f", {rows.skipped} bad rows skipped" if rows.skipped else ""
        say(f"{name} rows: {len(rows):,}{skipped}")
    if (left_out := conf.training_params.left_out) is not None:
        train = train.taken(np.flatnonzero(folds(train, problem.group_by, left_out.of) != left_out.fold))
        say(f"training rows without fold {left_out.fold} of {left_out.of}: {len(train):,}")
        if not len(train):
            raise UserError(f"{paths.train_data_path}: all rows belong to fold {left_out.fold}. Take more rows.")
    train = train.taught()
    if idle := len(train) - train.rows_with_examples:
        say(f"{idle:,} training rows teach nothing: their answer lies outside of what is read of the text")
    if idle == len(train):
        sentence = "no answer lies inside what is read of its text. Raise max_lengths, fixed_lengths or window_size."
        raise UserError(f"{paths.train_data_path}: {sentence}")
    return Data(train, valid, encoder, problem, unlabelled)


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
    paths, weighting = conf.inputs.data_paths, objective.weighting
    if weighting is not None and weighting.conf.reads_scores:
        file = row_file(conf, paths.valid_data_path or paths.test_data_path or "")
        answers = answers_for(draft, teachers, file, data.valid, folder, processes, say)
        sign = 1 if data.problem.higher_is_better(metric) else -1
        known = {}
        for name, answer in answers.items():
            known[name] = sign * score_of(data.problem, [metric], answer, data.valid)[metric]
        weighting.know(known)
    columns = data.encoder.text_columns
    more = [] if paths.unlabelled_data_path is None else [row_file(conf, paths.unlabelled_data_path, columns)]
    files = [(row_file(conf, paths.train_data_path or ""), data.train), *zip(more, data.unlabelled, strict=True)]
    wanted = objective.addresses
    return [
        TrainingSet(rows, prepare(draft, teachers, wanted, file, rows, folder, processes, say, rows is data.train))
        for file, rows in files
    ]


def cut_texts(graph: Graph, rows: EncodedRows) -> Iterator[str]:
    """For each encoder how many texts it cannot read whole, and how many answers lie in the rest."""
    for layer in graph.layers:
        if layer.conf.reads_pieces:
            conf = cast(PretrainedEncoder.Conf, layer.conf)
            room = conf.room(*layer.input_specs)
            lengths = rows.lengths_of(layer.inputs)
            if cut := int((lengths > room).sum()):
                sentence = f"{cut:,} of {len(lengths):,} are cut to the {room} pieces that layer '{layer.id}' reads"
                yield f"{sentence} (the longest has {lengths.max():,})"
                texts = [torch.from_numpy(rows.lengths_of([branch])) for branch in layer.inputs]
                kept = zip(layer.inputs, conf.kept_lengths(room, texts), strict=True)
                if lost := sum(rows.answers_behind(branch, pieces.numpy()) for branch, pieces in kept):
                    sentence = f"{lost:,} answers lie in what is cut, where nothing can learn or find them"
                    yield f"{sentence}; inputs.window_size lets passages be read in parts that fit"


def refuse_equal_groups(terms: Iterable[Term], rows: EncodedRows, path: str | None) -> None:
    """UserError where a loss reads groups, but has nothing to learn from them."""
    for term in terms:
        if term.group_by is None:
            continue
        for target in (address for address in term.inputs if address in rows.targets):
            targets_N, groups_N = rows.targets[target], rows.targets[term.group_by]
            order = np.lexsort((targets_N, groups_N))
            if not ((np.diff(targets_N[order]) != 0) & (np.diff(groups_N[order]) == 0)).any():
                sentence = f"no two rows of one {term.group_by} differ in {target}; {term.name} learns from such rows."
                raise UserError(f"{path}: {sentence}")


def row_file(conf: ExperimentConf, path: str | Path, needed: Collection[str] | None = None) -> RowFile:
    """A data file with the columns and the format of a config; not all columns must be there if some are needed."""
    inputs = conf.inputs
    return RowFile(Path(path), inputs.file_header or {}, inputs.file_with_col_header, inputs.data_format, needed)


def checked_scores(conf: ExperimentConf, problem: Problem, source: str) -> list[str]:
    """The metrics of the config (by default the problem's own), checked again now that the labels are known."""
    if problems := score_problems(problem, conf.metrics, conf.outputs.predict_fields or []):
        raise ConfigError(source, problems)
    return list(conf.metrics) or list(problem.default_metrics)


def load_pretrained(
    conf: ExperimentConf, model: Model, data: Data, say: Callable[[str], None], before: Path | None = None
) -> None:
    """Put into a new model what it starts from: vectors of words, weights of encoders, those of an earlier run.

    before  the run of the stage before, in the place of the one that the config names
    """
    paths, encoder = conf.inputs.data_paths, data.encoder
    named = paths.pretrained_model_path
    earlier = before or (None if named is None else Path(named))
    has_words = "word" in model.rows_by_id().values()
    if has_words and (init := word_init(conf)) is not None:
        vocabulary = encoder.vocabularies["word"]
        embedding = cast(Embedding, model.embedding)
        source = EncoderVectors(init, cache_folder(conf))
        basis = None if earlier is None else basis_of(earlier, embedding)
        give_vectors(embedding, vocabulary.words, len(vocabulary.specials), source, basis)
        say(f"vectors of {len(vocabulary):,} words from {init.encoder}")
    if has_words and paths.pre_trained_emb is not None:
        path, kind, binary = _vector_source(conf)
        vectors, found = load_vectors(path, kind, binary, encoder.vocabularies["word"].words, cache_folder(conf))
        say(f"pretrained vectors: {np.count_nonzero(found):,} of {len(found):,} words have one")
        try:
            model.embedding.load_vectors("word", torch.tensor(vectors), torch.tensor(found))  # type: ignore[operator, union-attr]
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
    for line in model.load_pretrained():
        say(line)
    if earlier is not None:
        for line in start_from(earlier, model, encoder, data.problem):
            say(line)


def _vector_source(conf: ExperimentConf) -> tuple[Path, str, bool]:
    inputs = conf.inputs
    path = inputs.data_paths.pre_trained_emb
    assert path is not None
    return Path(path), inputs.pretrained_emb_type, inputs.pretrained_emb_binary_or_text == "binary"


def make_accelerator(conf: ExperimentConf) -> Accelerator:
    """Devices, processes and mixed precision by accelerate."""
    device = pick_device(conf.training_params.device)
    precision = pick_precision(conf, device)
    if precision == "fp16" and device.type == "cpu":
        raise UserError("training_params.precision: fp16 needs a CUDA device. Use bf16 or fp32 on a CPU.")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError("training_params.precision: this CUDA device has no bf16. Use fp16, fp32 or auto.")
    AcceleratorState._reset_state()  # accelerate keeps one for the process: the next training may want another
    return Accelerator(mixed_precision="no" if precision == "fp32" else precision, cpu=device.type == "cpu")


def _note_score(progress: Progress, score: float, sign: int, patience: int | None) -> bool:
    """Whether to keep this model: the best so far, or the latest as long as the score is undefined.

    Early stopping is decided here too. sign: -1 = lower is better
    """
    progress.last_score, best = score, progress.best_score
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
    """The kept state; UserError where the run was trained with another config (more epochs are allowed), or by another
    number of processes.
    """

    def essence(config: JSON) -> dict[str, JSON]:
        training = {**config.get("training_params", {}), "max_epoch": None, "early_stop_patience": None}
        return {**config, "training_params": training, "outputs": None}

    changed = _differences(essence(run.read_config()), essence(document))
    if changed:
        raise UserError(f"{run.path}: cannot resume, the config has changed since: {', '.join(changed)}.")
    state = run.read_state()
    if len(state["random"]) != processes.count:
        sentence = f"cannot resume with {processes.count} processes what {len(state['random'])} have begun."
        raise UserError(f"{run.path}: {sentence}")
    return state


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
