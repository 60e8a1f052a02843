"""How an action is described to clients, which build their methods from it (spec 3.2)."""

import keyword
import re
from collections.abc import Iterable
from typing import Any, get_origin

from msgspec import Struct, inspect

from treadle.core.access import PUBLIC
from treadle.core.actions import Action

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
TAKEN = frozenset({"connect", "close", "send_request"})
"""Methods of the printed client, which an action of that name would overwrite."""


def check(actions: Iterable[Action]) -> None:
    """Raises ValueError for an action or a parameter that clients could not make a method or an argument of."""
    for action in actions:
        if not _fits(action.name) or action.name in TAKEN:
            raise ValueError(f"{action.name} cannot be the name of an action here")
        for field in inspect.type_info(action.params).fields:  # type: ignore[attr-defined]
            if not _fits(field.encode_name) or field.encode_name == "self":
                raise ValueError(f"{action.name}: {field.encode_name} cannot be the name of a parameter here")


def described(action: Action, *, allowed: bool) -> dict[str, Any]:
    """One row of `list_actions`."""
    required, optional = parameters_of(action.params)
    return {
        "description": action.summary,
        "required_parameters": required,
        "optional_parameters": optional,
        "returns": _returns(action.result),
        "permission": None if action.scope == PUBLIC else permission_of(action.scope),
        "mutating": not action.reads,
        "cloud_controller_only": False,
        "allowed": allowed,
    }


def parameters_of(params: type[Struct]) -> tuple[dict[str, str], dict[str, str]]:
    """The required and the optional parameters of a struct, each with its type word."""
    required: dict[str, str] = {}
    optional: dict[str, str] = {}
    kind = inspect.type_info(params)
    assert isinstance(kind, inspect.StructType)
    for field in kind.fields:
        if field.required:
            required[field.encode_name] = word(field.type)
        else:
            optional[field.encode_name] = word(field.type)
    return required, optional


def word(kind: inspect.Type) -> str:
    """The type word of spec 3.2: `str`, `int`, `list[str]`, `str(a|b)`, with `?` where null may stand."""
    match kind:
        case inspect.Metadata():
            return word(kind.type)
        case inspect.StrType() | inspect.UUIDType() | inspect.DateTimeType():
            return "str"
        case inspect.BoolType():
            return "bool"
        case inspect.IntType():
            return "int"
        case inspect.FloatType():
            return "float"
        case inspect.LiteralType(values=values):
            texts = all(isinstance(value, str) for value in values)
            return f"str({'|'.join(map(str, values))})" if texts else "int"
        case inspect.EnumType(cls=cls):
            return f"str({'|'.join(str(member.value) for member in cls)})"
        case inspect.DictType(value_type=value):
            return "map[str]" if word(value) == "str" else "map"
        case inspect.StructType() | inspect.TypedDictType() | inspect.DataclassType():
            return "map"
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) | inspect.SetType(item_type=item):
            inner = word(item)
            return f"list[{inner}]" if inner != "any" else "list"
        case inspect.UnionType(types=types):
            words = sorted({word(each) for each in types if not isinstance(each, inspect.NoneType)})
            nullable = "?" if any(isinstance(each, inspect.NoneType) for each in types) else ""
            if words == ["float", "int"]:
                words = ["float"]
            return (words[0] if len(words) == 1 else "any") + nullable
        case _:
            return "any"


def permission_of(scope: str) -> str:
    """A scope as this document spells it: `server:start` is `server.start`."""
    return scope.replace(":", ".")


def scope_of(permission: str) -> str:
    return permission.replace(".", ":")


def _returns(result: Any) -> dict[str, str]:
    if isinstance(result, type) and get_origin(result) is None and issubclass(result, Struct):
        required, optional = parameters_of(result)
        return {**required, **optional}
    return {}


def _fits(name: str) -> bool:
    return _NAME.match(name) is not None and not keyword.iskeyword(name)
