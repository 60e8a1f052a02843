"""One request and one reply, as a handler sees them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from treadle.core.access import Principal
from treadle.core.errors import Malformed
from treadle.web.asgi import Receive, Scope
from treadle.web.cookies import read_cookies
from treadle.web.rate import Window
from treadle.web.refusals import ClientGone, Stopping, TooLarge

if TYPE_CHECKING:
    from treadle.web.routes import Route

Headers = tuple[tuple[bytes, bytes], ...]
T = TypeVar("T")

BODY_LIMIT = 10 * 1024 * 1024


class Reply(Struct):
    """An answer: a status and a body, or a stream of byte chunks instead of the body.

    A stream is closed when it ends, when the client leaves and when the server stops. Header names are lower case.
    """

    status: int = 200
    body: bytes = b""
    media_type: bytes = b"application/json"
    headers: Headers = ()
    stream: AsyncIterator[bytes] | None = None


_encode = msgspec.json.Encoder().encode


def json_reply(value: Any, status: int = 200, headers: Headers = ()) -> Reply:
    """The value (structs and plain data) as JSON."""
    return Reply(status, _encode(value), b"application/json", headers)


class Call:
    """One request on its way through the application.

    `params` are the path's, decoded; `query` and `body` are instances of the route's types (None where it has none);
    `client` is the peer's address without the port; `correlation` is echoed on the answer and stands in the log;
    `principal` is nobody on a public route. `window` is the client's rate-limit window once it was looked at.
    """

    __slots__ = (
        "_content",
        "_receive",
        "_stopping",
        "body",
        "body_limit",
        "client",
        "correlation",
        "header_list",
        "headers",
        "host",
        "method",
        "params",
        "path",
        "principal",
        "query",
        "query_string",
        "raw_path",
        "route",
        "scheme",
        "window",
    )

    route: "Route | None"
    principal: Principal
    query: Any
    body: Any

    def __init__(
        self, scope: Scope, receive: Receive, *, nobody: Principal, body_limit: int, stopping: asyncio.Event
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: bytes = scope["raw_path"]
        self.query_string: bytes = scope["query_string"]
        self.header_list: list[tuple[bytes, bytes]] = scope["headers"]
        self.headers: dict[bytes, bytes] = dict(self.header_list)
        self.scheme: str = scope["scheme"]
        client = scope["client"]
        self.client: str = client[0] if client else ""
        self.host: str = self.headers.get(b"host", b"").decode("latin-1")
        self.correlation = ""
        self.principal = nobody
        self.params: dict[str, str] = {}
        self.route = self.query = self.body = None
        self.body_limit = body_limit
        self.window: Window | None = None
        self._receive = receive
        self._stopping = stopping
        self._content: bytes | None = None

    def header(self, name: str) -> str | None:
        """The header's value, the last one where it is repeated; names are case-insensitive."""
        value = self.headers.get(name.lower().encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    @property
    def token(self) -> str | None:
        """The `?token=` of a WebSocket's address; a request's address holds no secret."""
        return None

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the browser sent, read anew each time."""
        return read_cookies(self.headers.get(b"cookie"))

    async def read(self) -> bytes:
        """The whole body. Raises TooLarge beyond `body_limit`, and ClientGone if the client left or stalled."""
        if self._content is None:
            self._content = await self._read()
        return self._content

    async def _read(self) -> bytes:
        limit, declared = self.body_limit, self.headers.get(b"content-length")
        if declared is not None:
            if not declared.isdigit():
                raise Malformed("Content-Length is not a number")
            if int(declared) > limit:
                raise TooLarge(f"The request body is larger than {limit} bytes")
        elif b"transfer-encoding" not in self.headers:
            return b""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"The request body is larger than {limit} bytes")
            if not message.get("more_body", False):
                return chunk if not chunks else b"".join([*chunks, chunk])
            chunks.append(chunk)

    async def gone(self) -> None:
        """Returns when the client has closed the connection; the body is read first."""
        await self.read()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result, unless the client leaves or the server stops first: ClientGone or Stopping is raised then.

        The work is cancelled in that case. For waiting (for a hint, for a stream to start), never around a change:
        a cancelled change may have happened.
        """
        working = asyncio.create_task(work)
        leaving = asyncio.create_task(self.gone())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((working, leaving, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopped = stopping.done()
        finally:
            for task in (working, leaving, stopping):
                task.cancel()
            await asyncio.gather(working, leaving, stopping, return_exceptions=True)
        if not working.cancelled():
            return working.result()
        if not leaving.cancelled():
            leaving.result()
            raise ClientGone
        raise Stopping if stopped else ClientGone
