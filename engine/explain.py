"""What a key of a config means: `python -m engine.explain architecture.BiLSTM.hidden_dim`.

Named by its place (training_params.batch_size), below a class by the class (loss.SoftTargetLoss.temperature), or by the
class or key alone (BiLSTM, batch_size): then wherever there is one.
"""

import argparse
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping

import core.schema
from core.command_line import run_door
from core.conf import JSON
from core.config import ExperimentConf
from core.document import ROOT, read_document
from core.errors import UserError, did_you_mean
from engine.examples import with_examples
from engine.experiment import REGISTRIES

WIDTH = 100


def explain(asked: str) -> str:
    """What is known of a key or a class. UserError where there is none of this name."""
    schema = with_examples(core.schema.schema(ExperimentConf, REGISTRIES), shipped())
    known, place = dict(_places(schema)), _place(asked)
    found = _found(place, known)
    if not found:
        raise UserError(f"nothing in a config is called '{asked}'.{_meant(place, known)}")
    return "\n\n".join(_told(path, known[path], known) for path in found)


def _place(asked: str) -> str:
    """A place as messages about a config print it, without the numbers of lists and the `conf` around settings."""
    return ".".join(name for name in re.sub(r"\[\d*\]", "", asked).split(".") if name != "conf")


def _is_meant(place: str, path: str) -> bool:
    """Whether a path ends with the same name, and has the others in this order."""
    names, parts = place.casefold().split("."), path.casefold().split(".")
    before = iter(parts[:-1])
    return parts[-1] == names[-1] and all(name in before for name in names[:-1])


def _named(place: str, known: Iterable[str]) -> list[str]:
    return [path for path in known if path == place] or [path for path in known if _is_meant(place, path)]


def _found(place: str, known: Mapping[str, JSON]) -> list[str]:
    """The paths that a place means; below a key whose names are free, those of its values, or the key itself."""
    if found := _named(place, known):
        return found
    above, below = place, ""
    while above:
        above, _, name = above.rpartition(".")
        parts = (known[above], *known[above].get("anyOf", ())) if above in known else ()
        for values in (part["additionalProperties"] for part in parts if "additionalProperties" in part):
            return _named(f"{above}.{below}", known) if values and below else [above]
        below = f"{name}.{below}".rstrip(".")
    return []


def _meant(place: str, known: Iterable[str]) -> str:
    """The nearest key in the same place, or else the nearest of all, as a question; empty where none is near."""
    above, _, name = place.rpartition(".")
    lasts = {path.rpartition(".")[2] for path in known}
    beside = {
        f"{above}.{last}" for last in lasts if above and any(_is_meant(f"{above}.{last}", path) for path in known)
    }
    return did_you_mean(place, beside) or did_you_mean(name, lasts)


def shipped() -> list[JSON]:
    """The configs that ship."""
    folder = ROOT / "configs"
    return [read_document(path) for path in sorted(folder.rglob("*.json")) if folder / "parts" not in path.parents]


def _places(schema: JSON) -> Iterator[tuple[str, JSON]]:
    """Every key and class by its place."""
    yield from _below(schema, schema["$defs"]["config"], "", ())


def _below(schema: JSON, entry: JSON, path: str, seen: tuple[str, ...]) -> Iterator[tuple[str, JSON]]:
    """The keys of an object, and what lies below them; a definition inside of itself only once."""
    for key, inner in entry.get("properties", {}).items():
        if not inner.get("deprecated"):
            place = f"{path}.{key}".removeprefix(".")
            yield place, inner
            yield from _inside(schema, inner, place, seen)
    for case in entry.get("allOf", ()):
        name, then = case["then"]["title"], case["then"]
        place = f"{path}.{name}".removeprefix(".")
        (tag,) = case["if"]["properties"]
        conf = then.get("properties", {}).get("conf")
        yield place, {"class": name, "registry": entry["properties"][tag].get("x-registry", "")}
        own = (
            {}
            if conf is not None
            else {key: at for key, at in then["properties"].items() if key not in entry["properties"]}
        )
        yield from _below(schema, {"properties": own}, place, seen)
        yield from _inside(schema, conf or {}, place, seen)


def _inside(schema: JSON, entry: JSON, path: str, seen: tuple[str, ...]) -> Iterator[tuple[str, JSON]]:
    """What lies in the value of a key: through lists, options and objects with free names."""
    parts = [*entry.get("anyOf", ()), *([entry["items"]] if "items" in entry else [])]
    if isinstance(others := entry.get("additionalProperties"), Mapping):
        parts.append(others)
    for part in parts:
        yield from _inside(schema, part, path, seen)
    if "$ref" in entry and entry["$ref"] not in seen:
        yield from _below(schema, schema["$defs"][entry["$ref"].rpartition("/")[2]], path, (*seen, entry["$ref"]))


def _told(path: str, entry: JSON, known: Mapping[str, JSON]) -> str:
    """An entry in words."""
    if "class" in entry:
        text = inspect.cleandoc(REGISTRIES[entry["registry"]][entry["class"]].__doc__ or "")
        keys = [at for at in known if at.startswith(f"{path}.") and "." not in at.removeprefix(f"{path}.")]
        lines = [f"  {at.removeprefix(f'{path}.')}: {_kind(known[at])}" for at in keys]
        return "\n".join([path, *textwrap.indent(text, "  ").splitlines(), *(["", *lines] if lines else [])])
    lines = textwrap.wrap(entry.get("description", ""), WIDTH)
    lines.append(_kind(entry))
    lines.append(f"examples: {', '.join(map(json.dumps, entry['examples']))}" if "examples" in entry else "")
    return "\n".join([path, *(f"  {line}" for line in lines if line)])


def _kind(entry: JSON) -> str:
    """Type, range and default."""
    default = (
        f"; default {json.dumps(entry['default'])}"
        if "default" in entry
        else ""
        if "deprecated" in entry
        else "; required"
    )
    return f"{core.schema.described(entry)}{default}"


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description="What a key of a config means.")
    parser.add_argument("key", help="such as architecture.BiLSTM.hidden_dim, training_params.batch_size, BiLSTM")
    sys.stdout.write(explain(parser.parse_args().key) + "\n")


if __name__ == "__main__":
    sys.exit(run_door(main))
