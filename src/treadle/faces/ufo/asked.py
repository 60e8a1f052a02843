"""The body of a dispatch, read in the order of checks that callers rely on (spec 2.2)."""

from typing import Any

import msgspec

from treadle.core.errors import Malformed
from treadle.faces.ufo import wire
from treadle.faces.ufo.errors import EmptyClient, EmptyTask, Unprocessable, Wrong, shown
from treadle.web.binding import check_depth

_READ = (b"/json", b"+json")
_FORM = b"application/x-www-form-urlencoded"
"""What curl says of any data where nobody tells it better."""


def read_dispatch(raw: bytes, media_type: bytes | None) -> wire.Dispatch:
    """What is asked for. Raises Unprocessable, then EmptyTask, then EmptyClient; names are bounded in length only."""
    body = _object(raw, (media_type or b"application/json").partition(b";")[0].strip().lower())
    fields = (
        _text(body, "request"),
        _text(body, "client_id", wire.LONGEST),
        _text(body, "task_name", wire.LONGEST),
        _flag(body, "when_online"),
        _seconds(body, "ttl"),
    )
    if wrong := [each for each in fields if each is not None]:
        raise Unprocessable(*wrong)
    if not body.get("request"):
        raise EmptyTask
    if not body.get("client_id"):
        raise EmptyClient
    return wire.Dispatch(
        request=body["request"],
        client_id=body["client_id"],
        task_name=body.get("task_name"),
        when_online=body.get("when_online"),
        ttl=body.get("ttl"),
    )


def _object(raw: bytes, media_type: bytes) -> dict[str, Any]:
    if not raw:
        raise Unprocessable(Wrong("missing", ["body"], "Field required", None))
    if media_type != _FORM and not media_type.endswith(_READ):
        raise Unprocessable(Wrong("dict_type", ["body"], "Input should be a valid dictionary"))
    try:
        check_depth(raw)
        body = msgspec.json.decode(raw)
    except (Malformed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unprocessable(Wrong("json_invalid", ["body"], "JSON decode error")) from None
    if not isinstance(body, dict):
        raise Unprocessable(Wrong("dict_type", ["body"], "Input should be a valid dictionary", shown(body)))
    return body


def _text(body: dict[str, Any], name: str, longest: int | None = None) -> Wrong | None:
    value, loc = body.get(name), ["body", name]
    if value is None:
        return None
    if not isinstance(value, str):
        return Wrong("string_type", [*loc], "Input should be a valid string", shown(value))
    if "\0" in value:
        return Wrong("value_error", [*loc], "Text must not contain a NUL character", shown(value))
    if longest is not None and len(value) > longest:
        return Wrong("string_too_long", [*loc], f"String should have at most {longest} characters", shown(value))
    return None


def _flag(body: dict[str, Any], name: str) -> Wrong | None:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return None
    return Wrong("bool_type", ["body", name], "Input should be a valid boolean", shown(value))


def _seconds(body: dict[str, Any], name: str) -> Wrong | None:
    value, loc = body.get(name), ["body", name]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Wrong("float_type", [*loc], "Input should be a valid number", shown(value))
    if not 0 < value <= wire.LONGEST_LIFE:
        told = f"Input should be greater than 0 and at most {wire.LONGEST_LIFE}"
        return Wrong("out_of_range", [*loc], told, shown(value))
    return None
