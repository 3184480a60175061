"""Encoders that runs have trained: `runs/teacher`, or `runs/teacher/LAYER` where a run has several."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from torch import Tensor

from core.conf import JSON
from core.errors import UserError, did_you_mean, known_names
from core.pretrained import WEIGHTS, encoder_config, pretrained_folder, read_foreign_json
from core.run_folder import CONFIG, PROBLEM, RunFolder
from core.run_folder import WEIGHTS as RUN_WEIGHTS


@dataclass(frozen=True)
class RunEncoder:
    """A pretrained encoder as a run has trained it.

    run    where it lies
    layer  its id there
    conf   its settings there: those of transformers (config), its tokenizer, the layers it has kept, ...
    """

    run: RunFolder
    layer: str
    conf: dict[str, JSON]

    @classmethod
    def named(cls, name: str) -> Self | None:
        """The one of this name; None where no run is called so.

        UserError where the run has no such encoder, or several of which none is named.
        """
        path = Path(name).expanduser()
        folder, layer = (path, None) if path.is_dir() else (path.parent, path.name)
        needed = [CONFIG] if layer is None else [CONFIG, PROBLEM]  # a config alone may lie beside anything
        if not all((folder / file).is_file() for file in needed):
            return None
        layers = read_foreign_json(folder / CONFIG).get("architecture")
        if not isinstance(layers, list):
            return None
        found = {part["layer_id"]: part["conf"] for part in layers if _is_encoder(part)}
        if not found:
            raise UserError(f"{folder}: this run has no pretrained encoder.")
        if layer is None and len(found) > 1:
            raise UserError(f"{folder}: this run has several encoders; name one, as {folder / next(iter(found))}.")
        chosen = layer or next(iter(found))
        if chosen not in found:
            hint = did_you_mean(chosen, found) or known_names(found)
            raise UserError(f"{folder}: this run has no encoder '{chosen}'.{hint}")
        return cls(RunFolder(folder), chosen, found[chosen])

    def refuse_if_untrained(self) -> None:
        """UserError where the run has no sound model, or its training has not come to its end."""
        self.run.refuse_if_untrained()
        if not self.run.is_finished:
            raise UserError(f"{self.run.path}: is not trained to its end; --resume goes on with it.")

    def tokenizer(self) -> dict[str, JSON]:
        """The state of its tokenizer. UserError where it is damaged."""
        try:
            state: dict[str, JSON] = self.run.read_problem()["inputs"]["pieces"][self.conf["tokenizer"]]
        except (KeyError, TypeError) as error:
            raise UserError(f"{self.run / PROBLEM}: damaged, it has no tokenizer of '{self.layer}'.") from error
        return state

    def weights(self) -> dict[str, Tensor]:
        """Its weights in the best model of the run, by their names inside the layer. UserError where damaged."""
        found, _ = self.run.read_weights()
        start = f"blocks.{self.layer}:."  # as model_zoo.graph calls them
        return {name.removeprefix(start): weight for name, weight in found.items() if name.startswith(start)}


def settings_of(name: str) -> JSON:
    """The settings of an encoder of transformers, or of one that a run has trained. UserError where there is none."""
    run = RunEncoder.named(name)
    if run is None:
        return encoder_config(name)
    run.refuse_if_untrained()
    return run.conf["config"]


def weight_files(name: str) -> list[Path]:
    """Where the weights of such an encoder lie. UserError where there are none."""
    run = RunEncoder.named(name)
    return sorted(pretrained_folder(name, WEIGHTS).glob(WEIGHTS)) if run is None else [run.run / RUN_WEIGHTS]


def _is_encoder(layer: JSON) -> bool:
    """Whether this layer of a run has settings of transformers."""
    conf = layer.get("conf") if isinstance(layer, dict) else None
    config = conf.get("config") if isinstance(conf, dict) else None
    return isinstance(config, dict) and "model_type" in config and isinstance(layer.get("layer_id"), str)
