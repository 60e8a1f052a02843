"""Every rule of a msgspec type that a value breaks, in the words of taskdriver.md section 2 (the English of Joi).

msgspec stops at the first fault. This walk runs only after a decode has failed, over the raw value, and finds them all.
"""

import datetime
import decimal
import enum
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from treadle.core.errors import Fault

Path = tuple[str | int, ...]


def faults(value: Any, kind: inspect.Type, *, lax: bool = False) -> list[Fault]:
    """All rules of `kind` that `value` (plain JSON data) breaks; empty if this walk finds none.

    `lax` reads the text of a query or a form: numbers and booleans are spelled out there.
    """
    return list(_Walk(lax).check(value, kind, ()))


def field_of(path: Path) -> str:
    """The dotted path: `tasks.0.typeId`; `value` for the whole."""
    return ".".join(str(part) for part in path) or "value"


def label_of(path: Path) -> str:
    """The path as a message names it: `tasks[0].typeId`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "value"


def nul_faults(value: Any) -> list[Fault]:
    """A fault for each text that holds a NUL character: no store of ours can hold one."""
    return list(_nuls(value, ()))


def _nuls(value: Any, path: Path) -> Iterator[Fault]:
    if isinstance(value, str):
        if "\0" in value:
            yield _fault(path, "must not contain a NUL character", value)
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                yield _fault((*path, key.replace("\0", "\\0")), "must not contain a NUL character in its name", item)
            else:
                yield from _nuls(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nuls(item, (*path, index))


def _fault(path: Path, rule: str, value: Any) -> Fault:
    return Fault(field_of(path), f'"{label_of(path)}" {rule}', value)


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


class _Walk:
    def __init__(self, lax: bool) -> None:
        self.lax = lax

    def check(self, value: Any, kind: inspect.Type, path: Path) -> Iterator[Fault]:
        rule: str | None = None
        while isinstance(kind, inspect.Metadata):
            rule = (kind.extra or {}).get("rule", rule)
            kind = kind.type
        match kind:
            case inspect.AnyType() | inspect.RawType():
                return
            case inspect.StrType():
                yield from self._text(value, kind, path, rule)
            case inspect.IntType() | inspect.FloatType():
                yield from self._number(value, kind, path)
            case inspect.BoolType():
                if not isinstance(value, bool) and not (self.lax and _converts(value, bool)):
                    yield _fault(path, "must be a boolean", value)
            case inspect.NoneType():
                if value is not None:
                    yield _fault(path, "must be null", value)
            case inspect.StructType():
                yield from self._object(value, kind, path)
            case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
                yield from self._array(value, kind, path)
            case inspect.DictType():
                yield from self._map(value, kind, path)
            case inspect.LiteralType():
                yield from self._one_of(value, kind.values, path)
            case inspect.EnumType():
                yield from self._one_of(value, tuple(member.value for member in kind.cls), path)
            case inspect.UnionType():
                yield from self._union(value, kind, path)
            case _:
                yield from self._other(value, kind, path)

    def _text(self, value: Any, kind: inspect.StrType, path: Path, rule: str | None) -> Iterator[Fault]:
        if not isinstance(value, str):
            yield _fault(path, "must be a string", value)
            return
        matches = kind.pattern is None or re.search(kind.pattern, value) is not None
        if value == "" and (not matches or kind.min_length):
            yield _fault(path, "is not allowed to be empty", value)
            return
        if kind.min_length is not None and len(value) < kind.min_length:
            yield _fault(path, f"length must be at least {kind.min_length} characters long", value)
        if kind.max_length is not None and len(value) > kind.max_length:
            yield _fault(path, f"length must be less than or equal to {kind.max_length} characters long", value)
        if not matches:
            if rule is not None:
                yield Fault(field_of(path), rule, value)
            else:
                yield _fault(path, f"fails to match the required pattern: /{kind.pattern}/", value)

    def _number(self, value: Any, kind: inspect.IntType | inspect.FloatType, path: Path) -> Iterator[Fault]:
        whole = isinstance(kind, inspect.IntType)
        number = value
        if self.lax and isinstance(value, str):
            number = _converted(value, float)
            if number is not None and _converts(value, int):
                number = int(float(value)) if not value.lstrip("+-").isdigit() else int(value)
        if isinstance(number, bool) or not isinstance(number, int | float):
            yield _fault(path, "must be a number", value)
            return
        if whole and isinstance(number, float) and not number.is_integer():
            yield _fault(path, "must be an integer", value)
        bounds: list[tuple[float | None, Callable[[float, float], bool], str]] = [
            (kind.ge, lambda n, bound: n >= bound, "must be greater than or equal to"),
            (kind.gt, lambda n, bound: n > bound, "must be greater than"),
            (kind.le, lambda n, bound: n <= bound, "must be less than or equal to"),
            (kind.lt, lambda n, bound: n < bound, "must be less than"),
            (kind.multiple_of, lambda n, step: n % step == 0, "must be a multiple of"),
        ]
        for bound, holds, words in bounds:
            if bound is not None and not holds(number, bound):
                yield _fault(path, f"{words} {bound}", value)

    def _object(self, value: Any, kind: inspect.StructType, path: Path) -> Iterator[Fault]:
        if not isinstance(value, dict):
            yield _fault(path, "must be of type object", value)
            return
        known = {field.encode_name for field in kind.fields}
        if kind.tag_field is not None:
            known.add(kind.tag_field)
        for field in kind.fields:
            name = field.encode_name
            if name in value:
                yield from self.check(value[name], field.type, (*path, name))
            elif field.required:
                yield Fault(field_of((*path, name)), f'"{label_of((*path, name))}" is required')
        if kind.forbid_unknown_fields:
            for name in value:
                if name not in known:
                    yield _fault((*path, name), "is not allowed", value[name])

    def _array(self, value: Any, kind: inspect.CollectionType, path: Path) -> Iterator[Fault]:
        if not isinstance(value, list):
            yield _fault(path, "must be an array", value)
            return
        yield from self._size(value, kind.min_length, kind.max_length, "items", path)
        for index, item in enumerate(value):
            yield from self.check(item, kind.item_type, (*path, index))

    def _map(self, value: Any, kind: inspect.DictType, path: Path) -> Iterator[Fault]:
        if not isinstance(value, dict):
            yield _fault(path, "must be of type object", value)
            return
        yield from self._size(value, kind.min_length, kind.max_length, "keys", path)
        for name, item in value.items():
            if any(True for _ in self.check(name, kind.key_type, path)):
                yield _fault((*path, name), "is not allowed", item)
            else:
                yield from self.check(item, kind.value_type, (*path, name))

    def _size(self, value: Any, least: int | None, most: int | None, things: str, path: Path) -> Iterator[Fault]:
        if least is not None and len(value) < least:
            yield _fault(path, f"must contain at least {least} {things}", value)
        if most is not None and len(value) > most:
            yield _fault(path, f"must contain less than or equal to {most} {things}", value)

    def _one_of(self, value: Any, allowed: tuple[Any, ...], path: Path) -> Iterator[Fault]:
        spelled = [str(choice) for choice in allowed] if self.lax else []
        if value not in spelled and not any(choice == value and type(choice) is type(value) for choice in allowed):
            yield _fault(path, f"must be one of [{', '.join(map(_spelled, allowed))}]", value)

    def _union(self, value: Any, kind: inspect.UnionType, path: Path) -> Iterator[Fault]:
        choices = [choice for choice in kind.types if not isinstance(choice, inspect.NoneType)]
        if value is None and len(choices) < len(kind.types):
            return
        if len(choices) == 1:
            yield from self.check(value, choices[0], path)
            return
        tagged = [choice for choice in choices if isinstance(choice, inspect.StructType) and choice.tag_field]
        if tagged and isinstance(value, dict):
            yield from self._tagged(value, tagged, path)
            return
        attempts = [list(self.check(value, choice, path)) for choice in choices]
        if all(attempts):
            # the alternative of the right JSON kind speaks of what is inside the value
            inner = [rows for rows, choice in zip(attempts, choices, strict=True) if _same_kind(value, choice)]
            if len(inner) == 1:
                yield from inner[0]
            else:
                names = ", ".join(dict.fromkeys(_kind_name(choice) for choice in choices))
                yield _fault(path, f"must be one of [{names}]", value)

    def _tagged(self, value: dict[str, Any], choices: list[inspect.StructType], path: Path) -> Iterator[Fault]:
        name = choices[0].tag_field or ""
        here = (*path, name)
        if name not in value:
            yield Fault(field_of(here), f'"{label_of(here)}" is required')
            return
        for choice in choices:
            if choice.tag == value[name]:
                yield from self._object(value, choice, path)
                return
        yield _fault(here, f"must be one of [{', '.join(str(choice.tag) for choice in choices)}]", value[name])

    def _other(self, value: Any, kind: inspect.Type, path: Path) -> Iterator[Fault]:
        for described, (python, rule) in _SPELLED.items():
            if isinstance(kind, described):
                if not _converts(value, python):
                    yield _fault(path, rule, value)
                return
        if isinstance(kind, inspect.TypedDictType | inspect.DataclassType) and not isinstance(value, dict):
            yield _fault(path, "must be of type object", value)


_SPELLED: dict[type[inspect.Type], tuple[Any, str]] = {
    inspect.UUIDType: (uuid.UUID, "must be a valid GUID"),
    inspect.DateTimeType: (datetime.datetime, "must be a valid ISO 8601 date"),
    inspect.DateType: (datetime.date, "must be a valid ISO 8601 date"),
    inspect.TimeType: (datetime.time, "must be a valid ISO 8601 time"),
    inspect.TimeDeltaType: (datetime.timedelta, "must be a valid ISO 8601 duration"),
    inspect.DecimalType: (decimal.Decimal, "must be a number"),
    inspect.BytesType: (bytes, "must be a valid base64 string"),
}


def _converted(value: Any, python: Any) -> Any:
    try:
        return msgspec.convert(value, python, strict=False)
    except msgspec.ValidationError:
        return None


def _converts(value: Any, python: Any) -> bool:
    return _converted(value, python) is not None


def _bare(kind: inspect.Type) -> inspect.Type:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _kind_name(kind: inspect.Type) -> str:
    match _bare(kind):
        case inspect.BoolType():
            return "boolean"
        case inspect.IntType() | inspect.FloatType():
            return "number"
        case inspect.StructType() | inspect.DictType() | inspect.TypedDictType() | inspect.DataclassType():
            return "object"
        case inspect.CollectionType():
            return "array"
        case inspect.LiteralType(values=values):
            return ", ".join(map(_spelled, values))
        case inspect.EnumType(cls=cls):
            return ", ".join(_spelled(member.value) for member in _members(cls))
        case _:
            return "string"


def _members(cls: type[enum.Enum]) -> list[enum.Enum]:
    return list(cls)


def _same_kind(value: Any, kind: inspect.Type) -> bool:
    name = _kind_name(kind)
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, str):
        return name not in ("boolean", "number", "object", "array")
    if isinstance(value, int | float):
        return name == "number"
    return (isinstance(value, dict) and name == "object") or (isinstance(value, list) and name == "array")
