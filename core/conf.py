"""Typed parts of a config: frozen, keyword-only dataclasses read strictly from JSON.

    class Conf(core.conf.Conf):
        hidden_dim: PositiveInt = 128
        '''Hidden units per direction.'''

The annotation is the type, the range and the schema; the line below a field is its description. A Conf checks its
ranges however it is made, in Python or from JSON. Rules between fields are ValueErrors of `__post_init__` (call super
first).
"""

import ast
import dataclasses
import functools
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Union, dataclass_transform

from core.errors import inside

JSON = Any
"""A value of a JSON document: the only place where Any is at home."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Bounds of a number; `above` and `below` exclude the bound itself."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def complaint(self, value: float) -> str:
        """What is wrong with `value`, or an empty string."""
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {self.minimum:g}, got {value:g}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {self.maximum:g}, got {value:g}"
        if self.above is not None and value <= self.above:
            return f"must be above {self.above:g}, got {value:g}"
        if self.below is not None and value >= self.below:
            return f"must be below {self.below:g}, got {value:g}"
        return ""

    def schema(self) -> dict[str, float]:
        """The same bounds as JSON Schema keywords."""
        keywords = {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "exclusiveMinimum": self.above,
            "exclusiveMaximum": self.below,
        }
        return {key: value for key, value in keywords.items() if value is not None}


PositiveInt = Annotated[int, Range(minimum=1)]
NonNegativeInt = Annotated[int, Range(minimum=0)]
PositiveFloat = Annotated[float, Range(above=0)]
NonNegativeFloat = Annotated[float, Range(minimum=0)]
Rate = Annotated[float, Range(minimum=0, below=1)]
"""A share such as a dropout rate, from 0 to below 1."""
Activation = Literal["ReLU", "PReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Tanh", "Sigmoid", "Softplus"]
"""An activation of torch.nn."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A place of the config where a name picks a class of a registry, and other keys are the fields of its Conf.

    tag       the key that holds the name (`layer`, `type`)
    registry  the kind of the registry ("block", "loss")
    conf      the key that holds the fields; None where they stand beside the tag
    open      other names are allowed too (a layer may name an earlier layer)
    """

    tag: str
    registry: str
    conf: str | None = "conf"
    open: bool = False


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Conf:
    """Base of every typed part of a config."""

    owner: ClassVar[Any] = None
    """The registered class that this Conf configures."""
    aliases: ClassVar[Mapping[str, str]] = {}
    """Other names of fields that have a default, read as if the field had been named; beside it they have no effect."""
    ignored: ClassVar[Mapping[str, str]] = {}
    """Keys that are accepted without effect, with the reason that the notice gives ("" = no notice)."""
    extra: ClassVar[str | None] = None
    """The dict field that collects keys which are no field; without it such keys are refused."""
    choice: ClassVar[Choice | None] = None

    @classmethod
    def without_effect(cls, value: Mapping[str, JSON]) -> Mapping[str, str]:
        """The keys without effect that such an object may have, with the reason."""
        return cls.ignored

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for name, annotation in annotations(type(self)).items():
            complaint = _complaint(annotation, getattr(self, name))
            if complaint:
                raise ValueError(f"{name} {complaint}.")


def annotations(cls: type[Conf]) -> dict[str, Any]:
    """Field name -> annotation, ranges kept."""
    return _annotations(cls)  # type: ignore[arg-type]  # mypy takes the hash of instances for that of the class


@functools.cache
def _annotations(cls: type[Conf]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def required(cls: type[Conf]) -> list[str]:
    """The fields that have no default."""
    missing = dataclasses.MISSING
    return [f.name for f in dataclasses.fields(cls) if f.default is missing and f.default_factory is missing]


def nullable(cls: type[Conf]) -> list[str]:
    """The lists and objects that may be left out: null stands for their default."""
    return [f.name for f in dataclasses.fields(cls) if f.default_factory is not dataclasses.MISSING]


def field_docs(cls: type[Conf]) -> dict[str, str]:
    """Field name -> the docstring under it, own and inherited."""
    return _field_docs(cls)  # type: ignore[arg-type]


@functools.cache
def _field_docs(cls: type[Conf]) -> dict[str, str]:
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not (issubclass(base, Conf) and base is not Conf and vars(base).get("__annotations__")):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, following in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                docs[statement.target.id] = inspect.cleandoc(str(following.value.value))
    return {name: docs[name] for name in annotations(cls) if name in docs}


def read(cls: type[Conf], value: Mapping[str, JSON]) -> Any:
    """An instance of `cls` from a JSON object whose keys and types the schema has approved. ValueError for the rest,
    SettingError where that is wrong with a part of it.
    """
    kinds, may_be_null = annotations(cls), nullable(cls)
    fields: dict[str, Any] = {}
    extra: dict[str, JSON] = {}
    for key, item in value.items():
        name = cls.aliases.get(key, key)
        if item is None and name in may_be_null:
            continue
        if name in kinds and name != cls.extra:
            if name == key or name not in value:
                fields[name] = _read_part(kinds[name], item, f".{key}")
        elif key not in cls.ignored:
            extra[key] = item
    if extra:
        assert cls.extra is not None, f"{cls.__qualname__} has no field {list(extra)}: the schema let it pass"
        fields[cls.extra] = _read_value(kinds[cls.extra], extra)
    return cls(**fields)


def notices(cls: type[Conf], value: JSON, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, sentence) of every key in a sound JSON object that has no effect."""
    ignored, kinds = cls.without_effect(value), annotations(cls)
    for key, item in value.items():
        here = f"{path}.{key}".removeprefix(".")
        name = cls.aliases.get(key, key)
        if ignored.get(key):
            yield here, f"has no effect. {ignored[key]}"
        elif name != key and name in value:
            yield here, f"has no effect. It is another name of {name}, which is set."
        elif name in kinds and name != cls.extra:
            yield from _notices(kinds[name], item, here)
        elif cls.extra:
            yield from _notices(typing.get_args(kinds[cls.extra])[1], item, here)


def _notices(annotation: Any, value: JSON, path: str) -> Iterator[tuple[str, str]]:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        for option in args:
            yield from _notices(option, value, path)
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _notices(args[0], item, f"{path}[{index}]")
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _notices(args[1], item, f"{path}.{key}")
    elif isinstance(annotation, type) and issubclass(annotation, Conf) and isinstance(value, Mapping):
        yield from notices(annotation, value, path)


def to_json(value: Any) -> JSON:
    """A Conf (or a plain value) as JSON, every default written out; collected extra keys stand where they came from."""
    if isinstance(value, Conf):
        written = {name: to_json(getattr(value, name)) for name in annotations(type(value))}
        if value.extra:
            written |= written.pop(value.extra)
        return written
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def _read_value(annotation: Any, value: JSON) -> Any:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _read_value(args[0], value)
    if origin in (Union, types.UnionType):
        return _read_value(next(option for option in args if _fits(option, value)), value)
    if isinstance(annotation, type) and issubclass(annotation, Conf):
        return read(annotation, value)
    if origin is list:
        return [_read_part(args[0], item, f"[{index}]") for index, item in enumerate(value)]
    if origin is dict:
        return {key: _read_part(args[1], item, f".{key}") for key, item in value.items()}
    if annotation in (int, float):
        return annotation(value)
    return value


def _read_part(annotation: Any, value: JSON, place: str) -> Any:
    with inside(place):
        return _read_value(annotation, value)


def _fits(annotation: Any, value: JSON) -> bool:
    """Whether a value, JSON or read already, is of an annotation's kind: picks the member of a union."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _fits(args[0], value)
    if origin in (Union, types.UnionType):
        return any(_fits(option, value) for option in args)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in args)
    if origin is list:
        return isinstance(value, list) and all(_fits(args[0], item) for item in value)
    if isinstance(annotation, type) and issubclass(annotation, Conf):
        return isinstance(value, dict | annotation)
    if origin is dict:
        return isinstance(value, dict)
    if annotation is type(None):
        return value is None
    if annotation in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        return annotation is float or int(value) == value  # JSON knows no kinds of numbers: 8.0 is a whole number
    return annotation is Any or (annotation not in (int, float) and isinstance(value, annotation))


def _complaint(annotation: Any, value: Any) -> str:
    """What a range inside `annotation` has against `value`, or an empty string."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return next((said for bound in args[1:] if isinstance(bound, Range) and (said := bound.complaint(value))), "")
    if origin in (Union, types.UnionType):
        fitting = [option for option in args if _fits(option, value)]
        return _complaint(fitting[0], value) if fitting else f"cannot be {value!r}"
    if origin is list:
        return next((said for item in value if (said := _complaint(args[0], item))), "")
    return ""
