"""One open connection: it performs what the protocol's screenplay says, sends in order, and holds subscriptions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from msgspec import Struct

from treadle.core.clock import SECOND, Clock
from treadle.core.errors import FabricError, NotFound
from treadle.faces.architect.connection import Close, Effect, Peer, Perform, Say
from treadle.faces.architect.errors import Full, Speller
from treadle.faces.architect.frames import Outcome, Request, event
from treadle.faces.architect.outbox import Dropped, Outbox
from treadle.faces.architect.roles import Rights
from treadle.faces.architect.topics import Heard, Wanted
from treadle.web.refusals import ClientGone
from treadle.web.sockets import Socket

SLOW = 4413
SUBSCRIPTIONS = 64
CLOSING_SECONDS = 5.0
"""How long a connection that is closed waits for replies that are still to come."""


class Begin(Protocol):
    """Starts the work of a request; the outcome goes to the session's `finished`."""

    def __call__(self, session: "Session", number: int, request: Request) -> None: ...


class Subscription(Struct):
    """One stream or topic that this connection asked for; `running` is None for a topic of facts."""

    wanted: Wanted
    scope: str
    running: asyncio.Task[None] | None = None


class Session:
    """A connection of a user. `connected` is microseconds UTC."""

    def __init__(
        self,
        *,
        id: str,
        user: str,
        address: str,
        clock: Clock,
        ids: Callable[[], str],
        begin: Begin,
        report: Callable[[Exception], None],
    ) -> None:
        self.id, self.user, self.address = id, user, address
        self.connected = clock()
        self.outbox = Outbox()
        self.subscriptions: dict[str, Subscription] = {}
        self._clock, self._ids, self._begin, self._report = clock, ids, begin, report
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection has ended."""
        self._peer = Peer(self._loop.time())
        self._news = asyncio.Event()
        self._cut: asyncio.Future[None] = self._loop.create_future()
        self._closing: tuple[int, str] | None = None

    @property
    def in_flight(self) -> int:
        return self._peer.in_flight

    async def serve(self, socket: Socket) -> None:
        """Speaks until either side ends it."""
        tasks = [asyncio.create_task(self._receive(socket)), asyncio.create_task(self._send(socket))]
        try:
            await asyncio.wait((*tasks, self._cut), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._peer.close()
            self._hurry()  # nothing is queued any more
            for id in list(self.subscriptions):
                self.unsubscribe(id)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            self.outbox.forget()
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, ClientGone):
                raise end
        if self._closing is not None:
            await socket.close(*self._closing)

    # what others say to it

    def finished(self, number: int, outcome: Outcome) -> None:
        """A request was done."""
        self._apply(self._peer.finished(number, outcome))

    def tell(self, frame: bytes, stream: str | None = None) -> None:
        """Sends an event; one of a stream may be dropped if the client is slow."""
        if self._cut.done():
            return
        if not self.outbox.put(frame, stream):
            self.outbox.forget()
            self._closing = (SLOW, "the client reads too slowly")
            self._cut.set_result(None)
        self._news.set()

    def leave(self) -> None:
        """The agent stops: pending requests are answered."""
        self._apply(self._peer.leave())

    def end(self, code: int, reason: str) -> None:
        """Closes the connection once what is under way is answered and sent."""
        if self._closing is None:
            self._closing = (code, reason)
            self._peer.close()
            self._loop.call_later(CLOSING_SECONDS, self._hurry)
            self._news.set()

    # subscriptions

    def subscribe(self, wanted: Wanted, scope: str, follow: Callable[[], AsyncIterator[Heard]] | None) -> str:
        """Begins one; its id. Raises Full."""
        if len(self.subscriptions) >= SUBSCRIPTIONS:
            raise Full(f"At most {SUBSCRIPTIONS} subscriptions", retry_after=1)
        id = self._ids()
        running = asyncio.create_task(self._follow(id, follow(), wanted.rate)) if follow is not None else None
        self.subscriptions[id] = Subscription(wanted, scope, running)
        return id

    def unsubscribe(self, id: str) -> None:
        """Ends one. Raises NotFound."""
        held = self.subscriptions.pop(id, None)
        if held is None:
            raise NotFound("Subscription", id)
        self.outbox.forget(id)
        if held.running is not None:
            held.running.cancel()

    def recheck(self, rights: Rights) -> None:
        """Ends the subscriptions that the user may not have any more."""
        for id, held in list(self.subscriptions.items()):
            if not rights.hold(held.scope, held.wanted.server):
                self.unsubscribe(id)
                told = {"subscription": id, "error": "permission_denied", "message": "The right was taken away"}
                self.tell(event("stream.ended", self._date(), told))

    def hears(self, topic: str, server: str | None) -> bool:
        """Whether some subscription asks for the facts of a topic."""
        wanted = (held.wanted for held in self.subscriptions.values() if held.running is None)
        return any(each.topic == topic and each.server in (None, server) for each in wanted)

    # the two loops

    async def _receive(self, socket: Socket) -> None:
        while True:
            message = await socket.receive()
            self._apply(self._peer.received(message, self._loop.time(), self._date()))

    async def _send(self, socket: Socket) -> None:
        while True:
            frame = self.outbox.take()
            if isinstance(frame, Dropped):
                told = {"subscription": frame.stream, "count": frame.frames}
                frame = event("stream.dropped", self._date(), told)
            if frame is not None:
                await socket.send(frame.decode())
            elif self._closing is not None and not self._peer.in_flight:
                return
            else:
                self._news.clear()
                await self._news.wait()

    async def _follow(self, id: str, stream: AsyncIterator[Heard], rate: float | None) -> None:
        told: dict[str, object] = {"subscription": id}
        try:
            async for heard in stream:
                self.tell(event(heard.event, self._date(), {"subscription": id, **heard.parameters}), id)
                await asyncio.sleep(1 / rate if rate else 0)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client hears that nothing more comes
            told |= Speller().outcome(error, self.id).parameters
            if not isinstance(error, FabricError):
                self._report(error)
        self.subscriptions.pop(id, None)
        self.tell(event("stream.ended", self._date(), told))

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say(frame):
                    self.tell(frame)
                case Perform(number, request):
                    self._begin(self, number, request)
                case Close(code, reason):
                    self.end(code, reason)
        self._news.set()

    def _hurry(self) -> None:
        if not self._cut.done():
            self._cut.set_result(None)

    def _date(self) -> int:
        return self._clock() // SECOND
