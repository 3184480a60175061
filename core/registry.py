"""A registry: the classes that a place of the config may name, each with its typed Conf."""

from collections.abc import Iterator
from typing import TypeVar

from core.errors import did_you_mean, known_names

T = TypeVar("T", bound=type)


class Registry:
    """Classes by the name that configs use. `kind` is how messages call them ("block", "loss")."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type] = {}

    def register(self, cls: T) -> T:
        """Class decorator: `cls` is known by its `name`, else by its class name; its Conf knows whom it builds."""
        name: str = vars(cls).get("name", cls.__name__)
        if name in self._classes and self._classes[name].__module__ != cls.__module__:
            raise ValueError(f"two {self.kind} classes are called '{name}': {self._classes[name]} and {cls}")
        self._classes[name] = cls
        if hasattr(cls, "Conf"):
            if "Conf" not in vars(cls):  # the Conf of its parent builds the parent
                inherited: type = cls.Conf
                cls.Conf = type(
                    "Conf", (inherited,), {"__qualname__": f"{cls.__qualname__}.Conf", "__module__": cls.__module__}
                )
            cls.Conf.owner = cls
        return cls

    def names(self) -> list[str]:
        """All names in alphabetical order."""
        return sorted(self._classes)

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def __getitem__(self, name: str) -> type:
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def unknown(self, name: str) -> str:
        """The sentence for a name that is not registered."""
        hint = did_you_mean(name, self._classes) or known_names(self._classes)
        return f"no {self.kind} is called '{name}'.{hint}"
