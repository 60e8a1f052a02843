"""What connected clients have asked for and want to hear of: constellations for devices, devices for themselves."""

from collections.abc import Container

from msgspec import Struct

from treadle.core.access import Principal
from treadle.core.errors import Conflict, FabricError, NotFound
from treadle.core.fabric import Fabric
from treadle.core.tasks import FINAL
from treadle.faces.ufo.connection import Effect, Say, TaskAsked, error, refusal
from treadle.faces.ufo.dispatching import Dispatching
from treadle.faces.ufo.frames import ServerFrame
from treadle.faces.ufo.registry import Connection, Registry

FACE = "ufo"
SYSTEM = Principal(FACE, FACE, ("devices:*",))
"""Who acts where nobody asked."""
CALLED_OFF = "The task was called off"


class Request(Struct):
    """One session that a client asked for; `task` is empty until it is stored."""

    client: Connection
    target: str
    task: str = ""


class Requests:
    """Sessions by id, from being asked for to their end. An id belongs to whoever used it first (spec 7.2)."""

    def __init__(self, fabric: Fabric, registry: Registry, dispatching: Dispatching) -> None:
        self._fabric, self._registry, self._dispatching = fabric, registry, dispatching
        self._open: dict[str, Request] = {}

    def of(self, session_id: str) -> Request | None:
        return self._open.get(session_id)

    async def take(self, client: Connection, asked: TaskAsked) -> None:
        """Puts it into the device's queue and says so, or says why not."""
        session_id = asked.session_id or self._fabric.ids()
        owner = self._open.get(session_id)
        if owner is not None:
            mine = owner.client.client_id == client.client_id
            # what is going on goes on: its owner must not hear of an end
            told = f"Session {session_id} is going on already" if mine else f"Session {session_id} is another client's"
            say(client, [error(told)] if mine else refusal(session_id, asked.task_name, told))
            return
        self._open[session_id] = request = Request(client, asked.target)
        try:
            task = await self._dispatching.dispatch(
                client_id=asked.target,
                request=asked.request,
                by=Principal(client.client_id, FACE, ("devices:dispatch",)),
                task_name=asked.task_name or "",
                session_id=session_id,
                requester=client.client_id,
                metadata=asked.metadata,
            )
        except FabricError as refused:
            del self._open[session_id]
            say(client, refusal(asked.session_id, asked.task_name, refused.message))
            return
        except BaseException:
            del self._open[session_id]
            raise
        if task.state in FINAL:
            del self._open[session_id]
            told = task.result.error if task.result and task.result.error else CALLED_OFF
            say(client, refusal(asked.session_id, asked.task_name, told))
            return
        request.task = task.id
        # now, before anything else is said in this session: nothing was awaited since its device was poked
        client.send(ServerFrame(type="heartbeat", status="ok", session_id=session_id))
        if client.gone or self._registry.get(asked.target) is None:
            gone = client.client_id if client.gone else asked.target
            await self.call_off(session_id, request, f"Client {gone} disconnected")

    def concerned(self, gone: Connection) -> list[tuple[str, Request, str]]:
        """The sessions that end because this client has left, each with the reason."""
        found = []
        for session_id, request in self._open.items():
            if request.client is gone:
                found.append((session_id, request, f"Client {gone.client_id}, which asked for this, disconnected"))
            elif request.target == gone.client_id:
                found.append((session_id, request, f"Target device {gone.client_id} disconnected"))
        return found

    async def call_off(self, session_id: str, request: Request, reason: str) -> None:
        """Ends one that waits in its queue."""
        if not request.task:  # it is being stored; whoever does that looks at who is there afterwards
            return
        try:
            await self._fabric.tasks.cancel(request.task, SYSTEM, reason)
        except (Conflict, NotFound):
            return
        self.end(session_id, request, reason)

    def end(self, session_id: str, request: Request, reason: str) -> None:
        """One that never ran is over."""
        if self.close(session_id, request):
            request.client.send(
                ServerFrame(type="task_end", status="failed", session_id=session_id, error=reason, result=[])
            )

    def close(self, session_id: str, request: Request) -> bool:
        """Forgets it; whether it was still open."""
        if self._open.get(session_id) is not request:
            return False
        del self._open[session_id]
        return True

    async def look(self, running: Container[str]) -> None:
        """Tells clients of what others have called off while it waited; of what is running its session tells."""
        waiting = {request.task: (session_id, request) for session_id, request in self._open.items() if request.task}
        if not waiting:
            return
        tasks = await self._fabric.store.read(lambda tx: tx.tasks(list(waiting)))
        for id, (session_id, request) in waiting.items():
            task = tasks.get(id)
            if id not in running and (task is None or task.state == "cancelled"):
                told = task.result.error if task and task.result and task.result.error else CALLED_OFF
                self.end(session_id, request, told)


def say(client: Connection, effects: list[Effect] | list[Say]) -> None:
    """Says what a refusal has to say."""
    for effect in effects:
        assert isinstance(effect, Say)  # a refusal leaves the socket open
        client.send(effect.frame)
