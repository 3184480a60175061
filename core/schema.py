"""JSON Schema (2020-12) from Confs and registries, and what it has against a document, in our own words."""

import dataclasses
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union

import jsonschema
from jsonschema.exceptions import ValidationError

from core.conf import JSON, Conf, Range, annotations, field_docs, nullable, required, to_json
from core.errors import Finding, did_you_mean, known_names
from core.registry import Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
BOUNDS = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}


def schema(root: type[Conf], registries: Mapping[str, Registry]) -> dict[str, JSON]:
    """The schema of documents that `root` reads; each named class of a registry allows only its own keys."""
    builder = _Builder(registries)
    reference = builder.reference(root, "config")
    return {"$schema": DIALECT, "title": "Blocksmith config", **reference, "$defs": builder.definitions}


def definition(cls: type[Conf], registries: Mapping[str, Registry]) -> dict[str, JSON]:
    """The schema of one Conf."""
    builder = _Builder(registries)
    builder.reference(cls, "self")
    written: dict[str, JSON] = builder.definitions["self"]
    return written


def described(entry: Mapping[str, JSON]) -> str:
    """The type and range of a schema entry in words: `a whole number, at least 1`."""
    if "anyOf" in entry:
        return " or ".join(dict.fromkeys(described(option) for option in entry["anyOf"]))
    if entry.get("type") == "array":
        return f"a list of: {described(entry['items'])}" if entry.get("items") else "a list"
    bounds = [f"{words} {entry[key]:g}" for key, words in BOUNDS.items() if key in entry]
    return ", ".join([_expected(entry), *bounds])


def problems(document: JSON, checker: Mapping[str, JSON]) -> list[Finding]:
    """Everything the schema has against a document, each with its path."""
    found = jsonschema.Draft202012Validator(checker).iter_errors(document)
    return [problem for error in found for problem in _translate(error)]


def path_text(steps: Iterable[str | int]) -> str:
    """`architecture[1].conf.hidden_dim` from its steps."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def definition_key(kind: str, name: str) -> str:
    """Where the definition of a registered class stands."""
    return f"{kind.replace(' ', '_')}.{name}".removeprefix(".")


class _Builder:
    def __init__(self, registries: Mapping[str, Registry]) -> None:
        self.registries = registries
        self.definitions: dict[str, JSON] = {}

    def reference(self, cls: type[Conf], title: str | None = None, kind: str = "") -> dict[str, JSON]:
        """A `$ref` to the definition of `cls`, made on first use; `kind` keeps apart what is called the same."""
        words = re.sub("(?<=[a-z])(?=[A-Z])", "_", cls.__qualname__.removesuffix(".Conf").removesuffix("Conf"))
        title = title or words.lower()
        key = definition_key(kind, title)
        if key not in self.definitions:
            self.definitions[key] = {}
            self.definitions[key] = self._object(cls, title)
        return {"$ref": f"#/$defs/{key}"}

    def _object(self, cls: type[Conf], title: str) -> dict[str, JSON]:
        written: dict[str, JSON] = {"title": title, "type": "object", "properties": self._properties(cls)}
        if cls.owner is not None and cls.owner.__doc__:
            written["description"] = cls.owner.__doc__.strip().split("\n")[0]
        if needed := required(cls):
            written["required"] = needed
        if cls.choice:
            self._add_choice(cls, written)
        elif cls.extra:
            written["additionalProperties"] = self._type(annotations(cls)[cls.extra])["additionalProperties"]
        if cls.choice is None or cls.choice.conf is not None or "allOf" not in written:
            written.setdefault("additionalProperties", False)
        return written

    def _properties(self, cls: type[Conf]) -> dict[str, JSON]:
        docs = field_docs(cls)
        properties: dict[str, JSON] = {}
        for field in dataclasses.fields(cls):
            if field.name == cls.extra:
                continue
            entry = self._type(annotations(cls)[field.name])
            if field.name in nullable(cls):
                entry = _or_null(entry)
            if field.name in docs:
                entry["description"] = docs[field.name]
            default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
            if default is not dataclasses.MISSING:
                entry["default"] = to_json(default)
            properties[field.name] = entry
        for alias, name in cls.aliases.items():
            properties[alias] = {**properties[name], "deprecated": True, "description": f"Another name of {name}."}
        for key, reason in cls.ignored.items():
            properties[key] = {"deprecated": bool(reason), "description": f"Has no effect. {reason}".strip()}
        return properties

    def _add_choice(self, cls: type[Conf], written: dict[str, JSON]) -> None:
        choice, properties = cls.choice, written["properties"]
        assert choice is not None
        registry = self.registries[choice.registry]
        names: dict[str, JSON] = {"enum": registry.names()}
        tag = {**properties[choice.tag], "x-registry": registry.kind}
        tag.pop("type", None)
        properties[choice.tag] = {**tag, "anyOf": [names, {"type": "string"}]} if choice.open else {**tag, **names}
        cases = []
        for name in registry:
            conf: type[Conf] | None = getattr(registry[name], "Conf", None)
            if conf is None:
                continue
            then: JSON = {"title": name}
            if choice.conf is None:
                then |= {"properties": {**properties, **self._properties(conf)}, "additionalProperties": False}
            elif required(conf):
                then["properties"] = {choice.conf: self.reference(conf, name, registry.kind)}
                then["required"] = [choice.conf]
            else:
                then["properties"] = {choice.conf: _or_null(self.reference(conf, name, registry.kind))}
            when = {"properties": {choice.tag: {"const": name}}, "required": [choice.tag]}
            cases.append({"if": when, "then": then})
        if cases:
            written["allOf"] = cases

    def _type(self, annotation: Any) -> dict[str, JSON]:
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated:
            written = self._type(args[0])
            for bound in args[1:]:
                if isinstance(bound, Range):
                    written.update(bound.schema())
            return written
        if origin is Literal:
            return {"enum": list(args)}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self._type(option) for option in args]}
        if origin is list:
            return {"type": "array", "items": self._type(args[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self._type(args[1])}
        if isinstance(annotation, type) and issubclass(annotation, Conf):
            return self.reference(annotation)
        simple = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
        return {"type": simple[annotation]} if annotation in simple else {}


def _or_null(entry: dict[str, JSON]) -> dict[str, JSON]:
    return {"anyOf": [entry, {"type": "null"}]}


def _translate(error: ValidationError) -> list[Finding]:
    path = path_text(error.absolute_path)
    value, rule = error.instance, error.validator_value
    where: Mapping[str, JSON] = error.schema
    if error.validator == "anyOf":
        return _of_best_option(error, path)
    if error.validator == "additionalProperties":
        known = [key for key, entry in where.get("properties", {}).items() if not entry.get("deprecated")]
        owner = where.get("title", "this object")
        extra = [key for key in value if key not in where.get("properties", {})]
        return [
            Finding(
                f"{path}.{key}".removeprefix("."),
                f"unknown field of {owner}.{did_you_mean(key, known) or known_names(known)}",
            )
            for key in extra
        ]
    if error.validator == "required":
        name = error.message.split("'")[1]
        return [Finding(path, f"'{name}' is missing in {where.get('title', 'the config')}.")]
    if error.validator == "enum":
        hint = did_you_mean(value, [str(name) for name in rule]) if isinstance(value, str) else ""
        kind = f"no {where['x-registry']} is called" if "x-registry" in where else "not accepted:"
        return [Finding(path, f"{kind} {_short(value)}.{hint} Accepted: {', '.join(map(_short, rule))}.")]
    if error.validator in BOUNDS:
        return [Finding(path, f"must be {BOUNDS[error.validator]} {rule}, got {_short(value)}.")]
    if error.validator == "type":
        return [Finding(path, f"must be {_expected(where)}, got {_short(value)}.")]
    return [Finding(path, f"{error.message}.")]


def _of_best_option(error: ValidationError, path: str) -> list[Finding]:
    """For a value that fits no member of a union: what the member of its own kind says, else the list of kinds."""
    options = error.validator_value
    kind = next(name for name, test in _KIND_TESTS.items() if test(error.instance))
    for index, option in enumerate(options):
        kinds = ("integer", "number") if kind in ("integer", "number") else (kind,)
        if option.get("type") in kinds or ("$ref" in option and kind == "object"):
            inner = [inner for inner in error.context or () if inner.schema_path[0] == index]
            if any(i.validator != "type" or i.absolute_path != error.absolute_path for i in inner):
                return [problem for inner_error in inner for problem in _translate(inner_error)]
    described = " or ".join(dict.fromkeys(_expected(option) for option in options))
    choices = [str(name) for option in options for name in option.get("enum", [])]
    hint = did_you_mean(error.instance, choices) if isinstance(error.instance, str) else ""
    return [Finding(path, f"must be {described}, got {_short(error.instance)}.{hint}")]


_KIND_TESTS: dict[str, Any] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int),
    "number": lambda value: isinstance(value, float),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _expected(option: Mapping[str, JSON]) -> str:
    if "enum" in option:
        return "one of " + ", ".join(map(_short, option["enum"]))
    if "anyOf" in option:
        return " or ".join(_expected(inner) for inner in option["anyOf"])
    return KINDS["object"] if "$ref" in option else KINDS.get(option.get("type", ""), "anything")


def _short(value: JSON) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
