"""What a task prints, over HTTP: a stream of events or a socket that goes on, plain bytes with ranges, and the upload.

All of them speak of one cursor: the offset of a byte in all that the task printed.
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

import msgspec

from treadle.core.errors import Denied, Fault, Invalid, NotFound
from treadle.core.fabric import Fabric
from treadle.core.output import PIECE, Chunk, Extent
from treadle.core.runs import KIND as RUN
from treadle.core.runs import Ending, ending
from treadle.core.tasks import FINAL, Task
from treadle.faces.fabric import wire, wire_output
from treadle.faces.fabric.following import Following, Printed
from treadle.web.call import Call, Reply, json_reply
from treadle.web.refusals import WrongMedia
from treadle.web.routes import Route
from treadle.web.sockets import Socket, SocketRoute
from treadle.web.sse import EVENT_STREAM, HEARTBEAT, HEARTBEAT_SECONDS, json_event

PATH = "/api/tasks/{task}/output"
READ, READ_RUNS, WRITE = "queue:read", "runs:read", "queue:claim"
RAW = "application/octet-stream"
_RANGE = re.compile(r"bytes=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*\Z")

Said = wire_output.Piece | wire_output.Gap | wire_output.End
T = TypeVar("T")


class OutputRoutes:
    """Handlers; `{task}` is an id. What a run prints asks for a right of its own."""

    def __init__(self, fabric: Fabric, *, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._tasks, self._output, self._following = fabric.tasks, fabric.output, Following(fabric)
        self._heartbeat = heartbeat

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path=PATH, handler=self.show, scope=READ, query=wire_output.OutputQuery,
                  summary="What a task prints, from any offset on", reply=wire_output.Piece, errors=(404, 416),
                  tag="output", media_type="text/event-stream",
                  description="Events: `id:` is the offset behind the bytes, so Last-Event-ID (or `after`) goes on "
                              "there; `event: gap` says what is not kept, and `event: end` comes when the task has "
                              "ended. With `Accept: application/octet-stream` the bytes kept so far, as they are; "
                              "Range works, and X-Output-First is the offset of the first byte."),
            Route(method="POST", path=PATH, handler=self.upload, scope=WRITE, query=wire_output.Upload,
                  summary="Add what the holder of a task printed", reply=wire_output.Uploaded, errors=(404, 409),
                  tag="output",
                  description="The body is raw bytes, from the given offset of this assignment's own bytes on. What "
                              "is there already is skipped; an offset further on says that bytes were lost."),
        ]  # fmt: skip

    def sockets(self) -> list[SocketRoute]:
        return [
            SocketRoute(path=PATH, handler=self.socket, scope=READ, query=wire_output.OutputQuery, tag="output",
                        summary="What a task prints, from any offset on",
                        description="Text messages: the JSON of the events, each with its `id`."),
        ]  # fmt: skip

    async def show(self, call: Call) -> Reply:
        task = await self._readable(call)
        extent = await self._output.extent(task.id)
        if RAW in (call.header("accept") or ""):
            return await self._raw(call, task.id, extent)
        asked = _last_seen(call)
        after = _start(call.query.after if asked is None else asked, extent, "after" if asked is None else LAST_SEEN)
        cursor = b"id: %d\n\n" % after if asked is None and (call.query.after or 0) < 0 else b""
        return Reply(
            media_type=EVENT_STREAM,
            headers=((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")),
            stream=self._events(task, after, cursor),
        )

    async def socket(self, socket: Socket) -> None:
        task = await self._readable(socket)
        after = _start(socket.query.after, await self._output.extent(task.id), "after")
        await socket.accept()
        with self._following.task(task.id) as followed:
            async for printed in followed.pieces(after):
                for at, said in _said(printed):
                    await socket.send(_message(at, said))
                after = printed.end
                if not socket.open:
                    return
        end = await self._ended(task.id, after)
        if end is not None:
            await socket.send(_message(after, end))

    async def upload(self, call: Call) -> Reply:
        asked: wire_output.Upload = call.query
        task = await self._tasks.get(call.params["task"])
        if task.kind == RUN:
            raise Denied("What a run prints comes from the node that runs it")
        if (call.header("content-encoding") or "identity").lower() != "identity":
            raise WrongMedia("What a task printed is sent as it is, not compressed")
        body = await call.read()
        return json_reply(
            wire_output.Uploaded(await self._output.write(task.id, asked.fence, asked.at, [(asked.stream, body)]))
        )

    async def _readable(self, call: Call | Socket) -> Task:
        """The task that is asked for. Raises NotFound, and Denied if the caller may not see it."""
        task = await self._tasks.get(call.params["task"])
        if task.kind == RUN and not call.principal.holds(READ_RUNS):
            raise Denied
        return task

    async def _events(self, task: Task, after: int, begin: bytes) -> AsyncIterator[bytes]:
        """One read is one chunk of the answer: the next is made when the client has taken this one."""
        now = asyncio.get_running_loop().time
        if begin:
            yield begin
        said_at = now()
        try:
            with self._following.task(task.id) as followed:
                async for printed in followed.pieces(after):
                    if printed.chunks:
                        after = printed.end
                        yield printed.spelled(_events)
                    elif now() - said_at >= self._heartbeat:
                        yield HEARTBEAT
                    else:
                        continue
                    said_at = now()
            end = await self._ended(task.id, after)
        except NotFound:  # deleted while we read it: who comes back is told so
            return
        if end is not None:
            yield _event(after, end)

    async def _ended(self, id: str, after: int) -> wire_output.End | None:
        task = await self._tasks.get(id)
        if task.state not in FINAL:  # it was put back meanwhile
            return None
        how = ending(task) if task.kind == RUN else None
        if how is None:
            error = task.result.error if task.result else None
            return wire_output.End(task.state, after, error=error)
        return _end_of_run(task, how, after)

    async def _raw(self, call: Call, task: str, extent: Extent) -> Reply:
        """The bytes kept so far, or a range of them.

        The length is promised before all is read: where bytes are missing in the middle the answer is cut, so that it
        never looks whole, and a range from there on begins behind what is missing.
        """
        asked = None if call.header("if-range") else _range(call.header("range"), extent)
        start, stop = asked or (_start(call.query.after, extent, "after"), extent.end)
        if start < stop:
            start = (await self._output.read(task, start, 1))[0].at  # behind a gap, if it lies in one
        headers = [(b"accept-ranges", b"bytes"), (b"x-output-first", b"%d" % start)]
        if asked:
            if start >= stop:
                refusal = wire.Error(False, f"What is kept ends at {extent.end}", "range_not_satisfiable")
                return json_reply(refusal, 416, ((b"content-range", b"bytes */%d" % extent.end),))
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, extent.end)))
        status, media = 206 if asked else 200, RAW.encode()
        if start >= stop:
            return Reply(status, media_type=media, headers=tuple(headers))
        headers.append((b"content-length", b"%d" % (stop - start)))
        return Reply(status, media_type=media, headers=tuple(headers), stream=self._bytes(task, start, stop))

    async def _bytes(self, task: str, start: int, stop: int) -> AsyncIterator[bytes]:
        while start < stop:
            chunks = await self._output.read(task, start, min(PIECE, stop - start))
            if not chunks or chunks[0].at != start:
                raise NotFound("Output", f"of task {task} from {start} to {chunks[0].at if chunks else stop}")
            yield chunks[0].data if len(chunks) == 1 else b"".join(chunk.data for chunk in chunks)
            start = chunks[-1].end


LAST_SEEN = "Last-Event-ID"


def _last_seen(call: Call) -> int | None:
    text = call.header(LAST_SEEN)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid(Fault(LAST_SEEN, "must be the id of an event of this stream"))
    return int(text)


def _start(after: int | None, extent: Extent, field: str) -> int:
    """Where to begin, of what is or was there. Raises Invalid for an offset that this task has not reached."""
    if after is None:
        return 0  # and not the first byte kept: what is missing before it is said as a gap
    if after < 0:
        return max(extent.first, extent.end + after)
    if after > extent.end:
        raise Invalid(Fault(field, f"lies beyond what this task has printed, which ends at {extent.end}"))
    return after


def _range(header: str | None, extent: Extent) -> tuple[int, int] | None:
    """Where one range begins and ends; None where there is none, or one that HTTP lets us overlook."""
    found = _RANGE.match(header) if header else None
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return max(extent.first, extent.end - int(suffix)), extent.end
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, extent.end) if last else extent.end


def _said(printed: Printed) -> Iterator[tuple[int, Said | Chunk]]:
    """What is said of these chunks, each with the offset behind it."""
    after = printed.after
    for chunk in printed.chunks:
        if chunk.at > after:
            yield chunk.at, wire_output.Gap(after, chunk.at)
        if chunk.data:
            yield chunk.end, chunk
        after = chunk.end


def _events(printed: Printed) -> bytes:
    return b"".join(_event(at, said) for at, said in _said(printed))


def _event(at: int, said: Said | Chunk) -> bytes:
    if isinstance(said, Chunk):  # by hand: this is what a flood is made of
        data = b64encode(said.data)
        return b'id: %d\ndata: {"stream":"%b","encoding":"base64","data":"%b"}\n\n' % (at, said.stream.encode(), data)
    return json_event(said, id=str(at), name="gap" if isinstance(said, wire_output.Gap) else "end")


def _message(at: int, said: Said | Chunk) -> str:
    if isinstance(said, Chunk):
        said = wire_output.Piece(said.stream, b64encode(said.data).decode())
    shape: dict[str, Any] = {"id": at, **msgspec.to_builtins(said)}
    return msgspec.json.encode(shape).decode()


def _end_of_run(task: Task, how: Ending, after: int) -> wire_output.End:
    return wire_output.End(task.state, after, how.code, how.signal, how.reason, how.error)
