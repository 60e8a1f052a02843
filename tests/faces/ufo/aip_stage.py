"""A stage for the protocol: a fabric in a folder, a real server on a socket of loopback in the test's own loop, and
clients on it that say line for line what they are told to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.web.asking import app_of
from tests.web.wire import face, listening
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.output.disk import DiskOutputs
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.access import PUBLIC, Principal
from treadle.core.clock import SteadyClock
from treadle.core.errors import NotFound
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.core.tasks import Task
from treadle.faces.ufo.connection import Registration
from treadle.faces.ufo.dispatching import Dispatching
from treadle.faces.ufo.options import Limits
from treadle.faces.ufo.registry import Connection, Registry
from treadle.faces.ufo.running import DeviceIO, Outcome, SessionRunner, TaskSpec, ToolCall
from treadle.faces.ufo.socket import Clients
from treadle.faces.ufo.workers import Workers
from treadle.web.app import App
from treadle.web.log import Log
from treadle.web.refusals import ClientGone

SECONDS = 20.0
CALLER = Principal("caller", "ufo", ("devices:*",))
Play = Callable[[TaskSpec, DeviceIO], Awaitable[Outcome]]


class Runner:
    """A runner that plays what a test wrote."""

    name = "test"

    def __init__(self, play: Play) -> None:
        self._play = play

    async def run(self, task: TaskSpec, io: DeviceIO) -> Outcome:
        return await self._play(task, io)


async def echo(task: TaskSpec, _: DeviceIO) -> Outcome:
    """Says what was asked."""
    return Outcome(True, task.request)


async def one_command(task: TaskSpec, io: DeviceIO) -> Outcome:
    """Has the device run the request as a command."""
    [result] = await io.call([ToolCall("execute_command", {"command": task.request})], agent="LinuxAgent")
    return Outcome(result.ok, result.result, result.error)


class Mute:
    """A wire in memory: what was sent, and a gate that keeps the sender waiting while it is closed."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.lives = True

    async def send(self, message: str | bytes) -> None:
        await self.open.wait()
        if self.closed is not None:
            raise ClientGone
        self.sent.append(json.loads(message))

    async def alive(self, _: float) -> bool:
        return self.lives

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = (code, reason)


def client_on(wire: Mute, id: str = "d1", **more: Any) -> Connection:
    return Connection(wire, Registration(**{"client_id": id, "role": "device", "platform": "linux", **more}))


async def soon(true: Callable[[], object]) -> None:
    """Returns once it is true; each look lets the loop go round."""
    until = asyncio.get_running_loop().time() + SECONDS
    while not true():
        assert asyncio.get_running_loop().time() < until, "it did not come true in time"
        await asyncio.sleep(0.001)


class Client:
    """A client on a real socket. `hear` gives what it was sent, frame by frame."""

    def __init__(self, socket: ClientConnection, id: str, role: str) -> None:
        self.socket, self.id, self.role = socket, id, role

    async def say(self, type: str, **keys: Any) -> None:
        status = {"task": "continue", "command_results": "continue", "error": "error"}.get(type, "ok")
        frame = {"type": type, "status": status, "client_type": self.role, "client_id": self.id, **keys}
        await self.socket.send(json.dumps(frame))

    async def hear(self, type: str | None = None) -> dict[str, Any]:
        """The next frame, which must be of that type."""
        async with asyncio.timeout(SECONDS):
            frame: dict[str, Any] = json.loads(await self.socket.recv())
        assert type in (None, frame["type"]), frame
        return frame

    async def ended(self) -> int | None:
        """The code with which the server closes, whatever comes before."""
        async with asyncio.timeout(SECONDS):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed:
                return self.socket.close_code

    def kill(self) -> None:
        """Its process dies: the connection is gone without a word."""
        self.socket.transport.abort()

    async def take(self) -> dict[str, Any]:
        """Hears an assignment and echoes it as the stock device does: without the session id."""
        task = await self.hear("task")
        await self.say("task", task_name=task["task_name"], request=task["user_request"], session_id=None)
        accepted = await self.hear("heartbeat")
        assert accepted["session_id"] == task["session_id"]
        return task

    async def answer(self, *results: Any, **keys: Any) -> dict[str, Any]:
        """Hears a command and answers it, each of its calls with a result that is a success."""
        command = await self.hear("command")
        rows = [
            {"status": "success", "result": result, "call_id": action["call_id"], "namespace": "Bash"}
            for action, result in zip(command["actions"], results, strict=True)
        ]
        mine = {"session_id": command["session_id"], "prev_response_id": command["response_id"]}
        await self.say("command_results", **{**mine, "action_results": rows, **keys})
        return command

    async def ask(self, session: str = "night@t1", target: str = "d1") -> None:
        """What a stock constellation sends for one of its tasks."""
        request = {"request": "Which OS is this?", "task_name": "galaxy/night/t1"}
        await self.say("task", target_id=target, session_id=session, **request)


class Stage:
    """What stands on the stage: the fabric, the server's parts and its address."""

    def __init__(self, fabric: Fabric, limits: Limits, play: Play | SessionRunner, log: Log) -> None:
        self.fabric, self.log = fabric, log
        self.registry = Registry()
        self.dispatching = Dispatching(fabric, limits)
        self.play = play
        self.workers = Workers(fabric, self.registry, self.dispatching, self._choose, limits, log)
        self.dispatching.poke = self.workers.poke
        self.clients = Clients(self.registry, self.workers, limits=limits, clock=fabric.clock, ids=fabric.ids, log=log)
        self.app: App
        self.url = ""
        self.stop: Callable[[], None]
        """Stops the listener, as the end of the server does."""

    def _choose(self, _: TaskSpec) -> SessionRunner:
        return Runner(self.play) if callable(self.play) else self.play

    async def dispatch(self, client_id: str, request: str = "do", task_name: str = "t", **more: Any) -> Task:
        return await self.dispatching.dispatch(
            client_id=client_id, request=request, task_name=task_name, by=CALLER, **more
        )

    async def ended(self, task: Task | str) -> Task:
        """The task once it has ended, whether it is named by itself or by its session."""
        id = task.id if isinstance(task, Task) else await self.task_of(task)
        found = await self.fabric.tasks.settled(id, SECONDS)
        assert found.finished is not None, found
        return found

    async def task_of(self, session_id: str) -> str:
        found = await self.dispatching.session(session_id)
        if found is None:
            raise NotFound("Session", session_id)
        return found.id

    async def failure(self, task: Task | str) -> str:
        """Why the task failed."""
        found = await self.ended(task)
        assert found.state in ("failed", "cancelled")
        assert found.result is not None
        assert found.result.error
        return found.result.error

    async def output(self, task: Task | str) -> Any:
        """What the task succeeded with."""
        found = await self.ended(task)
        assert found.state == "succeeded", found
        assert found.result is not None
        return found.result.output["output"]

    @asynccontextmanager
    async def dialled(self, **more: Any) -> AsyncIterator[ClientConnection]:
        options = {"compression": None, "proxy": None, "close_timeout": 2, "max_size": None, **more}
        async with connect(self.url, **options) as socket:
            yield socket

    @asynccontextmanager
    async def client(self, id: str, role: str = "device", **keys: Any) -> AsyncIterator[Client]:
        """A registered client."""
        dial = keys.pop("dial", {})
        async with self.dialled(**dial) as socket:
            client = Client(socket, id, role)
            metadata = {"platform": "linux", "system_info": {"device_id": id, "platform": "linux"}}
            await client.say("register", **{"metadata": metadata, **keys})
            verdict = await client.hear("heartbeat")
            assert verdict["status"] == "ok"
            yield client


@asynccontextmanager
async def fabric_in(folder: Path) -> AsyncIterator[Fabric]:
    clock = SteadyClock()
    store = await open_sqlite(folder / "treadle.db")
    outputs = DiskOutputs(folder / "output", clock=clock)
    errors: list[Exception] = []
    try:
        yield Fabric(store, LocalBus(), clock, new_id, outputs, report=lambda _, error: errors.append(error))
    finally:
        await outputs.close()
        await store.close()
    assert errors == []


@asynccontextmanager
async def staged(
    folder: Path, play: Play | SessionRunner = echo, *, limits: Limits | None = None, lines: list[bytes] | None = None
) -> AsyncIterator[Stage]:
    """A server with devices for as long as the block runs."""
    async with fabric_in(folder) as fabric:
        said: list[bytes] = [] if lines is None else lines
        stage = Stage(fabric, limits or Limits(), play, Log(said.append))
        stage.app = app_of([], sockets=[stage.clients.route(PUBLIC)])
        async with listening(face(stage.app), grace=1.0) as listeners:
            stage.stop = listeners.stop
            stage.url = f"ws://{listeners.addresses['test']}/ws"
            with _running(stage.workers):
                yield stage
                await stage.workers.stop()
        stage.log.flush()
        if lines is None:
            assert b'"level":"error"' not in b"".join(said), b"".join(said).decode()


@contextmanager
def _running(workers: Workers) -> Iterator[None]:
    running = asyncio.get_running_loop().create_task(workers.run())
    try:
        yield
    finally:
        running.cancel()
