"""An event is a fact that was committed together with the change it tells of; KINDS is the list of all of them."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args

from msgspec import Struct

Kind = Literal[
    "project.created",
    "project.changed",
    "project.deleted",
    "type.created",
    "type.changed",
    "type.deleted",
    "task.submitted",
    "task.claimed",
    "task.resumed",
    "task.extended",
    "task.succeeded",
    "task.failed",
    "task.retried",
    "task.lost",
    "task.released",
    "task.cancelled",
    "task.requeued",
    "task.changed",
    "task.deleted",
    "grant.opened",
    "grant.closed",
    "node.joined",
    "node.left",
    "node.lost",
    "node.removed",
]
KINDS: tuple[str, ...] = get_args(Kind)


class Event(Struct, frozen=True, omit_defaults=True):
    """One fact: what happened to which subject, in which project, when and through whom.

    `seq` is the cursor: it grows with the order in which facts became visible, so a reader that asks for what comes
    after the last one it saw misses nothing. `at` is microseconds UTC.
    """

    kind: Kind
    subject: str
    at: int
    project: str | None = None
    data: dict[str, Any] = {}
    seq: int = 0


class EventTx(Protocol):
    """What a transaction can do with events."""

    def append_events(self, events: Sequence[Event]) -> None:
        """Add facts to the log; they become visible when the transaction commits."""
        ...

    def events_after(self, cursor: int, limit: int, project: str | None = None) -> list[Event]:
        """Facts after the cursor, in order; only those before which nothing can still appear."""
        ...

    def last_event(self) -> int:
        """The cursor of the newest settled fact, or 0."""
        ...

    def prune_events(self, before: int, limit: int) -> int:
        """Forget up to `limit` facts older than the instant; how many went."""
        ...
