"""uvicorn for one socket, without its signal handling, and with the limits it leaves to others.

uvicorn's httptools protocol waits for a slow client as long as the client likes. Here a head must be complete in
`HEAD_SECONDS` and `HEAD_LIMIT` bytes, a body must keep `BODY_RATE`, and who reads an answer may not stall for
`WRITE_SECONDS`. All of that is checked by one sweep over the connections, so a request pays nothing for it.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from treadle.web.asgi import Application
from treadle.web.sending import WholeSend
from treadle.web.socket_connection import PING_SECONDS, PONG_SECONDS, SocketConnection
from treadle.web.sockets import MESSAGE_LIMIT

HEAD_SECONDS = 20.0
HEAD_LIMIT = 64 * 1024
HEAD_FIELDS = 200
BODY_SECONDS = 30.0
"""Grace before the rate counts."""
BODY_RATE = 16 * 1024
"""Bytes a second, on average over the whole body."""
WRITE_SECONDS = 60.0
SWEEP = 5.0
TICK = 1.0
KEEP_ALIVE = 75
BACKLOG = 2048
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Connection(HttpToolsProtocol):
    """One client's connection; counts what it receives, so that the head limit and the sweep can judge it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.received = 0
        self.request_from = 0
        """What was received when the current request began."""
        self.in_head = True

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        super().data_received(data)
        if self.received - self.request_from > HEAD_LIMIT:
            self._limit()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.send = WholeSend(cycle)  # type: ignore[method-assign,assignment]
        super()._start_asgi_task(cycle, app)

    def _limit(self) -> None:
        """Ends a request whose head, or whose trailer after a chunked body, does not end."""
        if self.transport.is_closing():
            return
        if self.in_head:
            cycle = self.current
            if cycle is None or cycle.response_complete:
                self.transport.write(_TOO_LONG)
            self.transport.close()
        elif len(self.headers) > HEAD_FIELDS:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.in_head = True
        self.request_from = self.received
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.in_head = False
        super().on_headers_complete()

    @property
    def current(self) -> RequestResponseCycle | None:
        """The request last begun; None before the first, whatever uvicorn's annotation says."""
        return self.cycle

    def awaited(self) -> tuple[object, float] | None:
        """What the client owes us just now, and for how many seconds that may stay exactly so; None if nothing."""
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            return ("write", unsent), WRITE_SECONDS
        cycle = self.current
        if cycle is None or cycle.response_complete:
            return (("head", id(cycle)), HEAD_SECONDS) if self.timeout_keep_alive_task is None else None
        if cycle.more_body and not self.flow.read_paused:
            return ("body", id(cycle)), BODY_SECONDS + (self.received - self.request_from) / BODY_RATE
        return None


class Server(uvicorn.Server):
    """Serves one application on one socket until `stop`, with TLS if there is a context. Signals are the caller's."""

    def __init__(self, app: Application, *, grace: float = 10.0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws=SocketConnection,
                ws_max_size=MESSAGE_LIMIT,  # a route that wants another says so when its socket opens
                ws_per_message_deflate=False,
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PONG_SECONDS,
                ssl_context_factory=None if tls is None else lambda *_: tls,
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=True,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=grace,  # type: ignore[arg-type]  # handed to wait_for, which takes a float
            )
        )
        self.servers = []
        self.ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._awaited: dict[Connection | SocketConnection, tuple[object, float]] = {}

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Takes no more connections, lets running requests end within the grace, then cancels them."""
        self.should_exit = True
        self._stopping.set()

    def close(self) -> None:
        """Takes no more connections, and cuts those there are."""
        for listener in self.servers:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def main_loop(self) -> None:
        """Once a second instead of uvicorn's ten times: the Date header is renewed and the connections are swept."""
        self.ready.set()
        loop = asyncio.get_running_loop()
        swept = loop.time()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), TICK)
            if loop.time() - swept >= SWEEP:
                swept = loop.time()
                self.sweep(swept)

    def sweep(self, now: float) -> None:
        """Cuts the connections whose client has owed the same thing for too long."""
        before, self._awaited = self._awaited, {}
        for connection in list(self.server_state.connections):
            if not isinstance(connection, Connection | SocketConnection):
                continue
            owed = connection.awaited()
            if owed is None:
                continue
            what, allowed = owed
            known, since = before.get(connection, (None, now))
            if known != what:
                since = now
            if now - since > allowed:
                connection.transport.abort()
            else:
                self._awaited[connection] = (what, since)

    async def shutdown(self, sockets: Any = None) -> None:
        await super().shutdown(sockets)
        for _ in range(10):  # those just cancelled say so to their clients
            if not self.server_state.tasks:
                break
            await asyncio.sleep(0.05)
        self.close()
