"""The frames of the one WebSocket: reading requests, writing replies and events, and their limits (spec 3)."""

from typing import Any

import msgspec
from msgspec import Struct

from treadle.core.errors import Malformed
from treadle.web.binding import check_depth

PROTOCOL = "SMP1.0"
INBOUND = 1024 * 1024
"""Bytes of the largest request; a larger one closes with 1009."""
OUTBOUND = 512 * 1024
"""Bytes of the largest frame that we send: clients close with 1009 above 1 MiB (spec 3.1.4)."""
DEPTH = 32
LONGEST_TOKEN = 128
LONGEST_ACTION = 100

_encode = msgspec.json.Encoder().encode


class Request(Struct, frozen=True):
    """What a client asks for; `token` is its `idempotence`, None if it sent none."""

    action: str
    parameters: dict[str, Any] = {}
    token: str | None = None


class Unreadable(Struct, frozen=True):
    """A frame that asks for nothing: a word of spec 3.4, why, and what could be read of it."""

    code: str
    message: str
    token: str | None = None
    action: str | None = None


class Outcome(Struct, frozen=True):
    """What came of a request: the parameters of its reply. `keep` is false for a failure that may be tried again."""

    parameters: dict[str, Any]
    ok: bool = True
    replayed: bool = False
    keep: bool = True


def decode(message: str) -> Request | Unreadable:
    """The request in a text frame."""
    raw = message.encode("utf-8", "surrogatepass")
    try:
        check_depth(raw, DEPTH)
        value = msgspec.json.decode(raw)
    except Malformed as error:
        return Unreadable("invalid_json", error.message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Unreadable("invalid_json", "The frame is not JSON")
    if not isinstance(value, dict):
        return Unreadable("invalid_frame", "A frame is a JSON object")
    token, action, parameters = value.get("idempotence"), value.get("action"), value.get("parameters")
    if token is not None and not _is_token(token):
        return Unreadable("invalid_frame", f"idempotence is 1 to {LONGEST_TOKEN} printable ASCII characters")
    if not isinstance(action, str) or not 1 <= len(action) <= LONGEST_ACTION:
        return Unreadable("invalid_frame", f"action is a text of 1 to {LONGEST_ACTION} characters", token)
    if parameters is not None and not isinstance(parameters, dict):
        return Unreadable("invalid_frame", "parameters is an object", token, action)
    return Request(action, parameters or {}, token)


def reply(request: Request | Unreadable, outcome: Outcome) -> bytes:
    """The one reply to a request; one that would be too large says so instead."""
    frame = _reply(request, outcome)
    if len(frame) <= OUTBOUND:
        return frame
    told = f"The answer has {len(frame)} bytes; ask for less of it"
    return _reply(request, failure("too_large", told, limit=OUTBOUND))


def event(name: str, date: int, parameters: dict[str, Any], cursor: int | None = None) -> bytes:
    """An event; `date` is UNIX seconds. It has no `idempotence`, not even null (spec 3.1.2)."""
    frame: dict[str, Any] = {"event": name, "date": date, "parameters": parameters}
    if cursor is not None:
        frame["cursor"] = cursor
    made = _encode(frame)
    if len(made) > OUTBOUND:
        return _encode({**frame, "parameters": {"too_large": len(made)}})
    return made


def failure(code: str, message: str, /, **details: Any) -> Outcome:
    """The outcome of a request that failed, in the words of spec 3.4."""
    parameters: dict[str, Any] = {"error": code, "message": message}
    if details:
        parameters["details"] = details
    return Outcome(parameters, ok=False)


def _reply(request: Request | Unreadable, outcome: Outcome) -> bytes:
    frame: dict[str, Any] = {} if request.token is None else {"idempotence": request.token}
    frame["status"] = "ok" if outcome.ok else "error"
    if request.action is not None:
        frame["action"] = request.action
    frame["parameters"] = outcome.parameters
    if outcome.replayed:
        frame["replayed"] = True
    return _encode(frame)


def _is_token(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= LONGEST_TOKEN and value.isascii() and value.isprintable()
