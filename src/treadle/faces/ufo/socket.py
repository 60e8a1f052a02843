"""The socket of devices and constellations: carries frames between a client and its peer's rules, and decides nothing.

One handler for each client reads; what is said to a client goes through its connection.
"""

import asyncio
from collections.abc import Iterable

from treadle.core.clock import Clock
from treadle.core.ids import Ids
from treadle.faces.ufo.aip import FRAME_LIMIT, Unreadable, decode, encode, stamp
from treadle.faces.ufo.connection import (
    Answered,
    Challenge,
    Close,
    Effect,
    EndTold,
    InfoAsked,
    Peer,
    Registration,
    Say,
    TaskAsked,
    Troubled,
    Welcome,
)
from treadle.faces.ufo.frames import ClientFrame, ServerFrame
from treadle.faces.ufo.options import Limits
from treadle.faces.ufo.registry import Connection, Registry
from treadle.faces.ufo.workers import Workers
from treadle.web.log import Log
from treadle.web.sockets import Socket, SocketRoute

PATH = "/ws"
REGISTRATION_BYTES = 1024 * 1024
"""What a client that nobody knows yet may have us read as one message."""
SUMMARY = "Where devices and constellations connect (AIP: one JSON object in each text message)"


class Clients:
    """Lets clients in, and listens to each until it leaves."""

    def __init__(
        self,
        registry: Registry,
        workers: Workers,
        *,
        clock: Clock,
        ids: Ids,
        log: Log,
        limits: Limits,
    ) -> None:
        self._registry, self._workers = registry, workers
        self._clock, self._ids, self._log = clock, ids, log
        self._limits = limits

    def route(self, scope: str) -> SocketRoute:
        """The row of the route table."""
        return SocketRoute(
            path=PATH,
            handler=self.serve,
            scope=scope,
            summary=SUMMARY,
            tag="Devices",
            message_limit=FRAME_LIMIT,
            counted=False,
        )

    async def serve(self, socket: Socket) -> None:
        """One client from its opening to its end."""
        await socket.accept()
        peer = Peer()
        client = await self._register(socket, peer)
        if client is None:
            return
        try:
            self._workers.joined(client)
            while True:
                frame = decode(await socket.receive())
                for effect in peer.received(frame, self._registry):
                    await self._perform(client, effect)
        finally:
            self._registry.leave(client)
            client.drop()
            self._log.debug("client left", client=client.client_id, role=client.role)

    # before it is known

    async def _register(self, socket: Socket, peer: Peer) -> Connection | None:
        """The connection, once the client knows that it is welcome; None for one that was refused."""
        entered: list[Connection] = []
        try:
            async with asyncio.timeout(self._limits.registration):
                while True:
                    message = await socket.receive()
                    frame: ClientFrame | Unreadable
                    if len(message) > REGISTRATION_BYTES:
                        frame = Unreadable(f"A registration has at most {REGISTRATION_BYTES} bytes")
                    else:
                        frame = decode(message)
                    effects = peer.received(frame, self._registry)
                    if not await self._settle(socket, peer, effects, entered):
                        return None
                    if entered:
                        return entered[0]
        except TimeoutError:
            self._withdraw(entered)
            await self._settle(socket, peer, peer.overdue(), [])
            return None
        except BaseException:
            self._withdraw(entered)
            raise

    def _withdraw(self, entered: Iterable[Connection]) -> None:
        for connection in entered:
            self._registry.leave(connection)
            connection.drop()

    async def _settle(self, socket: Socket, peer: Peer, effects: list[Effect], entered: list[Connection]) -> bool:
        """Performs what a message before the welcome leads to; whether the socket stays open."""
        while effects:
            effect = effects.pop(0)
            match effect:
                case Say(frame):
                    await socket.send(encode(frame))
                case Close(code, reason):
                    await socket.close(code, reason)
                    return False
                case Challenge(client_id):
                    alive = await self._is_alive(client_id)
                    effects += peer.challenged(alive, self._registry)
                case Welcome(registration):
                    await self._welcome(socket, registration, entered)
        return True

    async def _is_alive(self, client_id: str) -> bool:
        """Whether the holder of the id lives; one that does not is evicted, however open its socket looks."""
        holder = self._registry.holder(client_id)
        if holder is None:
            return False
        if await holder.alive():
            return True
        self._log.info("client evicted", client=client_id, reason="it did not answer, and another one came")
        self._registry.evict(holder, "another client came with this id")
        return False

    async def _welcome(self, socket: Socket, registration: Registration, entered: list[Connection]) -> None:
        connection = Connection(socket, registration)
        self._registry.take(connection)
        entered.append(connection)
        verdict = ServerFrame(type="heartbeat", status="ok", response_id=self._ids(), timestamp=stamp(self._clock()))
        await socket.send(encode(verdict))  # before anybody can send it anything else (spec 5.1)
        self._registry.show(connection)
        self._log.debug("client joined", client=connection.client_id, role=connection.role)

    # from then on

    async def _perform(self, client: Connection, effect: Effect) -> None:
        match effect:
            case Say(frame):
                client.send(frame)
            case TaskAsked():
                await self._workers.asked(client, effect)
            case Answered():
                if client.session is not None:
                    client.session.answered(effect)
            case Troubled():
                self._log.info("client told of an error", client=client.client_id, reason=effect.error[:500])
                if client.session is not None:
                    client.session.troubled(effect)
            case EndTold():
                self._workers.end_told(client, effect)
            case InfoAsked(target, request_id):
                client.send(self._info(target, request_id))
            case Close() | Challenge() | Welcome():
                raise AssertionError("these come before a client is welcomed, and never after")

    def _info(self, target: str, request_id: str | None) -> ServerFrame:
        """What a device said of itself when it came; it is not asked again (spec 5.6)."""
        found = self._registry.get(target)
        info = found.info.system_info if found is not None and found.role == "device" else None
        return ServerFrame(
            type="device_info_response",
            status="ok",
            response_id=request_id,
            result=info or {"error": f"Nothing is known of a device {target}"},
        )
