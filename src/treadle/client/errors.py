"""What a caller of the client may have to deal with.

    ClientError
    ├── NoServer            nobody said where the server is, and none runs in the home
    ├── Unreachable         the server did not answer
    ├── Unreadable          something answered that is no Treadle server
    └── Refused             the server said no: a status, a code, a message, perhaps faults
        ├── Invalid             the request breaks a rule
        ├── Unauthenticated     a key is needed, or this one is not known
        ├── Denied              this key may not do that
        ├── NotFound            there is no such project, type or task
        ├── Conflict            the thing is not in a state that allows this
        │   ├── Duplicate           the name or the work is taken already
        │   ├── WrongState          the task is not in a state that allows this
        │   ├── LeaseLost           somebody else holds the task now
        │   └── ProjectClosed       the project takes no more work
        ├── TooLarge            the request body is larger than the server takes
        ├── TooMany             too many requests; `retry_after` seconds
        └── Unavailable         the store cannot take this now, or the server is stopping

In the answers to batches a Refused stands in the place of the item that it concerns; it is not raised there.
"""

from msgspec import Struct


class ClientError(Exception):
    """Something went wrong between this program and the server."""


class NoServer(ClientError):
    """Nobody said where the server is."""


class Unreachable(ClientError):
    """The server did not answer. `sent` says whether it may have got the request."""

    def __init__(self, message: str, *, sent: bool) -> None:
        self.sent = sent
        super().__init__(message)


class Unreadable(ClientError):
    """What answered is no Treadle server."""


class Fault(Struct, frozen=True):
    """One broken rule: the field and what the rule says."""

    field: str
    message: str


class Refused(ClientError):
    """The server refused. `status` is 0 for one item of a batch."""

    def __init__(
        self, message: str, *, code: str, status: int = 0, faults: tuple[Fault, ...] = (), retry_after: float = 1.0
    ) -> None:
        self.code, self.status, self.faults, self.retry_after = code, status, faults, retry_after
        super().__init__(message)

    @property
    def message(self) -> str:
        return str(self.args[0])


class Invalid(Refused):
    """The request breaks a rule."""


class Unauthenticated(Refused):
    """A key is needed, or this one is not known."""


class Denied(Refused):
    """This key may not do that."""


class NotFound(Refused):
    """There is no such project, type or task."""


class Conflict(Refused):
    """The thing is not in a state that allows this."""


class Duplicate(Conflict):
    """The name or the work is taken already."""


class WrongState(Conflict):
    """The task is not in a state that allows this."""


class LeaseLost(Conflict):
    """Somebody else holds the task now."""


class ProjectClosed(Conflict):
    """The project takes no more work."""


class TooLarge(Refused):
    """The request body is larger than the server takes."""


class TooMany(Refused):
    """Too many requests."""


class Unavailable(Refused):
    """The store cannot take this now, or the server is stopping."""


BY_CODE: dict[str, type[Refused]] = {
    "invalid": Invalid,
    "malformed": Invalid,
    "unauthenticated": Unauthenticated,
    "denied": Denied,
    "not_found": NotFound,
    "conflict": Conflict,
    "duplicate": Duplicate,
    "wrong_state": WrongState,
    "lease_lost": LeaseLost,
    "project_closed": ProjectClosed,
    "too_large": TooLarge,
    "too_many": TooMany,
    "store_unavailable": Unavailable,
    "store_full": Unavailable,
    "store_read_only": Unavailable,
    "store_corrupt": Unavailable,
    "stopping": Unavailable,
}
"""The class of each code; another code is a plain Refused."""


def refused(
    code: str, message: str, *, status: int = 0, faults: tuple[Fault, ...] = (), retry_after: float = 1.0
) -> Refused:
    """The error of this code."""
    kind = BY_CODE.get(code, Refused)
    return kind(message, code=code, status=status, faults=faults, retry_after=retry_after)
