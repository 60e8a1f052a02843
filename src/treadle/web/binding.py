"""Request text into wire types: one decode, and only when that fails a second look that finds every broken rule."""

import re
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from treadle.core.errors import Fault, Invalid, Malformed
from treadle.web.faults import faults, nul_faults

DEPTH_LIMIT = 64
FIELD_LIMIT = 1000
"""How many parameters a query or a form may have."""
FAULT_LIMIT = 1000
"""How many broken rules one answer lists."""

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_MANY_QUOTES = 200_000
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def check_depth(raw: bytes, limit: int = DEPTH_LIMIT) -> None:
    """Raises Malformed if the JSON nests deeper than `limit` levels."""
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return
    brackets = _outside_strings(raw).translate(None, _NOT_BRACKETS)
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > limit:
        raise Malformed(f"The JSON is nested deeper than {limit} levels")


def _outside_strings(raw: bytes) -> bytes:
    if raw.count(b'"') > _MANY_QUOTES:
        return _STRINGS.sub(b"", raw)
    # five times as quick, but a list entry for each quote: without escapes every second piece is outside
    return b"".join(raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


class Body:
    """Reads request bodies into one wire type.

    Raises Malformed for what is not JSON or not of the JSON kind wanted, Invalid with a Fault for each broken rule.
    An empty body counts as `{}` where an object is wanted.
    """

    def __init__(self, wanted: Any) -> None:
        self._wanted = wanted
        self._decode = msgspec.json.Decoder(wanted).decode
        self._kind = inspect.type_info(wanted)
        self._object, self._array = _top(self._kind)
        self._lists = _list_fields(self._kind)

    def json(self, raw: bytes) -> Any:
        check_depth(raw)
        try:
            value = self._decode(raw)
        except msgspec.ValidationError:
            value = self._second_look(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if self._object and not raw.strip():
                return self.json(b"{}")
            raise _unreadable(error) from None
        if b"\\u0000" in raw:
            _refuse_nuls(_plain(raw))
        return value

    def _second_look(self, raw: bytes) -> Any:
        """Says what is wrong; or reads the body after all where msgspec is stricter than JSON: 1.0 is an integer."""
        try:
            plain = _plain(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _unreadable(error) from None
        if self._object and not self._array and not isinstance(plain, dict):
            raise Malformed("The request body must be a JSON object")
        if self._array and not self._object and not isinstance(plain, list):
            raise Malformed("The request body must be a JSON array")
        found = faults(plain, self._kind)
        if found:
            raise Invalid(*(found + nul_faults(plain))[:FAULT_LIMIT])
        try:
            return msgspec.convert(plain, self._wanted, strict=False)
        except msgspec.ValidationError as error:
            raise Invalid(_translated(error)) from None

    def form(self, raw: bytes) -> Any:
        """An application/x-www-form-urlencoded body; numbers and booleans are read from their text."""
        return _from_fields(_fields(raw, "The form"), self._wanted, self._kind, self._lists)


class Query:
    """Reads query strings into one wire type; a repeated parameter is a list. Raises Malformed and Invalid."""

    def __init__(self, wanted: Any) -> None:
        self._wanted = wanted
        self._kind = inspect.type_info(wanted)
        self._lists = _list_fields(self._kind)

    def parse(self, raw: bytes) -> Any:
        fields = _fields(raw, "The query") if raw else {}
        return _from_fields(fields, self._wanted, self._kind, self._lists)


def _plain(raw: bytes) -> Any:
    return msgspec.json.decode(raw)


def _refuse_nuls(value: Any) -> None:
    found = nul_faults(value)
    if found:
        raise Invalid(*found)


def _unreadable(error: Exception) -> Malformed:
    if isinstance(error, UnicodeDecodeError):
        return Malformed("The request body is not UTF-8")
    if isinstance(error, msgspec.DecodeError):
        reason = str(error).removeprefix("JSON is malformed: ").partition(" - at ")[0]
        return Malformed(f"The request body is not valid JSON: {reason[:1].lower()}{reason[1:]}")
    return Malformed("The request body is not valid JSON")


def _translated(error: msgspec.ValidationError) -> Fault:
    """msgspec's own sentence, for a rule the walk does not know (a struct's own check)."""
    message, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".").replace("[", ".").replace("]", "") or "value"
    return Fault(field, message)


def _fields(raw: bytes, thing: str) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELD_LIMIT, separator="&"
        )
    except UnicodeError:
        raise Malformed(f"{thing} is not UTF-8") from None
    except ValueError:
        raise Malformed(f"{thing} has more than {FIELD_LIMIT} parameters") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _from_fields(fields: dict[str, list[str]], wanted: Any, kind: inspect.Type, lists: frozenset[str]) -> Any:
    raw: dict[str, Any] = {
        name: values if name in lists or len(values) > 1 else values[0] for name, values in fields.items()
    }
    nuls = nul_faults(raw) if raw else []
    try:
        value = msgspec.convert(raw, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(*(faults(raw, kind, lax=True) + nuls or [_translated(error)])[:FAULT_LIMIT]) from None
    if nuls:
        raise Invalid(*nuls)
    return value


def _bare(kind: inspect.Type) -> inspect.Type:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _choices(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    kind = _bare(kind)
    return tuple(map(_bare, kind.types)) if isinstance(kind, inspect.UnionType) else (kind,)


def _top(kind: inspect.Type) -> tuple[bool, bool]:
    """Whether an object, and whether an array, is what this type reads."""
    choices = _choices(kind)
    objects = inspect.StructType | inspect.DictType | inspect.TypedDictType | inspect.DataclassType
    return (
        any(isinstance(choice, objects) for choice in choices),
        any(isinstance(choice, inspect.CollectionType) for choice in choices),
    )


def _list_fields(kind: inspect.Type) -> frozenset[str]:
    return frozenset(
        field.encode_name
        for choice in _choices(kind)
        if isinstance(choice, inspect.StructType)
        for field in choice.fields
        if any(isinstance(inner, inspect.CollectionType) for inner in _choices(field.type))
    )
