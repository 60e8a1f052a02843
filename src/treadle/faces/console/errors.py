"""How the Console tells what went wrong: one row for each error, one body for all (contract 1.1)."""

from urllib.parse import quote

from msgspec import Struct

from treadle.core import errors as core
from treadle.core.errors import FabricError, StoreUnavailable
from treadle.web import refusals
from treadle.web.call import Call, Reply, json_reply

LOGIN = "/login"


class Failure(Struct, frozen=True):
    """The body of every refusal; `code` is a stable word for programs."""

    success: bool
    error: str
    code: str


class NoCsrf(core.Unauthenticated):
    """The CSRF token is missing or not that of this session; fetch /api/csrf_token and repeat the request."""


class NotHere(core.Denied):
    """This address is not let in."""


class ReadOnlyTokens(core.Denied):
    """UA_TOKEN is set: it is the only token, and the list cannot be changed."""


class WrongCode(core.Malformed):
    """The code is not valid, or was used before."""


class OutsideRoots(core.Denied):
    """The path is outside the allowed roots."""


class NotADirectory(core.Malformed):
    """The path is not a folder."""


class SessionExists(core.Duplicate):
    """A run with this session_id is still going on."""


class NotReading(core.Conflict):
    """The process does not read its input."""


class Busy(core.TooMany):
    """As many runs as this server allows are going on; end one, or wait."""


ERRORS: dict[type[FabricError], tuple[int, str]] = {
    core.Invalid: (400, "bad_request"),
    core.Malformed: (400, "bad_request"),
    core.Unauthenticated: (401, "auth"),
    core.Denied: (403, "denied"),
    core.NotFound: (404, "not_found"),
    core.Conflict: (409, "conflict"),
    core.Duplicate: (409, "duplicate"),
    core.WrongState: (409, "wrong_state"),
    core.LeaseLost: (409, "lease_lost"),
    core.ProjectClosed: (409, "project_closed"),
    core.TooMany: (429, "too_many"),
    core.Unreachable: (503, "unreachable"),
    core.Unanswered: (504, "unanswered"),
    core.StoreUnavailable: (503, "store_unavailable"),
    core.StoreFull: (503, "store_full"),
    core.StoreReadOnly: (503, "store_read_only"),
    core.StoreCorrupt: (503, "store_corrupt"),
    core.StoreTooNew: (503, "store_too_new"),
    core.StoreLocked: (503, "store_locked"),
    core.FabricError: (500, "internal"),
    NoCsrf: (401, "csrf"),
    NotHere: (403, "address"),
    ReadOnlyTokens: (403, "read_only"),
    WrongCode: (400, "wrong_code"),
    OutsideRoots: (403, "outside_roots"),
    NotADirectory: (400, "not_a_directory"),
    SessionExists: (409, "session_exists"),
    NotReading: (409, "not_reading"),
    Busy: (429, "busy"),
    # what the HTTP layer refuses has its own status, which is not ours to change
    refusals.NoRoute: (refusals.NoRoute.status, "not_found"),
    refusals.WrongMethod: (refusals.WrongMethod.status, "wrong_method"),
    refusals.NeedsUpgrade: (refusals.NeedsUpgrade.status, "needs_upgrade"),
    refusals.TooLarge: (refusals.TooLarge.status, "too_large"),
    refusals.WrongMedia: (refusals.WrongMedia.status, "wrong_media"),
    refusals.Stopping: (refusals.Stopping.status, "stopping"),
}
"""Each class of error, its status and its code; a class without a row has its parent's."""


def row_of(error: FabricError) -> tuple[int, str]:
    """The status and code of an error."""
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def words_of(error: FabricError) -> str:
    """What the client reads. The text of a store's error may name paths of this machine: its class's words stand."""
    if isinstance(error, StoreUnavailable | core.StoreTooNew | core.StoreLocked):
        return type(error)().message
    return "Not Found" if isinstance(error, refusals.NoRoute) else error.message


def spell(error: Exception, call: Call) -> Reply:
    """The answer to a request that failed: JSON, or the way to the login page for a person at a browser."""
    if not isinstance(error, FabricError):
        told = f"Something broke inside the server; its log has the details under {call.correlation}"
        return json_reply(Failure(False, told, "internal"), 500)
    if isinstance(error, core.Unauthenticated) and _is_a_page(call):
        return Reply(302, headers=((b"location", _login_and_back(call)),))
    status, code = row_of(error)
    return json_reply(Failure(False, words_of(error), code), status)


def _is_a_page(call: Call) -> bool:
    """Whether a browser navigates here: a credential in a header, or a wish for JSON only, is a program's."""
    if call.method not in ("GET", "HEAD") or b"authorization" in call.headers:
        return False
    if call.route is not None and call.route.media_type.startswith("text/html"):
        return True
    return b"text/html" in call.headers.get(b"accept", b"")


def _login_and_back(call: Call) -> bytes:
    wanted = call.raw_path + (b"?" + call.query_string if call.query_string else b"")
    return f"{LOGIN}?next={quote(wanted, safe='')}".encode()
