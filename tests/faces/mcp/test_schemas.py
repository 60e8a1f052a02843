"""The schema that a tool announces."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from treadle.faces.mcp.schemas import input_schema


class Thread(Struct):
    """What is woven."""

    colour: Literal["red", "blue"]


class Weave(Struct, kw_only=True):
    """What to do."""

    name: Annotated[str, Meta(description="Its name", pattern=r"^[a-z]+$(?!\n)")]
    threads: list[Thread] = []


def test_it_is_plain_json_schema() -> None:
    schema = input_schema(Weave)
    assert (schema["type"], schema["required"], schema["additionalProperties"]) == ("object", ["name"], False)
    assert schema["properties"]["name"] == {"type": "string", "description": "Its name", "pattern": "^[a-z]+$"}
    assert schema["properties"]["threads"]["items"] == {"$ref": "#/$defs/Thread"}
    assert schema["$defs"]["Thread"]["properties"]["colour"] == {"type": "string", "enum": ["blue", "red"]}
    assert list(schema["properties"]) == ["name", "threads", "format"]
