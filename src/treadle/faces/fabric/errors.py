"""How this face spells what went wrong: one row for each error, and one body for all of them."""

from treadle.core import errors as core
from treadle.core.errors import FabricError, Invalid
from treadle.faces.fabric import wire
from treadle.web import refusals
from treadle.web.call import Call, Reply, json_reply

ERRORS: dict[type[FabricError], tuple[int, str]] = {
    core.Invalid: (400, "invalid"),
    core.Malformed: (400, "malformed"),
    core.Unauthenticated: (401, "unauthenticated"),
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


def code_of(error: FabricError) -> str:
    return row_of(error)[1]


def spell(error: Exception, call: Call) -> Reply:
    """The answer to a request that failed. What is none of our errors tells nothing of itself; the log has it."""
    if not isinstance(error, FabricError):
        told = f"Something broke inside the server; its log has the details under {call.correlation}"
        return json_reply(wire.Error(False, told, "internal"), 500)
    status, code = row_of(error)
    if isinstance(error, Invalid):
        faults = [wire.Fault(fault.field, fault.message) for fault in error.faults]
        return json_reply(wire.Error(False, error.message, code, faults), status)
    message = "Not Found" if isinstance(error, refusals.NoRoute) else error.message
    return json_reply(wire.Error(False, message, code), status)
