"""The run folder: all that testing, prediction and resuming need; each file is there whole or not at all.

config.json            the config, every default written out
problem.json           vocabularies and labels, with the version of this layout
weights.safetensors    the best model so far
scores.json            its validation scores (and the test scores, once test.py ran)
training_state.pt      the last state of training, for --resume only
metrics.jsonl          one line per record of the training;  tensorboard/ the same
environment.json       where and with which command it was trained, and after how many stages
report.html            all of it as a page
stages/1, stages/2     the runs of the stages before
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.conf import JSON
from core.document import read_json
from core.errors import UserError
from core.files import written_aside

VERSION = 1
CONFIG, PROBLEM, WEIGHTS, SCORES = "config.json", "problem.json", "weights.safetensors", "scores.json"
FINISHED = "finished"
"""Key of the scores that says that the training came to its end."""
STATE, METRICS, TENSORBOARD, LOCK = "training_state.pt", "metrics.jsonl", "tensorboard", ".lock"
ENVIRONMENT, REPORT, STAGES = "environment.json", "report.html", "stages"
TEACHERS = "teachers"
"""Key of the environment that says for each teacher what its answers depend on."""


class RunFolder:
    """A run on disc. Every reading method raises a UserError that says what is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def named(cls, path: Path) -> Self:
        """The run of a path: its folder, or that of a file in it, as NeuronBlocks names a model; none is opened."""
        return cls(path.parent if not path.is_dir() and (path.parent / WEIGHTS).exists() else path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def holds_a_run(self) -> bool:
        """Whether a training has begun here."""
        return (self / CONFIG).exists() or (self / WEIGHTS).exists()

    @property
    def is_finished(self) -> bool:
        """Whether its training came to its end."""
        return (self / SCORES).exists() and FINISHED in self.read_json(SCORES)

    def refuse_if_taken(self, force: bool) -> None:
        """UserError where a run lies here already and nobody asked to replace it."""
        if self.holds_a_run() and not force:
            raise UserError(
                f"{self.path}: holds a run already. Use --resume to continue it, --force to replace it, "
                "or name another folder in outputs.save_base_dir."
            )
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: is a file, but outputs.save_base_dir must name a folder.")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out. UserError where one is at work here, or nothing can be written."""
        made = not self.path.exists()
        try:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                held = FileLock(self / LOCK, timeout=0).acquire()
            except Timeout as error:
                raise UserError(f"{self.path}: another training is at work in this folder.") from error
            except OSError as error:
                reason = error.strerror or error
                raise UserError(f"outputs.save_base_dir: nothing can be written to {self.path} ({reason}).") from error
            with held:
                yield
        finally:
            if made and not self.holds_a_run() and not (self / STAGES).exists():
                shutil.rmtree(self.path, ignore_errors=True)  # nothing came of it

    def begin(self, config: JSON) -> None:
        """Make the folder for a new training; an earlier run in it goes, other files stay."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.clear()
        self.write_json(CONFIG, config)

    def clear(self) -> None:
        """The run that is here goes; other files stay, the runs of its stages among them."""
        for name in (CONFIG, WEIGHTS, SCORES, STATE, METRICS, PROBLEM, ENVIRONMENT, REPORT):
            (self / name).unlink(missing_ok=True)
        shutil.rmtree(self / TENSORBOARD, ignore_errors=True)

    def write_json(self, name: str, value: JSON) -> None:
        """Write one of the JSON files."""
        with _written(self / name) as aside:
            aside.write_text(json_text(value), encoding="utf-8")

    def read_json(self, name: str) -> dict[str, JSON]:
        """One of the JSON files. UserError where it is damaged."""
        value = read_json(self / name)
        if not isinstance(value, dict):
            raise UserError(f"{self / name}: damaged, it holds no JSON object.")
        return value

    def read_config(self) -> JSON:
        """The config that the run was trained with."""
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such run folder.")
        if not (self / CONFIG).exists():
            if (self / STAGES).is_dir():
                raise UserError(f"{self.path}: its training stopped before the last stage; train.py --resume goes on.")
            raise UserError(f"{self.path}: not a run folder, {CONFIG} is missing.")
        config = self.read_json(CONFIG)
        if "model_type" in config and "architecture" not in config:
            raise UserError(f"{self.path}: is no run folder of Blocksmith, but a model of transformers.")
        return config

    def write_problem(self, state: Mapping[str, JSON]) -> None:
        """Keep the fitted state: vocabularies and labels."""
        self.write_json(PROBLEM, {"version": VERSION, **state})

    def was_fitted_as(self, state: Mapping[str, JSON]) -> bool:
        """Whether this is the fitted state that was kept."""
        return self.read_problem() == json.loads(json_text({"version": VERSION, **state}))

    def read_problem(self) -> dict[str, JSON]:
        """The fitted state."""
        if not (self / PROBLEM).exists():
            raise UserError(f"{self.path}: the run is not complete, {PROBLEM} is missing. Train it again.")
        state = self.read_json(PROBLEM)
        version = state.get("version")
        if not isinstance(version, int):
            raise UserError(f"{self / PROBLEM}: damaged, it has no version.")
        if version > VERSION:
            raise UserError(
                f"{self.path}: written by a newer version (layout {version}, this one reads up to {VERSION}). Update."
            )
        return state

    def write_weights(self, weights: Mapping[str, Tensor], tuned: JSON = None) -> None:
        """Keep a model, and what was tuned to it on validation rows."""
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
        with _written(self / WEIGHTS) as aside:
            save_file(kept, aside, {"tuned": json.dumps(tuned)})
            aside.chmod((self / CONFIG).stat().st_mode)  # safetensors makes files that only the owner may read

    def read_weights(self) -> tuple[dict[str, Tensor], JSON]:
        """The best model of the run, and what was tuned to it."""
        with self._weights() as file:
            tuned = json.loads((file.metadata() or {}).get("tuned", "null"))
            return {name: file.get_tensor(name) for name in file.keys()}, tuned  # noqa: SIM118

    def refuse_if_untrained(self) -> None:
        """UserError where there is no model yet, or its file is not whole; the numbers in it are not read."""
        with self._weights():
            pass

    @contextmanager
    def _weights(self) -> Iterator[Any]:
        """The file of the best model."""
        if not (self / WEIGHTS).exists():
            raise UserError(f"{self.path}: has no model, {WEIGHTS} is missing (it comes with the first validation).")
        try:
            with safe_open(self / WEIGHTS, "pt") as file:
                yield file
        except OSError as error:
            raise UserError(f"{self / WEIGHTS}: cannot be read ({error.strerror or error}).") from error
        except (SafetensorError, ValueError) as error:
            raise UserError(f"{self / WEIGHTS}: damaged ({error}).") from error

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Keep the state of training."""
        with _written(self / STATE) as aside:
            torch.save(dict(state), aside)

    def read_state(self) -> dict[str, Any]:
        """The state of training, loaded without running any code it may hold."""
        if not (self / STATE).exists():
            raise UserError(f"{self.path}: nothing to resume, {STATE} is missing. Train again with --force.")
        try:
            state = torch.load(self / STATE, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in many ways inside torch and zip
            reason = str(error).split("\n")[0]
            raise UserError(f"{self / STATE}: damaged ({reason}). Train again with --force.") from error
        return state


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """`written_aside`; each library tells of a full disc in its own way, here it is one UserError."""
    try:
        with written_aside(path) as aside:
            yield aside
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{path}: cannot be written ({error}). Is the disc full? What was kept before is safe."
        ) from error


def json_text(value: JSON) -> str:
    """Strict JSON; a number that is not finite becomes null."""

    def strict(item: JSON) -> JSON:
        if isinstance(item, Mapping):
            return {key: strict(inner) for key, inner in item.items()}
        if isinstance(item, list | tuple):
            return [strict(inner) for inner in item]
        return None if isinstance(item, float) and not math.isfinite(item) else item

    return json.dumps(strict(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def refuse_output(output: Path, source: Path | None = None) -> None:
    """UserError where an output would replace what is read, or what a run is made of."""
    own = (CONFIG, PROBLEM, WEIGHTS, SCORES, STATE, METRICS, ENVIRONMENT, REPORT)
    if output.name in own and RunFolder(output.parent).holds_a_run():
        raise UserError(f"{output}: belongs to a run. Name another file in --output.")
    if source is not None and output.resolve() == source.resolve():
        raise UserError(f"{output}: is the file that is read. Name another one in --output.")
