"""JSON Schemas that hold a model's answer to the tools a device has, and the check of what it answered all the same."""

from collections.abc import Mapping
from typing import Any

from treadle.faces.ufo.running import Tool

FINISH = "finish"
FINISH_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "success": {"type": "boolean"},
        # No description: small models copy it as their answer.
        "result": {"type": "string"},
    },
    "required": ["success", "result"],
    "additionalProperties": False,
}
_DEEPEST = 12
_LARGEST = 2000
"""Nodes of one tool's schema; a device's word is not trusted to be small."""
_LONGEST = 1000
"""The largest repetition that engines take in a grammar."""
_KEPT = ("type", "description", "enum", "const", "minimum", "maximum")
_LENGTHS = ("minLength", "maxLength", "minItems", "maxItems")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


class _Cleaner:
    """Rewrites one schema with what engines know: references resolved, objects closed, size and depth bounded."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root, self._left = root, _LARGEST

    def clean(self, schema: Any, depth: int = 0) -> dict[str, Any]:
        self._left -= 1
        if not isinstance(schema, dict) or depth > _DEEPEST or self._left < 0:
            return {}
        if isinstance(reference := schema.get("$ref"), str):
            return self.clean(self._found(reference), depth + 1)
        if isinstance(parts := schema.get("allOf"), list) and len(parts) == 1:
            return self.clean(parts[0], depth + 1)
        for name in ("anyOf", "oneOf"):
            if isinstance(parts := schema.get(name), list) and parts:
                return {"anyOf": [self.clean(part, depth + 1) for part in parts]}
        kept = {name: schema[name] for name in _KEPT if name in schema}
        if not isinstance(kept.get("enum", []), list):
            del kept["enum"]
        kept |= {name: n for name in _LENGTHS if type(n := schema.get(name)) is int and 0 <= n <= _LONGEST}
        if isinstance(items := schema.get("items"), dict):
            kept["items"] = self.clean(items, depth + 1)
        if isinstance(properties := schema.get("properties"), dict) and properties:
            kept |= self._object(schema, properties, depth)
        return kept

    def _object(self, schema: dict[str, Any], properties: dict[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required")
        return {
            "type": "object",
            "properties": {name: self.clean(each, depth + 1) for name, each in properties.items()},
            "required": [name for name in required if name in properties] if isinstance(required, list) else [],
            "additionalProperties": bool(schema.get("additionalProperties", False)),
        }

    def _found(self, reference: str) -> Any:
        found: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(part) if isinstance(found, dict) else None
        return found


def parameters(tool: Tool) -> dict[str, Any]:
    """The schema of a tool's arguments as engines take it: always an object."""
    cleaned = _Cleaner(tool.input_schema).clean(tool.input_schema)
    # A tool that does not say what it takes may take anything.
    return cleaned if cleaned.get("type") == "object" else {"type": "object"}


def step_schema(tools: Mapping[str, dict[str, Any]], *, thoughts: bool = True) -> dict[str, Any]:
    """The schema of one step: a thought if there are to be any, and one action that names a tool and its arguments."""
    actions = [
        {
            "type": "object",
            "properties": {"tool": {"type": "string", "enum": [name]}, "args": args},
            "required": ["tool", "args"],
            "additionalProperties": False,
        }
        for name, args in tools.items()
    ]
    # A thought without an end would use up the answer.
    properties: dict[str, Any] = {"thought": {"type": "string", "maxLength": 400}} if thoughts else {}
    properties["action"] = {"anyOf": actions}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def is_strict(schema: Any) -> bool:
    """Whether a schema keeps to the subset in which OpenAI promises to hold an answer to it."""
    if not isinstance(schema, dict) or not schema:
        return False
    if "anyOf" in schema:
        return all(map(is_strict, schema["anyOf"]))
    if "type" not in schema:
        return False
    if schema["type"] == "array":
        return is_strict(schema.get("items"))
    if schema["type"] != "object":
        return True
    properties = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(properties)
    return closed and all(map(is_strict, properties.values()))


def fault(value: Any, schema: dict[str, Any], path: str = "args") -> str | None:
    """The first way in which a value breaks a cleaned schema, or None."""
    if "anyOf" in schema:
        found = [fault(value, part, path) for part in schema["anyOf"]]
        return None if None in found else found[0]
    if "enum" in schema and value not in schema["enum"]:
        return f"{path} must be one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        return f"{path} must be {schema['const']!r}"
    if "type" in schema and not _is(value, schema["type"]):
        return f"{path} must be of type {schema['type']}"
    if isinstance(value, list) and "items" in schema:
        return next(
            (why for n, each in enumerate(value) if (why := fault(each, schema["items"], f"{path}[{n}]"))), None
        )
    if isinstance(value, dict):
        return _object_fault(value, schema, path)
    return None


def _object_fault(value: dict[str, Any], schema: dict[str, Any], path: str) -> str | None:
    properties = schema.get("properties", {})
    if absent := next((name for name in schema.get("required", ()) if name not in value), None):
        return f"{path}.{absent} is missing"
    for name, each in value.items():
        if name in properties:
            if why := fault(each, properties[name], f"{path}.{name}"):
                return why
        elif schema.get("additionalProperties") is False:
            return f"{path}.{name} is not known; known: {', '.join(properties) or 'none'}"
    return None


def _is(value: Any, kinds: Any) -> bool:
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES:
            return True  # a type that we do not know is the device's to judge
        if isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)):
            return True
        if kind == "integer" and isinstance(value, float) and value.is_integer():
            return True
    return False
