"""WebSockets as a face sees them: the row that declares one, and the open socket that a handler holds."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote_plus

from msgspec import Struct

from treadle.core.access import Principal
from treadle.core.errors import Denied
from treadle.web.asgi import Message, Receive, Scope, Send
from treadle.web.call import Call
from treadle.web.paths import check_pattern, names_of, segments_of
from treadle.web.refusals import ClientGone

MESSAGE_LIMIT = 1024 * 1024
LINE = "treadle.line"
"""The ASGI extension under which our connection gives itself to the socket."""
REASON_LIMIT = 123
"""Bytes of a reason that fit into a close frame."""
BREATH = 16
"""After how many messages a sender that is never held up lets the others have their turn."""

T = TypeVar("T")


class SocketRoute(Struct, frozen=True, kw_only=True):
    """One WebSocket on one path pattern: who may open it and what it reads from the address.

    `path`, `scope`, `query`, `counted` and `documented` are those of a `Route`. `subprotocols` are the ones spoken
    here, the best first. `message_limit` is the largest message accepted, in bytes; a larger one closes with 1009.
    """

    path: str
    handler: "Callable[[Socket], Awaitable[None]]"
    scope: str
    summary: str
    query: Any = None
    tag: str = ""
    subprotocols: tuple[str, ...] = ()
    message_limit: int = MESSAGE_LIMIT
    counted: bool = True
    documented: bool = True
    description: str = ""

    def __post_init__(self) -> None:
        check_pattern(f"WebSocket {self.path}", self.path, self.scope)

    @property
    def method(self) -> str:
        """What stands for a method in the table and in the access matrix; no HTTP request has it."""
        return "WEBSOCKET"

    @property
    def segments(self) -> list[str]:
        return segments_of(self.path)

    @property
    def names(self) -> tuple[str, ...]:
        return names_of(self.path)


class Line(Protocol):
    """What a socket needs of its connection beyond ASGI."""

    left: asyncio.Future[int]
    """Done, with the close code, once the client has left or was told to leave."""

    def allow(self, size: int) -> None:
        """Sets the largest message accepted, in bytes."""

    def ping(self) -> asyncio.Future[None]:
        """Pings the client now; done when anything was heard from it."""


class Handshake(Call):
    """The request that opens a socket, as `authenticate` and `spell` see it: a GET without a body.

    `token` is the `?token=` of the address, which is taken out of `query_string`; `offered` are the client's
    subprotocols, where some clients put a password: neither is ever logged or echoed.
    """

    __slots__ = ("offered", "token")

    route: Any  # the SocketRoute

    def __init__(
        self, scope: Scope, receive: Receive, *, nobody: Principal, body_limit: int, stopping: asyncio.Event
    ) -> None:
        query, token = _parted(scope["query_string"])
        secure = scope["scheme"] in ("wss", "https")
        request = {**scope, "method": "GET", "scheme": "https" if secure else "http", "query_string": query}
        super().__init__(request, receive, nobody=nobody, body_limit=body_limit, stopping=stopping)
        self.token: str | None = token
        self.offered: tuple[str, ...] = tuple(scope.get("subprotocols", ()))


def _parted(query: bytes) -> tuple[bytes, str | None]:
    """A query string without its token, and the token."""
    if b"token=" not in query:
        return query, None
    kept, token = [], None
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"token":
            token = unquote_plus(value.decode("latin-1"), errors="replace")
        else:
            kept.append(pair)
    return b"&".join(kept), token


class Socket:
    """One client's WebSocket. The handler accepts it, or raises: before `accept` an error is an HTTP answer.

    When the handler returns the socket is closed with 1000; when it raises, with 1011 (1008 for an error that the
    client made, 1013 when the server cannot just now). One task receives; any may send.
    """

    __slots__ = ("_call", "_ended", "_line", "_receive", "_route", "_send", "_sent", "accepted", "closed_with")

    def __init__(self, call: Handshake, route: SocketRoute, receive: Receive, send: Send, line: Line) -> None:
        self._call, self._route, self._line = call, route, line
        self._receive, self._send = receive, send
        self._ended = False
        self._sent = 0
        self.accepted = False
        self.closed_with: int | None = None
        """The code with which this side closed, if it did."""

    @property
    def params(self) -> dict[str, str]:
        return self._call.params

    @property
    def query(self) -> Any:
        return self._call.query

    @property
    def principal(self) -> Principal:
        return self._call.principal

    @property
    def client(self) -> str:
        return self._call.client

    @property
    def correlation(self) -> str:
        return self._call.correlation

    @property
    def path(self) -> str:
        return self._call.path

    @property
    def offered(self) -> tuple[str, ...]:
        """The subprotocols that the client named."""
        return self._call.offered

    def header(self, name: str) -> str | None:
        return self._call.header(name)

    @property
    def open(self) -> bool:
        """Whether messages can go out."""
        return self.accepted and self.closed_with is None and not self._line.left.done()

    async def accept(self, subprotocol: str | None = None) -> None:
        """Opens the socket, with the named subprotocol or the first of the route's own that the client offers."""
        if subprotocol is None:
            subprotocol = next((own for own in self._route.subprotocols if own in self.offered), None)
        elif subprotocol not in self.offered:
            raise ValueError(f"The client does not offer the subprotocol {subprotocol!r}")
        if self.accepted or self._line.left.done():
            raise ClientGone
        self._line.allow(self._route.message_limit)
        headers = [(b"x-correlation-id", self.correlation.encode())]
        await self._out({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        self.accepted = True

    async def receive(self) -> str | bytes:
        """The next message. Raises ClientGone once the client has left and everything it sent was received."""
        if self._ended or not self.accepted:
            raise ClientGone
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self._ended = True
            if not self._line.left.done():
                self._line.left.set_result(message.get("code", 1005))
            raise ClientGone
        text: str | None = message.get("text")
        if text is not None:
            return text
        data: bytes = message["bytes"]
        return data

    async def send(self, message: str | bytes) -> None:
        """Waits while the client is slow to read. Raises ClientGone as soon as it has left."""
        if not self.open:
            raise ClientGone
        body = {"text": message} if isinstance(message, str) else {"bytes": message}
        await self._out({"type": "websocket.send", **body})
        self._sent += 1
        if self._sent % BREATH == 0:
            await asyncio.sleep(0)

    async def unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result, unless the client leaves or the server stops first: the work is cancelled then and
        ClientGone is raised. For waiting (for a hint, for output), never around a change.
        """
        working = asyncio.create_task(work)
        try:
            await asyncio.wait((working, self._line.left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not working.done():
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
        if working.cancelled():
            raise ClientGone
        return working.result()

    async def alive(self, seconds: float) -> bool:
        """Pings the client and says whether anything was heard from it within so many seconds."""
        if not self.open:
            return False
        heard = self._line.ping()
        await asyncio.wait((heard, self._line.left), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return heard.done() and self.open

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes it; a second time is nothing. Before `accept` it is a refusal: Denied, with the reason, is raised."""
        if not self.accepted:
            raise Denied(reason or None)
        if not self.open:
            return
        self.closed_with, self._ended = code, True
        cut = reason.encode()[:REASON_LIMIT].decode(errors="ignore")
        try:
            await self._out({"type": "websocket.close", "code": code, "reason": cut})
        except ClientGone:
            return

    async def _out(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:  # so ASGI says that the client has left
            raise ClientGone from None
