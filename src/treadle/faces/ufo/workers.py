"""Devices as workers: what is asked of a device waits in its queue, and the face claims it for the device when it can
be run: one session at a time on each device, in the order in which it was asked for.

Nobody polls for a device. It is looked at when it comes, when something is asked of it and when a session ends; one
slow look over all that waits covers what that misses.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct

from treadle.core.clock import MINUTE, SECOND
from treadle.core.errors import Conflict, Invalid, NotFound, StoreUnavailable
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim, Extend, Finish, Release
from treadle.core.ports import Filter, Tx
from treadle.core.tasks import Hold, Task
from treadle.faces.ufo.aip import stamp
from treadle.faces.ufo.connection import EndTold, TaskAsked, error, refusal
from treadle.faces.ufo.dispatching import PROJECT, Dispatching, Errand, errand_of, queue_of, worker_of
from treadle.faces.ufo.options import Limits
from treadle.faces.ufo.registry import Connection, Registry
from treadle.faces.ufo.results import result_of
from treadle.faces.ufo.running import Outcome, SessionRunner, TaskSpec
from treadle.faces.ufo.sessions import DeviceSession, with_rounds
from treadle.faces.ufo.workers_asked import CALLED_OFF, SYSTEM, Requests, say
from treadle.faces.ufo.workers_output import Printed
from treadle.web.log import Log

LEASE = 60 * SECOND
EXTEND_SECONDS = 20.0
LOOK_SECONDS = 30.0
PAGE = 500
STOP_SECONDS = 5.0
LATE = 10 * MINUTE
"""For how long the echo of an assignment that was given up is known as such."""
STORE_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between tries to store how a session ended."""
STOPPING = "The server is stopping"
ASKER_GONE = "The client that asked for this is gone"

Choose = Callable[[TaskSpec], SessionRunner]


class Running(Struct, frozen=True):
    """A task in the hands of a device."""

    task: Task
    session: DeviceSession
    hold: Hold


class Workers:
    """Gives devices what is asked of them, and keeps how it ended."""

    def __init__(
        self,
        fabric: Fabric,
        registry: Registry,
        dispatching: Dispatching,
        choose: Choose,
        limits: Limits,
        log: Log,
    ) -> None:
        self._fabric, self._registry, self._dispatching = fabric, registry, dispatching
        self._choose, self._limits, self._log = choose, limits, log
        self._requests = Requests(fabric, registry, dispatching)
        self._running: dict[str, Running] = {}
        self._late: dict[tuple[str, str], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        registry.on_left = self.left

    def poke(self, client_id: str) -> None:
        """Something may wait for this client: it is looked at, unless it is at work or not here."""
        device = self._registry.get(client_id)
        if device is None or device.gone or self._stopping:
            return
        device.poked = True
        if device.working is None:
            device.working = self._start(self._work(device))

    async def cancel(self, session_id: str, reason: str = CALLED_OFF) -> None:
        """Calls a session off, whether it runs or waits. Raises NotFound, and WrongState for one that has ended."""
        task = await self._dispatching.session(session_id)
        if task is None:
            raise NotFound("Session", session_id)
        running = self._running.get(task.id)
        if running is not None:
            running.session.stop(reason)
            return
        await self._fabric.tasks.cancel(task.id, SYSTEM, reason)
        request = self._requests.of(session_id)
        if request is not None:
            self._requests.end(session_id, request, reason)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._watched(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StoreUnavailable as error:
            self._log.warning("devices were not looked after", reason=error.message)
        except Exception as error:  # noqa: BLE001 - nobody waits for it; it is reported
            self._log.failed("devices were not looked after", error)

    # what clients say

    def joined(self, client: Connection) -> None:
        """A client has been welcomed."""
        self.poke(client.client_id)

    def left(self, client: Connection) -> None:
        """A client is gone: what it ran has failed, what it asked for is called off."""
        self._late = {known: until for known, until in self._late.items() if known[0] != client.client_id}
        if client.session is not None:
            client.session.device_left()
        for session_id, request, reason in self._requests.concerned(client):
            running = self._running.get(request.task)
            if running is not None:
                running.session.stop(reason)
            else:
                self._start(self._requests.call_off(session_id, request, reason))

    async def asked(self, client: Connection, asked: TaskAsked) -> None:
        """A client wants a task to be carried out, or echoes one that it was assigned."""
        if client.role == "device":
            if client.session is not None and client.session.echoes(asked):
                return
            known = (client.client_id, asked.task_name or "")
            told = ""
            if self._late.pop(known, 0) > self._fabric.clock():
                told = f"Task {asked.task_name} was given up: it was not taken in time"
            elif not asked.request:
                told = "Empty task content"
            if told:
                say(client, refusal(asked.session_id, asked.task_name, told))
                return
        await self._requests.take(client, asked)

    def end_told(self, client: Connection, told: EndTold) -> None:
        """A client says that a task is over: only a device that was given one whole may."""
        if client.session is None or not client.session.ended_by_device(told):
            client.send(error("A task_end is the server's to send").frame)

    # what devices do

    async def _work(self, device: Connection) -> None:
        """Takes the device's tasks one after another until there are no more."""
        try:
            while device.poked and not device.gone and not self._stopping:
                device.poked = False
                for task in await self._claim(device):
                    self._dispatching.taken(device.client_id)
                    await self._carry_out(device, task)
                    device.poked = True
        finally:
            device.working = None

    async def _claim(self, device: Connection) -> list[Task]:
        worker, queue = worker_of(device.client_id), queue_of(device.client_id)
        try:
            return await self._fabric.tasks.claim(Claim(project=PROJECT, worker=worker, queue=queue, lease=LEASE))
        except (NotFound, Conflict):  # nothing was ever asked of a device, or the project is closed
            return []

    async def _carry_out(self, device: Connection, task: Task) -> None:
        """One session, from the claim to the end told to everybody."""
        hold = Hold(worker=worker_of(device.client_id), fence=task.fence)
        try:
            errand = errand_of(task)
        except Invalid as wrong:
            await self._finish(task, hold, Outcome(False, error=f"This is no task for a device: {wrong.message}"))
            return
        if errand.requester is None and (device.gone or self._stopping):
            await self._give_back(task, hold)  # nobody has heard of it: it waits on
            return
        request = self._requests.of(errand.session_id)
        if request is not None and request.task != task.id:
            request = None
        printed = Printed(self._fabric, task, self._log)
        session = DeviceSession(
            device,
            spec_of(task, errand, device),
            ids=self._fabric.ids,
            note=printed,
            limits=self._limits,
            requester=request.client if request else None,
        )
        device.session, self._running[task.id] = session, Running(task, session, hold)
        try:
            orphan = errand.requester is not None and (request is None or request.client.gone)
            outcome = Outcome(False, error=ASKER_GONE) if orphan else await self._run(session, errand)
            await printed.flush()
            outcome = await self._finish(task, hold, with_rounds(session.spec, outcome))
            session.tell(with_rounds(session.spec, outcome), self._fabric.ids(), stamp(self._fabric.clock()))
        finally:
            device.session = None
            del self._running[task.id]
            if request is not None:
                self._requests.close(errand.session_id, request)

    async def _run(self, session: DeviceSession, errand: Errand) -> Outcome:
        try:
            outcome = await session.run(self._choose(session.spec), assign=errand.requester is None)
        except Exception as error:  # noqa: BLE001 - a runner that breaks fails its own session only; it is reported
            self._log.failed("a session broke", error, session=errand.session_id, device=errand.client_id)
            return Outcome(False, error=f"The session broke ({type(error).__name__}); the server's log says how")
        if session.not_taken:
            self._late[errand.client_id, errand.task_name] = self._fabric.clock() + LATE
        return outcome

    async def _finish(self, task: Task, hold: Hold, outcome: Outcome) -> Outcome:
        """Stores how the session ended; the outcome as it stands then."""
        for pause in (*STORE_PAUSES, None):
            try:
                await self._fabric.tasks.finish(Finish(task=task.id, by=hold, result=result_of(outcome)))
            except StoreUnavailable as error:
                if pause is None:
                    return Outcome(False, error=f"The result could not be stored: {error.message}")
                await asyncio.sleep(pause)
            except (Conflict, NotFound):
                return Outcome(False, error=CALLED_OFF)
            except Exception as error:  # noqa: BLE001 - whatever a runner gave that no store can hold
                self._log.failed("a result could not be stored", error, task=task.id)
                outcome = Outcome(False, error=f"The result could not be stored ({type(error).__name__})")
            else:
                break
        return outcome

    async def _give_back(self, task: Task, hold: Hold) -> None:
        try:
            await self._fabric.tasks.release(Release(task=task.id, by=hold))
        except (Conflict, NotFound):
            return  # it was called off meanwhile

    # from time to time

    async def run(self) -> None:
        """Keeps what runs and looks for what was missed, until cancelled; then ends what runs."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._every(EXTEND_SECONDS, self.extend))
                group.create_task(self._every(LOOK_SECONDS, self.look))
        finally:
            await self.stop()

    async def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._watched(work())

    async def extend(self) -> None:
        """Keeps the leases of all that runs; what somebody else has called off is stopped."""
        running = list(self._running.values())
        calls = [Extend(task=each.task.id, by=each.hold, keep=LEASE) for each in running]
        for each, outcome in zip(running, await self._fabric.tasks.extend.many(calls), strict=True):
            if isinstance(outcome, (Conflict, NotFound)):
                each.session.stop(CALLED_OFF)

    async def look(self) -> None:
        """Gives out what waits for a client that is here and idle."""
        now = self._fabric.clock()
        self._late = {known: until for known, until in self._late.items() if until > now}
        for queue in await self._fabric.store.read(_waiting):
            self.poke(queue.removeprefix(queue_of("")))
        await self._requests.look(self._running)

    async def stop(self) -> None:
        """Ends all sessions with a failure that says so, and takes no more; a second time is nothing."""
        if self._stopping:
            return
        self._stopping = True
        for running in list(self._running.values()):
            running.session.stop(STOPPING)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _waiting(tx: Tx) -> set[str]:
    """The queues in which something waits."""
    project = tx.projects([PROJECT]).get(PROJECT)
    if project is None or not tx.tallies([project.id])[project.id].queued:
        return set()
    which = Filter(project=project.id, states=("queued",))
    queues: set[str] = set()
    offset = 0
    while page := tx.list_tasks(which, PAGE, offset):
        queues.update(task.queue for task in page)
        offset += len(page)
    return queues


def spec_of(task: Task, errand: Errand, device: Connection) -> TaskSpec:
    """What the runner is told."""
    info = device.info
    return TaskSpec(
        session_id=errand.session_id,
        task_name=errand.task_name,
        request=task.instructions or "",
        client_id=info.client_id,
        platform=info.platform,
        system_info=info.system_info,
        metadata=info.metadata,
        options=errand.metadata,
    )
