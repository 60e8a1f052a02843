"""The device: connects, registers, does what it is asked, answers; and when the connection is lost, comes back.

Work goes on while there is no connection. An answer is kept in a file until the server has got it, which a pong behind
it proves: frames arrive in order.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from .address import Address
from .dialogue import CallOff, Dialogue, Effect, Execute, Key, Note, Repeat, Run, Say
from .frames import MOST, Unreadable, decode, encode
from .pausing import Pauses
from .unsent import Unsent
from .work import Work

log = logging.getLogger("treadle.device")

OPEN_SECONDS = 20.0
VERDICT_SECONDS = 30.0
PING_SECONDS, PATIENCE_SECONDS = 20.0, 180.0
"""How often we ask whether the server is there, and how long it may take to answer (spec 3)."""
HEARTBEAT_SECONDS = 60.0
CLOSE_SECONDS = 5.0
MOST_CARRIED = 100


class Refused(Exception):
    """The server did not take us in: its own words."""


class Ways(NamedTuple):
    """What a device takes from outside: seconds that only grow, a wait, and a draw of `uniform(least, most)`."""

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    uniform: Callable[[float, float], float]


class Device:
    """One device, from `run` until that is cancelled. `about(address)` describes the machine, reached as `address`."""

    def __init__(
        self,
        address: Address,
        dialogue: Dialogue,
        unsent: Unsent,
        about: Callable[[str], dict[str, Any]],
        ways: Ways,
        work: Callable[[Callable[[Key, bytes], Any]], Work],
    ) -> None:
        self._address, self._dialogue, self._unsent, self._about, self._ways = address, dialogue, unsent, about, ways
        self._pauses = Pauses(ways.uniform)
        self._work = work(self._answer)
        self._socket: ClientConnection | None = None
        self._stopping = False
        self._carried: dict[Key, bytes] = {}  # what the disk did not take
        self._sending: set[asyncio.Task[None]] = set()
        dialogue.recall(unsent.waiting())
        self.registered = asyncio.Event()
        """Set while the server knows us."""

    async def run(self) -> None:
        """Be there until stopped or cancelled. Nothing that the server or the network does ends this."""
        context = self._address.context()
        while True:
            began: float | None = None
            try:
                async with connect(
                    self._address.url,
                    ssl=context,
                    max_size=MOST,
                    compression=None,
                    open_timeout=OPEN_SECONDS,
                    close_timeout=CLOSE_SECONDS,
                    ping_interval=PING_SECONDS,
                    ping_timeout=PATIENCE_SECONDS,
                    proxy=None if self._address.local else True,  # no proxy stands between a machine and itself
                ) as socket:
                    await self._register(socket)
                    began = self._ways.clock()
                    await self._serve(socket)
                why = f"the server closed the connection ({socket.close_code})"
            except (WebSocketException, OSError, TimeoutError, Refused, EOFError) as error:
                why = self._address.hidden(str(error) or type(error).__name__)
            if self._stopping:
                return
            pause = self._pauses.after(0.0 if began is None else self._ways.clock() - began)
            log.warning("not connected to %s (again in %.1f s): %s", self._address, pause, why)
            await self._ways.sleep(pause)

    async def stop(self) -> None:
        """End what runs, let answers that are on their way get there, and say goodbye. Call it before cancelling."""
        self._stopping = True
        await self._work.stop()
        if self._sending:
            await asyncio.wait(self._sending, timeout=CLOSE_SECONDS)
        if self._socket is not None:
            await self._socket.close(1000)

    async def _register(self, socket: ClientConnection) -> None:
        """The first frame and the server's verdict on it (spec 5.1). Raises Refused."""
        local = socket.local_address
        about = await asyncio.to_thread(self._about, str(local[0]) if isinstance(local, tuple) else "")
        await socket.send(encode(self._dialogue.registration(about)), text=True)
        try:
            async with asyncio.timeout(VERDICT_SECONDS):
                verdict = decode(await socket.recv())
        except Unreadable as error:
            raise Refused(f"the server's first words are no frame: {error}") from None
        if verdict.status != "ok":
            raise Refused(f"the server refused: {verdict.error or verdict.status}")

    async def _serve(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.registered.set()
        log.info("connected to %s as %s", self._address, self._dialogue.client_id)
        beside = [
            asyncio.create_task(self._beat(socket), name="heartbeat"),
            asyncio.create_task(self._catch_up(socket), name="answers of before"),
        ]
        try:
            async for message in socket:
                try:
                    frame = decode(message)
                except Unreadable as error:
                    log.warning("dropped a message that is no frame: %s", error)
                    continue
                await self._do(self._dialogue.received(frame), socket)
        finally:
            self.registered.clear()
            self._socket = None
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _catch_up(self, socket: ClientConnection) -> None:
        """Send what could not be sent before, one after another. The server drops what nobody waits for any more."""
        for key in [*self._carried, *self._unsent.waiting()]:
            await self._deliver(key, socket)

    async def _beat(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):  # whoever reads learns of it
            while True:
                await asyncio.sleep(HEARTBEAT_SECONDS)
                await socket.send(encode(self._dialogue.heartbeat()), text=True)

    async def _do(self, effects: list[Effect], socket: ClientConnection) -> None:
        for effect in effects:
            match effect:
                case Say(frame):
                    await socket.send(encode(frame), text=True)
                case Run():
                    self._work.run(effect)
                case Execute():
                    log.info("carrying out task %s", effect.task_name)
                    self._work.execute(effect)
                case Repeat(key):
                    self._send_answer(key)
                case CallOff(session):
                    self._work.call_off(session)
                case Note(fact, detail):
                    log.warning("%s: %s", fact, detail)

    async def _answer(self, key: Key, frame: bytes) -> None:
        """An answer is there: keep it, and send it if we can."""
        try:
            await self._unsent.keep(key, frame)
        except OSError as error:
            log.warning("an answer can only be kept in memory: %s", error)
            self._carried[key] = frame
            if len(self._carried) > MOST_CARRIED:
                del self._carried[next(iter(self._carried))]
        self._send_answer(key)

    def _send_answer(self, key: Key) -> None:
        if self._socket is not None:
            sending = asyncio.create_task(self._deliver(key, self._socket), name="answer")
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)

    async def _deliver(self, key: Key, socket: ClientConnection) -> None:
        """Send an answer, and forget it when the server's end has it."""
        frame = self._carried.get(key) or self._unsent.frame(key)
        if frame is None:
            log.warning("an answer is asked for again that is not kept any more")
            return
        with suppress(ConnectionClosed):  # it is kept, and sent over the next connection
            await socket.send(frame, text=True)
            await (await socket.ping())
            self._carried.pop(key, None)
            self._unsent.delivered(key, frame)
