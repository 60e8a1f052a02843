"""One client's way to speak HTTP with the server: requests that are repeated where that is safe, and streams."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from treadle.client.errors import NoServer, Refused, Unreachable
from treadle.client.finding import Finder, Way
from treadle.client.retrying import pause_before, refusal

if TYPE_CHECKING:
    import httpx2

CONNECTIONS = 100
KEEP_ALIVE = 30.0
"""Seconds an idle connection is kept: less than the server does, so that it is never used just as it closes."""
Query = Mapping[str, object]
"""Parameters by name: what is None is left out, a list is repeated."""


class Connection:
    """Speaks with the server wherever it is. Opens nothing before the first request.

    A request that cannot have reached the server is repeated for up to `patience` seconds, and so is one that may have
    when it is `repeatable`: asking twice does the same as asking once.
    """

    def __init__(self, finder: Finder, *, timeout: float, patience: float) -> None:
        self._finder, self._timeout, self.patience = finder, timeout, patience
        self._way: Way | None = None
        self._http: httpx2.AsyncClient | None = None

    async def close(self) -> None:
        """Close what is open; a later request opens anew."""
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        query: Query | None = None,
        repeatable: bool = False,
        wait: float = 0,
        headers: Mapping[str, str] | None = None,
        patience: float | None = None,
    ) -> bytes:
        """The body of the answer. `wait` is how long the server may hold the answer back."""
        until = monotonic() + (self.patience if patience is None else patience)
        attempt = 0
        while True:
            try:
                return await self._once(method, path, body, query, wait, headers)
            except (NoServer, Unreachable, Refused) as error:
                pause = pause_before(error, attempt, repeatable)
                if pause is None or monotonic() + pause > until:
                    raise
            attempt += 1
            await asyncio.sleep(pause)

    @asynccontextmanager
    async def stream(self, path: str, query: Query, headers: Mapping[str, str]) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of an answer that goes on."""
        import httpx2

        way, http = self._open()
        timeout = httpx2.Timeout(self._timeout, read=60.0)  # the server sends a heartbeat four times as often
        url = _url(way, path, query)
        try:
            async with http.stream("GET", url, headers={**_headers(way), **headers}, timeout=timeout) as answer:
                if answer.status_code != 200:
                    raise refusal(answer.status_code, await answer.aread(), answer.headers)
                yield answer.aiter_lines()
        except httpx2.TransportError as error:
            raise self._lost(way, error) from error

    async def _once(
        self,
        method: str,
        path: str,
        body: bytes | None,
        query: Query | None,
        wait: float,
        headers: Mapping[str, str] | None,
    ) -> bytes:
        import httpx2

        way, http = self._open()
        sent = _headers(way)
        if body is not None:
            sent["content-type"] = "application/json"
        try:
            answer = await http.request(
                method,
                _url(way, path, query),
                content=body,
                headers={**sent, **headers} if headers else sent,
                timeout=httpx2.Timeout(self._timeout, read=self._timeout + wait),
            )
        except httpx2.TransportError as error:
            raise self._lost(way, error) from error
        except httpx2.InvalidURL as error:
            raise NoServer(f"{way.server} is no address of a server: {error}") from error
        if answer.is_success:
            return answer.content
        raise refusal(answer.status_code, answer.content, answer.headers)

    def _open(self) -> "tuple[Way, httpx2.AsyncClient]":
        import httpx2  # 120 ms: nobody pays before the first request

        if self._way is None:
            self._way = self._finder.find()
        if self._http is None:
            local = urlsplit(self._way.server).hostname in ("localhost", "127.0.0.1", "::1")
            plain = self._way.server.startswith("http://")
            self._http = httpx2.AsyncClient(
                # reading the system's certificates takes 20 ms; an empty context trusts nobody
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True,
                trust_env=not local,  # no proxy stands between a machine and itself
                limits=httpx2.Limits(
                    max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE
                ),
            )
        return self._way, self._http

    def _lost(self, way: Way, error: "httpx2.TransportError") -> Unreachable:
        """The failure of a connection in our words; the next attempt looks for the server anew."""
        import httpx2

        self._way = None
        unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
        reason = str(error).strip() or type(error).__name__
        return Unreachable(f"the server at {way.server} does not answer: {reason}", sent=not unsent)


def _url(way: Way, path: str, query: Query | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{way.server}{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")


def _headers(way: Way) -> dict[str, str]:
    return {"authorization": f"Bearer {way.key}"} if way.key else {}


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")
