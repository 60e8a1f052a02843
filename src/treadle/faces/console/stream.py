"""The stream of a run: its terminal as messages, from the first that says what runs to the last that says how it ended.

Each reader reads the stored output at its own pace and has a display of its own, so that none waits for another and the
process waits for none. Whoever falls far behind goes on at the end, with a snapshot.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress

from treadle.core import topics
from treadle.core.errors import FabricError
from treadle.core.fabric import Fabric
from treadle.core.output import PIECE, Chunk
from treadle.core.ports import Listener
from treadle.core.runs import Ending, ending
from treadle.core.tasks import FINAL
from treadle.faces.console.errors import words_of
from treadle.faces.console.messages import KEEP_ALIVE, Exit, Message, System, failure, framed
from treadle.faces.console.sessions import Session, Sessions
from treadle.faces.console.terminal.display import Display
from treadle.web.call import Reply
from treadle.web.sse import EVENT_STREAM

SILENCE = 15.0
"""Seconds after which a comment tells that the stream is still there."""
POLL_SECONDS = 2.0
"""How often a reader looks although no hint came."""
BEHIND = 8 * 1024 * 1024
"""Bytes that a reader may lag behind before it goes on at the end."""
PAST = 1024 * 1024
"""Bytes of the past that a late reader's snapshot is made from."""
SLICE = 16 * 1024
"""Bytes shown at once; then the others have their turn."""
NOT_FOUND, UNKNOWN = 127, 255
"""The codes of a run that could not be started, as shells say it, and of one whose end nobody knows."""


class Streams:
    """Makes them; `stopping` is the application's, which is set when the server stops."""

    def __init__(self, fabric: Fabric, sessions: Sessions) -> None:
        self.fabric, self._sessions = fabric, sessions
        self.stopping = asyncio.Event()

    def reply(self, session: Session, *, late: bool = False) -> Reply:
        """The stream as an answer; a late reader gets the display as it is, and then what follows."""
        return Reply(
            media_type=EVENT_STREAM + b"; charset=utf-8",
            headers=(
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
                (b"x-session-id", session.id.encode()),
            ),
            stream=self._messages(session, late),
        )

    async def _messages(self, session: Session, late: bool) -> AsyncIterator[bytes]:
        """Whatever happens, the last message is an exit, unless the client has left."""
        yield framed(System(shlex.join(session.argv), session.id, argv=session.argv))
        reader = _Reader(self, session)
        try:
            with self._sessions.watching(session):
                if late:
                    yield framed(await reader.catch_up())
                async for batch in reader.follow():
                    yield batch
            how = await self._ending(session, Ending(reason="lost", error="How it ended is not known"))
        except asyncio.CancelledError:
            if not self.stopping.is_set():
                raise
            how = Ending(reason="shutdown", error="The server stops")
            with suppress(FabricError):  # the run may have ended a moment ago, by the same stop
                yield await reader.rest()
                how = await self._ending(session, how)
        except FabricError as error:
            how = Ending(reason="lost", error=words_of(error))
        yield _batch([*(failure(how.error) if how.error else ()), _exit(how)])

    async def _ending(self, session: Session, otherwise: Ending) -> Ending:
        return ending(await self.fabric.tasks.get(session.task)) or otherwise


class _Reader:
    """One reader of one run's output."""

    def __init__(self, streams: Streams, session: Session) -> None:
        fabric = streams.fabric
        self._tasks, self._output, self._bus = fabric.tasks, fabric.output, fabric.bus
        self._task = session.task
        self._now = asyncio.get_running_loop().time
        self._display = Display(columns=session.columns, rows=session.rows, now=self._now())
        self._at, self._seeking_line = 0, False
        self._spoke = self._now()

    async def catch_up(self) -> Message:
        """The display after all that was printed so far."""
        extent = await self._output.extent(self._task)
        self._leap(max(extent.first, extent.end - PAST))
        while self._at < extent.end:
            chunks = await self._output.read(self._task, self._at, PIECE)
            if not chunks:
                break
            async for _ in self._shown(chunks):
                pass
        return self._display.snapshot()

    async def follow(self) -> AsyncIterator[bytes]:
        """What is to be sent, as it comes, until the run has ended and everything was sent."""
        looked = float("-inf")
        over = False
        with self._bus.listen(topics.output(self._task)) as grown, self._bus.listen(topics.task(self._task)) as ended:
            while True:
                chunks = await self._output.read(self._task, self._at, PIECE)
                if chunks:
                    async for batch in self._shown(chunks):
                        yield self._said(batch)
                    await self._keep_up(chunks)
                elif over:
                    break
                elif await ended.heard(0) or self._now() - looked >= POLL_SECONDS:
                    looked = self._now()
                    over = (await self._tasks.get(self._task)).state in FINAL  # what came before is read once more
                else:
                    async for batch in self._quiet(grown, looked + POLL_SECONDS):
                        yield self._said(batch)
        yield await self.rest()

    async def rest(self) -> bytes:
        """All that is there now and was not sent yet."""
        extent = await self._output.extent(self._task)
        batches = []
        while self._at < extent.end and (chunks := await self._output.read(self._task, self._at, PIECE)):
            batches += [batch async for batch in self._shown(chunks)]
        return b"".join(batches) + _batch(self._display.take(self._now(), final=True))

    async def _shown(self, chunks: Sequence[Chunk]) -> AsyncIterator[bytes]:
        """Show the bytes; what is to be sent by then."""
        for chunk in chunks:
            lost, self._at = chunk.at - self._at, chunk.end
            data = self._from_a_line(chunk.data)
            if lost > 0:
                self._display.feed(b"\r\n[%d bytes were not kept]\r\n" % lost, chunk.stream, self._now())
            for at in range(0, len(data), SLICE):
                self._display.feed(data[at : at + SLICE], chunk.stream, self._now())
                batch = _batch(self._display.take(self._now()))
                if batch:
                    yield batch
                await asyncio.sleep(0)

    async def _quiet(self, grown: Listener, until: float) -> AsyncIterator[bytes]:
        """What is to be sent while nothing is printed, until something may be, or the instant has come."""
        while True:
            batch = _batch(self._display.take(self._now()))
            if batch:
                yield batch
            now = self._now()
            if now >= self._spoke + SILENCE:
                yield KEEP_ALIVE
                continue
            if now >= until:
                return
            due = self._display.due(now)
            wait = min(until - now, self._spoke + SILENCE - now, until - now if due is None else due)
            if await grown.heard(max(wait, 0.001)):
                return

    async def _keep_up(self, chunks: Sequence[Chunk]) -> None:
        """Leave out what a reader that is far behind has missed."""
        if sum(len(chunk.data) for chunk in chunks) < PIECE:
            return
        extent = await self._output.extent(self._task)
        if extent.end - self._at > BEHIND:
            self._display.collapse()
            self._leap(extent.end - PAST)

    def _leap(self, to: int) -> None:
        self._seeking_line = to > 0
        self._at = to

    def _from_a_line(self, data: bytes) -> bytes:
        """After a leap: from the next line on, for what stands there may be half a character."""
        if self._seeking_line:
            _, newline, rest = data.partition(b"\n")
            self._seeking_line = not newline and len(data) < SLICE
            return rest if newline else b""
        return data

    def _said(self, batch: bytes) -> bytes:
        self._spoke = self._now()
        return batch


def _batch(messages: Iterable[Message]) -> bytes:
    return b"".join(map(framed, messages))


def _exit(how: Ending) -> Exit:
    code = how.code
    if code is None:
        code = {"spawn_error": NOT_FOUND, "killed": -15}.get(how.reason, UNKNOWN)
    signal = how.signal or ("SIGTERM" if how.code is None and how.reason == "killed" else None)
    return Exit(code, signal, how.reason)
