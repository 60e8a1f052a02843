"""A node is a machine that joined: what it has, whether it is there, and how much it runs.

Presence is a lease: a node that stays silent past `until` is absent, and a fact says so. What it held is lost by the
leases of the tasks themselves, so presence decides nothing about work.
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from .access import Principal
from .clock import SECOND, Clock
from .documents import Collection
from .errors import Conflict, NotFound
from .events import Event, Kind
from .ports import Store, Tx

ANY = "any"
PRESENCE = 15 * SECOND
"""How long a node counts as present after a beat; it beats three times as often."""
PAGE = 500


class Node(Struct, frozen=True, kw_only=True):
    """A machine. `inventory` is what it has, `load` what is used of it; instants are microseconds UTC."""

    id: str
    name: str
    joined: int
    seen: int
    until: int
    state: Literal["present", "absent"] = "present"
    slots: int = 1
    busy: int = 0
    version: str = ""
    inventory: dict[str, Any] = {}
    load: dict[str, Any] = {}


nodes = Collection("node", Node)


def queue_of(node: str) -> str:
    """The queue of work for this node, or for whichever asks first (ANY); no name that people give has a slash."""
    return f"node/{node}"


def worker_of(node: Node) -> str:
    """The name under which a node holds leases."""
    return f"node/{node.name}"


def name_of(worker: str) -> str:
    """The name of the node that holds leases under this one."""
    return worker.removeprefix("node/")


class Nodes:
    """Join, beat, leave, remove, look up; and notice who is gone."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def join(self, id: str, name: str, *, slots: int, version: str, inventory: dict[str, Any]) -> Node:
        """A node is there, for the first time or again; a name that another node has gets a number."""

        def verb(tx: Tx) -> Node:
            now = self._clock()
            known = nodes.get(tx, id)
            taken = {other.name for other in every(tx) if other.id != id}
            names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
            free = next(each for each in names if each not in taken)
            node = Node(
                id=id,
                name=known.value.name if known else free,
                joined=known.value.joined if known else now,
                seen=now,
                until=now + PRESENCE,
                slots=slots,
                version=version,
                inventory=inventory,
            )
            return _put(tx, node, now, "node.joined")

        return await self._store.write(verb)

    async def beat(self, id: str, *, busy: int, load: dict[str, Any]) -> Node:
        """A node is still there. Raises NotFound for one that was removed: it may join again."""

        def verb(tx: Tx) -> Node:
            now = self._clock()
            node = the_node(tx, id)
            fresh = replace(node, seen=now, until=now + PRESENCE, state="present", busy=busy, load=load)
            return _put(tx, fresh, now, None if node.state == "present" else "node.joined")

        return await self._store.write(verb)

    async def leave(self, id: str) -> None:
        """A node stops in good order."""

        def verb(tx: Tx) -> None:
            now = self._clock()
            _put(tx, replace(the_node(tx, id), state="absent", seen=now, until=now, busy=0), now, "node.left")

        await self._store.write(verb)

    async def remove(self, ref: str, by: Principal) -> None:
        """Forget a node that is absent."""

        def verb(tx: Tx) -> None:
            node = found(every(tx), ref)
            if node.state == "present":
                raise Conflict(f"Node {node.name} is present; stop it first")
            nodes.delete(tx, node.id)
            tx.append_events([Event("node.removed", node.id, self._clock(), None, {"name": node.name, "by": by.name})])

        await self._store.write(verb)

    async def get(self, ref: str) -> Node:
        """A node by id or name. Raises NotFound."""
        return found(await self.all(), ref)

    async def all(self) -> list[Node]:
        """Every node that ever joined and was not removed, by name."""
        return sorted(await self._store.read(every), key=lambda node: node.name)

    async def notice(self) -> None:
        """Mark as absent who has been silent for too long."""
        if not any(self._overdue(node) for node in await self._store.read(every)):
            return

        def verb(tx: Tx) -> None:
            now = self._clock()
            for node in every(tx):
                if self._overdue(node):
                    _put(tx, replace(node, state="absent", busy=0), now, "node.lost")

        await self._store.write(verb)

    def _overdue(self, node: Node) -> bool:
        return node.state == "present" and node.until < self._clock()


def the_node(tx: Tx, id: str) -> Node:
    stored = nodes.get(tx, id)
    if stored is None:
        raise NotFound("Node", id)
    return stored.value


def every(tx: Tx) -> list[Node]:
    """All nodes; a fabric has few."""
    page = nodes.page(tx, limit=PAGE)
    listed = [stored.value for stored in page]
    while len(page) == PAGE:
        page = nodes.page(tx, after=page[-1].key, limit=PAGE)
        listed += [stored.value for stored in page]
    return listed


def found(among: Sequence[Node], ref: str) -> Node:
    """The node of this id or name; an id wins."""
    for node in sorted(among, key=lambda node: node.id != ref):
        if ref in (node.id, node.name):
            return node
    raise NotFound("Node", ref)


def _put(tx: Tx, node: Node, now: int, kind: Kind | None) -> Node:
    nodes.put(tx, node.id, node)
    if kind:
        tx.append_events([Event(kind, node.id, now, None, {"name": node.name})])
    return node
