"""Numbers that move: where they are at a share of the training, and how a config says so."""

import math

import pytest

import core.ramp
from core.conf import Conf, PositiveFloat, read, to_json
from core.ramp import Ramp, number


class Cooling(Conf):
    temperature: PositiveFloat | Ramp = 1.0
    name: str = "x"


@pytest.mark.parametrize(("progress", "expected"), [(0, 4), (0.2, 4), (0.35, 3), (0.5, 2), (0.8, 0), (1, 0)])
def test_a_ramp_stands_moves_evenly_and_stands(progress, expected):
    assert Ramp(start=4.0, end=0.0, begin=0.2, until=0.8).at(progress) == pytest.approx(expected)


def test_a_cosine_ramp_moves_along_half_a_wave():
    ramp = Ramp(start=1.0, end=3.0, shape="cosine")
    for progress in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert ramp.at(progress) == pytest.approx(2 - math.cos(math.pi * progress))
    assert ramp.at(0.01) - ramp.at(0.0) < 0.1 * (ramp.at(0.51) - ramp.at(0.5))


def test_a_conf_is_read_with_a_number_or_a_ramp_and_written_as_it_came():
    for written in (2.0, {"start": 4.0, "end": 1.0, "begin": 0.0, "until": 0.5, "shape": "linear"}):
        conf = read(Cooling, {"temperature": written})
        assert to_json(conf)["temperature"] == written
        assert core.ramp.moves(conf) == isinstance(written, dict)
    assert core.ramp.at(conf, 0.25) == Cooling(temperature=2.5)


def test_a_conf_without_ramps_stays_the_same_object():
    conf = Cooling(temperature=3.0)
    assert core.ramp.at(conf, 0.5) is conf and number(conf.temperature) == 3.0


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match=r"until must be above begin \(0.5\), got 0.5"):
        Ramp(start=0.0, end=1.0, begin=0.5, until=0.5)
    with pytest.raises(ValueError, match="begin must be at most 1, got 2"):
        Ramp(start=0.0, end=1.0, begin=2.0)
    falling = Cooling(temperature=Ramp(start=1.0, end=-1.0))
    assert core.ramp.at(falling, 0.25).temperature == 0.5
    with pytest.raises(ValueError, match="temperature must be above 0, got -1"):
        core.ramp.at(falling, 1.0)
