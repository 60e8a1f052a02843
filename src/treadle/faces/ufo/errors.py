"""How this face tells what went wrong: `{"detail": …}`, where detail is a sentence or, for 422, a list (spec 2.2)."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from treadle.core import errors as core
from treadle.core.errors import FabricError, Invalid, StoreUnavailable
from treadle.web import refusals
from treadle.web.call import Call, Reply, json_reply
from treadle.web.sockets import Handshake

SHOWN = 200
"""The longest text of a value that an answer repeats."""


class Wrong(Struct, frozen=True):
    """One thing that is wrong with a request: a stable word, where it is, what the rule says, and what was given."""

    type: str
    loc: list[str | int]
    msg: str
    input: Any | UnsetType = UNSET


class Detail(Struct, frozen=True):
    """The body of every refusal."""

    detail: str | list[Wrong]


class Unprocessable(core.Invalid):
    """The request is not of the shape that is read here."""

    def __init__(self, *wrong: Wrong) -> None:
        super().__init__()
        self.wrong = list(wrong)


class EmptyTask(core.Malformed):
    """Empty task content"""


class EmptyClient(core.Malformed):
    """Empty client ID"""


class NotOnline(core.NotFound):
    """The client is not connected."""

    def __init__(self) -> None:
        FabricError.__init__(self, "Client not online")


ERRORS: dict[type[FabricError], int] = {
    core.Invalid: 422,
    core.Malformed: 400,
    core.Unauthenticated: 401,
    core.Denied: 403,
    core.NotFound: 404,
    core.Conflict: 409,
    core.Duplicate: 409,
    core.WrongState: 409,
    core.LeaseLost: 409,
    core.ProjectClosed: 409,
    core.TooMany: 429,
    core.Unreachable: 503,
    core.Unanswered: 504,
    core.StoreUnavailable: 503,
    core.StoreFull: 503,
    core.StoreReadOnly: 503,
    core.StoreCorrupt: 503,
    core.StoreTooNew: 503,
    core.StoreLocked: 503,
    core.FabricError: 500,
    # what the HTTP layer refuses has its own status, which is not ours to change
    refusals.NoRoute: refusals.NoRoute.status,
    refusals.WrongMethod: refusals.WrongMethod.status,
    refusals.NeedsUpgrade: refusals.NeedsUpgrade.status,
    refusals.TooLarge: refusals.TooLarge.status,
    refusals.WrongMedia: refusals.WrongMedia.status,
    refusals.Stopping: refusals.Stopping.status,
}
"""The status of each class of error; a class without a row has its parent's."""


def status_of(error: FabricError) -> int:
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def words_of(error: FabricError) -> str:
    """What the client reads. The text of a store's error may name paths of this machine: its class's words stand."""
    if isinstance(error, refusals.NoRoute):
        return "Not Found"
    if isinstance(error, refusals.WrongMethod):
        return "Method Not Allowed"
    if isinstance(error, StoreUnavailable | core.StoreTooNew | core.StoreLocked):
        return type(error)().message
    return error.message


def spell(error: Exception, call: Call) -> Reply:
    """The answer to a request that failed. A socket without its key is refused with 403, as its clients expect."""
    if not isinstance(error, FabricError):
        told = f"Something broke inside the server; its log has the details under {call.correlation}"
        return json_reply(Detail(told), 500)
    if isinstance(error, Invalid):
        return json_reply(Detail(_wrong(error)), 422)
    if isinstance(error, core.Unauthenticated) and isinstance(call, Handshake):
        return json_reply(Detail(words_of(error)), 403)
    return json_reply(Detail(words_of(error)), status_of(error))


def _wrong(error: Invalid) -> list[Wrong]:
    if isinstance(error, Unprocessable):
        return error.wrong
    return [Wrong("value_error", ["query", *fault.field.split(".")], fault.message) for fault in error.faults]


def shown(value: Any) -> Any | UnsetType:
    """What of a refused value is repeated: scalars that are short; all else is left out."""
    if isinstance(value, str):
        return value if len(value) <= SHOWN else UNSET
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**53 else UNSET
    if value is None or isinstance(value, bool | float):
        return value
    return value if value in ({}, []) else UNSET
