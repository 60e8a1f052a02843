"""How an answer goes out: one that is complete with its first body leaves as one packet, others as uvicorn does it.

uvicorn writes head and body apart and looks at each header with two searches. A packet more costs both ends a system
call, and with a dozen headers the searches cost as much as all the rest of sending.
"""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from treadle.web.asgi import Message


class WholeSend:
    """The `send` of one request."""

    __slots__ = ("_cycle", "_start")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        cycle, start = self._cycle, self._start
        if start is None:
            if message["type"] == "http.response.start" and not cycle.response_started:
                self._start = message
            else:
                await RequestResponseCycle.send(cycle, message)  # type: ignore[arg-type]
            return
        self._start = None
        if message.get("more_body") or cycle.flow.write_paused or not self._whole(start, message.get("body", b"")):
            await RequestResponseCycle.send(cycle, start)  # type: ignore[arg-type]
            await RequestResponseCycle.send(cycle, message)  # type: ignore[arg-type]

    def _whole(self, start: Message, body: bytes) -> bool:
        """Write the answer at once; False, with nothing written, if it is not of the plain kind."""
        cycle = self._cycle
        headers: list[tuple[bytes, bytes]] = start["headers"]
        if cycle.scope["method"] == "HEAD" or not cycle.keep_alive or start["status"] in (204, 304):
            return False
        lines = [b": ".join(header) for header in headers]
        head = b"\r\n".join(lines)
        breaks = len(lines) - 1
        # One search over all headers: a line break or a NUL inside one would let it write others.
        plain = head.count(b"\n") == breaks == head.count(b"\r") and b"\0" not in head
        if not plain or b"content-length: %d" % len(body) not in lines or b"\nconnection:" in head:
            return False
        if cycle.disconnected:
            return True
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        standing = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
        cycle.transport.write(b"".join((STATUS_LINE[start["status"]], standing, head, b"\r\n\r\n", body)))
        cycle.message_event.set()
        cycle.on_response()
        cycle.__dict__.pop("send", None)  # this very object: else the two hold each other until the next collection
        return True
