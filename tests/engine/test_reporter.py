"""What a training tells others: TensorBoard and trackers."""

import json
from typing import Any, ClassVar

import pytest
from accelerate import tracking
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trainings import trained

from core.run_folder import METRICS


def board(task):
    events = EventAccumulator(str(task.run / "tensorboard"), {"histograms": 0})
    events.Reload()
    return events


def test_tensorboard_has_the_numbers_of_the_records_and_the_graph(task):
    trained(task)
    events = board(task)
    records = [json.loads(line) for line in (task.run / METRICS).read_text().splitlines()]
    for kind, name in (("train", "loss"), ("validation", "accuracy")):
        expected = [(record["step"], record[name]) for record in records if record["kind"] == kind]
        shown = [(event.step, event.value) for event in events.Scalars(f"{kind}/{name}")]
        assert [step for step, _ in shown] == [step for step, _ in expected]
        assert [value for _, value in shown] == pytest.approx([value for _, value in expected])
    nodes = {node.name: node for node in events.Graph().node}
    assert [*nodes["output"].input] == ["vector"] and nodes["states"].op == "BiLSTM"
    assert nodes["states"].attr["shape"].s == b"B x T x 16" and nodes["sentence"].op == "Input"
    assert not events.Tags()["histograms"]


def test_histograms_of_weights_and_gradients_are_there_when_asked_for(task):
    trained(task, "outputs.histograms=true")
    events = board(task)
    names = set(events.Tags()["histograms"])
    assert any(name.startswith("weights/blocks.states") for name in names)
    assert any(name.startswith("gradients/blocks.states") for name in names)
    first, *_ = sorted(name for name in names if name.startswith("weights/"))
    assert len(events.Histograms(first)) == 2  # one for each of two epochs


class Remembering(tracking.GeneralTracker):
    """A tracker that keeps what it is told."""

    name = "mlflow"
    requires_logging_directory = False
    told: ClassVar[list[Any]] = []
    settings: ClassVar[dict[str, Any]] = {}
    finished = 0

    def __init__(self, run_name, **_):
        super().__init__()
        self.run_name = run_name

    @property
    def tracker(self):
        return self

    def store_init_configuration(self, values):
        type(self).settings = values

    def log(self, values, step=None, **_):
        self.told.append((step, values))

    def finish(self):
        type(self).finished += 1


def test_a_tracker_hears_the_same_numbers_and_the_config(task, monkeypatch):
    import accelerate.accelerator

    import engine.workplace

    for module in (tracking, engine.workplace):
        monkeypatch.setattr(module, "get_available_trackers", lambda: [tracking.LoggerType.MLFLOW])
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "mlflow", Remembering)
    monkeypatch.setitem(accelerate.accelerator.LOGGER_TYPE_TO_CLASS, "mlflow", Remembering)
    trained(task, 'outputs.trackers=["mlflow"]')
    records = [json.loads(line) for line in (task.run / METRICS).read_text().splitlines()]
    told = [step for step, values in Remembering.told if "validation/accuracy" in values]
    assert told == [record["step"] for record in records if record["kind"] == "validation"]
    assert Remembering.settings["training_params.batch_size"] == 16
    assert Remembering.finished == 1


def test_a_tracker_that_is_not_installed_is_said(task, door):
    code, _, err = door("train", "--conf_path", task.path, "--set", 'outputs.trackers=["clearml"]')
    assert code == 2 and "outputs.trackers: clearml is not installed here" in err
    code, _, err = door("train", "--conf_path", task.path, "--set", 'outputs.trackers=["mlfow"]')
    assert code == 2 and "Did you mean 'mlflow'" in err
