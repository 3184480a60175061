"""The stages of a config whose trainer is Staged, as configs of their own."""

from collections.abc import Iterator
from pathlib import Path

from core.conf import JSON
from core.document import merged
from core.errors import Finding
from core.run_folder import STAGES


def stage_documents(document: JSON) -> list[JSON]:
    """The config of each stage; none where the config has no sound list of stages.

    The first starts as the config says, the others from the stage before.
    """
    trainer = document.get("trainer") if isinstance(document, dict) else None
    if not isinstance(trainer, dict) or trainer.get("type") != "Staged" or set(trainer) - {"type", "conf"}:
        return []
    conf = trainer.get("conf")
    stages = conf.get("stages") if isinstance(conf, dict) and set(conf) == {"stages"} else None
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, dict) for stage in stages):
        return []
    whole = {key: value for key, value in document.items() if key != "trainer"}
    found = [merged(whole, stage) for stage in stages]
    for number, stage in enumerate(found, start=1):
        outputs, inputs = stage.get("outputs"), stage.get("inputs")
        if number > 1 and isinstance(inputs, dict) and isinstance(inputs.get("data_paths"), dict):
            stage["inputs"] = {**inputs, "data_paths": {**inputs["data_paths"], "pretrained_model_path": None}}
        if number < len(found) and isinstance(outputs, dict) and isinstance(outputs.get("save_base_dir"), str):
            folder = Path(outputs["save_base_dir"]) / STAGES / str(number)
            stage["outputs"] = {**outputs, "save_base_dir": str(folder)}
    return found


def stage_problems(document: JSON) -> Iterator[Finding]:
    """What a stage changes, but must not: what belongs to all of them."""
    for number, stage in enumerate(document["trainer"]["conf"]["stages"]):
        path, outputs, trainer = f"trainer.conf.stages[{number}]", stage.get("outputs"), stage.get("trainer")
        if isinstance(outputs, dict) and "save_base_dir" in outputs:
            sentence = f"all stages share one run folder, and its folder {STAGES}. Name it outside the stages."
            yield Finding(f"{path}: outputs.save_base_dir", sentence)
        paths = stage["inputs"].get("data_paths") if isinstance(stage.get("inputs"), dict) else None
        if number and isinstance(paths, dict) and paths.get("pretrained_model_path"):
            sentence = "a later stage begins with the weights of the one before. Name it for the first."
            yield Finding(f"{path}: inputs.data_paths.pretrained_model_path", sentence)
        if isinstance(trainer, dict) and trainer.get("type") == "Staged":
            yield Finding(f"{path}: trainer", "Staged cannot stand inside a stage. List all stages after each other.")
