from dataclasses import field
from typing import Any, ClassVar, Literal

import jsonschema
import pytest

import core.conf
from core import schema
from core.conf import Choice, PositiveInt, Rate, annotations, field_docs, notices, read, to_json
from core.registry import Registry

SHAPES = Registry("shape")


@SHAPES.register
class Circle:
    """A circle."""

    class Conf(core.conf.Conf):
        radius: PositiveInt
        """Radius in metres."""
        fill: Rate = 0.5
        """Share that is filled."""
        aliases: ClassVar = {"filled": "fill"}
        ignored: ClassVar = {"colour": "Nobody paints any more."}


class ItemConf(core.conf.Conf):
    choice: ClassVar = Choice(tag="shape", registry="shape")
    shape: str
    conf: dict[str, Any] = field(default_factory=dict)


class RootConf(core.conf.Conf):
    items: list[ItemConf]
    mode: Literal["fast", "slow"] | None = None
    width: PositiveInt | list[PositiveInt] = 3


CHECKER = schema.schema(RootConf, {"shape": SHAPES})


def messages(document):
    return [str(problem) for problem in schema.problems(document, CHECKER)]


def circle(**conf):
    return {"items": [{"shape": "Circle", "conf": conf}]}


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(CHECKER)


def test_a_sound_document_has_no_problems():
    assert messages({**circle(radius=1), "mode": "fast", "width": [1, 2]}) == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (circle(radius=1, fil=0.1), "items[0].conf.fil: unknown field of Circle. Did you mean 'fill'?"),
        (circle(radius=0), "items[0].conf.radius: must be at least 1, got 0."),
        (circle(radius=1, fill=1.0), "items[0].conf.fill: must be below 1, got 1.0."),
        (circle(radius="big"), 'items[0].conf.radius: must be a whole number, got "big".'),
        (circle(), "items[0].conf: 'radius' is missing in Circle."),
        ({"items": [{"shape": "Circle"}]}, "items[0]: 'conf' is missing in Circle."),
        ({"items": [{"shape": "Circle", "conf": None}]}, "items[0].conf: must be an object, got null."),
        ({"items": [{"shape": "Cirle"}]}, 'items[0].shape: no shape is called "Cirle". Did you mean \'Circle\'? Accepted: "Circle".'),
        ({"items": 3}, "items: must be a list, got 3."),
        ({"items": [], "mode": "fats"}, 'mode: must be one of "fast", "slow" or null, got "fats". Did you mean \'fast\'?'),
        ({"items": [], "width": 0}, "width: must be at least 1, got 0."),
        ({"items": [], "width": [1, 0]}, "width[1]: must be at least 1, got 0."),
        ({"items": [], "width": "x"}, 'width: must be a whole number or a list, got "x".'),
        ({"items": [], "width": True}, "width: must be a whole number or a list, got true."),
    ],
)  # fmt: skip
def test_a_problem_is_one_sentence_with_its_path(document, expected):
    assert messages(document) == [expected]


def test_all_problems_are_found_at_once():
    document = {"items": [{"shape": "Circle", "conf": {"radius": 0, "x": 1}}, {"conf": {}}], "mod": 1}
    assert len(messages(document)) == 4


def test_aliases_are_read_as_their_field_and_ignored_keys_pass():
    assert messages(circle(radius=1, filled=0.2, colour="red")) == []
    assert read(Circle.Conf, {"radius": 1, "filled": 0.2, "colour": "red"}).fill == 0.2


@pytest.mark.parametrize("conf", [{"fill": 0.1, "filled": 0.2, "radius": 1}, {"filled": 0.2, "radius": 1, "fill": 0.1}])
def test_an_alias_beside_its_field_has_no_effect_and_is_noticed(conf):
    assert read(Circle.Conf, conf).fill == 0.1
    assert list(notices(Circle.Conf, conf)) == [("filled", "has no effect. It is another name of fill, which is set.")]


def test_a_conf_checks_its_ranges_in_python_too():
    with pytest.raises(ValueError, match="radius must be at least 1, got 0"):
        Circle.Conf(radius=0)


def test_reading_and_writing_a_conf_is_the_identity():
    value = {"items": [{"shape": "Circle", "conf": {"radius": 1}}], "mode": None, "width": [4, 5]}
    assert to_json(read(RootConf, value)) == value


def test_null_stands_for_a_list_or_an_object_that_may_be_left_out():
    class Conf(core.conf.Conf):
        names: list[str] = field(default_factory=lambda: ["a"])
        item: ItemConf = field(default_factory=lambda: ItemConf(shape="Circle"))
        size: int = 3

    checker = schema.schema(Conf, {"shape": SHAPES})
    assert schema.problems({"names": None, "item": None}, checker) == []
    assert read(Conf, {"names": None, "item": None}) == Conf()
    assert [str(problem) for problem in schema.problems({"size": None, "names": 3}, checker)] == [
        "names: must be a list or null, got 3.",
        "size: must be a whole number, got null.",
    ]


def test_whole_numbers_are_read_as_floats_where_a_float_is_wanted():
    assert isinstance(read(Circle.Conf, {"radius": 1, "fill": 0}).fill, float)


def test_the_docstring_under_a_field_is_its_description():
    assert field_docs(Circle.Conf)["radius"] == "Radius in metres."
    assert CHECKER["$defs"]["shape.Circle"]["properties"]["radius"]["description"] == "Radius in metres."


def test_every_field_of_every_conf_has_a_description_and_a_default_or_is_required():
    from core.config import ExperimentConf
    from engine.experiment import REGISTRIES

    written = schema.schema(ExperimentConf, REGISTRIES)
    for name, definition in written["$defs"].items():
        for key, entry in definition["properties"].items():
            assert entry.get("description"), f"{name}.{key} has no description"


def test_annotations_keep_the_ranges():
    assert annotations(Circle.Conf)["fill"] is Rate
