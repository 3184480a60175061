"""Numbers of a config that move while a training goes on."""

import dataclasses
import math
from typing import Annotated, Literal, TypeVar

from core.conf import Conf, Range

Share = Annotated[float, Range(minimum=0, maximum=1)]
C = TypeVar("C", bound=Conf)


class Ramp(Conf):
    """A number that moves from `start` to `end` while training goes on, and stays before and after."""

    start: float
    """The number at first."""
    end: float
    """The number at last."""
    begin: Share = 0.0
    """Share of the training after which it starts to move."""
    until: Share = 1.0
    """Share of the training after which it has arrived."""
    shape: Literal["linear", "cosine"] = "linear"
    """Whether it moves evenly, or along a half cosine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.until <= self.begin:
            raise ValueError(f"until must be above begin ({self.begin:g}), got {self.until:g}.")

    def at(self, progress: float) -> float:
        """The number when this share of the training is done."""
        way = min(max((progress - self.begin) / (self.until - self.begin), 0.0), 1.0)
        if self.shape == "cosine":
            way = (1 - math.cos(math.pi * way)) / 2
        return self.start + (self.end - self.start) * way


def number(value: float | Ramp) -> float:
    """A number of a Conf that `at` has gone through."""
    assert not isinstance(value, Ramp), "a number moves, and nobody said where it is"
    return value


def moves(conf: Conf) -> bool:
    """Whether any number of a Conf moves."""
    return any(isinstance(getattr(conf, field.name), Ramp) for field in dataclasses.fields(conf))


def at(conf: C, progress: float) -> C:
    """A Conf with the numbers that hold at this share of the training. ValueError where one is out of its range."""
    ramps = {field.name: getattr(conf, field.name) for field in dataclasses.fields(conf)}
    numbers = {name: ramp.at(progress) for name, ramp in ramps.items() if isinstance(ramp, Ramp)}
    return dataclasses.replace(conf, **numbers) if numbers else conf
