"""Who is connected: each client's connection with what it said of itself, in the order in which they came."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from treadle.faces.ufo.aip import encode
from treadle.faces.ufo.connection import Registration
from treadle.faces.ufo.frames import Role, ServerFrame
from treadle.web.refusals import ClientGone

if TYPE_CHECKING:
    from treadle.faces.ufo.sessions import DeviceSession

OUTBOX_FRAMES = 256
OUTBOX_BYTES = 64 * 1024 * 1024
"""What may wait for a client that reads slowly, besides the frame on its way; one that lets more wait is cut."""
ALIVE_SECONDS = 2.5
"""How long the holder of an id may take to show that it is alive when another client wants the id."""
CLOSE_SECONDS = 5.0


class Wire(Protocol):
    """What a connection needs of its socket."""

    async def send(self, message: str | bytes) -> None:
        """Waits while the client is slow. Raises ClientGone."""

    async def alive(self, seconds: float) -> bool: ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...


class Connection:
    """A registered client: what it is, and the way to it. It costs nothing while nothing is said to it."""

    __slots__ = ("_bytes", "_closing", "_outbox", "_sending", "_wire", "gone", "info", "poked", "session", "working")

    def __init__(self, wire: Wire, info: Registration) -> None:
        self._wire = wire
        self._outbox: deque[str] | None = None
        self._bytes = 0
        self._sending: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.info = info
        self.gone = False
        self.session: DeviceSession | None = None
        """What runs on it."""
        self.working: asyncio.Task[None] | None = None
        """Who takes its tasks from the queue, while there are any."""
        self.poked = False

    @property
    def client_id(self) -> str:
        return self.info.client_id

    @property
    def role(self) -> Role:
        return self.info.role

    def send(self, frame: ServerFrame) -> None:
        """Puts the frame behind what waits for the client already; nothing for one that is gone."""
        self.send_text(encode(frame))

    def send_text(self, text: str) -> None:
        if self.gone:
            return
        if self._outbox is None:
            self._outbox = deque()
        elif len(self._outbox) >= OUTBOX_FRAMES or (self._outbox and self._bytes + len(text) > OUTBOX_BYTES):
            self.cut(1008, "too slow to read")
            return
        self._outbox.append(text)
        self._bytes += len(text)
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        outbox = self._outbox
        assert outbox is not None  # it was made before this began
        try:
            while outbox:
                text = outbox.popleft()
                self._bytes -= len(text)
                await self._wire.send(text)
        except ClientGone:
            self.gone = True  # its socket's handler hears of it too, and says so to everybody
        finally:
            self._outbox, self._bytes, self._sending = None, 0, None

    async def alive(self) -> bool:
        """Whether the client shows that it lives, when asked."""
        return not self.gone and await self._wire.alive(ALIVE_SECONDS)

    def cut(self, code: int, reason: str) -> None:
        """Has nothing more to do with the client; what waits for it is dropped."""
        if self.gone:
            return
        self.gone = True
        if self._sending is not None:
            self._sending.cancel()
        self._closing = asyncio.get_running_loop().create_task(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        with suppress(TimeoutError, ClientGone):  # a socket that takes nothing more is ended by its pings
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._wire.close(code, reason)

    def drop(self) -> None:
        """The socket has ended."""
        self.gone = True
        for task in (self._sending, self._closing):
            if task is not None:
                task.cancel()


class Registry:
    """The connected clients by id."""

    def __init__(self) -> None:
        self._taken: dict[str, Connection] = {}
        self._online: dict[str, Connection] = {}
        self.on_left: Callable[[Connection], None] | None = None
        """Told of everyone who was seen here and is no longer."""

    def online(self) -> list[str]:
        """The ids of all clients, in the order in which they came."""
        return list(self._online)

    def get(self, client_id: str) -> Connection | None:
        return self._online.get(client_id)

    def connections(self) -> list[Connection]:
        return list(self._online.values())

    def role(self, client_id: str) -> Role | None:
        found = self._online.get(client_id)
        return found.role if found else None

    def taken(self, client_id: str) -> bool:
        return client_id in self._taken

    def holder(self, client_id: str) -> Connection | None:
        """Who has the id, also while it is only about to be connected."""
        return self._taken.get(client_id)

    def take(self, connection: Connection) -> None:
        """The id is this connection's from now on; nobody else sees it yet."""
        assert connection.client_id not in self._taken  # nobody registers with a taken id
        self._taken[connection.client_id] = connection

    def show(self, connection: Connection) -> None:
        """Everybody sees it from now on."""
        if self._taken.get(connection.client_id) is connection:
            self._online[connection.client_id] = connection

    def leave(self, connection: Connection) -> None:
        """It is here no longer; a second time is nothing."""
        id = connection.client_id
        if self._taken.get(id) is not connection:
            return
        connection.gone = True
        del self._taken[id]
        if self._online.pop(id, None) is not None and self.on_left is not None:
            self.on_left(connection)

    def evict(self, connection: Connection, reason: str) -> None:
        """Treats a client as gone that did not say so itself."""
        connection.cut(1000, reason)
        self.leave(connection)
