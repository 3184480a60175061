"""Quality over seeds: mean and standard deviation of every metric, beside baselines that need no network.

    python -m benchmarks.quality --conf_path configs/wikiqa/bilstm.json configs/wikiqa/cnn.json --seeds 1 2 3
    python -m benchmarks.quality --conf_path configs/glue/sst2_bilstm.json --set training_params.max_epoch=3

Each seed is a training of its own, in a run folder below --runs; a finished one is not trained again
without --force, an interrupted one goes on where it was.
The dev scores are those of the best model, the test scores what it gets on the test file, where the config names one.

Baselines, fitted on the training rows with the words of the config:
majority      the share of each label (regression: the mean) for every row
random        a random score for every row, mean over the seeds
bag of words  logistic regression (regression: ridge) over the words of all branches; multi-label: one for each label
word overlap  for two branches: logistic regression over how many different words they share
word's tag    for tagging: the most frequent tag of each word in train, unknown words share one
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from benchmarks.data import add_arguments, data_overrides
from benchmarks.jobs import train_to_the_end
from core.run_folder import SCORES
from core.types import Scores
from engine.data import Data, read_data, row_file
from engine.draft import make_problem
from engine.experiment import Experiment, cache_folder, load_experiment
from engine.inference import keep_scores, test
from engine.predictor import Predictor
from problems import Classification, MultiLabel, Regression, SequenceTagging
from problems.base import Decoded
from problems.sequence_tagging import DecodedTags
from text.encoded import EncodedRows, encode_file
from text.vocabulary import SPECIALS

Parts = Mapping[str, Scores]
"""dev, test -> scores."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mean and standard deviation of the scores over seeds.")
    add_arguments(parser)
    parser.add_argument("--conf_path", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("runs/quality"), help="folder of the run folders")
    parser.add_argument("--force", action="store_true", help="train finished runs again")
    parser.add_argument("--baselines", action="store_true", help="only the baselines")
    return parser.parse_args()


def seeded(options: argparse.Namespace, conf_path: Path, seed: int) -> Experiment:
    """The config with its data, one seed and a run folder of its own."""
    run = options.runs / f"{conf_path.parent.name}_{conf_path.stem}_{seed}"
    own = [f"training_params.seed={seed}", f"outputs.save_base_dir={run}"]
    return load_experiment(
        conf_path, [*data_overrides(conf_path, options.data, options.overrides), *options.overrides, *own]
    )


def trained(experiment: Experiment, force: bool) -> Parts:
    """Train, unless the run is finished; the scores of its best model."""
    run = train_to_the_end(experiment, lambda _: None, force)
    has_test = experiment.conf.inputs.data_paths.test_data_path is not None
    if has_test and "test" not in run.read_json(SCORES):
        scores, rows, file = test(Predictor.load(run.path), None)
        keep_scores(run, scores, file, len(rows), None)
    kept = run.read_json(SCORES)
    metrics = list(kept["validation"])
    parts = {"dev": kept["validation"], "test": kept.get("test", {})}
    return {part: {name: _number(scores[name]) for name in metrics} for part, scores in parts.items() if scores}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def baselines(experiment: Experiment, seeds: Sequence[int]) -> Iterator[tuple[str, list[Parts]]]:
    """Name and scores of each baseline, by seed where it depends on one."""
    data = read_data(experiment.conf, lambda _: None)
    rows = {"dev": data.valid, **_test_rows(experiment, data)}
    labels = len(data.problem.labels or ())
    metrics = experiment.conf.metrics or data.problem.default_metrics
    if isinstance(data.problem, SequenceTagging) and not data.encoder.pieces:
        tags = {part: _tags_of_words(r, data) for part, r in rows.items()}
        yield (
            "word's tag",
            [{part: data.problem.score(metrics, tags[part], r.targets) for part, r in rows.items()}],
        )
    if not isinstance(data.problem, Classification | MultiLabel | Regression):
        return
    target_N = data.train.targets[data.problem.target_columns[0]]
    has_sets = isinstance(data.problem, MultiLabel)
    if has_sets:
        target_N = target_N.multi_hot(labels).astype(int)

    def scored(answer: Callable[[EncodedRows], np.ndarray]) -> Parts:
        data.problem.tune(Decoded(answer(data.valid)), data.valid.targets)
        return {part: data.problem.score(metrics, Decoded(answer(r)), r.targets) for part, r in rows.items()}

    def fitted(features: Callable[[EncodedRows], Any]) -> Parts:
        model = LogisticRegression(max_iter=1000) if labels else Ridge()
        model = OneVsRestClassifier(model) if has_sets else model
        model.fit(features(data.train), target_N)
        answer = model.predict_proba if labels else model.predict
        return scored(lambda r: answer(features(r)))

    is_class = labels and not has_sets
    constant = np.bincount(target_N, minlength=labels) / len(target_N) if is_class else target_N.mean(0)
    yield "majority", [scored(lambda r: np.repeat(constant[None], len(r), 0))]

    def drawn(seed: int) -> Parts:
        random = np.random.default_rng(seed)
        shape = (labels,) if has_sets else ()
        return scored(
            lambda r: random.dirichlet(np.ones(labels), len(r)) if is_class else random.random((len(r), *shape))
        )

    yield "random", [drawn(seed) for seed in seeds]
    yield "bag of words", [fitted(lambda r: hstack(_words(r, data), format="csr"))]
    if len(data.train.plan.branches) == 2:

        def overlapping(seed: int) -> Parts:
            random = np.random.default_rng(seed)
            return fitted(lambda r: _shared_words(r, data) + random.random((len(r), 1)))

        yield "word overlap", [overlapping(seed) for seed in seeds]


def _test_rows(experiment: Experiment, data: Data) -> dict[str, EncodedRows]:
    conf, path = experiment.conf, experiment.conf.inputs.data_paths.test_data_path
    if path is None:
        return {}
    file = row_file(conf, path)
    return {"test": encode_file(file, data.encoder, data.problem, cache_folder(conf), conf.inputs.on_bad_row)}


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


def _tags_of_words(rows: EncodedRows, data: Data) -> DecodedTags:
    """The most frequent tag of each word in train."""
    column = next(iter(data.train.plan.words_of))
    words_N, tags_N = data.train.columns[column].values, data.train.targets[data.problem.target_columns[0]].values
    counts_VC = np.zeros((len(data.encoder.vocabularies["word"]), len(data.problem.labels or ())))
    np.add.at(counts_VC, (words_N, tags_N), 1)
    counts_VC += counts_VC.sum(0) / (1 + counts_VC.sum())  # what no word in train tells, all words tell
    texts = rows.columns[column]
    return DecodedTags(texts.with_values(counts_VC.argmax(1)[texts.values]))


def table_rows(name: str, results: Sequence[Parts]) -> Iterator[str]:
    """One row for dev, one for test."""
    for part in results[0]:
        shown = []
        for metric in results[0][part]:
            values = np.array([result[part][metric] for result in results])
            spread = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
            shown.append(f"{values.mean():.4f}{spread}")
        yield f"| {name} | {part} | {len(results)} | {' | '.join(shown)} |"


def main() -> None:
    options = arguments()
    shown: list[str] = []
    for conf_path in options.conf_path:
        experiments = [seeded(options, conf_path, seed) for seed in options.seeds]
        conf = experiments[0].conf
        metrics = conf.metrics or list(make_problem(conf.inputs).default_metrics)
        title = [str(conf.inputs.data_paths.train_data_path), "rows", "seeds", *metrics]
        if title != shown:
            print(f"{chr(10) * bool(shown)}| {' | '.join(title)} |\n{'|---' * len(title)}|", flush=True)
            shown = title
            for name, results in baselines(experiments[0], options.seeds):
                print(*table_rows(name, results), sep="\n", flush=True)
        if not options.baselines:
            results = [trained(experiment, options.force) for experiment in experiments]
            print(*table_rows(str(conf_path), results), sep="\n", flush=True)


if __name__ == "__main__":
    main()
