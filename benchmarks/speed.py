"""Training and prediction speed of the query classifier: ours, a stand-in for NeuronBlocks, and a bare PyTorch loop.

    python -m benchmarks.speed                       # batch 32 and 128, about ten minutes
    python -m benchmarks.speed --batch_sizes 128 --rounds 9 --rows 15876
    python -m benchmarks.speed --threads 1 --clock processor   # for a machine that has other work

ours      the trainer with its reporter, and the Predictor, on encoded rows
stand-in  benchmarks/standin.py on the same rows, padded to 32 tokens beforehand; its LSTM runs over the padding, as
          NeuronBlocks' does under fixed_lengths, which its config has
packed    the same, but kinder than NeuronBlocks is: its LSTM runs over the real tokens only
bare      our model and our batches, made beforehand, in a minimal loop with fused Adam

Every round runs the four one after the other over the same rows. The table has the median over the rounds of rows/s,
and of the ratios within a round with the lowest and the highest. Encoding and start are measured by startup.py.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.data import add_arguments, data_overrides
from benchmarks.rounds import add_round_arguments, ratios, rounds, spread
from benchmarks.standin import WIDTH, Learner, Rows, StandIn
from core.run_folder import RunFolder
from core.seeding import seed_everything
from core.types import Batch
from engine.data import Data, read_data
from engine.experiment import Experiment, load_experiment
from engine.objective import Objective
from engine.predictor import Predictor
from engine.processes import Processes
from engine.reporter import Reporter
from engine.teaching import TrainingSet
from engine.trainers.base import Report, make_trainer
from engine.workplace import make_accelerator, make_workplace
from model_zoo.graph import Graph, Model
from text.batching import prediction_batches, training_batches
from text.encoded import EncodedRows
from text.padding import pad

CONFIG = Path("configs/distillation/query_classifier.json")
CPU = torch.device("cpu")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Rows per second in training and prediction.")
    add_arguments(parser)
    add_round_arguments(parser)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--rows", type=int, default=6400, help="random training rows of a round")
    parser.add_argument("--threads", type=int, help="threads of torch; 1 is steadier on a machine with other work")
    return parser.parse_args()


def taken(rows: EncodedRows, indices: np.ndarray) -> EncodedRows:
    """Some of the rows, in memory."""
    columns = {name: ragged.taken(indices) for name, ragged in rows.columns.items()}
    targets = {name: values[indices] for name, values in rows.targets.items()}
    return EncodedRows(rows.plan, columns, targets, rows.lines[indices])


def ours(experiment: Experiment, data: Data, graph: Graph, rows: EncodedRows, run: Path) -> Iterator[Report]:
    """The training of engine.training.train without validation: each item ends an epoch."""
    _, terms = experiment.trace(data.encoder.specs(), data.problem)
    return epochs(experiment, Model(graph), Objective(terms), TrainingSet(rows), run)


def epochs(
    experiment: Experiment, model: Model, objective: Objective, rows: TrainingSet, run: Path
) -> Iterator[Report]:
    """The same for a model, losses and rows that are at hand."""
    conf = experiment.conf
    place = make_workplace(conf, model, objective, [rows], Processes(make_accelerator(conf)))
    trainer = make_trainer(conf, place)
    run.mkdir()
    with Reporter(RunFolder(run), place, conf, lambda _: None) as reporter:
        for report in trainer.run():
            reporter.training(report)
            if report.validate:
                yield report


class Bare:
    """Our model on our batches, all made beforehand, in the shortest loop."""

    def __init__(self, experiment: Experiment, graph: Graph, rows: EncodedRows) -> None:
        conf = experiment.conf.training_params
        assert conf.max_epoch is not None
        self.show, self.target = conf.batch_num_to_show_results, experiment.conf.inputs.target[0]
        self.model = Model(graph)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=conf.optimizer.params["lr"], fused=True)
        size, lengths = conf.batch_size, rows.lengths
        orders = (training_batches(lengths, size, conf.seed, epoch) for epoch in range(conf.max_epoch))
        self.epochs = iter([[rows.batch(indices, [self.target]) for indices in order] for order in orders])
        self.batches = [rows.batch(indices) for indices in prediction_batches(lengths, size)]

    def epoch(self) -> None:
        """The next epoch."""
        self.model.train()
        for step, batch in enumerate(next(self.epochs), 1):
            loss = F.mse_loss(self._scores(batch), batch.targets[self.target])
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            if step % self.show == 0:
                loss.item()

    def answers(self) -> list[np.ndarray]:
        """The scores of every row, the longest first."""
        self.model.eval()
        with torch.inference_mode():
            return [self._scores(batch).numpy() for batch in self.batches]

    def _scores(self, batch: Batch) -> Tensor:
        return self.model(batch.inputs)[next(iter(self.model.outputs))].values.squeeze(1)


def padded(rows: EncodedRows, target: str, real_lengths: bool) -> Rows:
    """The same rows as the stand-in wants them."""
    column = rows.plan.words_of[next(iter(rows.plan.branches.values()))[0]]
    ids_NT, mask_NT = pad(rows.columns[column], np.arange(len(rows)), WIDTH)
    lengths_N = mask_NT.sum(1) if real_lengths else np.full(len(rows), WIDTH)
    return Rows(torch.from_numpy(ids_NT), torch.from_numpy(lengths_N), torch.from_numpy(rows.targets[target]))


def cells(rows: int, times: Mapping[str, list[float]]) -> list[str]:
    """rows/s of each, how much faster ours is than the stand-ins, and how much longer it takes than the bare loop."""
    overhead = [100 * (1 / ratio - 1) for ratio in ratios(times, "ours", "bare")]
    speeds = [f"{rows / median(values):,.0f}" for values in times.values()]
    faster = [spread(ratios(times, "ours", other), ".2f") for other in ("stand-in", "packed")]
    return [*speeds, *faster, spread(overhead, ".1f")]


def measure(options: argparse.Namespace, batch_size: int, folder: Path) -> Iterator[list[str]]:
    """The two rows of the table for one batch size."""
    wanted = [f"training_params.batch_size={batch_size}", f"training_params.max_epoch={options.rounds + 1}"]
    overrides = [*data_overrides(CONFIG, options.data), *wanted, "training_params.device=cpu", *options.overrides]
    experiment = load_experiment(CONFIG, overrides)
    conf, target = experiment.conf.training_params, experiment.conf.inputs.target[0]
    data = read_data(experiment.conf, lambda _: None)
    rows = taken(data.train, np.sort(np.random.default_rng(1).permutation(len(data.train))[: options.rows]))
    seed_everything(conf.seed)
    graph, _ = experiment.trace(data.encoder.specs(), data.problem)
    model, vocabulary = Model(graph), len(data.encoder.vocabularies["word"])

    def learner(real_lengths: bool) -> Learner:
        theirs, rate = StandIn(vocabulary), conf.optimizer.params["lr"]
        counts = [sum(p.numel() for p in module.parameters()) for module in (model, theirs)]
        assert counts[0] == counts[1], f"{counts[0]:,} parameters, but the stand-in has {counts[1]:,}"
        their_rows = padded(rows, target, real_lengths)
        show, clip = conf.batch_num_to_show_results, conf.clip_grad_norm_max_norm
        return Learner(theirs, their_rows, batch_size, rate, clip, show)

    stand_in, packed = learner(False), learner(True)
    training, least = ours(experiment, data, graph, rows, folder / str(batch_size)), Bare(experiment, graph, rows)
    works: dict[str, Callable[[], object]] = {
        "ours": lambda: next(training), "bare": least.epoch, "stand-in": stand_in.epoch, "packed": packed.epoch,
    }  # fmt: skip
    yield ["training", str(batch_size), *cells(len(rows), rounds(options, works))]
    predictor = Predictor(experiment.conf, model, data.problem, data.encoder, CPU)
    works = {
        "ours": lambda: predictor.decoded(rows), "bare": least.answers,
        "stand-in": stand_in.answers, "packed": packed.answers,
    }  # fmt: skip
    yield ["prediction", str(batch_size), *cells(len(rows), rounds(options, works))]


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    print("| | batch | ours, rows/s | bare | stand-in | packed | ours / stand-in | ours / packed | over bare, % |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for batch_size in options.batch_sizes:
            for row in measure(options, batch_size, Path(folder)):
                print(f"| {' | '.join(row)} |", flush=True)
    print(
        f"\n{options.rounds} rounds of {options.rows:,} rows, {options.clock} time, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
