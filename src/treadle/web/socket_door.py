"""The WebSockets of one face: every handshake takes the same steps as a request, and every socket has an end."""

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from treadle.core.errors import FabricError, Malformed, StoreUnavailable
from treadle.web.admission import refuse_repeated
from treadle.web.asgi import Message, Receive, Scope, Send
from treadle.web.binding import Query
from treadle.web.refusals import ClientGone, NoRoute, Stopping
from treadle.web.routes import Table
from treadle.web.sockets import LINE, Handshake, Line, Socket, SocketRoute

if TYPE_CHECKING:
    from treadle.web.app import App

STOP_SECONDS = 2.0
"""After a stop: how long a handler may go on that was told that its client is gone."""
GONE_SECONDS = 30.0
"""After the client has left: the same."""
OPENED = 101
POLICY, BROKEN, AGAIN = 1008, 1011, 1013


class SocketDoor:
    """Finds, admits and runs the sockets of an application."""

    def __init__(self, app: "App", sockets: Iterable[SocketRoute]) -> None:
        self._app = app
        self.table = Table(sockets)
        self._queries = {id(route): Query(route.query) for route in self.table.routes if route.query is not None}
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def knows(self, raw_path: bytes) -> bool:
        """Whether some socket has this address."""
        try:
            return bool(self.table.routes) and self.table.find(raw_path) is not None
        except Malformed:
            return False

    def stop(self) -> None:
        """Ends the handlers that do not end by themselves now that their clients are told to go."""
        for task in self._running:
            task.get_loop().call_later(STOP_SECONDS, task.cancel)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, started = self._app, time.perf_counter()
        call = Handshake(scope, receive, nobody=app.nobody, body_limit=0, stopping=app.stopping)
        call.correlation = app.correlation(call)
        await receive()  # websocket.connect
        try:
            route = await self._admit(call)
        except asyncio.CancelledError:
            if not app.stopping.is_set():
                raise
            await self._refuse(call, Stopping(), scope, send, started)
            return
        except Exception as error:  # noqa: BLE001  (whatever it is, the client is told in the face's shape)
            await self._refuse(call, error, scope, send, started)
            return
        line = scope["extensions"].get(LINE) or _NoLine()
        watched = _Watched(app, call, line, send, started)
        await self._run(Socket(call, route, receive, watched.send, line), route, scope, watched)

    async def _admit(self, call: Handshake) -> SocketRoute:
        """The steps of a request, in their order, and the origin besides; the first that refuses ends it."""
        app = self._app
        if len(call.headers) != len(call.header_list):
            refuse_repeated(call.header_list)
        app.admission.admit_socket(call)
        if app.stopping.is_set():
            raise Stopping
        found = self.table.find(call.raw_path)
        if found is None:
            await app.ask_who_is_lost(call)
            raise NoRoute(call.path)
        call.route = route = found[0]["WEBSOCKET"]
        call.params = dict(zip(route.names, found[1], strict=True))
        await app.enter(call, route)
        query = self._queries.get(id(route))
        if query is not None:
            call.query = query.parse(call.query_string)
        return route

    async def _run(self, socket: Socket, route: SocketRoute, scope: Scope, watched: "_Watched") -> None:
        """The handler, and the close that fits how it ended."""
        app, call, task = self._app, watched.call, asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        self._running.add(task)
        watch: list[asyncio.TimerHandle] = []
        watched.line.left.add_done_callback(lambda _: watch.append(loop.call_later(GONE_SECONDS, task.cancel)))
        try:
            await _handle(socket, route)
        except ClientGone:
            pass
        except asyncio.CancelledError:
            if not (app.stopping.is_set() or watched.line.left.done()):
                raise
            if not socket.accepted:
                await self._refuse(call, Stopping(), scope, watched.send, watched.started)
        except Exception as error:  # noqa: BLE001
            if not socket.accepted:
                await self._refuse(call, error, scope, watched.send, watched.started)
            else:
                await socket.close(*self._explained(error, call))
        finally:
            self._running.discard(task)
            for timer in watch:
                timer.cancel()
            watched.ended(socket)

    def _explained(self, error: Exception, call: Handshake) -> tuple[int, str]:
        """The close code and reason of an error that a handler raised after it had accepted."""
        if isinstance(error, StoreUnavailable):
            self._app.report(error, call)
            return AGAIN, error.message
        if isinstance(error, FabricError):
            return POLICY, error.message
        self._app.report(error, call)
        return BROKEN, "Internal error"

    async def _refuse(self, call: Handshake, error: Exception, scope: Scope, send: Send, started: float) -> None:
        """An HTTP answer in the face's shape; where the server cannot send one, a close, which is a bare 403."""
        app, status = self._app, 403
        try:
            if isinstance(error, ClientGone):
                status = 499
                return
            reply, headers = app.refusal(error, call)
            if "websocket.http.response" in scope["extensions"]:
                status = reply.status
                await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
                await send({"type": "websocket.http.response.body", "body": reply.body})
            else:
                await send({"type": "websocket.close", "code": POLICY})
        except OSError:
            status = 499  # the client left meanwhile
        finally:
            app.told(call, status, time.perf_counter() - started)


async def _handle(socket: Socket, route: SocketRoute) -> None:
    await route.handler(socket)
    if not socket.accepted:
        raise RuntimeError(f"The handler of {route.path} neither accepted nor refused")
    await socket.close()


class _NoLine:
    """For a server that is not ours: nothing beyond ASGI is known of the connection."""

    def __init__(self) -> None:
        self.left: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def allow(self, size: int) -> None:
        """That server has its own limit."""

    def ping(self) -> asyncio.Future[None]:
        heard: asyncio.Future[None] = self.left.get_loop().create_future()
        heard.set_result(None)
        return heard


class _Watched:
    """The log's eye on one socket: a line when it opens and one when it has closed."""

    __slots__ = ("_app", "_send", "call", "line", "opened", "started")

    def __init__(self, app: "App", call: Handshake, line: Line, send: Send, started: float) -> None:
        self._app, self._send = app, send
        self.call, self.line, self.started = call, line, started
        self.opened = False

    async def send(self, message: Message) -> None:
        await self._send(message)
        if not self.opened and message["type"] == "websocket.accept":
            self.opened = True
            self._app.told(self.call, OPENED, time.perf_counter() - self.started)

    def ended(self, socket: Socket) -> None:
        if not self.opened:
            return
        code = socket.closed_with or (self.line.left.result() if self.line.left.done() else 1006)
        seconds = round(time.perf_counter() - self.started, 3)
        self._app.log.info("socket closed", **self._app.facts(self.call), client=self.call.client, code=code, s=seconds)
