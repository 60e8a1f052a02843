"""Dispatches as tasks of the fabric: each is made together with the names by which callers ask for it again.

A dispatch is a task of the project "devices" in its client's own queue. A name stands for the newest dispatch that has
it; the older ones are still found by their session id.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct, ValidationError, convert, to_builtins

from treadle.core import submitting
from treadle.core.access import Principal
from treadle.core.clock import DAY, SECOND
from treadle.core.documents import Collection
from treadle.core.errors import Duplicate, FabricError, Fault, Invalid, NotFound
from treadle.core.fabric import Fabric
from treadle.core.ledger import Ledger
from treadle.core.output import tasks_of_projects
from treadle.core.ports import Tx
from treadle.core.projects import Policy
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Task
from treadle.faces.ufo.options import Limits

PROJECT = "devices"
"""The pool of what clients are asked to do; made with the first dispatch."""
KIND = "device"
POLICY = Policy(max_retries=0, lease=60 * SECOND, sweep_every=10 * SECOND)
FULL = "The queue of this client is full: {count} tasks wait for it already"
LONGER = 8 * DAY
"""How long a name may outlive the task it stands for, where the task was removed behind our back."""


class Errand(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a dispatch carries in its task's variables.

    `requester` is the connected client that asked, if one did. `until` (microseconds UTC) is how long the task waits
    for a client that is not there.
    """

    client_id: str
    task_name: str
    session_id: str
    requester: str | None = None
    metadata: dict[str, Any] = {}
    until: int | None = None


class Named(Struct, frozen=True):
    """What a name stands for: a task, and its place in creation order."""

    task: str
    seq: int


names = Collection("ufo.name", Named)


def queue_of(client_id: str) -> str:
    """Where a client's tasks wait."""
    return f"device/{client_id}"


def worker_of(client_id: str) -> str:
    """Who holds a client's tasks: this server, for the client."""
    return f"device/{client_id}"


def errand_of(task: Task) -> Errand:
    """What a task of ours asks for. Raises Invalid for one that somebody else put into our queues."""
    if task.kind != KIND:
        raise Invalid(Fault("kind", f"must be {KIND}", task.kind))
    try:
        return convert(task.variables, Errand)
    except ValidationError as error:
        raise Invalid(Fault("variables", str(error))) from None


class Dispatching:
    """Makes dispatches and finds them again. `poke` is told whose queue has something new."""

    def __init__(self, fabric: Fabric, limits: Limits) -> None:
        self._fabric, self._limits = fabric, limits
        self._waiting: Counter[str] = Counter()
        self.poke: Callable[[str], None] = lambda _: None

    async def dispatch(
        self,
        *,
        client_id: str,
        request: str,
        by: Principal,
        task_name: str = "",
        session_id: str | None = None,
        requester: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        until: int | None = None,
    ) -> Task:
        """A task for the client, on disk; where too many wait already, the task as it has ended at once."""
        id = self._fabric.ids()
        errand = Errand(
            client_id=client_id,
            task_name=task_name or self._fabric.ids(),
            session_id=session_id or id,
            requester=requester,
            metadata=dict(metadata or {}),
            until=until,
        )
        full = self._waiting[client_id] >= self._limits.queue
        self._waiting[client_id] += not full
        try:
            task = await self._make(id, request, errand, by, full)
        except BaseException:
            self._less(client_id, not full)
            raise
        if not full:
            self.poke(client_id)
        return task

    async def _make(self, id: str, request: str, errand: Errand, by: Principal, full: bool) -> Task:
        try:
            return await self._write(id, request, errand, by, full)
        except NotFound:  # the first dispatch of all
            with suppress(Duplicate):
                told = "What devices are asked to do"
                await self._fabric.projects.create(PROJECT, by, description=told, policy=POLICY)
            return await self._write(id, request, errand, by, full)

    async def _write(self, id: str, request: str, errand: Errand, by: Principal, full: bool) -> Task:
        new = NewTask(
            kind=KIND,
            queue=queue_of(errand.client_id),
            description=errand.task_name,
            instructions=request,
            variables=to_builtins(errand),
            max_retries=0,
            on_lost="fail",
        )

        def verb(tx: Tx) -> Task:
            now = self._fabric.clock()
            [made] = submitting.submit(tx, [Submit(project=PROJECT, tasks=[new], by=by)], now, lambda: id)
            task = made if isinstance(made, FabricError) else made[0]
            if isinstance(task, FabricError):
                raise task
            if full:
                reason = FULL.format(count=self._limits.queue)
                ledger = Ledger(tx, now)
                task = ledger.move(task, task.cancelled(reason, now), "task.cancelled", {"by": by.name})
                ledger.write()
            self._name(tx, task, errand, now)
            return task

        return await self._fabric.store.write(verb)

    def _name(self, tx: Tx, task: Task, errand: Errand, now: int) -> None:
        """Let the names stand for the task, unless a newer one has them."""
        expires = max(errand.until or 0, now) + int(self._limits.retention * SECOND) + LONGER
        for key in keys_of(errand, task.id):
            found = names.get(tx, key)
            if found is None or found.value.seq < task.seq:
                names.put(tx, key, Named(task.id, task.seq), expires=expires)

    async def find(self, word: str) -> Task | None:
        """The newest task of this name, or else the one of this session."""
        return await self._fabric.store.read(lambda tx: _find(tx, word, (_by_name(word), _by_session(word))))

    async def session(self, session_id: str) -> Task | None:
        """The task of this session."""
        return await self._fabric.store.read(lambda tx: _find(tx, session_id, (_by_session(session_id),)))

    def taken(self, client_id: str) -> None:
        """A task of the client was claimed: one waits less."""
        self._less(client_id, 1)

    def counted(self, waiting: Counter[str]) -> None:
        """How many wait for each client, as somebody counted who saw the work of all replicas."""
        self._waiting = waiting

    def _less(self, client_id: str, by: int) -> None:
        self._waiting[client_id] -= by
        if self._waiting[client_id] <= 0:
            del self._waiting[client_id]


def keys_of(errand: Errand, task: str) -> list[str]:
    """Under which keys a dispatch is found again; a session id that is the task's own needs none."""
    keys = [_by_name(errand.task_name)]
    return keys if errand.session_id == task else [*keys, _by_session(errand.session_id)]


def _by_name(name: str) -> str:
    return f"name/{name}"


def _by_session(session_id: str) -> str:
    return f"session/{session_id}"


def _find(tx: Tx, word: str, keys: tuple[str, ...]) -> Task | None:
    named = names.get_many(tx, keys)
    id = next((named[key].task for key in keys if key in named), word)
    found = tasks_of_projects(tx, [id]).get(id)
    return found if found is not None and found.kind == KIND else None
