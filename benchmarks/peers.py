"""What our models are compared with: baselines that need no network, and the Trainer of transformers.

majority      the share of each label (regression: the mean) for every row
chance        a random score for every row
bag_of_words  logistic regression (regression: ridge) over the words of all branches; multi-label: one for each label
word_overlap  for two branches: logistic regression over how many different words they share
word_tag      for tagging: the most frequent tag of each word in train, unknown words share one
trainer       the encoder of a config, fine-tuned by transformers (benchmarks.finetuning); scores of dev only

They read what a config of the task reads (`Task.path`), and are fitted on the training rows.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from benchmarks import finetuning
from benchmarks.tasks import TRAINER
from core.errors import UserError
from core.types import Scores
from engine.data import Data, checked_scores, read_data, row_file
from engine.experiment import Experiment, cache_folder
from problems import Classification, MultiLabel, Regression, SequenceTagging
from problems.base import Decoded, DecodedRows
from problems.sequence_tagging import DecodedTags
from text.encoded import EncodedRows, encode_file
from text.vocabulary import SPECIALS

Answer = Callable[[EncodedRows], DecodedRows]
"""What answers rows as a model would."""


def peer_scores(
    name: str, experiment: Experiment, seed: int, also: Mapping[str, tuple[Experiment, Path]]
) -> tuple[Mapping[str, Scores], Mapping[str, int]]:
    """dev, test and further parts -> scores, and -> number of rows. UserError where the peer cannot read such data.

    also  further part -> the config that reads it, and its file
    """
    data = read_data(experiment.conf, lambda _: None)
    readers, rows = {"dev": experiment}, {"dev": data.valid}
    test = experiment.conf.inputs.data_paths.test_data_path
    for part, (reader, path) in {**({"test": (experiment, test)} if test else {}), **also}.items():
        readers[part], rows[part] = reader, _rows(reader, str(path), data)
    counts = {"train": len(data.train), **{part: len(own) for part, own in rows.items()}}
    if name == TRAINER:
        return {"dev": finetuning.trained(experiment, data, seed)}, counts
    answer, problem = BASELINES[name](data, seed), data.problem
    problem.tune(answer(data.valid), data.valid.targets)
    metrics = {part: checked_scores(of.conf, problem, of.source) for part, of in readers.items()}
    return {part: problem.score(metrics[part], answer(own), own.targets) for part, own in rows.items()}, counts


def majority(data: Data, _: int) -> Answer:
    """The share of each label, or the mean, for every row."""
    target_N, labels = _targets(data)
    is_class = labels and target_N.ndim == 1
    constant = np.bincount(target_N, minlength=labels) / len(target_N) if is_class else target_N.mean(0)
    return lambda rows: Decoded(np.repeat(np.asarray(constant)[None], len(rows), 0))


def chance(data: Data, seed: int) -> Answer:
    """A random score for every row."""
    target_N, labels = _targets(data)
    random = np.random.default_rng(seed)
    if labels and target_N.ndim == 1:
        return lambda rows: Decoded(random.dirichlet(np.ones(labels), len(rows)))
    return lambda rows: Decoded(random.random((len(rows), *target_N.shape[1:])))


def bag_of_words(data: Data, _: int) -> Answer:
    """A linear model over the words of all branches."""
    return _fitted(data, lambda rows: hstack(_words(rows, data), format="csr"))


def word_overlap(data: Data, seed: int) -> Answer:
    """A linear model over how many different words two branches share; ties are broken by chance."""
    if len(data.train.plan.branches) != 2:
        raise UserError("word_overlap: compares two texts of a row, here it has not two.")
    random = np.random.default_rng(seed)
    return _fitted(data, lambda rows: _shared_words(rows, data) + random.random((len(rows), 1)))


def word_tag(data: Data, _: int) -> Answer:
    """The most frequent tag of each word in train."""
    if not isinstance(data.problem, SequenceTagging) or data.encoder.pieces:
        raise UserError("word_tag: is for tagging by a model that reads words.")
    column = next(iter(data.train.plan.words_of))
    words_N, tags_N = data.train.columns[column].values, data.train.targets[data.problem.target_columns[0]].values
    counts_VC = np.zeros((len(data.encoder.vocabularies["word"]), len(data.problem.labels or ())))
    np.add.at(counts_VC, (words_N, tags_N), 1)
    counts_VC += counts_VC.sum(0) / (1 + counts_VC.sum())  # what no word in train tells, all words tell
    return lambda rows: DecodedTags(rows.columns[column].with_values(counts_VC.argmax(1)[rows.columns[column].values]))


BASELINES: Mapping[str, Callable[[Data, int], Answer]] = {
    "majority": majority,
    "chance": chance,
    "bag_of_words": bag_of_words,
    "word_overlap": word_overlap,
    "word_tag": word_tag,
}


def _targets(data: Data) -> tuple[np.ndarray, int]:
    """What is to be answered in train (N classes, N values, or N x C of 0 and 1), and the number of labels."""
    if not isinstance(data.problem, Classification | MultiLabel | Regression):
        raise UserError(f"this baseline answers rows with one label, several or a value, no {data.problem.name}.")
    target_N, labels = data.train.targets[data.problem.target_columns[0]], len(data.problem.labels or ())
    return (target_N.multi_hot(labels).astype(int) if isinstance(data.problem, MultiLabel) else target_N), labels


def _fitted(data: Data, features: Callable[[EncodedRows], Any]) -> Answer:
    """A linear model of these features."""
    target_N, labels = _targets(data)
    model = LogisticRegression(max_iter=1000) if labels else Ridge()
    model = OneVsRestClassifier(model) if target_N.ndim > 1 else model
    model.fit(features(data.train), target_N)
    return lambda rows: Decoded((model.predict_proba if labels else model.predict)(features(rows)))


def _rows(experiment: Experiment, path: str, data: Data) -> EncodedRows:
    conf = experiment.conf
    return encode_file(row_file(conf, path), data.encoder, data.problem, cache_folder(conf), conf.inputs.on_bad_row)


def _words(rows: EncodedRows, data: Data) -> list[csr_matrix]:
    """For each branch, which words or pieces a row has (N x V of 0 and 1); unknown words are none."""
    found, known = [], {**data.encoder.vocabularies, **data.encoder.pieces}
    for names in rows.plan.branches.values():
        column = rows.columns[rows.plan.words_of[names[0]]]
        size = len(known[rows.plan.cluster(names[0])])  # type: ignore[arg-type]
        ones = np.ones(len(column.values))
        counts = csr_matrix((ones, column.values, column.offsets), shape=(len(rows), size), copy=True)
        counts.sum_duplicates()
        counts.data[:] = 1
        found.append(counts[:, len(SPECIALS) :])
    return found


def _shared_words(rows: EncodedRows, data: Data) -> np.ndarray:
    """N x 1, how many different words two branches share."""
    first, second = _words(rows, data)
    return np.asarray(first.multiply(second).sum(1))
