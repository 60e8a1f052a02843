"""UFO's HTTP API: dispatch, who is connected, results, health, and what happens in a session (spec 2)."""

import asyncio
from datetime import UTC, datetime

from treadle.core.access import PUBLIC
from treadle.core.clock import SECOND
from treadle.core.errors import NotFound
from treadle.core.fabric import Fabric
from treadle.core.queue import POLL_SECONDS
from treadle.core.tasks import FINAL, Task
from treadle.faces.ufo import wire
from treadle.faces.ufo.asked import read_dispatch
from treadle.faces.ufo.dispatching import Dispatching, errand_of
from treadle.faces.ufo.errors import NotOnline
from treadle.faces.ufo.events import Events
from treadle.faces.ufo.gate import DISPATCH, READ, Gate
from treadle.faces.ufo.options import Limits
from treadle.faces.ufo.registry import Registry
from treadle.faces.ufo.results import shown
from treadle.web.call import Call, Reply, json_reply
from treadle.web.refusals import NoRoute
from treadle.web.routes import Route

DISPATCHES = "/api/dispatch"
PENDING = wire.TaskResult("pending")
_KNOWN = ((b"x-task-known", b"true"),)
_UNKNOWN = ((b"x-task-known", b"false"),)


class Http:
    """Handlers and their rows."""

    def __init__(
        self, fabric: Fabric, registry: Registry, dispatching: Dispatching, gate: Gate, limits: Limits
    ) -> None:
        self._fabric, self._registry, self._dispatching, self._gate = fabric, registry, dispatching, gate
        self._limits = limits
        self._events = Events(fabric, dispatching)

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path=DISPATCHES, handler=self.dispatch, scope=DISPATCH, query=wire.DispatchQuery,
                  reply=wire.Receipt, errors=(404, 413, 422), tag="Tasks", summary="Send a task to a client"),
            Route(method="GET", path="/api/clients", handler=self.clients, scope=READ, reply=wire.Clients,
                  tag="Clients", summary="Who is connected"),
            Route(method="GET", path="/api/task_result/{task_name*}", handler=self.result, scope=READ,
                  query=wire.ResultQuery, reply=wire.TaskResult, tag="Tasks", summary="How a task ended",
                  description="By its name, or by its session id. A name that nobody knows is pending too; the header "
                              "X-Task-Known tells the two apart. A task that failed is done, and its result says why."),
            Route(method="GET", path="/api/tasks/{session_id}/events", handler=self._events.show, scope=READ,
                  query=wire.EventsQuery, reply=wire.TaskResult, errors=(404,), media_type="text/event-stream",
                  tag="Tasks", summary="What happens in a session, as it happens",
                  description="Each event is one step; `event: end` comes last, with what task_result answers. "
                              "Last-Event-ID (or `after`) goes on where a reader was; `event: gap` says what is not "
                              "kept."),
            Route(method="GET", path="/api/health", handler=self.health, scope=PUBLIC, reply=wire.Health,
                  errors=(401,), counted=False, tag="Server", summary="Whether the server answers"),
        ]  # fmt: skip

    async def dispatch(self, call: Call) -> Reply:
        asked, query = read_dispatch(await call.read(), call.headers.get(b"content-type")), call.query
        online = self._registry.get(asked.client_id) is not None
        waits = query.when_online if asked.when_online is None else asked.when_online
        if not online and not waits:
            raise NotOnline
        life = asked.ttl or query.ttl or self._limits.time_to_live
        until = self._fabric.clock() + int(life * SECOND) if waits else None
        task = await self._dispatching.dispatch(
            client_id=asked.client_id,
            request=asked.request,
            task_name=asked.task_name or "",
            by=call.principal,
            until=until,
        )
        errand = errand_of(task)
        receipt = wire.Receipt(
            status="dispatched",
            task_name=errand.task_name,
            client_id=errand.client_id,
            session_id=errand.session_id,
            waits_until=None if online or until is None else _instant(until),
        )
        return json_reply(receipt)

    async def clients(self, _: Call) -> Reply:
        return json_reply(wire.Clients(self._registry.online()))

    async def health(self, call: Call) -> Reply:
        await self._gate.admit_probe(call)
        return json_reply(wire.Health("healthy", self._registry.online()))

    async def result(self, call: Call) -> Reply:
        word, asked = call.params["task_name"], call.query
        if not word:
            raise NoRoute(call.path)
        task = await self._dispatching.find(word)
        if asked.wait and (task is None or task.state not in FINAL):
            task = await call.unless_gone(self._awaited(word, asked.wait))
        result = shown(task) if task is not None else None
        headers = _UNKNOWN if task is None else _KNOWN
        return json_reply(PENDING if result is None else wire.TaskResult("done", result), headers=headers)

    async def _awaited(self, word: str, seconds: float) -> Task | None:
        """The task of this name when it has ended, or as it is after so many seconds."""
        now = asyncio.get_running_loop().time
        deadline = now() + seconds
        while True:
            task = await self._dispatching.find(word)
            left = deadline - now()
            if task is not None:
                try:
                    return await self._fabric.tasks.settled(task.id, max(left, 0))
                except NotFound:  # it was removed meanwhile
                    return None
            if left <= 0:
                return None
            await asyncio.sleep(min(left, POLL_SECONDS))


def _instant(at: int) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
