"""A real server for tests: the TaskDriver face on a free port, in a thread of its own, with a clock that tests move."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
import uvloop

from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.access import Principal
from treadle.core.clock import SECOND, SteadyClock
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.faces.taskdriver import NAME, Options, TaskDriver, make
from treadle.web.listen import Address, Face, Listeners
from treadle.web.log import Log

T = TypeVar("T")

ROOT = Principal("root", "native", ("*",))
PROJECT = "default"


class MovableClock:
    """The real time and what a test adds to it."""

    def __init__(self) -> None:
        self._real, self._added = SteadyClock(), 0

    def __call__(self) -> int:
        return self._real() + self._added

    def advance(self, seconds: float) -> None:
        self._added += int(seconds * SECOND)


class Server:
    """A running server: its address, and a way to call its fabric from the test's thread."""

    def __init__(self, home: Path, options: Options) -> None:
        self.clock = MovableClock()
        self.fabric: Fabric
        self.app: TaskDriver
        self.options = options
        self.reports: list[tuple[str, Exception]] = []
        self._home = home
        self._log: list[bytes] = []
        self._listeners: Listeners
        self._loop: asyncio.AbstractEventLoop
        self._up = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="taskdriver under test")
        self.http: httpx2.Client

    @property
    def url(self) -> str:
        return self._listeners.urls[NAME]

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(20)
        if self._failed is not None:
            raise self._failed
        self.http = httpx2.Client(base_url=self.url, timeout=20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._listeners.stop)
        self._thread.join(20)
        self.http.close()
        assert not self._thread.is_alive()
        assert self._failed is None
        assert self.reports == []

    def do(self, verb: Callable[[Fabric], Awaitable[T]]) -> T:
        """Call the core on the server's loop."""

        async def doing() -> T:
            return await verb(self.fabric)

        return asyncio.run_coroutine_threadsafe(doing(), self._loop).result(20)

    def log(self) -> list[dict[str, Any]]:
        """What was logged so far."""

        async def flushed() -> None:
            self.app.log.flush()

        asyncio.run_coroutine_threadsafe(flushed(), self._loop).result(20)
        return self.lines()

    def lines(self) -> list[dict[str, Any]]:
        """What was written to the log."""
        return [msgspec.json.decode(line) for line in b"".join(self._log).splitlines()]

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's thread
            self._failed = error
        self._up.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        store = await open_sqlite(self._home / "treadle.db")
        try:
            report = lambda name, error: self.reports.append((name, error))  # noqa: E731
            self.fabric = Fabric(store, LocalBus(), self.clock, new_id, unprinted(self.clock), report=report)
            if PROJECT not in [each.project.name for each in await self.fabric.projects.page()]:
                await self.fabric.projects.create(PROJECT, ROOT)
            self.app = make(self.fabric, self.options, Log(self._log.append))
            self._listeners = Listeners([Face(NAME, self.app, Address("127.0.0.1", 0))], grace=2.0)
            self._listeners.open()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listeners.serve())
                await self._listeners.ready.wait()
                self._up.set()
        finally:
            await store.close()


@contextmanager
def served(home: Path, **options: Any) -> Iterator[Server]:
    """A server while the block runs; without a rate limit unless one is asked for."""
    server = Server(home, Options(**{"rate_limit": 0, **options}))
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Api:
    """A client with a session of its own: JSON in, JSON out."""

    def __init__(self, server: Server, agent: str = "w1", project: str = PROJECT, **more: Any) -> None:
        self.server, self.agent = server, agent
        answer = server.http.post("/api/auth/login", json={"agentName": agent, "projectId": project, **more})
        assert answer.status_code == 200, answer.text
        self.session = answer.json()["data"]
        self.project: str = self.session["session"]["projectId"]
        self._headers = {"authorization": f"Bearer {self.session['token']}"}

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx2.Response:
        """`{P}` in the path is the session's project."""
        if body is not None:
            more["json"] = body
        headers = {**self._headers, **(headers or {})}
        return self.server.http.request(method, path.replace("{P}", self.project), headers=headers, **more)

    def data(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The data of an answer that went well."""
        answer = self.ask(method, path, body, **more)
        assert answer.status_code in (200, 201), f"{method} {path}: {answer.status_code} {answer.text}"
        told = answer.json()
        assert told["success"] is True, told
        return told["data"]

    def refused(self, status: int, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """The error of an answer that must have this status."""
        answer = self.ask(method, path, body, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        told: dict[str, Any] = answer.json()
        assert told["success"] is False
        assert told["correlationId"] == answer.headers["x-correlation-id"]
        assert {"success", "error", "timestamp", "correlationId"} <= set(told)
        return told

    def type(self, **more: Any) -> str:
        """A new task type with one variable; its id."""
        body = {"name": f"t-{new_id()}", "template": "Do {{a}}", **more}
        return str(self.data("POST", "/api/projects/{P}/task-types", body)["id"])

    def task(self, type: str | None = None, **more: Any) -> dict[str, Any]:
        body = {"typeId": type or self.type(), "variables": {"a": "x"}, **more}
        made: dict[str, Any] = self.data("POST", "/api/projects/{P}/tasks", body)
        return made

    def next(self, agent: str | None = None, **more: Any) -> Any:
        """The claim's data."""
        return self.ask("POST", f"/api/agents/{agent or self.agent}/next-task", {}, **more).json()["data"]
