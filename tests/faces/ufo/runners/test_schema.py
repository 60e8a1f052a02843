"""The schemas that hold a model's answers, made from what devices say of their tools."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.faces.ufo.runners.schema import FINISH_SCHEMA, fault, is_strict, parameters, step_schema
from treadle.faces.ufo.running import Tool

POINT = {
    "$defs": {"P": {"type": "object", "properties": {"x": {"type": "integer", "title": "X"}}, "required": ["x"]}},
    "type": "object",
    "title": "Click",
    "properties": {
        "at": {"$ref": "#/$defs/P"},
        "name": {"anyOf": [{"type": "string", "maxLength": 99999}, {"type": "null"}], "default": None},
        "button": {"type": "string", "enum": ["left", "right"], "pattern": "^l|r$"},
    },
    "required": ["at", "gone"],
}
CLEAN = {
    "type": "object",
    "properties": {
        "at": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"],
               "additionalProperties": False},
        "name": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "button": {"type": "string", "enum": ["left", "right"]},
    },
    "required": ["at"],
    "additionalProperties": False,
}  # fmt: skip


def test_references_are_resolved_and_what_engines_do_not_know_is_left_out() -> None:
    assert parameters(Tool("click", input_schema=POINT)) == CLEAN


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "string"}, {"properties": 7}, {"$ref": "#/nope"}])
def test_a_tool_that_does_not_say_what_it_takes_takes_an_object(schema: dict[str, Any]) -> None:
    assert parameters(Tool("t", input_schema=schema)) == {"type": "object"}


def test_a_schema_without_an_end_is_bounded() -> None:
    endless: dict[str, Any] = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(5000)}}
    loop = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}
    many = {"type": "object", "properties": {f"p{n}": {"$ref": "#"} for n in range(10)}}
    for schema in (endless, wide, loop, many):
        assert len(str(parameters(Tool("t", input_schema=schema)))) < 1_000_000


FAULTS: list[tuple[dict[str, Any], str | None]] = [
    ({"at": {"x": 1}}, None),
    ({"at": {"x": 1.0}, "name": None, "button": "left"}, None),
    ({"at": {"x": True}}, "args.at.x must be of type integer"),
    ({"at": {}}, "args.at.x is missing"),
    ({"at": {"x": 1}, "z": 1}, "args.z is not known; known: at, name, button"),
    ({"at": {"x": 1}, "button": "middle"}, "args.button must be one of ['left', 'right']"),
    ({"at": {"x": 1}, "name": 7}, "args.name must be of type string"),
    ({"at": [1]}, "args.at must be of type object"),
    ({}, "args.at is missing"),
]


@pytest.mark.parametrize(("args", "why"), FAULTS)
def test_arguments_are_checked(args: dict[str, Any], why: str | None) -> None:
    assert fault(args, CLEAN) == why


def test_lists_are_checked_inside() -> None:
    schema = {"type": "array", "items": {"type": "integer"}}
    assert fault([1, 2], schema) is None
    assert fault([1, "2"], schema, "ids") == "ids[1] must be of type integer"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "properties", "required", "items", "anyOf", "$ref", "enum", "x", "allOf"]), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(_JSON.filter(lambda value: isinstance(value, dict)), _JSON)
def test_whatever_a_device_says_makes_a_schema_that_can_be_checked(schema: dict[str, Any], value: object) -> None:
    cleaned = parameters(Tool("t", input_schema=schema))
    assert cleaned["type"] == "object"
    fault(value, cleaned)
    assert is_strict(cleaned) in (True, False)


def test_one_step_is_a_thought_and_one_action() -> None:
    schema = step_schema({"click": CLEAN, "finish": FINISH_SCHEMA})
    [click, finish] = schema["properties"]["action"]["anyOf"]
    assert click["properties"] == {"tool": {"type": "string", "enum": ["click"]}, "args": CLEAN}
    assert finish["properties"]["args"] == FINISH_SCHEMA


def test_strict_is_said_only_of_what_is() -> None:
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert is_strict(step_schema({"t": closed, "finish": FINISH_SCHEMA}))
    assert is_strict(step_schema({"finish": FINISH_SCHEMA}, thoughts=False))
    for loose in (CLEAN, {"type": "object"}, {**closed, "required": []}, {**closed, "properties": {"a": {}}}):
        assert not is_strict(step_schema({"t": loose}))
