"""Who calls a tool, in this face's terms: the principal, and the agent name that goes with a conversation."""

from msgspec import UnsetType
from msgspec.structs import replace

from treadle.core.access import Principal
from treadle.core.actions import Caller
from treadle.core.clock import DAY
from treadle.core.documents import Collection
from treadle.core.fabric import Fabric
from treadle.core.tasks import Hold
from treadle.faces.taskdriver.spelling import FACE

last_names = Collection("agent-name", str)
"""The agent name used last, by principal and conversation."""

KEPT = 7 * DAY


def principal(caller: Caller) -> Principal:
    """The caller as this face's: what they make is named and found as if it had come over HTTP."""
    return replace(caller.principal, face=FACE)


def hold(caller: Caller, worker: str | None = None) -> Hold:
    """What the caller shows for a task. A conversation from which the lease was passed on is refused."""
    return Hold(worker=worker, holder=caller.conversation)


async def agent_name(fabric: Fabric, caller: Caller, given: str | UnsetType) -> str:
    """The name given, else the one used last in this conversation, else a new one; it is remembered."""
    if caller.conversation is None:
        return given or _made_up(fabric)
    key = f"{caller.principal.name}/{caller.conversation}"
    known = await fabric.store.read(lambda tx: last_names.get(tx, key))
    name = given or (known.value if known else _made_up(fabric))
    if known is None or known.value != name:
        expires = fabric.clock() + KEPT
        await fabric.store.write(lambda tx: last_names.put(tx, key, name, expires=expires))
    return name


def _made_up(fabric: Fabric) -> str:
    """`agent-<millis>-<6 chars>` (contract 4.6)."""
    return f"agent-{fabric.clock() // 1000}-{fabric.ids()[:6]}"
