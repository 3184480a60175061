"""Speed of fine-tuning and answering with a pretrained encoder, against Trainer and pipeline of transformers.

    python -m benchmarks.encoders --model DIR                      # MRPC, batch 32; a folder or a name of the hub
    python -m benchmarks.encoders --model DIR --threads 1 --clock processor   # for a machine that has other work

ours         what the config says by itself (precision auto), fp32 and bf16: the trainer with its reporter
trainer 128  transformers.Trainer, every pair padded to 128 as run_glue.py ships, fp32
trainer      the same with dynamic padding (DataCollatorWithPadding)
trainer len  the same with batches of like length (train_sampling_strategy="group_by_length"), fp32 and bf16
pipeline     transformers.pipeline("text-classification") at batch 64, fp32

Same weights, rows, batch size and optimizer; every round runs all of them one after the other over the same rows. The
table has the median over the rounds of rows/s, and of the ratio ours / other within a round with lowest and highest.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.data import add_arguments, data_overrides
from benchmarks.rounds import add_round_arguments, ratios, rounds, spread
from benchmarks.speed import ours, taken
from core.seeding import seed_everything
from core.types import Row
from engine.data import read_data, row_file
from engine.experiment import Experiment, load_experiment
from engine.predictor import Predictor, pick_device
from model_zoo.graph import Model

CONFIG = Path("configs/glue/mrpc_minilm.json")
PADDED = 128
Works = Mapping[str, Callable[[], object]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Rows per second of fine-tuning and answering with an encoder.")
    add_arguments(parser)
    add_round_arguments(parser)
    parser.add_argument("--model", required=True, help="the encoder: a folder or a name of the hub")
    parser.add_argument("--rows", type=int, default=640, help="random training rows of a round")
    parser.add_argument("--threads", type=int, help="threads of torch; 1 is steadier on a machine with other work")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--part", choices=["training", "prediction"], nargs="+", default=["training", "prediction"])
    return parser.parse_args()


class Theirs:
    """The same rows for transformers: texts split by its own tokenizer, its own model with a classification head."""

    def __init__(self, options: argparse.Namespace, rows: list[tuple[str, str, int]], folder: Path) -> None:
        from transformers import AutoTokenizer

        self.options, self.rows, self.folder = options, rows, folder
        self.tokenizer = AutoTokenizer.from_pretrained(options.model)
        self.texts = self.tokenizer(
            [a for a, _, _ in rows], [b for _, b, _ in rows], truncation=True, max_length=PADDED
        )

    def epoch(self, padded: bool = False, grouped: bool = False, bf16: bool = False) -> Callable[[], object]:
        """What trains one epoch."""
        from transformers import (
            AutoModelForSequenceClassification,
            DataCollatorWithPadding,
            Trainer,
            TrainingArguments,
            set_seed,
        )

        set_seed(1)
        texts = self.tokenizer.pad(self.texts, "max_length", PADDED) if padded else self.texts
        items = [
            {**{key: texts[key][at] for key in texts}, "labels": label} for at, (_, _, label) in enumerate(self.rows)
        ]
        settings = TrainingArguments(
            output_dir=str(self.folder / "trainer"), num_train_epochs=1, per_device_train_batch_size=32,
            learning_rate=5e-5, weight_decay=0.01, warmup_steps=0.1, max_grad_norm=1.0, optim="adamw_torch_fused",
            train_sampling_strategy="group_by_length" if grouped else "random", bf16=bf16, report_to=[],
            save_strategy="no", logging_steps=10, disable_tqdm=True, use_cpu=self.options.device == "cpu",
        )  # fmt: skip
        model = AutoModelForSequenceClassification.from_pretrained(self.options.model, num_labels=2, dtype="float32")
        trainer = Trainer(model, settings, DataCollatorWithPadding(self.tokenizer), items)
        return trainer.train

    def answers(self) -> Callable[[], object]:
        """What answers all rows by a pipeline."""
        from transformers import AutoModelForSequenceClassification, pipeline

        model = AutoModelForSequenceClassification.from_pretrained(self.options.model, num_labels=2, dtype="float32")
        pipe = pipeline(
            "text-classification", model=model, tokenizer=self.tokenizer, batch_size=64, device=self.options.device
        )
        pairs = [{"text": first, "text_pair": second} for first, second, _ in self.rows]
        return lambda: pipe(pairs)


def of_config(options: argparse.Namespace, precision: str) -> Experiment:
    """The config, for one epoch after another."""
    wanted = [f"architecture.params.model={options.model}", f"training_params.precision={precision}"]
    wanted += [f"training_params.max_epoch={options.rounds + 1}", f"training_params.device={options.device}"]
    return load_experiment(CONFIG, [*data_overrides(CONFIG, options.data), *wanted, *options.overrides])


def our_epochs(
    options: argparse.Namespace, indices: np.ndarray, folder: Path
) -> Iterator[tuple[str, Callable[[], object]]]:
    for precision in ("auto", "fp32", "bf16"):
        experiment = of_config(options, precision)
        data = read_data(experiment.conf, lambda _: None)
        seed_everything(1)
        graph, _ = experiment.trace(data.encoder.specs(), data.problem)
        epochs = ours(experiment, data, graph, taken(data.train, indices), folder / precision)
        yield f"ours {precision}", lambda epochs=epochs: next(epochs)  # type: ignore[misc]


def our_answers(options: argparse.Namespace, rows: list[Row], precision: str) -> Callable[[], object]:
    experiment = of_config(options, precision)
    data = read_data(experiment.conf, lambda _: None)
    graph, _ = experiment.trace(data.encoder.specs(), data.problem)
    model = Model(graph)
    model.load_pretrained()
    device = pick_device(options.device)
    predictor = Predictor(experiment.conf, model.to(device), data.problem, data.encoder, device, batch_size=64)
    return lambda: list(predictor.predict(rows))


def table(rows: int, own: str, times: Mapping[str, list[float]]) -> Iterator[list[str]]:
    """One line for each: its rows/s, and how much faster ours is."""
    for name, values in times.items():
        yield [name, f"{rows / median(values):,.1f}", spread(ratios(times, own, name), ".2f")]


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    conf = of_config(options, "auto").conf
    assert conf.inputs.data_paths.train_data_path is not None
    everything = list(row_file(conf, conf.inputs.data_paths.train_data_path))
    indices = np.sort(np.random.default_rng(1).permutation(len(everything))[: options.rows])
    rows = [everything[at] for at in indices.tolist()]
    pairs = [(row.cells["first"], row.cells["second"], int(row.cells["label"])) for row in rows]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = Theirs(options, pairs, folder)
        parts: dict[str, Callable[[], Works]] = {
            "training": lambda: {
                **dict(our_epochs(options, indices, folder)),
                "trainer 128": theirs.epoch(padded=True),
                "trainer": theirs.epoch(),
                "trainer len": theirs.epoch(grouped=True),
                "trainer len bf16": theirs.epoch(grouped=True, bf16=True),
            },
            "prediction": lambda: {
                "ours auto": our_answers(options, rows, "auto"),
                "ours fp32": our_answers(options, rows, "fp32"),
                "pipeline": theirs.answers(),
            },
        }
        for part in options.part:
            times = rounds(options, parts[part]())
            for own in ("ours auto", "ours fp32"):
                print(f"\n| {part} | rows/s | {own} / this |\n|---|---|---|")
                for line in table(len(rows), own, times):
                    print(f"| {' | '.join(line)} |", flush=True)
    lengths = [len(ids) for ids in theirs.texts["input_ids"]]
    print(
        f"\n{options.rounds} rounds of {len(rows):,} pairs of {np.mean(lengths):.0f} pieces on average (the longest "
        f"{max(lengths)}), {options.clock} time, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
