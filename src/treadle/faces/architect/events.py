"""Facts as events of the socket: which of them are told, under which name, and to whom (spec 8).

The log of facts is the fabric's own, so its cursor is the one to catch up with after a reconnect.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from msgspec import Struct

from treadle.core.access import PUBLIC
from treadle.core.clock import SECOND
from treadle.core.events import Event, Kind
from treadle.faces.architect.frames import event
from treadle.faces.architect.roles import Rights


class Area(Struct, frozen=True, kw_only=True):
    """All facts whose kind begins with `prefix.`: the subject goes into the parameter `subject`, the data beside it.

    Who holds `scope` hears them, on their server if they have one. With a `topic` only its subscribers do. With `own`
    the user whose name is the data's `by` hears them in any case, as the starter of a job does.
    """

    prefix: str
    subject: str
    scope: str
    topic: str | None = None
    own: bool = False


AREAS = (
    Area(prefix="agent", subject="version", scope=PUBLIC),
    Area(prefix="session", subject="session", scope="session:list"),
    Area(prefix="user", subject="username", scope="user:list"),
    Area(prefix="role", subject="role", scope="role:list"),
    Area(prefix="auth", subject="address", scope="ban:list"),
)
"""What this face tells of itself."""


class Told(Struct, frozen=True, kw_only=True):
    """One event: its values, and who may hear it. `date` is UNIX seconds; `cursor` is None for what is not kept."""

    name: str
    parameters: dict[str, Any]
    scope: str
    date: int
    topic: str | None = None
    owner: str | None = None
    cursor: int | None = None

    @property
    def server(self) -> str | None:
        server = self.parameters.get("server")
        return server if isinstance(server, str) else None

    def frame(self) -> bytes:
        return event(self.name, self.date, self.parameters, self.cursor)

    def audible(self, user: str, rights: Rights) -> bool:
        """Whether this user, with these rights, may hear it."""
        return user == self.owner or rights.hold(self.scope, self.server)


def by_prefix(areas: Iterable[Area]) -> dict[str, Area]:
    """The areas by prefix. Raises ValueError if two have the same."""
    found: dict[str, Area] = {}
    for area in areas:
        if found.setdefault(area.prefix, area) is not area:
            raise ValueError(f"The facts {area.prefix}.* are told twice")
    return found


def told(fact: Event, areas: Mapping[str, Area]) -> Told | None:
    """The event that tells of a fact; None for what is nobody's business here."""
    area = areas.get(fact.kind.partition(".")[0])
    if area is None:
        return None
    return Told(
        name=fact.kind,
        parameters={**fact.data, area.subject: fact.subject},
        scope=area.scope,
        topic=area.topic,
        owner=fact.data.get("by") if area.own else None,
        date=fact.at // SECOND,
        cursor=fact.seq,
    )


def fact(kind: str, subject: str, at: int, **data: Any) -> Event:
    """A fact of this face for the log; its kinds are those of AREAS."""
    return Event(cast("Kind", kind), subject, at, None, data)
