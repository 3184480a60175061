"""What a training says: a progress bar, one line per validation, JSON lines, TensorBoard."""

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

import core.conf
from core.conf import JSON
from core.config import ExperimentConf
from core.files import written_aside
from core.run_folder import METRICS, TENSORBOARD, RunFolder
from core.types import Scores
from engine.trainers.base import Report, Workplace
from model_zoo.graph import Layer, Model

ALWAYS = ("loss", "learning_rate", "rows_per_second")
"""What every record of a training has; trainers and weightings add their own."""


def score_text(score: float | None) -> str:
    """A score as it is printed; that of metrics which the data leaves without meaning is undefined."""
    return "undefined" if score is None or math.isnan(score) else f"{score:.4f}"


class Reporter:
    """Writes the records of a training to its run folder and to the terminal."""

    def __init__(self, run: RunFolder, place: Workplace, conf: ExperimentConf, say: Callable[[str], None]) -> None:
        first_step, total_steps = place.progress.step, place.learning_rate.total_steps
        _forget_after(first_step, run / METRICS)
        from torch.utils.tensorboard import SummaryWriter  # costs time that only a training has

        self._board = SummaryWriter(str(run / TENSORBOARD), purge_step=first_step or None)
        self._board._get_file_writer().add_event(graph_event(place.trained.steps))  # type: ignore[no-untyped-call]
        self._shown = place.trained if conf.outputs.histograms else None
        """The model whose weights are shown as histograms."""
        self._accelerator = place.processes.accelerator
        if conf.outputs.trackers:
            self._accelerator.init_trackers(run.path.resolve().name, _settings(core.conf.to_json(conf)))
        self._lines = (run / METRICS).open("a", encoding="utf-8")
        self._bar = tqdm(total=total_steps, initial=first_step, unit="step", disable=None, file=sys.stderr)
        self._say = say
        self._seen_step = first_step
        self._losses: list[tuple[float, int]] = []
        """(mean loss, steps) of the training reports since the last validation."""

    def training(self, report: Report) -> None:
        """What a trainer reports: its loss, learning rate and speed."""
        self._losses.append((report.loss, report.step - self._seen_step))
        self._seen_step = report.step
        self._bar.update(report.step - self._bar.n)
        self._bar.set_postfix_str(f"loss {report.loss:.4f}", refresh=False)
        values = {
            **dict(zip(ALWAYS, (report.loss, report.learning_rate, round(report.rows_per_second, 1)), strict=True)),
            **report.more,
        }
        self._record("train", report, values)

    def validation(self, report: Report, scores: Scores, best: bool) -> None:
        """The scores of a validation, in one line with the mean training loss since the last one."""
        self._record("validation", report, scores)
        steps = sum(count for _, count in self._losses)
        loss = sum(mean * count for mean, count in self._losses) / steps
        self._losses.clear()
        if self._shown is not None:
            self._add_histograms(self._shown, report.step)
        shown = ", ".join(f"{name} {score_text(value)}" for name, value in scores.items())
        with tqdm.external_write_mode(file=sys.stderr):
            mark = " *best" if best else ""
            self._say(f"epoch {report.epoch + 1}, step {report.step}: loss {loss:.4f}, {shown}{mark}")

    def _record(self, kind: str, report: Report, values: Mapping[str, float]) -> None:
        known = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._lines.write(json.dumps({"kind": kind, "step": report.step, "epoch": report.epoch + 1, **known}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, report.step)
        self._accelerator.log({f"{kind}/{name}": value for name, value in values.items()}, report.step)

    def _add_histograms(self, model: Model, step: int) -> None:
        """The weights as they are, and the gradients of the last step."""
        for name, parameter in model.named_parameters():
            self._board.add_histogram(f"weights/{name}", parameter.detach().float(), step)
            if parameter.grad is not None and not parameter.grad.is_sparse:
                self._board.add_histogram(f"gradients/{name}", parameter.grad.float(), step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._board.close()
        self._lines.close()
        for tracker in self._accelerator.trackers:
            tracker.finish()


class SilentReporter(Reporter):
    """That of a process that trains along: the first one speaks for all."""

    def __init__(self, run: RunFolder, place: Workplace, conf: ExperimentConf, say: Callable[[str], None]) -> None:
        pass

    def training(self, report: Report) -> None:
        """Nothing."""

    def validation(self, report: Report, scores: Scores, best: bool) -> None:
        """Nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def graph_event(layers: Sequence[Layer]) -> Any:
    """The layers as TensorBoard's graph: each names its block, what it reads and its shape."""
    from tensorboard.compat.proto import attr_value_pb2, event_pb2, graph_pb2, node_def_pb2, versions_pb2

    known = {layer.id for layer in layers}
    branches = {address.partition(".")[0] for layer in layers for address in layer.inputs} - known
    nodes = [node_def_pb2.NodeDef(name=_node(branch), op="Input") for branch in sorted(branches)]
    for layer in layers:
        shape = attr_value_pb2.AttrValue(s=str(layer.output_spec).encode())
        read = [_node(address.partition(".")[0]) for address in layer.inputs]
        nodes.append(node_def_pb2.NodeDef(name=_node(layer.id), op=layer.block, input=read, attr={"shape": shape}))
    graph = graph_pb2.GraphDef(node=nodes, versions=versions_pb2.VersionDef(producer=22))
    return event_pb2.Event(graph_def=graph.SerializeToString())


def _node(name: str) -> str:
    """A name that TensorBoard takes."""
    return re.sub(r"[^A-Za-z0-9_.\-/]", "_", name)


def _settings(document: JSON, path: str = "") -> dict[str, str | int | float | bool]:
    """Every single value of a config by its path."""
    if isinstance(document, Mapping | list):
        items = document.items() if isinstance(document, Mapping) else enumerate(document)
        found: dict[str, str | int | float | bool] = {}
        for key, value in items:
            found |= _settings(value, f"{path}.{key}".removeprefix("."))
        return found
    return {} if document is None else {path: document}


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _forget_after(step: int, path: Path) -> None:
    """Drop what an interrupted training wrote after the state that it goes on from."""
    if path.exists():
        kept = [line for line in path.read_text("utf-8").splitlines(keepends=True) if _step_of(line) <= step]
        with written_aside(path) as aside:
            aside.write_text("".join(kept), encoding="utf-8")
