"""The rows of a training, encoded, with what was fitted on them; and what is to say and to refuse about them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from block_zoo import PretrainedEncoder
from core.config import AugmentationConf, ExperimentConf
from core.errors import ConfigError, UserError
from distillation.untargeted import Untargeted
from engine.draft import make_plan, make_problem, word_init
from engine.experiment import cache_folder, score_problems
from engine.terms import Term
from model_zoo.graph import Layer
from problems.base import Problem
from text.augmentation import augmented_file
from text.encoded import EncodedRows, encode_file, encode_training_file
from text.encoder import InputEncoder
from text.folds import folds
from text.readers import RowFile
from text.vectors import VectorWords


@dataclass(frozen=True)
class Data:
    """Encoded training and validation rows, and what was fitted on the training rows."""

    train: EncodedRows
    valid: EncodedRows
    encoder: InputEncoder
    problem: Problem
    unlabelled: Sequence[tuple[RowFile, EncodedRows]] = ()
    """More training rows with their files, for which nobody says what is right."""


def read_data(conf: ExperimentConf, say: Callable[[str], None]) -> Data:
    """Encode the training and validation files (or find them encoded); vocabularies and labels are fitted on train."""
    inputs, paths = conf.inputs, conf.inputs.data_paths
    problem = make_problem(inputs)
    valid_path = paths.valid_data_path or paths.test_data_path
    assert paths.train_data_path is not None and valid_path is not None
    takes_all = inputs.involve_all_words_in_pretrained_emb and paths.pre_trained_emb is not None
    extra = VectorWords(*vector_source(conf)) if takes_all else ()
    plan = make_plan(conf, extra)
    more = [] if paths.unlabelled_data_path is None else [row_file(conf, paths.unlabelled_data_path, plan.text_columns)]
    train, encoder = encode_training_file(
        row_file(conf, paths.train_data_path), plan, problem, cache_folder(conf), inputs.on_bad_row, more
    )
    if word_init(conf) is not None and "word" in encoder.vocabularies:
        encoder.learn = encoder.vocabularies["word"].add
    valid = encode_file(row_file(conf, valid_path), encoder, problem, cache_folder(conf), inputs.on_bad_row)
    untargeted = Untargeted(passage=plan.passage)
    unlabelled = [
        (file, encode_file(file, encoder, untargeted, cache_folder(conf), inputs.on_bad_row)) for file in more
    ]
    for name, rows in (("training", train), *(("unlabelled", rows) for _, rows in unlabelled), ("validation", valid)):
        skipped = f", {rows.skipped} bad rows skipped" if rows.skipped else ""
        say(f"{name} rows: {len(rows):,}{skipped}")
    if (left_out := conf.training_params.left_out) is not None:
        train = train.taken(np.flatnonzero(folds(train, problem.group_by, left_out.of) != left_out.fold))
        say(f"training rows without fold {left_out.fold} of {left_out.of}: {len(train):,}")
        if not len(train):
            raise UserError(f"{paths.train_data_path}: all rows belong to fold {left_out.fold}. Take more rows.")
    if inputs.augmentation is not None:
        sources = [(row_file(conf, paths.train_data_path), train), *unlabelled]
        unlabelled.append(_augmented(conf, inputs.augmentation, sources, encoder, say))
    encoder.learn = None
    train = train.taught()
    if idle := len(train) - train.rows_with_examples:
        say(f"{idle:,} training rows teach nothing: their answer lies outside of what is read of the text")
    if idle == len(train):
        sentence = "no answer lies inside what is read of its text. Raise max_lengths, fixed_lengths or window_size."
        raise UserError(f"{paths.train_data_path}: {sentence}")
    return Data(train, valid, encoder, problem, unlabelled)


def _augmented(
    conf: ExperimentConf,
    augmentation: AugmentationConf,
    sources: Sequence[tuple[RowFile, EncodedRows]],
    encoder: InputEncoder,
    say: Callable[[str], None],
) -> tuple[RowFile, EncodedRows]:
    """The rows that are made of others. Their words are no news: they do not count in vocabularies."""
    paths, columns, folder = conf.inputs.data_paths, encoder.text_columns, cache_folder(conf)
    held_out = [row_file(conf, path, columns) for path in (paths.valid_data_path, paths.test_data_path) if path]
    lines = [(file, rows.lines) for file, rows in sources]
    file = augmented_file(augmentation, lines, held_out, columns, encoder.plan.tokenizer, folder)
    rows = encode_file(file, encoder, Untargeted(), folder, "skip")
    possible = augmentation.copies * sum(len(rows) for _, rows in sources)
    say(f"augmented rows: {len(rows):,}; {possible - len(rows):,} more would stand twice, or in another file")
    return file, rows


def row_file(conf: ExperimentConf, path: str | Path, needed: Collection[str] | None = None) -> RowFile:
    """A data file with the columns and the format of a config; not all columns must be there if some are needed."""
    inputs = conf.inputs
    return RowFile(Path(path), inputs.file_header or {}, inputs.file_with_col_header, inputs.data_format, needed)


def checked_scores(conf: ExperimentConf, problem: Problem, source: str) -> list[str]:
    """The metrics of the config (by default the problem's own), checked again now that the labels are known."""
    if problems := score_problems(problem, conf.metrics, conf.outputs.predict_fields or []):
        raise ConfigError(source, problems)
    return list(conf.metrics) or list(problem.default_metrics)


def read_lengths(layers: Sequence[Layer], rows: EncodedRows) -> np.ndarray:
    """int64, for each example the tokens of the longest text that a layer reads: that of an encoder is cut, and has
    its pieces around it."""
    encoders = [layer for layer in layers if layer.conf.reads_pieces]
    of_encoders = {branch for layer in encoders for branch in layer.inputs}
    others = [branch for branch in rows.plan.branches if branch not in of_encoders]
    found = [rows.lengths_of([branch]) for branch in others]
    for layer in encoders:
        conf = cast(PretrainedEncoder.Conf, layer.conf)
        room = conf.room(*layer.input_specs)
        found.append(np.minimum(rows.lengths_of(layer.inputs), room) + conf.around(*layer.input_specs))
    return np.maximum.reduce(found)


def cut_counts(layers: Iterable[Layer], rows: EncodedRows) -> Iterator[tuple[Layer, int, int]]:
    """The encoders that cannot read all texts whole: the pieces of texts that they read at most, how many are cut."""
    for layer in layers:
        if layer.conf.reads_pieces:
            room = cast(PretrainedEncoder.Conf, layer.conf).room(*layer.input_specs)
            if cut := int((rows.lengths_of(layer.inputs) > room).sum()):
                yield layer, room, cut


def cut_texts(layers: Iterable[Layer], rows: EncodedRows) -> Iterator[str]:
    """For each encoder how many texts it cannot read whole, and how many answers lie in the rest."""
    for layer, room, cut in cut_counts(layers, rows):
        lengths = rows.lengths_of(layer.inputs)
        sentence = f"{cut:,} of {len(lengths):,} are cut to the {room} pieces that layer '{layer.id}' reads"
        yield f"{sentence} (the longest has {lengths.max():,})"
        texts = [torch.from_numpy(rows.lengths_of([branch])) for branch in layer.inputs]
        pieces = cast(PretrainedEncoder.Conf, layer.conf).kept_lengths(room, texts)
        kept = zip(layer.inputs, pieces, strict=True)
        if lost := sum(rows.answers_behind(branch, length.numpy()) for branch, length in kept):
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


def vector_source(conf: ExperimentConf) -> tuple[Path, str, bool]:
    """The file of the pretrained vectors, its kind, and whether it is binary."""
    inputs = conf.inputs
    path = inputs.data_paths.pre_trained_emb
    assert path is not None
    return Path(path), inputs.pretrained_emb_type, inputs.pretrained_emb_binary_or_text == "binary"
