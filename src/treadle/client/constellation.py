"""A constellation: one program that hands requests to several devices of an agent server and waits for all of them.

    from treadle.client.constellation import Constellation

    async with Constellation("ws://127.0.0.1:5000/ws", "night") as night:
        ended = await night.run({"lab-1": "run: uname -a", "lab-2": "run: df -h"})
        print(ended["lab-1"].result)

It speaks AIP as stock constellations do: one socket for each device, as the client `NAME@DEVICE`.
"""

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from treadle.client.errors import ClientError

MOST = 100 * 1024 * 1024
VERDICT_SECONDS = 30.0
INFO_SECONDS = 10.0
HEARTBEAT_SECONDS = 30.0
TASK_SECONDS = 1000.0
"""How long stock constellations wait for a task."""

LOST = "the connection to the server was lost"


class NotConnected(ClientError):
    """The server, or the device behind it, cannot be reached: one line that says why."""


class Ended(Struct, frozen=True):
    """How a request ended on one device. `result` is what the server says of it, usually a list of rounds."""

    device: str
    ok: bool
    result: Any = None
    error: str | None = None
    session_id: str | None = None


class _Frame(Struct):
    """What we read of the server's frames."""

    type: str
    status: str
    session_id: str | None = None
    response_id: str | None = None
    result: Any = None
    error: str | None = None


class Constellation:
    """Use as an async context manager. `token` is the server's key, if it wants one."""

    def __init__(self, server: str, name: str, *, token: str = "") -> None:
        self.name = name
        self._server, self._token = server, token
        self._lines: dict[str, _Line] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    async def __aenter__(self) -> "Constellation":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave. What still runs for us is cancelled by the server."""
        lines, self._lines = list(self._lines.values()), {}
        await asyncio.gather(*(line.close() for line in lines))

    async def submit(
        self,
        device: str,
        request: str,
        *,
        task_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timeout: float = TASK_SECONDS,
    ) -> Ended:
        """Hand a request to a device and wait until it has ended; more of them for one device are served in turn.

        Raises NotConnected before the request was sent; afterwards whatever happens is told in what it returns.
        """
        line = await self._line(device)
        return await line.task(request, task_name or f"{self.name}/{uuid.uuid4()}", metadata, timeout)

    async def run(
        self, requests: Mapping[str, str] | Iterable[tuple[str, str]], *, timeout: float = TASK_SECONDS
    ) -> dict[str, Ended]:
        """Hand requests to several devices, by device, and wait for all. A device that is away has failed."""

        async def one(device: str, request: str) -> Ended:
            try:
                return await self.submit(device, request, timeout=timeout)
            except NotConnected as error:
                return Ended(device, ok=False, error=str(error))

        pairs = dict(requests)
        ended = await asyncio.gather(*(one(device, request) for device, request in pairs.items()))
        return dict(zip(pairs, ended, strict=True))

    async def info(self, device: str) -> dict[str, Any]:
        """What the server knows of a device. Raises NotConnected."""
        return await (await self._line(device)).info()

    async def _line(self, device: str) -> "_Line":
        async with self._opening.setdefault(device, asyncio.Lock()):
            line = self._lines.get(device)
            if line is None or line.lost:
                line = self._lines[device] = _Line(f"{self.name}@{device}", device)
                try:
                    await line.open(self._server, self._token, self.name)
                except BaseException:
                    await line.close()
                    raise
            return line


class _Line:
    """The socket of one device's constellation."""

    def __init__(self, client_id: str, device: str) -> None:
        self._client_id, self._device = client_id, device
        self._socket: Any = None
        self._tasks: dict[str, asyncio.Future[Ended]] = {}
        self._unaccepted: set[str] = set()
        self._asked: dict[str, asyncio.Future[_Frame]] = {}
        self._beside: list[asyncio.Task[None]] = []
        self.lost = False

    async def open(self, server: str, token: str, name: str) -> None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        parts = urlsplit(server)
        query = "&".join(filter(None, (parts.query, f"token={quote(token, safe='')}" if token else "")))
        metadata = {
            "type": "constellation_client",
            "task_name": name,
            "targeted_device_id": self._device,
            "capabilities": ["task_distribution"],
            "version": "2.0",
        }
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        try:
            self._socket = await connect(
                parts._replace(query=query).geturl(),
                max_size=MOST,
                compression=None,
                ping_interval=30.0,
                ping_timeout=180.0,
                proxy=None if local else True,
            )
            await self._say("register", "ok", target_id=self._device, metadata=metadata)
            async with asyncio.timeout(VERDICT_SECONDS):
                verdict = await self._verdict()
        except (WebSocketException, OSError, EOFError) as error:  # TimeoutError is an OSError
            said = str(error) or "it does not answer"
            where = parts._replace(query="").geturl()
            raise NotConnected(f"the server at {where} cannot be reached: {_without(said, token)}") from None
        if verdict.status != "ok":
            raise NotConnected(verdict.error or f"the server refused {self._client_id}")
        await self._say("heartbeat", "ok")
        self._beside = [asyncio.create_task(self._read()), asyncio.create_task(self._beat())]

    async def close(self) -> None:
        self.lost = True
        if self._socket is not None:
            await self._socket.close(1000)
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)

    async def task(self, request: str, task_name: str, metadata: Mapping[str, Any] | None, timeout: float) -> Ended:
        session = f"{self._client_id.rpartition('@')[0]}@{uuid.uuid4()}"
        waiting = self._tasks[session] = asyncio.get_running_loop().create_future()
        self._unaccepted.add(session)
        try:
            await self._say(
                "task",
                "continue",
                target_id=self._device,
                session_id=session,
                task_name=task_name,
                request=request,
                request_id=str(uuid.uuid4()),
                metadata=dict(metadata) if metadata is not None else None,
            )
            if self.lost:
                return Ended(self._device, ok=False, error=LOST, session_id=session)
            async with asyncio.timeout(timeout):
                ended: Ended = await waiting
                return ended
        except TimeoutError:
            return Ended(self._device, ok=False, error=f"it did not end within {timeout:g} s", session_id=session)
        finally:
            self._tasks.pop(session, None)
            self._unaccepted.discard(session)

    async def info(self) -> dict[str, Any]:
        asked = str(uuid.uuid4())
        waiting = self._asked[asked] = asyncio.get_running_loop().create_future()
        try:
            await self._say("device_info_request", "ok", target_id=self._device, request_id=asked)
            async with asyncio.timeout(INFO_SECONDS):
                answer = await waiting
        except TimeoutError:
            raise NotConnected("the server does not say what it knows of the device") from None
        finally:
            self._asked.pop(asked, None)
        found = answer.result if isinstance(answer.result, dict) else {}
        if answer.status != "ok" or "error" in found:
            raise NotConnected(str(answer.error or found.get("error") or "the server knows nothing of the device"))
        return found

    async def _verdict(self) -> _Frame:
        """The first frame that takes us in or refuses us; anything else may come before it."""
        while True:
            frame = _decoded(await self._socket.recv())
            if frame is not None and (frame.type == "error" or (frame.type, frame.status) == ("heartbeat", "ok")):
                return frame

    async def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        why = LOST
        try:
            async for message in self._socket:
                frame = _decoded(message)
                if frame is not None:
                    self._heard(frame)
        except ConnectionClosed as closed:
            why = f"{why}: {closed}"
        finally:
            self.lost = True
            for session, waiting in self._tasks.items():
                if not waiting.done():
                    waiting.set_result(Ended(self._device, ok=False, error=why, session_id=session))
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(NotConnected(why))

    def _heard(self, frame: _Frame) -> None:
        session = frame.session_id or ""
        if frame.type == "task_end" and session in self._tasks:
            self._end(session, frame.status == "completed", frame)
        elif frame.type == "device_info_response" and frame.response_id in self._asked:
            answer = self._asked[frame.response_id]
            if not answer.done():
                answer.set_result(frame)
        elif frame.type == "heartbeat":
            self._unaccepted.discard(session)
        elif frame.type == "error":
            # some servers do not say which task they refuse; it is one that they have not accepted
            for each in [session] if session else sorted(self._unaccepted):
                if each in self._unaccepted:
                    self._end(each, False, frame)

    def _end(self, session: str, ok: bool, frame: _Frame) -> None:
        waiting = self._tasks.get(session)
        if waiting is not None and not waiting.done():
            error = None if ok else frame.error or "it failed"
            waiting.set_result(Ended(self._device, ok, frame.result, error, session))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._say("heartbeat", "ok")

    async def _say(self, kind: str, status: str, **more: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        frame = {
            "type": kind,
            "status": status,
            "client_type": "constellation",
            "client_id": self._client_id,
            "timestamp": datetime.now(UTC).isoformat(),
            **more,
        }
        with suppress(ConnectionClosed):  # whoever reads tells everybody who waits
            await self._socket.send(msgspec.json.encode(frame), text=True)


def _decoded(message: str | bytes) -> _Frame | None:
    """A frame; None for what is none, or none that we know how to read."""
    try:
        return msgspec.json.decode(message, type=_Frame)
    except msgspec.DecodeError:
        return None


def _without(text: str, token: str) -> str:
    for secret in (quote(token, safe=""), token):
        if secret:
            text = text.replace(secret, "***")
    return text
