"""The JSON Schema of an action's parameters as a tool announces it."""

from typing import Any

import msgspec
from msgspec import Struct

FORMATS = ("json", "human")
_REF = "#/$defs/{name}"


def input_schema(params: type[Struct]) -> dict[str, Any]:
    """The schema of a tool's arguments: those of the action, and `format`, which every tool takes.

    TaskDriver's document announces `human` as the default of `format`, while what comes without it is JSON
    (taskdriver.md section 12).
    """
    (top,), components = msgspec.json.schema_components((params,), ref_template=_REF)
    schema = components.pop(top["$ref"].rpartition("/")[2])
    wanted = {
        "type": "string",
        "enum": list(FORMATS),
        "default": "human",
        "description": "json: the whole result, which is also what comes without this; human: text for a person",
    }
    shown: dict[str, Any] = {
        "type": "object",
        "properties": {**schema.get("properties", {}), "format": wanted},
        "required": schema.get("required", []),
        "additionalProperties": False,
    }
    plain: dict[str, Any] = _plain({**shown, "$defs": components} if components else shown)
    return plain


def _plain(value: Any) -> Any:
    """In the plain dialect that the makers of models read: a type beside each enum, no Python in a pattern."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {name: _plain(item) for name, item in value.items()}
    if isinstance(plain.get("enum"), list) and all(isinstance(choice, str) for choice in plain["enum"]):
        plain = {"type": "string", **plain}
    if isinstance(plain.get("pattern"), str):
        plain["pattern"] = plain["pattern"].replace("(?!\\n)", "").replace(r"\Z", "$")
    return plain
