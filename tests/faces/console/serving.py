"""A real Console for tests: the face on a free port of loopback, a store and outputs in a folder, and a node that runs.

It lives in a thread of its own; a test speaks to it over HTTP, as its clients do.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx2
import msgspec
import uvloop

from treadle.adapters.bus.local import LocalBus
from treadle.adapters.output.disk import DiskOutputs
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.clock import SteadyClock
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.faces.console import NAME, Options, make
from treadle.faces.console.face import Console
from treadle.faces.console.gate import GateOptions
from treadle.node.desk import Desk
from treadle.node.inventory import Inventory
from treadle.node.node import Node
from treadle.node.processes import Processes
from treadle.web.listen import Address, Face, Listeners
from treadle.web.log import Log

T = TypeVar("T")

SECONDS = 20.0
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
NODE = "the-node"


class Server:
    """A running Console; `with_node` says whether this machine runs things."""

    def __init__(self, home: Path, port: int = 0, *, with_node: bool = True, gate: Any = None, **options: Any) -> None:
        self.home, self.port, self._with_node = home, port, with_node
        self.options = Options(
            **{
                "version": "1.2.3",
                "node": lambda: NODE if with_node else None,
                "gate": GateOptions(**(gate or {})),
                "shell": "/bin/sh",
                "folder": home / "console",
                **options,
            }
        )
        self.fabric: Fabric
        self.app: Console
        self.log_lines: list[bytes] = []
        self.reports: list[tuple[str, BaseException | None]] = []
        self.clients: list[httpx2.Client] = []
        self._listeners: Listeners
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._processes: Processes
        self._up = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="console under test")

    @property
    def url(self) -> str:
        return self._listeners.urls[NAME]

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(SECONDS)
        if self._failed is not None:
            raise self._failed

    def client(self, **headers: str) -> httpx2.Client:
        """Closed when the server has stopped."""
        client = httpx2.Client(base_url=self.url, timeout=SECONDS, trust_env=False, headers=headers)
        self.clients.append(client)
        return client

    def stop(self) -> None:
        """Stop cleanly; safe to call twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(SECONDS)
        for client in self.clients:
            client.close()
        assert not self._thread.is_alive()
        assert self._failed is None, self._failed
        assert self.reports == []

    def do(self, verb: Callable[[Fabric], Awaitable[T]]) -> T:
        """Call the core on the server's loop."""

        async def doing() -> T:
            return await verb(self.fabric)

        return asyncio.run_coroutine_threadsafe(doing(), self._loop).result(SECONDS)

    def lines(self) -> list[dict[str, Any]]:
        """What was logged so far."""

        async def flushed() -> None:
            self.app.log.flush()

        asyncio.run_coroutine_threadsafe(flushed(), self._loop).result(SECONDS)
        return [msgspec.json.decode(line) for line in b"".join(self.log_lines).splitlines()]

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
        clock = SteadyClock()
        store = await open_sqlite(self.home / "treadle.db")
        bus, outputs = LocalBus(report=self._report), DiskOutputs(self.home / "output", clock=clock)
        try:
            self.fabric = Fabric(store, bus, clock, new_id, outputs, report=self._report)
            self.app = make(self.fabric, self.options, Log(self.log_lines.append))
            self._listeners = Listeners([Face(NAME, self.app, Address("127.0.0.1", self.port))], grace=2.0)
            self._listeners.open()
            self.port = self._listeners.addresses[NAME].port
            desk = Desk(self.fabric, outputs, report=self._report)
            desk.open()
            node = self._node(bus) if self._with_node else None
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listeners.serve())
                running = [group.create_task(self.app.run())]
                if node is not None:
                    running.append(group.create_task(node.run()))
                    await node.joined.wait()
                await self._listeners.ready.wait()
                self._up.set()
                await self._stopping.wait()
                if node is not None:
                    await self._leave(node)
                self._listeners.stop()
                for task in running:
                    task.cancel()
            await desk.close()
        finally:
            await bus.close()
            await outputs.close()
            await store.close()

    def _node(self, bus: LocalBus) -> Node:
        self._processes = Processes(self.home / "node")
        return Node(
            bus,
            self._processes,
            Inventory(self.home),
            id=NODE,
            name="here",
            slots=64,
            surroundings=ENVIRONMENT,
            report=self._report,
        )

    async def _leave(self, node: Node) -> None:
        await node.stop(10.0)
        await self._processes.close()


class Crashing(Server):
    """A server that ends as if it was killed: what runs goes on."""

    async def _leave(self, node: Node) -> None:
        await self._processes.close()


@contextmanager
def served(home: Path, **options: Any) -> Iterator[Server]:
    """A server while the block runs."""
    server = Server(home, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Stream:
    """An execute or a stream that is being read: its messages, as the document's clients take them."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.raw: list[str] = []
        self._lines = answer.iter_lines()

    def lines(self) -> Iterator[str]:
        """Every line as it comes, comments too."""
        for line in self._lines:
            self.raw.append(line)
            yield line

    def messages(self) -> Iterator[dict[str, Any]]:
        """Every message as it comes."""
        for line in self.lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])

    def until(self, words: str) -> str:
        """Reads until the text holds the words; the text."""
        shown = ""
        for message in self.messages():
            if message["type"] == "html_full":
                shown = ""
            shown += text_of(message)
            if words in shown:
                return shown
        raise AssertionError(f"{words!r} never came: {shown!r}")

    def rest(self) -> list[dict[str, Any]]:
        """All that is left."""
        return list(self.messages())


def text_of(message: dict[str, Any]) -> str:
    """What a person reads of a message."""
    import html
    import re

    return html.unescape(re.sub("<[^>]*>", "", message["data"])) if message["type"].startswith("html") else ""


def shown(messages: list[dict[str, Any]]) -> str:
    """What a person reads of messages, where later snapshots take the place of what came before."""
    text = ""
    for message in messages:
        text = text_of(message) if message["type"] == "html_full" else text + text_of(message)
    return text


class Reached(Protocol):
    """A server that somebody reaches."""

    def client(self, **headers: str) -> httpx2.Client: ...


class Browser:
    """A client with cookies and a CSRF token."""

    def __init__(self, server: Reached, **headers: str) -> None:
        self.server = server
        self.http = server.client(**headers)
        self.token: str = self.http.get("/api/csrf_token").json()["csrf_token"]

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        headers = {"x-csrf-token": self.token, **more.pop("headers", {})}
        return self.http.request(method, path, json=body, headers=headers, **more)

    def get(self, path: str, /, **params: Any) -> Any:
        answer = self.ask("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, status: int, code: str, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """The body of an answer that must have this status and code."""
        answer = self.ask(method, path, body, **more)
        told: dict[str, Any] = answer.json()
        assert (answer.status_code, told.get("code")) == (status, code), answer.text
        assert told["success"] is False
        assert set(told) == {"success", "error", "code"}
        return told

    @contextmanager
    def execute(self, path: str | Path, args: str = "", session: str | None = None, **more: Any) -> Iterator[Stream]:
        body: dict[str, Any] = {"path": str(path), "args": args, **more}
        if session is not None:
            body["session_id"] = session
        headers = {"x-csrf-token": self.token}
        with self.http.stream("POST", "/api/execute", json=body, headers=headers) as answer:
            if answer.status_code != 200:
                raise AssertionError(f"{answer.status_code} {answer.read()!r}")
            yield Stream(answer)

    @contextmanager
    def watch(self, session: str) -> Iterator[Stream]:
        with self.http.stream("GET", f"/api/sessions/{session}/stream") as answer:
            assert answer.status_code == 200, answer.read()
            yield Stream(answer)

    def type(self, session: str, text: str, *, raw: bool = False) -> None:
        answer = self.ask("POST", "/api/input", {"session_id": session, "input": text, "raw": raw})
        assert (answer.status_code, answer.json()) == (200, {"success": True}), answer.text

    def kill(self, session: str) -> None:
        answer = self.ask("POST", "/api/kill", {"session_id": session})
        assert (answer.status_code, answer.json()["success"]) == (200, True), answer.text

    def session(self, id: str) -> dict[str, Any]:
        (found,) = [each for each in self.get("/api/sessions")["sessions"] if each["session_id"] == id]
        return dict(found)


def until(is_so: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
    """Looks every few milliseconds until it is so; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)
