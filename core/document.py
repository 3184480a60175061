"""The config as a JSON document: read, laid over the config it extends, overridden, its architecture file filled in."""

import copy
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.conf import JSON
from core.errors import ConfigError, Finding, UserError, did_you_mean, known_names

ROOT = Path(__file__).resolve().parent.parent
"""The project folder: model_zoo files are found below it from anywhere."""
_ARCHITECTURE_KEYS = ("description", "paper", "params", "architecture")


def read_json(path: Path) -> JSON:
    """The JSON value of a file. UserError with file, line and column where it is missing or not valid JSON."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file.{_close_name(path)}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder, not a file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}).") from error
    try:
        return _parsed(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}.") from error
    except RecursionError as error:
        raise UserError(f"{path}: not a config: nested too deeply.") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def read_document(path: Path, overrides: Sequence[str] = ()) -> dict[str, JSON]:
    """The whole config document: `extends` merged in, `--set` overrides applied, an architecture file expanded.

    Relative names in `extends` start from the folder of the config that says so.
    """
    document = composed(path, overrides)
    for part in [document, *_stages(document)]:
        if isinstance(named := part.get("architecture"), dict):
            part["architecture"] = _architecture(named, path)
            if part is document:
                _check_branches(document, named["file"], path)
    return document


def _check_branches(document: JSON, file: str, source: Path) -> None:
    """ConfigError where the layers of an architecture file read no branch of the config, but others."""
    inputs, layers = document.get("inputs"), document["architecture"]
    own = inputs.get("model_inputs") if isinstance(inputs, dict) else None
    sound = [layer for layer in layers if isinstance(layer, dict)]
    ids = [layer.get("layer_id") for layer in sound]
    lists = [layer["inputs"] for layer in sound if isinstance(layer.get("inputs"), list)]
    read = dict.fromkeys(
        address.partition(".")[0] for inputs in lists for address in inputs if isinstance(address, str)
    )
    branches = [name for name in read if name not in ids]
    if isinstance(own, dict) and own and branches and own.keys().isdisjoint(branches):
        sentence = f"{file} reads the branches {', '.join(branches)}, but these are {', '.join(own)}. Name them so, or"
        raise ConfigError(str(source), [Finding("inputs.model_inputs", f"{sentence} change architecture.params.")])


def _stages(document: JSON) -> list[JSON]:
    """What the stages of a training change in a document, where it has any."""
    trainer = document.get("trainer")
    conf = trainer.get("conf") if isinstance(trainer, dict) else None
    stages = conf.get("stages") if isinstance(conf, dict) else None
    return [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []


def composed(path: Path, overrides: Sequence[str] = ()) -> dict[str, JSON]:
    """The config document before its architecture file is filled in."""
    document: dict[str, JSON] = overridden(_extended(path, ()), overrides)
    return document


def read_architecture(path: Path) -> dict[str, JSON]:
    """An architecture file: `description` and `paper`, `params` with their defaults, `architecture`: the layers.

    UserError where it is none.
    """
    template = read_json(path)
    if (
        not isinstance(template, dict)
        or not isinstance(template.get("architecture"), list)
        or not isinstance(template.get("params", {}), dict)
    ):
        raise UserError(
            f"{path}: an architecture file is an object with 'architecture', a list of layers, and 'params', an object."
        )
    for key in template:
        if key not in _ARCHITECTURE_KEYS:
            hint = did_you_mean(key, _ARCHITECTURE_KEYS) or known_names(_ARCHITECTURE_KEYS)
            raise UserError(f"{path}: unknown key '{key}' of an architecture file.{hint}")
    return template


def overridden(document: JSON, overrides: Sequence[str]) -> JSON:
    """A document with overrides `a.b[0].c=value` applied; the values are JSON, or texts where they are not."""
    changed = copy.deepcopy(document)
    for override in overrides:
        _override(changed, override)
    return changed


def merged(base: JSON, overlay: JSON) -> JSON:
    """`overlay` laid over `base`: objects are merged key by key, everything else is replaced.

    An object that names another thing than its base is replaced too: settings belong to what they are settings of.
    """
    names_another = (
        isinstance(base, dict)
        and isinstance(overlay, dict)
        and any(key in base and key in overlay and base[key] != overlay[key] for key in ("file", "name", "type"))
    )
    if isinstance(base, dict) and isinstance(overlay, dict) and not names_another:
        return {**base, **{key: merged(base.get(key), value) for key, value in overlay.items()}}
    return overlay


def _close_name(path: Path) -> str:
    """A hint at a config of nearly this name."""
    folder = path.parent if path.parent.is_dir() else Path()
    return did_you_mean(path.name, [file.name for file in folder.glob("*.json")])


def _parsed(text: str) -> JSON:
    """The value of a JSON text. ValueError for doubled keys and for numbers that are none or too large."""
    return json.loads(
        text, object_pairs_hook=_unique_keys, parse_constant=_no_number, parse_float=_finite, parse_int=_moderate
    )


def _no_number(text: str) -> JSON:
    raise ValueError(f"{text} is no number of JSON.")


def _finite(text: str) -> float:
    if math.isinf(float(text)):
        raise ValueError(f"the number {text:.30} is too large.")
    return float(text)


def _moderate(text: str) -> int:
    if len(text) > 18:  # int64 ends there
        raise ValueError(f"the number {text:.30} is too large.")
    return int(text)


def _unique_keys(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    unique: dict[str, JSON] = {}
    for key, value in pairs:
        if key in unique:
            raise ValueError(f"the key '{key}' stands twice in one object.")
        unique[key] = value
    return unique


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, JSON]:
    if path.resolve() in seen:
        raise ConfigError(str(path), [Finding("extends", "a config cannot extend itself.")])
    document = read_json(path)
    if not isinstance(document, dict):
        raise UserError(f"{path}: a config is a JSON object, not {type(document).__name__}.")
    parents = document.pop("extends", [])
    base: JSON = {}
    for parent in parents if isinstance(parents, list) else [parents]:
        if not isinstance(parent, str):
            raise ConfigError(str(path), [Finding("extends", "must be the name of a config or a list of names.")])
        if not (path.parent / parent).exists():
            missing = f"no such file: {path.parent / parent}.{_close_name(path.parent / parent)}"
            raise ConfigError(str(path), [Finding("extends", missing)])
        base = merged(base, _extended(path.parent / parent, (*seen, path.resolve())))
    named = document.get("architecture")
    if isinstance(named, dict) and isinstance(named.get("file"), str) and (path.parent / named["file"]).is_file():
        named["file"] = str(path.parent.absolute() / named["file"])  # whoever extends this lies elsewhere
    return dict(merged(base, document))


def _override(document: dict[str, JSON], override: str) -> None:
    address, equals, text = override.partition("=")
    steps = [int(step) if step.isdigit() else step for step in re.split(r"[.\[\]]+", address.strip()) if step]
    if not equals or not steps:
        raise UserError(f"--set {override}: write it as path=value, for example training_params.batch_size=64.")
    try:
        value = _parsed(text)
    except json.JSONDecodeError:
        value = text
    except ValueError as error:
        raise UserError(f"--set {override}: {error}") from error
    place: JSON = document
    for step, following in itertools.pairwise(steps):
        if isinstance(place, dict) and place.get(str(step)) is None and isinstance(following, str):
            place[str(step)] = {}
        place = _step_into(place, step, override)
    if isinstance(place, dict):
        place[str(steps[-1])] = value
    else:
        _step_into(place, steps[-1], override)
        place[steps[-1]] = value


def _step_into(place: JSON, step: int | str, override: str) -> JSON:
    if isinstance(place, dict) and str(step) in place:
        return place[str(step)]
    if isinstance(place, list) and isinstance(step, int) and step < len(place):
        return place[step]
    raise UserError(f"--set {override}: the config has nothing at '{step}'.")


def _architecture(named: Mapping[str, JSON], source: Path) -> JSON:
    """The layers of `{"file": "matching/arc_ii.json", "params": {...}}`, each `"$name"` replaced by its value."""

    def refuse(place: str, message: str) -> ConfigError:
        return ConfigError(str(source), [Finding(f"architecture{place}", message)])

    unknown = [key for key in named if key not in ("file", "params")]
    if unknown or not isinstance(named.get("file"), str) or not isinstance(named.get("params", {}), dict):
        raise refuse("", "must be a list of layers, or an object with 'file' (of model_zoo) and 'params' (an object).")
    places = [source.parent / named["file"], ROOT / "model_zoo" / named["file"]]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        zoo = ROOT / "model_zoo"
        files = [file.relative_to(zoo).as_posix() for file in zoo.rglob("*.json")]
        hint = did_you_mean(named["file"], files) or known_names(files)
        raise refuse(".file", f"model_zoo has no '{named['file']}'.{hint}")
    template = read_architecture(path)
    defaults = template.get("params", {})
    for name in named.get("params", {}):
        if name not in defaults:
            hint = did_you_mean(name, defaults) or known_names(defaults)
            raise refuse(f".params.{name}", f"unknown parameter of {named['file']}.{hint}")
    return _filled(template["architecture"], {**defaults, **named.get("params", {})}, path)


def _filled(value: JSON, parameters: Mapping[str, JSON], path: Path) -> JSON:
    if isinstance(value, dict):
        return {key: _filled(item, parameters, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, parameters, path) for item in value]
    if isinstance(value, str) and value.startswith("$"):
        if value[1:] not in parameters:
            raise UserError(f"{path}: '{value}' is no parameter of this file.{known_names(parameters)}")
        return parameters[value[1:]]
    return value
