"""UFO's words on the wire: what is read and what is answered (spec 2)."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

LONGEST = 256
"""Characters of a task name or a client id."""
LONGEST_WAIT = 300
LONGEST_LIFE = 30 * 24 * 3600

Text = Annotated[str, Meta(max_length=LONGEST)]


class Dispatch(Struct, frozen=True):
    """A task for a client. `task_name` is the label to ask for the result by; without one a UUID is made.

    With `when_online` a client that is not connected is waited for, `ttl` seconds at most.
    """

    request: str
    client_id: Text
    task_name: Text | None = None
    when_online: bool | None = None
    ttl: Annotated[float, Meta(gt=0, le=LONGEST_LIFE)] | None = None


class DispatchQuery(Struct, frozen=True):
    """The same two in the address; the body's win."""

    when_online: bool | None = None
    ttl: Annotated[float, Meta(gt=0, le=LONGEST_LIFE)] | None = None


class Receipt(Struct, frozen=True, omit_defaults=True):
    """The task is on its way. `waits_until` stands there if its client is waited for (RFC 3339)."""

    status: Literal["dispatched"]
    task_name: str
    client_id: str
    session_id: str
    waits_until: str | None = None


class Clients(Struct, frozen=True):
    """The ids of all that are connected, devices and constellations, in the order in which they came."""

    online_clients: list[str]


class Health(Struct, frozen=True):
    """The server answers."""

    status: str
    online_clients: list[str]


class ResultQuery(Struct, frozen=True):
    """How many seconds to wait for the end of a task that is pending."""

    wait: Annotated[float, Meta(ge=0, le=LONGEST_WAIT)] = 0


class TaskResult(Struct, frozen=True):
    """`pending`, or `done` with how the task ended, well or badly."""

    status: Literal["pending", "done"]
    result: dict[str, Any] | UnsetType = UNSET


class EventsQuery(Struct, frozen=True):
    """From which offset on; the `id:` of the last event that was read."""

    after: Annotated[int, Meta(ge=0)] = 0


class Gap(Struct, frozen=True):
    """What is not kept any more: from this offset up to that one."""

    start: int
    end: int
