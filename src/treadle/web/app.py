"""One face's ASGI application: every request takes the same steps, and every answer carries the same headers."""

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, NamedTuple
from uuid import uuid4

from msgspec.structs import replace

from treadle.core.access import PUBLIC, Principal
from treadle.core.errors import Denied, FabricError, Malformed, StoreUnavailable, TooMany, Unauthenticated
from treadle.web.admission import NO_CONTENT, Admission, refuse_repeated
from treadle.web.asgi import Receive, Scope, Send
from treadle.web.binding import Body, Query
from treadle.web.call import BODY_LIMIT, Call, Headers, Reply
from treadle.web.docs import docs_routes
from treadle.web.log import Log
from treadle.web.openapi import Part, Spec, document, openapi_route
from treadle.web.rate import RateLimit, client_key
from treadle.web.refusals import ClientGone, NeedsUpgrade, NoRoute, Refusal, Stopping, WrongMedia, WrongMethod
from treadle.web.routes import Route, Table
from treadle.web.socket_door import SocketDoor
from treadle.web.sockets import SocketRoute
from treadle.web.sse import EVENT_STREAM
from treadle.web.streams import Streams, close

CLIENT_LEFT = 499
"""What the log says of a request whose client left before the answer."""

_CORRELATION = re.compile(rb"[A-Za-z0-9._:-]{1,128}\Z")
_UNSENDABLE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FORM = b"application/x-www-form-urlencoded"
_REMEMBERED = 10_000
"""How many answers to "does this set of scopes hold that one" are kept."""
_BODILESS = frozenset((204, 304))


class _Readers(NamedTuple):
    """What a route reads, prepared once."""

    names: tuple[str, ...]
    query: Query | None
    body: Body | None


class App:
    """An ASGI application made of routes.

    `spell` writes every error in the face's own shape; what is no FabricError has been logged with its traceback by
    then and is the face's 500. `authenticate` says who calls, or raises Unauthenticated. Addresses under `prefix` carry
    the rate limit's headers, and with `guarded` an unknown one there asks for a credential before it is a 404. `counts`
    says whether a call of somebody known counts towards the limit (by default its route does); a refused credential
    always counts. With `spec` the listener serves its OpenAPI document at `/openapi.json` and, with `docs`, a page to
    read it at that address. `on_done` hears of every request: the call (its route is None if there was none), the
    status, the seconds.
    """

    def __init__(
        self,
        *,
        name: str,
        routes: Iterable[Route],
        sockets: Iterable[SocketRoute] = (),
        spell: Callable[[Exception, Call], Reply],
        authenticate: Callable[[Call], Awaitable[Principal]],
        admission: Admission,
        log: Log,
        rate: RateLimit | None = None,
        counts: Callable[[Call], bool] | None = None,
        prefix: str = "/api",
        guarded: bool = True,
        on_done: Callable[[Call, int, float], None] | None = None,
        spec: Spec | None = None,
        docs: str | None = None,
        body_limit: int = BODY_LIMIT,
        clock: Callable[[], float] = time.time,
        correlate: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self.name = name
        self.spec = spec
        self.declared = tuple(routes)
        self.table = Table((*self.declared, *([] if spec is None else self._about(spec, docs))))
        self.door = SocketDoor(self, sockets)
        self.spell, self.authenticate, self.admission, self.log = spell, authenticate, admission, log
        self.rate = rate if rate is not None and rate.limit > 0 else None
        self.counts, self.on_done = counts, on_done
        self.prefix, self.guarded = prefix.rstrip("/"), guarded
        self.body_limit = body_limit
        self.clock, self.correlate = clock, correlate
        self.streams = Streams()
        self.stopping = asyncio.Event()
        self._under = f"{self.prefix}/"
        self._held: dict[tuple[tuple[str, ...], str], bool] = {}
        self.nobody = Principal(name="", face=name)
        self._readers = {id(route): _readers(route) for route in self.table.routes}
        self._standing = {
            scheme: (
                *admission.security(scheme),
                (b"content-security-policy", NO_CONTENT.encode()),
                (b"cache-control", b"no-store"),
            )
            for scheme in ("http", "https")
        }
        self._limit_header = (b"x-ratelimit-limit", b"%d" % (self.rate.limit if self.rate is not None else 0))

    def _about(self, spec: Spec, docs: str | None) -> list[Route]:
        def describe() -> bytes:
            return document([self.part(spec)])

        return [openapi_route(describe), *(docs_routes(docs, spec.title) if docs is not None else ())]

    def part(self, spec: Spec) -> Part:
        """This face's share of an OpenAPI document."""
        return Part(spec, self.routes, self.rate is not None, self.prefix, self.sockets)

    @property
    def routes(self) -> tuple[Route, ...]:
        return self.table.routes

    @property
    def sockets(self) -> tuple[SocketRoute, ...]:
        return self.door.table.routes

    async def run(self) -> None:
        """What the face does beside answering, until cancelled; most do nothing."""

    def stop(self) -> None:
        """Ends the streams and wakes who waits; running requests go on to their end."""
        self.stopping.set()
        self.streams.stop()
        self.door.stop()

    def methods(self, raw_path: bytes) -> Collection[str]:
        """The methods of the routes at this address; none for an unknown one."""
        try:
            found = self.table.find(raw_path)
        except Malformed:
            return ()
        return found[0].keys() if found is not None else ()

    # the steps that a WebSocket's handshake shares with a request

    def correlation(self, call: Call) -> str:
        """The caller's correlation id if it is one, else a new one."""
        given = call.headers.get(b"x-correlation-id")
        return given.decode() if given is not None and _CORRELATION.match(given) else self.correlate()

    async def enter(self, call: Call, route: Route | SocketRoute) -> None:
        """Who calls, whether they may, and whether they call too often."""
        if route.scope != PUBLIC:
            await self._identify(call)
            if not self._holds(call.principal, route.scope):
                raise Denied
        if self.rate is not None and self._counts(call, route):
            self._count(call)

    async def ask_who_is_lost(self, call: Call) -> None:
        """An unknown address under the prefix asks for a credential before it is a 404, and counts."""
        if self.guarded and self._limited(call):
            await self._identify(call)
            self._count(call)

    def refusal(self, error: Exception, call: Call) -> tuple[Reply, list[tuple[bytes, bytes]]]:
        """The face's answer to an error, and all its headers."""
        reply = self._spelled(error, call)
        return reply, self._headers(call, reply)

    def report(self, error: Exception, call: Call) -> None:
        """The log's line on an error that the client is not told in full; nothing for what the client did wrong."""
        if not isinstance(error, FabricError):
            self.log.failed("request failed", error, **self.facts(call))
        elif isinstance(error, StoreUnavailable) and not isinstance(error, Stopping):
            self.log.warning("store unavailable", reason=error.message, **self.facts(call))

    def told(self, call: Call, status: int, seconds: float) -> None:
        """The access line, and whoever counts."""
        self.log.request(self.name, call, status, seconds)
        if self.on_done is not None:
            self.on_done(call, status, seconds)

    def facts(self, call: Call) -> dict[str, str]:
        """What the log says of a call besides the matter itself."""
        path = call.raw_path.decode("latin-1")
        return {"correlationId": call.correlation, "method": call.method, "path": path, "face": self.name}

    # a request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await self.door(scope, receive, send)
            return
        started = time.perf_counter()
        call = Call(scope, receive, nobody=self.nobody, body_limit=self.body_limit, stopping=self.stopping)
        given = call.headers.get(b"x-correlation-id")
        call.correlation = given.decode() if given is not None and _CORRELATION.match(given) else self.correlate()
        status = CLIENT_LEFT
        try:
            try:
                reply = await self._answer(call)
                headers = self._headers(call, reply)
            except ClientGone:
                return
            except asyncio.CancelledError:
                if not self.stopping.is_set():
                    raise
                reply = self._spelled(Stopping(), call)  # the grace is over
                headers = self._headers(call, reply)
            except Exception as error:  # noqa: BLE001  (whatever it is, the client is told in the face's shape)
                reply = self._spelled(error, call)
                headers = self._headers(call, reply)
            status = reply.status
            await self._send(call, reply, headers, receive, send)
        finally:
            seconds = time.perf_counter() - started
            self.log.request(self.name, call, status, seconds)
            if self.on_done is not None:
                self.on_done(call, status, seconds)

    async def _answer(self, call: Call) -> Reply:
        """The steps, in their order; the first that refuses ends it."""
        if len(call.headers) != len(call.header_list):
            refuse_repeated(call.header_list)
        self.admission.admit(call)
        found = self.table.find(call.raw_path)
        if call.method == "OPTIONS":
            return self._options(call, found[0] if found is not None else None)
        route = _chosen(found[0], call.method) if found is not None else None
        if found is None or route is None:
            await self.ask_who_is_lost(call)
            if found is None:
                raise NeedsUpgrade if self.door.knows(call.raw_path) else NoRoute(call.path)
            raise WrongMethod(allowed(found[0]))
        call.route = route
        readers = self._readers[id(route)]
        if readers.names:
            call.params = dict(zip(readers.names, found[1], strict=True))
        if route.scope != PUBLIC:
            await self._identify(call)
            if not self._holds(call.principal, route.scope):
                raise Denied
        if self.rate is not None and self._counts(call, route):
            self._count(call)
        if readers.query is not None:
            call.query = readers.query.parse(call.query_string)
        if readers.body is not None:
            call.body = _read_body(readers.body, route, call, await call.read())
        return await route.handler(call)

    def _options(self, call: Call, methods: dict[str, Route] | None) -> Reply:
        if b"origin" in call.headers and b"access-control-request-method" in call.headers:
            return Reply(204, headers=self.admission.preflight(call))
        if methods is None:
            raise NoRoute(call.path)
        return Reply(204, headers=((b"allow", allowed(methods).encode()),))

    async def _identify(self, call: Call) -> None:
        try:
            call.principal = await self.authenticate(call)
        except Unauthenticated:
            self._count(call)  # or guessing tokens would be free
            raise

    def _holds(self, principal: Principal, scope: str) -> bool:
        key = (principal.scopes, scope)
        held = self._held.get(key)
        if held is None:
            held = principal.holds(scope)
            if len(self._held) < _REMEMBERED:
                self._held[key] = held
        return held

    def _counts(self, call: Call, route: Route | SocketRoute) -> bool:
        return route.counted if self.counts is None or route.scope == PUBLIC else self.counts(call)

    def _limited(self, call: Call) -> bool:
        return call.path.startswith(self._under) or call.path == self.prefix

    def _count(self, call: Call) -> None:
        if self.rate is None or not self._limited(call):
            return
        now = self.clock()
        call.window = self.rate.take(client_key(call.client), now)
        if call.window.used > self.rate.limit:
            raise TooMany(retry_after=max(1, math.ceil(call.window.ends - now)))

    def _spelled(self, error: Exception, call: Call) -> Reply:
        """The face's answer to an error, with the status and headers that are the HTTP layer's to say."""
        self.report(error, call)
        reply = self.spell(error, call)
        status, more = reply.status, _headers_of(error)
        if isinstance(error, Refusal):
            status = error.status
        return replace(reply, status=status, headers=(*reply.headers, *more))

    async def _send(
        self, call: Call, reply: Reply, headers: list[tuple[bytes, bytes]], receive: Receive, send: Send
    ) -> None:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if reply.stream is None or call.method == "HEAD":
            await send({"type": "http.response.body", "body": reply.body if call.method != "HEAD" else b""})
            if reply.stream is not None:
                await close(reply.stream)
            return
        try:
            await self.streams.run(reply.stream, reply.media_type.startswith(EVENT_STREAM), receive, send)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001
            # the status is long out: the connection is cut by returning without the end of the body
            self.log.failed("stream failed", error, **self.facts(call))

    def _headers(self, call: Call, reply: Reply) -> list[tuple[bytes, bytes]]:
        standing: Headers = self._standing["https" if call.scheme == "https" else "http"]
        headers: list[tuple[bytes, bytes]] = []
        if reply.status not in _BODILESS:
            headers.append((b"content-type", reply.media_type))
            if reply.stream is None:
                headers.append((b"content-length", b"%d" % len(reply.body)))
        headers.append((b"x-correlation-id", call.correlation.encode()))
        if self.rate is not None and self._limited(call):
            window = call.window or self.rate.look(client_key(call.client), self.clock())
            headers += (
                self._limit_header,
                (b"x-ratelimit-remaining", b"%d" % self.rate.remaining(window)),
                (b"x-ratelimit-reset", window.ends_text),
            )
        if not self.admission.silent:
            headers += self.admission.cors(call)
        if reply.headers:
            if any(_UNSENDABLE.search(value) for _, value in reply.headers):
                raise ValueError("A header of the reply holds a control character")
            own = {name for name, _ in reply.headers}
            headers += (header for header in standing if header[0] not in own)
            headers += reply.headers
        else:
            headers += standing
        return headers


def _readers(route: Route) -> _Readers:
    return _Readers(
        route.names,
        Query(route.query) if route.query is not None else None,
        Body(route.body) if route.body is not None else None,
    )


def _headers_of(error: Exception) -> Headers:
    """The headers that go with an error in every face."""
    if isinstance(error, Refusal):
        return error.headers
    if isinstance(error, TooMany):
        return ((b"retry-after", b"%d" % error.retry_after),)
    return ((b"www-authenticate", b"Bearer"),) if isinstance(error, Unauthenticated) else ()


def _chosen(methods: dict[str, Route], method: str) -> Route | None:
    route = methods.get(method)
    return methods.get("GET") if route is None and method == "HEAD" else route


def allowed(methods: Iterable[str]) -> str:
    """The Allow header of an address with these routes."""
    names = set(methods) | {"OPTIONS"}
    if "GET" in names:
        names.add("HEAD")
    return ", ".join(sorted(names))


def _read_body(reader: Body, route: Route, call: Call, raw: bytes) -> Any:
    media = call.headers.get(b"content-type")
    if b"content-encoding" in call.headers and call.headers[b"content-encoding"].lower() != b"identity":
        raise WrongMedia("A compressed request body is not read here")
    if media is not None and media != b"application/json" and raw:
        media = media.partition(b";")[0].strip().lower()
        if media == _FORM and raw.lstrip()[:1] not in (b"{", b"["):
            if not route.form:
                raise WrongMedia
            return reader.form(raw)
        if media != _FORM and media != b"text/json" and not media.endswith((b"/json", b"+json")):
            raise WrongMedia
    return reader.json(raw)
