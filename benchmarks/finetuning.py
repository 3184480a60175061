"""The score of a fine-tuned encoder beside that of transformers' Trainer with the same checkpoint and settings.

    python -m benchmarks.finetuning --model DIR --conf_path configs/glue/rte_minilm.json --seeds 1 2 3

Ours comes from benchmarks.quality with the same arguments. Trainer gets the optimizer, schedule, batch size, epochs and
precision of the config, batches of like length, and keeps the epoch with the best first metric, as ours does; rows,
targets and metrics are those of our problem.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch.utils.data import SequentialSampler

from benchmarks.data import add_arguments, data_overrides
from core.types import Features
from engine.data import Data, checked_scores, read_data, row_file
from engine.experiment import Experiment, load_experiment
from engine.predictor import pick_device, pick_precision


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Scores of transformers' Trainer for configs with an encoder.")
    add_arguments(parser)
    parser.add_argument("--model", required=True, help="the encoder: a folder or a name of the hub")
    parser.add_argument("--conf_path", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    return parser.parse_args()


def items(experiment: Experiment, data: Data, path: str, tokenizer: Any, part: str) -> list[dict[str, Any]]:
    """The rows of a file as transformers wants them."""
    columns = [column for branch in experiment.conf.inputs.model_inputs.values() for column in branch]
    rows = [row for row in row_file(experiment.conf, path) if not row.error]
    layers = experiment.document()["architecture"]
    most = next(layer["conf"]["max_length"] for layer in layers if layer["layer"] == "PretrainedEncoder") or 512
    texts = tokenizer(*([row.cells[column] for row in rows] for column in columns), truncation=True, max_length=most)
    targets = (data.train if part == "train" else data.valid).targets[data.problem.target_columns[0]]
    is_value = data.problem.labels is None
    labels = [float(value) if is_value else int(value) for value in targets]
    return [{**{key: texts[key][at] for key in texts}, "labels": label} for at, label in enumerate(labels)]


def trained(experiment: Experiment, model: str, seed: int, folder: Path) -> dict[str, float]:
    """The validation scores of the best epoch."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    conf = experiment.conf.training_params
    data = read_data(experiment.conf, lambda _: None)
    metrics = checked_scores(experiment.conf, data.problem, experiment.source)
    paths, tokenizer = experiment.conf.inputs.data_paths, AutoTokenizer.from_pretrained(model)
    assert paths.train_data_path is not None and paths.valid_data_path is not None

    def scores(answers: Any) -> dict[str, float]:
        target = data.problem.target_columns[0]
        assert np.allclose(answers.label_ids, data.valid.targets[target])
        decoded = data.problem.decode({target: Features(torch.tensor(answers.predictions))})
        return dict(data.problem.score(metrics, decoded, data.valid.targets))

    class InOrder(Trainer):
        """Rows are answered as they stand in the file, where Trainer would group these by length, too."""

        def _get_eval_sampler(self, eval_dataset: Any) -> SequentialSampler:
            return SequentialSampler(eval_dataset)

    device = pick_device(conf.device)
    rate, decay = conf.optimizer.params["lr"], conf.optimizer.params["weight_decay"]
    settings = TrainingArguments(
        output_dir=str(folder), seed=seed, num_train_epochs=conf.max_epoch or 1, learning_rate=rate, weight_decay=decay,
        per_device_train_batch_size=conf.batch_size, per_device_eval_batch_size=conf.batch_size,
        lr_scheduler_type=conf.schedule.name, warmup_steps=conf.schedule.warmup_ratio, optim="adamw_torch_fused",
        max_grad_norm=conf.clip_grad_norm_max_norm, train_sampling_strategy="group_by_length", report_to=[],
        bf16=pick_precision(experiment.conf, device) == "bf16", eval_strategy="epoch", save_strategy="no",
        disable_tqdm=True, use_cpu=device.type == "cpu",
    )  # fmt: skip
    torch.manual_seed(seed)
    labels = data.problem.num_targets or 1
    theirs = AutoModelForSequenceClassification.from_pretrained(model, num_labels=labels, dtype="float32")
    trainer = InOrder(
        theirs, settings, DataCollatorWithPadding(tokenizer),
        items(experiment, data, paths.train_data_path, tokenizer, "train"),
        items(experiment, data, paths.valid_data_path, tokenizer, "valid"), compute_metrics=scores,
    )  # fmt: skip
    trainer.train()
    epochs = [record for record in trainer.state.log_history if f"eval_{metrics[0]}" in record]
    best = max(epochs, key=lambda record: record[f"eval_{metrics[0]}"])
    return {name: best[f"eval_{name}"] for name in metrics}


def main() -> None:
    options = arguments()
    for conf_path in options.conf_path:
        found = []
        for seed in options.seeds:
            changes = [f"architecture.params.model={options.model}", f"training_params.seed={seed}"]
            overrides = [*data_overrides(conf_path, options.data), *changes, *options.overrides]
            with tempfile.TemporaryDirectory() as folder:
                found.append(trained(load_experiment(conf_path, overrides), options.model, seed, Path(folder)))
            print(conf_path, seed, found[-1], flush=True)
        for name in found[0]:
            values = [scores[name] for scores in found]
            spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
            print(f"| {conf_path} | Trainer | {len(values)} | {name} | {mean(values):.4f}{spread} |", flush=True)


if __name__ == "__main__":
    main()
