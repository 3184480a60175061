"""transformers' Trainer on a config of ours that has an encoder: its checkpoint, rows, targets, settings and metrics.

It gets the optimizer, schedule, batch size, epochs and precision of the config, batches of like length, and keeps the
epoch with the best first metric, as ours does.
"""

import tempfile
from typing import Any

import numpy as np
import torch
from torch.utils.data import SequentialSampler

from core.config import ExperimentConf
from core.errors import UserError
from core.types import Features
from engine.data import Data, checked_scores, row_file
from engine.experiment import Experiment
from engine.predictor import pick_device, pick_precision


def items(conf: ExperimentConf, data: Data, tokenizer: Any, most: int, part: str) -> list[dict[str, Any]]:
    """The rows of a part as transformers wants them, cut to so many pieces."""
    columns = [column for branch in conf.inputs.model_inputs.values() for column in branch]
    path = getattr(conf.inputs.data_paths, f"{part}_data_path")
    rows = [row for row in row_file(conf, path) if not row.error]
    texts = tokenizer(*([row.cells[column] for row in rows] for column in columns), truncation=True, max_length=most)
    targets = (data.train if part == "train" else data.valid).targets[data.problem.target_columns[0]]
    is_value = data.problem.labels is None
    labels = [float(value) if is_value else int(value) for value in targets]
    return [{**{key: texts[key][at] for key in texts}, "labels": label} for at, label in enumerate(labels)]


def trained(experiment: Experiment, data: Data, seed: int) -> dict[str, float]:
    """The validation scores of the best epoch. UserError where the config has no encoder."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    layers = experiment.document()["architecture"]
    encoder = next((layer["conf"] for layer in layers if layer["layer"] == "PretrainedEncoder"), None)
    if encoder is None:
        raise UserError(f"{experiment.source}: has no encoder that transformers could train.")
    model, conf = encoder["model"], experiment.conf.training_params
    metrics = checked_scores(experiment.conf, data.problem, experiment.source)
    tokenizer = AutoTokenizer.from_pretrained(model)
    most = encoder["max_length"] or 512
    train, valid = (items(experiment.conf, data, tokenizer, most, part) for part in ("train", "valid"))

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
    torch.manual_seed(seed)
    labels = data.problem.num_targets or 1
    theirs = AutoModelForSequenceClassification.from_pretrained(model, num_labels=labels, dtype="float32")
    rate, decay = conf.optimizer.params["lr"], conf.optimizer.params["weight_decay"]
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, seed=seed, num_train_epochs=conf.max_epoch or 1, learning_rate=rate, weight_decay=decay,
            per_device_train_batch_size=conf.batch_size, per_device_eval_batch_size=conf.batch_size,
            lr_scheduler_type=conf.schedule.name, warmup_steps=conf.schedule.warmup_ratio, optim="adamw_torch_fused",
            max_grad_norm=conf.clip_grad_norm_max_norm, train_sampling_strategy="group_by_length", report_to=[],
            bf16=pick_precision(experiment.conf, device) == "bf16", eval_strategy="epoch", save_strategy="no",
            disable_tqdm=True, use_cpu=device.type == "cpu",
        )  # fmt: skip
        trainer = InOrder(theirs, settings, DataCollatorWithPadding(tokenizer), train, valid, compute_metrics=scores)
        trainer.train()
    epochs = [record for record in trainer.state.log_history if f"eval_{metrics[0]}" in record]
    best = max(epochs, key=lambda record: record[f"eval_{metrics[0]}"])
    return {name: best[f"eval_{name}"] for name in metrics}
