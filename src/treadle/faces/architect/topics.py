"""What a client can subscribe to beyond the events that everybody hears: each topic is a source of events (spec 8)."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from msgspec import Struct

from treadle.core.actions import Caller
from treadle.core.fabric import Fabric


class Wanted(Struct, frozen=True):
    """One subscription: of which server, from which cursor on, and at most how many events a second."""

    topic: str
    server: str | None = None
    since: int | None = None
    rate: float | None = None


class Heard(Struct, frozen=True):
    """One event of a stream, before it knows its subscription."""

    event: str
    parameters: dict[str, Any]


class Topic(Struct, frozen=True, kw_only=True):
    """A stream by name. `follow` goes on until it is closed; a FabricError that it raises ends the subscription.

    `of_server` says whether it is a stream of one server: two topics may share a name if only one of them is.
    """

    name: str
    scope: str
    follow: Callable[[Fabric, Caller, Wanted], AsyncIterator[Heard]]
    of_server: bool = True
