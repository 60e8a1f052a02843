"""A real UFO server for tests: the face on a free port of loopback, a store and outputs in a folder.

It lives in a thread of its own; a test speaks to it over HTTP and WebSockets, as its clients do.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
import uvloop

from treadle.adapters.bus.local import LocalBus
from treadle.adapters.output.disk import DiskOutputs
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.clock import SECOND, SteadyClock
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.faces.ufo import NAME, Options, make
from treadle.faces.ufo.face import Ufo
from treadle.web.listen import Address, Face, Listeners
from treadle.web.log import Log

T = TypeVar("T")

SECONDS = 20.0


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

    def __init__(self, home: Path, port: int = 0, **options: Any) -> None:
        self.home, self.port = home, port
        self.options = Options(**{"version": "1.2.3", **options})
        self.clock = MovableClock()
        self.fabric: Fabric
        self.app: Ufo
        self.log_lines: list[bytes] = []
        self.reports: list[tuple[str, BaseException | None]] = []
        self.http: httpx2.Client
        self._listeners: Listeners
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._up = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ufo under test")

    @property
    def url(self) -> str:
        return self._listeners.urls[NAME]

    @property
    def socket(self) -> str:
        """Where devices connect."""
        return self.url.replace("http", "ws", 1) + "/ws"

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(SECONDS)
        if self._failed is not None:
            raise self._failed
        self.http = httpx2.Client(base_url=self.url, timeout=SECONDS, trust_env=False)

    def stop(self) -> None:
        """Stop cleanly; safe to call twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        assert self._failed is None, self._failed
        self.http.close()
        assert self.reports == []

    def do(self, verb: Callable[[Fabric], Awaitable[T]]) -> T:
        """Call the core on the server's loop."""

        async def doing() -> T:
            return await verb(self.fabric)

        return asyncio.run_coroutine_threadsafe(doing(), self._loop).result(SECONDS)

    def look(self) -> None:
        """What the face does every few seconds, now."""
        asyncio.run_coroutine_threadsafe(self.app.sweeping.give_up(), self._loop).result(SECONDS)

    def lines(self) -> list[dict[str, Any]]:
        """What was logged so far."""

        async def flushed() -> None:
            self.app.log.flush()

        asyncio.run_coroutine_threadsafe(flushed(), self._loop).result(SECONDS)
        return [msgspec.json.decode(line) for line in b"".join(self.log_lines).splitlines()]

    @property
    def answering(self) -> int:
        """How many requests are being answered."""
        return sum(len(server.server_state.tasks) for server in self._listeners._servers)

    # what callers do

    def online(self, *ids: str) -> None:
        """Waits until exactly these are connected; a client has its verdict before anybody sees it."""
        until(lambda: self.http.get("/api/clients").json()["online_clients"] == list(ids), f"{ids} online")

    def dispatch(self, client_id: str, request: str, task_name: str | None = None, **more: Any) -> dict[str, Any]:
        """The receipt."""
        body = {"client_id": client_id, "request": request, "task_name": task_name, **more}
        answer = self.http.post("/api/dispatch", json=body)
        assert answer.status_code == 200, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt

    def result(self, word: str, wait: float = 10) -> dict[str, Any]:
        """The result, once the task is done."""
        answer = self.http.get(f"/api/task_result/{word}", params={"wait": wait}).json()
        assert answer["status"] == "done", answer
        found: dict[str, Any] = answer["result"]
        return found

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's thread
            self._failed = error
        self._up.set()

    def _report(self, what: str, error: BaseException | None) -> None:
        self.reports.append((what, error))

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        store = await open_sqlite(self.home / "treadle.db")
        bus, outputs = LocalBus(report=self._report), DiskOutputs(self.home / "output", clock=self.clock)
        try:
            self.fabric = Fabric(store, bus, self.clock, new_id, outputs, report=self._report)
            self.app = make(self.fabric, self.options, Log(self.log_lines.append))
            self._listeners = Listeners([Face(NAME, self.app, Address("127.0.0.1", self.port))], grace=2.0)
            self._listeners.open()
            self.port = self._listeners.addresses[NAME].port
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listeners.serve())
                running = [group.create_task(self.app.run()), group.create_task(self.fabric.duties.run())]
                await self._listeners.ready.wait()
                self._up.set()
                await self._stopping.wait()
                self._listeners.stop()
                for task in running:
                    task.cancel()
        finally:
            await bus.close()
            await outputs.close()
            await store.close()


@contextmanager
def served(home: Path, **options: Any) -> Iterator[Server]:
    """A server while the block runs."""
    server = Server(home, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def until(is_so: Callable[[], bool], what: str) -> None:
    """Looks until it is so; fails after the deadline."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)
