"""The ways to learn from several teachers, beside each other: scores over seeds, and how far each is from the average.

    python -m benchmarks.distillation --seeds 1 2 3 4 5                 # MRPC, the BiLSTM of student.json
    python -m benchmarks.distillation --on rte --methods student average rl_kd
    python -m benchmarks.distillation --student student_encoder         # two layers of the encoder

The configs are those of configs/distillation/mrpc, laid over with the data of SETS. The teachers of a set are trained
once, in --runs; then every method is trained with every seed. What is finished is not trained again, what was
interrupted goes on. The table has mean and standard deviation of each metric, and of its difference from `average` with
the same seed: a method is better than the average only where that difference stands clear of its spread.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.data import add_arguments, data_overrides, encoder_overrides, find
from benchmarks.quality import Parts, trained
from core.conf import JSON
from core.document import composed
from engine.experiment import Experiment, load_experiment

CONFIGS = Path("configs/distillation/mrpc")
TEACHERS = ("pooler", "mean", "short", "match")
BASELINE = "average"
SETS: Mapping[str, Mapping[str, JSON]] = {
    "mrpc": {},
    "rte": {
        "inputs.data_paths": {"train_data_path": "RTE/train.tsv", "valid_data_path": "RTE/dev.tsv"},
        "inputs.file_header": {"first": "sentence1", "second": "sentence2", "label": "label"},
        "inputs.labels": ["entailment", "not_entailment"],
        "metrics": ["accuracy", "auc"],
    },
    "qnli": {
        "inputs.data_paths": {"train_data_path": "QNLI/train.tsv", "valid_data_path": "QNLI/dev.tsv"},
        "inputs.file_header": {"first": "question", "second": "sentence", "label": "label"},
        "inputs.labels": ["entailment", "not_entailment"],
        "metrics": ["accuracy", "auc"],
    },
    "wikiqa": {
        "inputs.data_paths": {
            "train_data_path": "WikiQA/WikiQA-train.tsv",
            "valid_data_path": "WikiQA/WikiQA-dev.tsv",
            "test_data_path": "WikiQA/WikiQA-test.tsv",
        },
        "inputs.file_header": {"group": "QuestionID", "first": "Question", "second": "Sentence", "label": "Label"},
        "inputs.group_by": "group",
        "metrics": ["auc", "map", "mrr"],
    },
}
"""Data set -> what it changes in the configs of MRPC, paths below the folder of the data sets."""

METHODS: Mapping[str, tuple[str, Mapping[str, JSON]]] = {
    "student": ("student", {}),
    **{
        f"only {name}": (
            "average",
            {"teachers": {name: {"type": "Run", "conf": {"path": f"runs/mrpc_teacher_{name}"}}}},
        )
        for name in TEACHERS
    },
    **{
        name: (name, {})
        for name in (BASELINE, "random", "by_validation_score", "best_per_example", "ca_mkd", "mt_bert", "agreement")
    },
    **{f"rl_kd, reward {reward}": ("rl_kd", {"trainer.conf.reward": reward}) for reward in (1, 2, 3)},
    "rl_kd, the paper's update": ("rl_kd", {"trainer.conf.update": "paper"}),
    "more_rows": ("more_rows", {}),
    "mkdm": ("mkdm", {}),
    "tmkd": ("tmkd", {}),
    "hidden_states": ("hidden_states", {}),
}
"""Method -> its config, and what is changed in it."""
OF_THE_ENCODER = ("hidden_states",)
"""Methods for a student that has layers to compare with those of its teacher."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Scores of students that learn from several teachers.")
    add_arguments(parser)
    parser.add_argument("--model", help="a folder to take in the place of the encoder that the configs name")
    parser.add_argument("--on", choices=SETS, nargs="+", default=["mrpc"], help="data sets")
    parser.add_argument("--student", choices=["student", "student_encoder"], default="student")
    parser.add_argument("--methods", choices=METHODS, nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--runs", type=Path, default=Path("runs/distillation"), help="folder of the run folders")
    parser.add_argument("--force", action="store_true", help="train finished students again")
    options = parser.parse_args()
    if options.student == "student":
        options.methods = [method for method in options.methods if method not in OF_THE_ENCODER]
    return options


def experiment(
    options: argparse.Namespace, config: str, on: str, run: Path, seed: int | None, changes: Mapping[str, JSON]
) -> Experiment:
    """A config on a data set; a seed of None is that of the config."""
    path = CONFIGS / f"{config}.json"
    wanted = {**SETS[on], **changes, "outputs.save_base_dir": str(run)}
    if files := wanted.get("inputs.data_paths"):
        wanted["inputs.data_paths"] = {key: str(find(options.data, Path(name))) for key, name in files.items()}
    if seed is not None:
        wanted["training_params.seed"] = seed
    overrides = [f"{key}={json.dumps(value)}" for key, value in wanted.items()]
    given = [] if files else data_overrides(path, options.data)
    teachers = composed(path, overrides).get("teachers", {})
    runs = [f"teachers.{name}.conf.path={options.runs / on / f'teacher_{name}'}" for name in teachers]
    encoder = [] if options.model is None else encoder_overrides(path, options.model, overrides)
    return load_experiment(path, [*given, *overrides, *runs, *encoder, *options.overrides])


def results(options: argparse.Namespace, on: str, method: str) -> list[Parts]:
    """The scores of the students of a method, by seed."""
    config, changes = METHODS[method]
    if options.student == "student_encoder" and (CONFIGS / f"{config}_encoder.json").exists():
        config = f"{config}_encoder"
    elif options.student == "student_encoder":
        other = composed(CONFIGS / "student_encoder.json")
        changes = {**{key: other[key] for key in ("architecture", "training_params")}, **changes}
    found = []
    for seed in options.seeds:
        run = options.runs / on / options.student / f"{method.replace(', ', '_').replace(' ', '_')}_{seed}"
        found.append(trained(experiment(options, config, on, run, seed, changes), options.force))
    return found


def table(found: Mapping[str, Sequence[Parts]]) -> Iterator[str]:
    """Two lines for each method, dev and test: its scores, and how far they are from the average's."""
    first = next(iter(found.values()))[0]
    metrics = list(first["dev"])
    yield f"| method | on | seeds | {' | '.join(f'{name} | - {BASELINE}' for name in metrics)} |"
    yield "|---|---|---|" + "---|---|" * len(metrics)
    for method, by_seed in found.items():
        for part in first:
            cells = []
            for name in metrics:
                values = np.array([scores[part][name] for scores in by_seed])
                cells.append(_spread(values, ""))
                base = np.array([scores[part][name] for scores in found[BASELINE]]) if BASELINE in found else values
                cells.append("" if method == BASELINE or BASELINE not in found else _spread(values - base, "+"))
            yield f"| {method} | {part} | {len(by_seed)} | {' | '.join(cells)} |"


def _spread(values: np.ndarray, sign: str) -> str:
    spread = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return f"{values.mean():{sign}.4f}{spread}"


def main() -> None:
    options = arguments()
    for on in options.on:
        for name in TEACHERS:
            run = options.runs / on / f"teacher_{name}"
            scores = trained(experiment(options, f"teacher_{name}", on, run, None, {}), False)
            print(f"{on}, teacher {name}: {scores}", flush=True)
        found = {}
        for method in options.methods:
            found[method] = results(options, on, method)
            print(f"{on}, {options.student}, {method}: {found[method]}", flush=True)
        print(f"\n{on}, {options.student}", *table(found), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
