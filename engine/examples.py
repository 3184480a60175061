"""Examples for the keys of a config: values that the shipped configs have, else values that fit."""

import copy
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from core.conf import JSON

MOST = 3
"""Examples of a key."""
LONGEST = 120
"""Characters of an example, as JSON."""


def with_examples(schema: JSON, documents: Sequence[JSON]) -> JSON:
    """The schema, each key with `examples`: what most of the documents have there, else its default or a value that
    fits.
    """
    written = copy.deepcopy(schema)
    found: dict[int, Counter[str]] = {}
    for document in documents:
        for entry, value in _visited(written, written, document):
            text = json.dumps(value)
            if value not in (None, "", [], {}) and len(text) <= LONGEST:
                found.setdefault(id(entry), Counter())[text] += 1
    for entry in _properties(written):
        counted = found.get(id(entry), Counter())
        values = [json.loads(text) for text, _ in counted.most_common(MOST)]
        entry["examples"] = values or [_fitting(entry, written["$defs"])]
    return written


def _properties(schema: JSON) -> Iterator[dict[str, JSON]]:
    """Every key of every definition, those beside a choice included."""
    for definition in schema["$defs"].values():
        cases = [case["then"].get("properties", {}) for case in definition.get("allOf", ())]
        for properties in [definition.get("properties", {}), *cases]:
            yield from (
                entry for entry in properties.values() if "description" in entry and not entry.get("deprecated")
            )


def _visited(schema: JSON, entry: JSON, value: JSON) -> Iterator[tuple[JSON, JSON]]:
    """The entries of a schema that speak of parts of a value, with these parts."""
    if "$ref" in entry:
        yield from _visited(schema, schema["$defs"][entry["$ref"].rpartition("/")[2]], value)
    for option in entry.get("anyOf", ()):
        yield from _visited(schema, option, value)
    if isinstance(value, list) and "items" in entry:
        for item in value:
            yield from _visited(schema, entry["items"], item)
    if not isinstance(value, Mapping):
        return
    parts = [entry, *(case["then"] for case in entry.get("allOf", ()) if _is_case(case, value))]
    for part in parts:
        for key, inner in part.get("properties", {}).items():
            if key in value:
                yield inner, value[key]
                yield from _visited(schema, inner, value[key])
    others = entry.get("additionalProperties")
    for key, item in value.items() if isinstance(others, Mapping) else ():
        if key not in entry.get("properties", {}):
            yield from _visited(schema, others, item)


def _is_case(case: JSON, value: Mapping[str, JSON]) -> bool:
    """Whether the name in a value picks this case."""
    return all(value.get(key) == wanted["const"] for key, wanted in case["if"]["properties"].items())


def _fitting(entry: JSON, definitions: Mapping[str, JSON]) -> JSON:
    """A value that an entry accepts: its default, or the simplest one."""
    if entry.get("default") not in (None, [], {}, ""):
        return entry["default"]
    if "enum" in entry:
        return entry["enum"][0]
    if "anyOf" in entry:
        return _fitting(entry["anyOf"][0], definitions)
    if "$ref" in entry:
        definition = definitions[entry["$ref"].rpartition("/")[2]]
        properties = {**definition.get("properties", {})}
        for case in definition.get("allOf", ())[:1]:
            properties |= case["then"].get("properties", {})
        return {key: _fitting(properties[key], definitions) for key in definition.get("required", ())}
    simple: dict[str, JSON] = {"boolean": True, "string": "text", "array": [], "object": {}, "null": None}
    kind = entry.get("type", "string")
    if kind not in ("integer", "number"):
        return [_fitting(entry["items"], definitions)] if kind == "array" and entry.get("items") else simple[kind]
    low = entry.get("minimum", entry.get("exclusiveMinimum", 0) + (1 if kind == "integer" else 0.5))
    high = entry.get("maximum", entry.get("exclusiveMaximum", low + 1))
    return low if kind == "integer" else (low + high) / 2
