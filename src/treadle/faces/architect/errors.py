"""How this face tells what went wrong: one row for each core error, for replies and for HTTP (spec 2.1, 3.4)."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from treadle.core import errors as core
from treadle.core.errors import FabricError
from treadle.faces.architect.frames import Outcome, failure
from treadle.web import refusals
from treadle.web.call import Call, Headers, Reply, json_reply

_REQUIRED = "is required"


class Failure(Struct, frozen=True):
    """The body of every refusal over HTTP."""

    status: str
    error: str
    message: str


class NotLetIn(core.Denied):
    """The connection needs a valid user name and password, as `Sec-WebSocket-Protocol: SMP1.0, USER, PASSWORD`."""


class Banned(core.Denied):
    """Too many failed attempts came from this address."""

    def __init__(self, left: int) -> None:
        self.left = left
        super().__init__()


class Crowded(core.TooMany):
    """As many connections as this agent, or this user, may have are open."""

    def __init__(self) -> None:
        super().__init__(retry_after=10)


class Full(core.TooMany):
    """As much as one connection may have is in use."""


class Conflicting(core.Conflict):
    """This idempotence token was used for another request."""


class Unsupported(core.Conflict):
    """This agent cannot do that here."""


ERRORS: dict[type[FabricError], tuple[int, str]] = {
    core.Invalid: (400, "invalid_parameters"),
    core.Malformed: (400, "invalid_parameters"),
    core.Unauthenticated: (401, "permission_denied"),
    core.Denied: (403, "permission_denied"),
    core.NotFound: (404, "not_found"),
    core.Conflict: (409, "conflict"),
    core.Duplicate: (409, "already_exists"),
    core.WrongState: (409, "conflict"),
    core.LeaseLost: (409, "conflict"),
    core.ProjectClosed: (409, "conflict"),
    core.TooMany: (429, "rate_limited"),
    core.Unreachable: (503, "not_running"),
    core.Unanswered: (504, "timeout"),
    core.StoreUnavailable: (503, "internal"),
    core.StoreFull: (503, "internal"),
    core.StoreReadOnly: (503, "internal"),
    core.StoreCorrupt: (503, "internal"),
    core.StoreTooNew: (503, "internal"),
    core.StoreLocked: (503, "internal"),
    core.FabricError: (500, "internal"),
    NotLetIn: (401, "unauthorized"),
    Banned: (403, "banned"),
    Crowded: (503, "limit_exceeded"),
    Full: (429, "limit_exceeded"),
    Conflicting: (409, "idempotence_conflict"),
    Unsupported: (409, "unsupported"),
    refusals.NoRoute: (refusals.NoRoute.status, "not_found"),
    refusals.WrongMethod: (refusals.WrongMethod.status, "invalid_parameters"),
    refusals.NeedsUpgrade: (refusals.NeedsUpgrade.status, "upgrade_required"),
    refusals.TooLarge: (refusals.TooLarge.status, "too_large"),
    refusals.WrongMedia: (refusals.WrongMedia.status, "invalid_parameters"),
    refusals.Stopping: (refusals.Stopping.status, "shutting_down"),
}
"""Each class of error, its status and its word; a class without a row has its parent's."""


def spell(error: Exception, call: Call) -> Reply:
    """The answer to a request, or to a handshake, that was refused."""
    if not isinstance(error, FabricError):
        told = f"Something broke inside the agent; its log has the details under {call.correlation}"
        return json_reply(Failure("error", "internal", told), 500)
    status, code = next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)
    return json_reply(Failure("error", code, _words(error)), status, _headers(error))


class Speller:
    """Errors as outcomes of requests; `more` has the words of errors that capabilities raise."""

    def __init__(self, more: Mapping[type[FabricError], str] | None = None) -> None:
        self._codes = {kind: code for kind, (_, code) in ERRORS.items()} | dict(more or {})

    def outcome(self, error: Exception, reference: str) -> Outcome:
        """What the reply says; `reference` is where the log has the details."""
        if not isinstance(error, FabricError):
            return failure("internal", "Something broke inside the agent", reference=reference)
        code = next(self._codes[kind] for kind in type(error).__mro__ if kind in self._codes)
        details = dict(getattr(error, "details", None) or {})
        keep = True
        match error:
            case core.Invalid():
                return _invalid(error)
            case core.NotFound():
                details = details or {error.kind.lower(): error.name}
            case core.TooMany():
                details, keep = {"retry_after": error.retry_after, **details}, False
            case core.StoreUnavailable():
                details, keep = {"reference": reference}, False
            case core.Unreachable():
                keep = isinstance(error, core.Unanswered)
            case _:
                pass
        told = failure(code, _words(error), **details)
        return told if keep else Outcome(told.parameters, ok=False, keep=False)


def _invalid(error: core.Invalid) -> Outcome:
    """Missing parameters have a word of their own, if nothing else is wrong."""
    missing = [fault.field for fault in error.faults if fault.message.endswith(_REQUIRED) and "." not in fault.field]
    if missing and len(missing) == len(error.faults):
        return failure("missing_parameters", f"Missing: {', '.join(missing)}", missing=missing)
    details: dict[str, Any] = {}
    for fault in error.faults[:100]:
        details.setdefault(fault.field, fault.message)
    return Outcome({"error": "invalid_parameters", "message": error.message[:1000], "details": details}, ok=False)


def _words(error: FabricError) -> str:
    """What the client reads. The text of a store's error may name paths of this machine: its class's words stand."""
    if isinstance(error, core.StoreUnavailable | core.StoreTooNew | core.StoreLocked):
        return type(error)().message
    return error.message


def _headers(error: FabricError) -> Headers:
    if isinstance(error, NotLetIn):
        return ((b"www-authenticate", b'Basic realm="Treadle"'),)
    return ((b"retry-after", b"%d" % error.left),) if isinstance(error, Banned) else ()
