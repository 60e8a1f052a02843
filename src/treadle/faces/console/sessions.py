"""A session is a client's own name for a run: kept in the store, scoped to its user, and watched or not.

A run goes on when nobody watches it, and is ended after a while. Until when it may go on stands in the store, so that
it holds over a restart and between replicas: whoever has a watcher puts it off.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from treadle.core.access import Principal
from treadle.core.clock import HOUR, SECOND
from treadle.core.documents import Collection, Stored
from treadle.core.errors import Conflict, Duplicate, FabricError, NotFound, Unreachable, WrongState
from treadle.core.fabric import Fabric
from treadle.core.ports import Tx
from treadle.core.tasks import FINAL, Task
from treadle.faces.console.errors import Busy, SessionExists
from treadle.faces.console.gate import ADMIN, FACE
from treadle.web.log import Log

KEPT = 1 * HOUR
"""How long a session is known after its run has ended."""
STARTING = 30 * SECOND
"""A reservation that has no task after so long was never used."""
RETRY_SECONDS = 5
PAGE = 200
LOOK_SECONDS = 5.0
RIGHTS = ("runs:start", "runs:feed", "runs:signal")
"""What whoever may use the Console may do with the one thing that it runs."""
START_POLL, ORDER_POLL, PATIENCE = 0.01, 0.05, 3.0


class Session(Struct, frozen=True, kw_only=True):
    """What is kept of a run: who may reach it under which name, and until when it goes on unwatched (None: for ever).

    `argv` is masked. Instants are microseconds UTC. `task` is empty while the run is being started.
    """

    id: str
    user: str
    path: str
    argv: tuple[str, ...]
    started: int
    columns: int
    rows: int
    task: str = ""
    until: int | None = None
    killed: bool = False
    ended: bool = False

    @property
    def key(self) -> str:
        return f"{self.id}/{self.user}"  # no id holds a slash


sessions = Collection("console_run", Session)


class Sessions:
    """Reserve, find, watch and end them."""

    def __init__(self, fabric: Fabric, log: Log, *, most: int, detached_seconds: int, kill_seconds: int) -> None:
        self._fabric, self._log, self._most = fabric, log, most
        self._detached, self._grace = detached_seconds * SECOND, float(kill_seconds)
        self._watched: Counter[str] = Counter()
        self._left: set[str] = set()
        self._reserving = asyncio.Lock()
        self._nudge = asyncio.Event()
        self.live = 0
        """How many runs were going on at the last look."""

    async def reserve(self, session: Session) -> Session:
        """Take the name for a run that is about to start. Raises SessionExists and Busy."""

        def verb(tx: Tx) -> int:
            open_ = [stored.value for stored in every(tx) if not stored.value.ended]
            tasks = tx.tasks([each.task for each in open_ if each.task])
            live = {each.key for each in open_ if _is_live(each, tasks, session.started)}
            if session.key in live:
                raise SessionExists
            if len(live) >= self._most:
                raise Busy(f"{self._most} runs are going on, and this server allows no more", retry_after=RETRY_SECONDS)
            before = sessions.get(tx, session.key)
            sessions.put(tx, session.key, session, group=session.user, version=before.version if before else 0)
            return len(live) + 1

        async with self._reserving:
            try:
                self.live = await self._fabric.store.write(verb)
            except Duplicate:
                raise
            except Conflict:  # another replica took it at the same moment
                raise SessionExists from None
        return session

    async def began(self, session: Session, task: Task) -> Session:
        """The run has its task."""
        begun: dict[str, Any] = {"task": task.id, "until": self._until()}
        await self._change(session, **begun)
        return replace(session, **begun)

    async def drop(self, session: Session) -> None:
        """The run did not come to anything."""
        await self._fabric.store.write(lambda tx: sessions.delete(tx, session.key))
        self.nudge()

    async def find(self, principal: Principal, id: str) -> Session:
        """The caller's session of this name, with its task; who manages the server finds everybody's.

        Raises NotFound. One that is just being started is waited for.
        """
        key = f"{id}/{principal.name}"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            found = await self._fabric.store.read(lambda tx: self._look_up(tx, key, id, principal))
            if found is None or (not found.task and loop.time() > deadline):
                raise NotFound("Session", id)
            if found.task:
                return found
            await asyncio.sleep(START_POLL)

    @staticmethod
    def _look_up(tx: Tx, key: str, id: str, principal: Principal) -> Session | None:
        own = sessions.get(tx, key)
        if own is not None:
            return own.value
        if not principal.holds(ADMIN):
            return None
        named = [stored.value for stored in every(tx) if stored.value.id == id]
        return max(named, key=lambda session: session.started, default=None)

    async def listed(self, principal: Principal) -> list[tuple[Session, Task]]:
        """The caller's sessions with their tasks, newest first; all of them for who manages the server."""
        group = None if principal.holds(ADMIN) else principal.name

        def query(tx: Tx) -> list[tuple[Session, Task]]:
            found = [stored.value for stored in every(tx, group) if stored.value.task]
            tasks = tx.tasks([session.task for session in found])
            pairs = [(session, tasks[session.task]) for session in found if session.task in tasks]
            return sorted(pairs, key=lambda pair: -pair[0].started)

        return await self._fabric.store.read(query)

    def is_watched(self, session: Session) -> bool:
        """Whether somebody watches it through this server."""
        return self._watched[session.key] > 0

    @contextmanager
    def watching(self, session: Session) -> Iterator[None]:
        """Somebody watches while the block runs."""
        self._watched[session.key] += 1
        self.nudge()
        try:
            yield
        finally:
            self._watched[session.key] -= 1
            if not self._watched[session.key]:
                del self._watched[session.key]
                self._left.add(session.key)
            self.nudge()

    async def kill(self, session: Session, by: str) -> None:
        """Ask the whole run to end, and make it after a while; the second time, make it now.

        Nothing happens to a run that has ended. Raises Unreachable where its node does not hear.
        """
        again = session.killed
        if not again:
            await self._change(session, killed=True)
        try:
            await self._signal(session, acting(by), "KILL" if again else "TERM", 0.0 if again else self._grace)
        except Unreachable:
            await self._change(session, killed=again)  # nobody heard it
            raise

    async def _signal(self, session: Session, by: Principal, signal: str, grace: float) -> None:
        """Signal all processes of the run; one that is about to begin is waited for, for a moment."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            try:
                await self._fabric.runs.signal(session.task, signal, by=by, grace=grace)
            except WrongState:
                if (await self._fabric.runs.get(session.task)).state in FINAL:
                    return
                if loop.time() > deadline:  # its node has it and does not know it: take it away from there
                    with suppress(WrongState):
                        await self._fabric.tasks.cancel(session.task, by, "Killed")
                    return
                await asyncio.sleep(ORDER_POLL)
            else:
                return

    def nudge(self) -> None:
        """Look now: something began, ended, or is watched by more or by nobody."""
        self._nudge.set()

    async def run(self) -> None:
        """End what nobody watches, and note what has ended; until cancelled."""
        put_off = False
        while True:
            self._nudge.clear()
            try:
                if not put_off:
                    await self._put_off_all()
                    put_off = True
                await self.look()
            except FabricError as error:  # a store that is full, a node that is gone: the next look may do it
                self._log.warning("console runs were not looked at", reason=error.message)
            try:
                async with asyncio.timeout(self._pause()):
                    await self._nudge.wait()
            except TimeoutError:
                continue

    def _pause(self) -> float:
        return min(LOOK_SECONDS, max(0.1, self._detached / SECOND / 4)) if self._detached else LOOK_SECONDS

    async def look(self) -> None:
        """Once over all sessions."""

        def query(tx: Tx) -> tuple[list[Session], dict[str, Task]]:
            found = [stored.value for stored in every(tx) if not stored.value.ended]
            return found, tx.tasks([session.task for session in found if session.task])

        left, self._left = self._left, set()
        found, tasks = await self._fabric.store.read(query)
        now = self._fabric.clock()
        self.live = sum(_is_live(session, tasks, now) for session in found)
        for session in found:
            if not _is_live(session, tasks, now):
                await self._change(session, expires=now + KEPT, ended=True)
            elif session.until is None or not session.task:
                continue
            elif self.is_watched(session):
                if session.until < now + self._detached * 3 // 2:
                    await self._change(session, until=now + self._detached * 2)
            elif session.key in left:
                await self._change(session, until=self._until())
            elif session.until <= now and not session.killed:
                self._log.info("console run is ended", session=session.id, reason="nobody watches it")
                await self.kill(session, session.user)

    async def _put_off_all(self) -> None:
        """What was left by an earlier life of this server has the whole time again."""

        def verb(tx: Tx) -> None:
            for stored in every(tx):
                session = stored.value
                if not session.ended and session.until is not None:
                    until = replace(session, until=self._until())
                    sessions.put(tx, session.key, until, group=session.user)

        await self._fabric.store.write(verb)

    def _until(self) -> int | None:
        return self._fabric.clock() + self._detached if self._detached else None

    async def _change(self, session: Session, expires: int | None = None, **fields: Any) -> Session:
        """Write some fields, if the name still stands for this run; the session as it is then."""

        def verb(tx: Tx) -> Session:
            stored = sessions.get(tx, session.key)
            if stored is None or stored.value.started != session.started:
                return session
            changed = replace(stored.value, **fields)
            sessions.put(tx, session.key, changed, group=session.user, expires=expires)
            return changed

        return await self._fabric.store.write(verb)


def acting(user: str) -> Principal:
    """The user, as the Console speaks for them."""
    return Principal(user, FACE, RIGHTS)


def every(tx: Tx, group: str | None = None) -> list[Stored[Session]]:
    """All sessions, or those of one user."""
    page = sessions.page(tx, group=group, limit=PAGE)
    found = list(page)
    while len(page) == PAGE:
        page = sessions.page(tx, group=group, after=page[-1].key, limit=PAGE)
        found += page
    return found


def _is_live(session: Session, tasks: dict[str, Task], now: int) -> bool:
    if not session.task:
        return now - session.started < STARTING
    return session.task in tasks and tasks[session.task].state not in FINAL
