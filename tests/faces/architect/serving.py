"""A real agent for tests: the face on a free port with TLS over a real store, and a client that keeps what it hears."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from treadle.adapters.bus.local import LocalBus
from treadle.adapters.output.disk import DiskOutputs
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.clock import SECOND, SteadyClock
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.faces.architect import NAME, Options, make
from treadle.faces.architect.face import Architect
from treadle.web.certificate import ensure_certificate, fingerprint
from treadle.web.listen import Address, Face, Listeners
from treadle.web.log import Log

SECONDS = 20.0


class Clock:
    """The time, and how far the test has moved it."""

    def __init__(self) -> None:
        self._real, self.moved = SteadyClock(), 0

    def __call__(self) -> int:
        return self._real() + self.moved

    def advance(self, seconds: float) -> None:
        self.moved += round(seconds * SECOND)


class Agent:
    """A running agent."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self.home, self.clock = home, clock
        self.fabric: Fabric
        self.app: Architect
        self.address: Address
        self.lines: list[bytes] = []
        self.tls = True
        self.reports: list[tuple[str, BaseException | None]] = []

    @property
    def url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://{self.address}/ws"

    @property
    def root_file(self) -> Path:
        return self.home / "architect" / "root.txt"

    @property
    def password(self) -> str:
        return self.root_file.read_text("ascii").strip()

    def log(self) -> str:
        self.app.log.flush()
        return b"".join(self.lines).decode()

    def dial(self, name: str = "root", password: str | None = None, **more: Any) -> connect:
        """A handshake as the printed client makes it."""
        words = ["SMP1.0", name, self.password if password is None else password]
        return self.knock(words, **more)

    def knock(self, words: list[str], **more: Any) -> connect:
        return connect(
            self.url,
            **{
                "ssl": trusting() if self.tls else None,
                "subprotocols": words,
                "compression": None,
                "proxy": None,
                "close_timeout": 2,
                **more,
            },
        )

    @asynccontextmanager
    async def client(self, name: str = "root", password: str | None = None, **more: Any) -> AsyncIterator[Client]:
        async with self.dial(name, password, **more) as connection:
            client = Client(connection)
            reading = asyncio.create_task(client.read())
            try:
                yield client
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


class Client:
    """An open connection: replies by token, events in their order."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._news = asyncio.Condition()
        self.closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def read(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                frame = json.loads(await self.connection.recv(decode=True))
                assert isinstance(frame, dict)
                async with self._news:
                    self.frames.append(frame)
                    if "event" in frame:
                        self.events.append(frame)
                    waiting = self._replies.get(frame.get("idempotence", ""))
                    if waiting is not None:
                        assert not waiting.done(), f"a second reply: {frame}"
                        waiting.set_result(frame)
                    self._news.notify_all()
        self.closed.set_result(self.connection.close_code)

    async def ask(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """The whole reply."""
        return await self.send({"action": action, "parameters": parameters}, uuid.uuid4().hex)

    async def send(self, frame: dict[str, Any], token: str) -> dict[str, Any]:
        waiting = self._replies[token] = asyncio.get_running_loop().create_future()
        await self.connection.send(json.dumps({**frame, "idempotence": token}))
        async with asyncio.timeout(SECONDS):
            reply: dict[str, Any] = await waiting
        return reply

    async def fine(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """The parameters of a reply that must be fine."""
        reply = await self.ask(action, **parameters)
        assert reply["status"] == "ok", reply
        assert reply["action"] == action
        return dict(reply["parameters"])

    async def refused(self, code: str, action: str, /, **parameters: Any) -> dict[str, Any]:
        """The parameters of a reply that must be this error."""
        reply = await self.ask(action, **parameters)
        assert (reply["status"], reply["parameters"].get("error")) == ("error", code), reply
        return dict(reply["parameters"])

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Waits for frames until it holds; what it gave."""
        async with asyncio.timeout(SECONDS), self._news:
            while not (found := holds()):
                await self._news.wait()
            return found

    async def event(self, name: str, **values: Any) -> dict[str, Any]:
        """The first event of this name with these values among its parameters."""

        def found() -> dict[str, Any] | None:
            fits = (
                each for each in self.events if each["event"] == name and values.items() <= each["parameters"].items()
            )
            return next(fits, None)

        return dict(await self.until(found))

    async def code(self) -> int | None:
        """Waits for the close; its code."""
        async with asyncio.timeout(SECONDS):
            return await asyncio.shield(self.closed)


def trusting() -> ssl.SSLContext:
    """As the printed client makes it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def agent(
    home: Path, *, tls: bool = True, port: int = 0, host: str = "127.0.0.1", offers: Any = None, **options: Any
) -> AsyncIterator[Agent]:
    """An agent while the block runs; `offers` are the rows that a capability would hand in."""
    running = Agent(home, Clock())
    running.tls = tls
    store = await open_sqlite(home / "treadle.db")
    bus = LocalBus(report=lambda what, error: running.reports.append((what, error)))
    outputs = DiskOutputs(home / "output", clock=running.clock)
    certificate, key = home / "certificate.pem", home / "key.pem"
    if tls:
        ensure_certificate(certificate, key, now=datetime.datetime.now(datetime.UTC))
    try:
        running.fabric = fabric = Fabric(
            store, bus, running.clock, new_id, outputs, report=lambda what, error: running.reports.append((what, error))
        )
        given = Options(
            **{
                "version": "1.2.3",
                "root_file": running.root_file,
                "ssl": tls,
                "fingerprint": (lambda: fingerprint(certificate)) if tls else None,
                **options,
            }
        )
        running.app = make(fabric, given, Log(running.lines.append, level="debug"), **(offers or {}))
        await running.app.open()
        pair = (str(certificate), str(key)) if tls else None
        face = Face(NAME, running.app, Address(host, port), tls=pair, scheme="wss" if tls else "ws", suffix="/ws")
        listeners = Listeners([face], grace=2.0)
        listeners.open()
        running.address = listeners.addresses[NAME]
        async with asyncio.TaskGroup() as group:
            group.create_task(listeners.serve())
            life = group.create_task(running.app.run())
            await listeners.ready.wait()
            try:
                yield running
            finally:
                await running.app.leave()
                listeners.stop()
                life.cancel()
        assert running.reports == []
    finally:
        await bus.close()
        await outputs.close()
        await store.close()
