"""What can go wrong, as one shallow tree; a class exists when some caller treats it apart from its siblings.

    FabricError
    ├── Invalid            the request breaks a rule; carries one Fault for each broken rule
    ├── Malformed          the request cannot be read at all
    ├── Unauthenticated    nobody knows who asks
    ├── Denied             we know who asks, and they may not
    ├── NotFound           no such project, type, task, …
    ├── Conflict           the thing exists, but not in a state that allows this
    │   ├── Duplicate      the name or the work is taken already
    │   ├── WrongState     the task is not in a state from which this move is legal
    │   ├── LeaseLost      somebody else holds the task now
    │   └── ProjectClosed  the project takes no more work
    ├── TooMany            over a rate or a quota; carries when to come back
    ├── Unreachable        nobody is there who could do it
    │   └── Unanswered     somebody may be there, and may have done it; no answer came in time
    └── StoreUnavailable   the store cannot take this now
        ├── StoreFull      the disk is full
        ├── StoreReadOnly  the file system does not let us write
        └── StoreCorrupt   the file is damaged; a person has to restore it
    StoreTooNew, StoreLocked  refuse the start (also FabricErrors)

Errors carry no HTTP status: each face has one table from these classes to its own shape.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType


class FabricError(Exception):
    """Something went wrong inside Treadle."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        return str(self.args[0])


class Fault(Struct, frozen=True):
    """One broken rule: the dotted path of the field, what the rule says, and the value unless it was missing."""

    field: str
    message: str
    value: Any | UnsetType = UNSET


class Invalid(FabricError):
    """The request breaks a rule."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__(", ".join(f"{fault.field}: {fault.message}" for fault in faults) or None)


class Malformed(FabricError):
    """The request cannot be read."""


class Unauthenticated(FabricError):
    """Authentication is required."""


class Denied(FabricError):
    """This is not allowed."""


class NotFound(FabricError):
    """There is no such thing."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"{kind} {name} not found")


class Conflict(FabricError):
    """The thing is not in a state that allows this."""


class Duplicate(Conflict):
    """This exists already."""


class WrongState(Conflict):
    """The task is not in a state that allows this."""


class LeaseLost(Conflict):
    """Somebody else holds this task now."""


class ProjectClosed(Conflict):
    """The project is closed; reopen it to add or take work."""


class TooMany(FabricError):
    """Too many requests."""

    def __init__(self, message: str | None = None, *, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Unreachable(FabricError):
    """Nobody is there who could do this now; nothing was changed."""


class Unanswered(Unreachable):
    """No answer came in time; whether it was done is not known."""


class StoreUnavailable(FabricError):
    """The store cannot take this now; nothing was changed."""


class StoreFull(StoreUnavailable):
    """The disk that holds the store is full; nothing was changed. Free some space and try again."""


class StoreReadOnly(StoreUnavailable):
    """The store cannot be written to; nothing was changed. Make its folder writable and try again."""


class StoreCorrupt(StoreUnavailable):
    """The store's file is damaged; restore it from a backup."""


class StoreTooNew(FabricError):
    """The store was written by a newer Treadle; use that version or another home."""


class StoreLocked(FabricError):
    """Another process holds this home."""
