"""How TaskDriver tells what went wrong: one row for each class of the core's error tree (contract 2)."""

from collections.abc import Callable

from msgspec import UNSET, UnsetType

from treadle.core import errors
from treadle.core.clock import Clock
from treadle.core.errors import FabricError, Invalid, StoreUnavailable
from treadle.faces.taskdriver import wire
from treadle.faces.taskdriver.spelling import FACE, instant
from treadle.web.call import Call, Reply, json_reply
from treadle.web.log import Log
from treadle.web.refusals import Stopping

TABLE: dict[type[FabricError], tuple[int, str]] = {
    errors.Invalid: (422, "validation"),
    errors.Malformed: (400, "malformed"),
    errors.Unauthenticated: (401, "authentication"),
    errors.Denied: (403, "denied"),
    errors.NotFound: (404, "not_found"),
    errors.Conflict: (409, "conflict"),
    errors.Duplicate: (409, "duplicate"),
    errors.WrongState: (409, "wrong_state"),
    errors.LeaseLost: (409, "lease_lost"),
    errors.ProjectClosed: (409, "project_closed"),
    errors.TooMany: (429, "rate_limit"),
    errors.Unreachable: (503, "unreachable"),
    errors.Unanswered: (504, "unanswered"),
    errors.StoreUnavailable: (503, "store"),
    errors.StoreFull: (503, "store_full"),
    errors.StoreReadOnly: (503, "store_read_only"),
    errors.StoreCorrupt: (503, "store_corrupt"),
    errors.StoreTooNew: (503, "store"),
    errors.StoreLocked: (503, "store"),
    errors.FabricError: (500, "server"),
}
"""The status of each error, and its `error_type` in the metrics."""

UNKNOWN = (500, "server")


def row_of(error: Exception) -> tuple[int, str]:
    """The row of the nearest class."""
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), UNKNOWN)


def words_of(error: Exception) -> str:
    """What the client reads. The text of a store's error may name paths of this machine: its class's words stand."""
    if isinstance(error, Invalid):
        return f"Validation failed: {error.message}"
    if isinstance(error, StoreUnavailable):
        return type(error)().message
    return error.message if isinstance(error, FabricError) else "Internal server error"


def speller(clock: Clock, heard: Callable[[Call, str], None], log: Log) -> Callable[[Exception, Call], Reply]:
    """Spells every error in the envelope; `heard` is told the call and the kind of each."""

    def spell(error: Exception, call: Call) -> Reply:
        status, kind = row_of(error)
        heard(call, kind)
        if status == 503 and not isinstance(error, Stopping):
            log.warning("store unavailable", error=str(error), correlationId=call.correlation, face=FACE)
        rows = (
            [wire.Row(fault.field, fault.message, fault.value) for fault in error.faults]
            if isinstance(error, Invalid)
            else UNSET
        )
        return failure(words_of(error), call, clock, status, rows)

    return spell


def failure(words: str, call: Call, clock: Clock, status: int, rows: list[wire.Row] | UnsetType = UNSET) -> Reply:
    """The error envelope."""
    told = wire.Failure(error=words, timestamp=instant(clock()), correlationId=call.correlation, validationDetails=rows)
    return json_reply(told, status)
