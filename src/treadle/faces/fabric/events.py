"""The log of facts over HTTP: a page from a cursor, or a stream that goes on as facts are committed."""

from collections.abc import AsyncIterator

from treadle.core import topics
from treadle.core.errors import Fault, Invalid
from treadle.core.fabric import Fabric
from treadle.core.queue import POLL_SECONDS
from treadle.faces.fabric import spelling, wire
from treadle.web.call import Call, Reply, json_reply
from treadle.web.routes import Route
from treadle.web.sse import event_reply, json_event

READ = "queue:read"
PAGE = 500


class Events:
    """Handlers."""

    def __init__(self, fabric: Fabric) -> None:
        self._events, self._projects, self._bus = fabric.events, fabric.projects, fabric.bus

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path="/api/queue/events", handler=self.show, scope=READ, query=wire.EventQuery,
                  summary="Facts from a cursor: a page, or a stream", reply=wire.Events, errors=(404,), tag="events",
                  description="With `Accept: text/event-stream` the answer goes on for as long as the client stays: "
                              "one event for each fact, `id:` is its cursor, so that Last-Event-ID (or `after`) goes "
                              "on behind it."),
        ]  # fmt: skip

    async def show(self, call: Call) -> Reply:
        asked: wire.EventQuery = call.query
        project = (await self._projects.get(asked.project)).project.id if asked.project else None
        streamed = "text/event-stream" in (call.header("accept") or "")
        newest = await self._events.last()
        cursor = _last_seen(call) if streamed else None
        if cursor is None:
            cursor = asked.after
        if cursor is None:
            cursor = newest
        elif cursor > newest:
            raise Invalid(Fault("after", f"lies beyond the newest fact, which is {newest}: another log gave it"))
        if streamed:
            return event_reply(self._follow(cursor, project))
        page = await self._events.after(cursor, asked.limit, project)
        if len(page) < asked.limit:
            cursor = max(cursor, newest)  # nothing of this project lies between the page and what was newest before it
        return json_reply(spelling.page_of(page, cursor))

    async def _follow(self, cursor: int, project: str | None) -> AsyncIterator[bytes]:
        """Whole pages as one chunk each: a reader that is behind catches up quickly."""
        with self._bus.listen(topics.EVENTS) as listener:
            yield f"id: {cursor}\n\n".encode()  # where a reader goes on that is cut before the first fact
            while True:
                page = await self._events.after(cursor, PAGE, project)
                if page:
                    yield b"".join(json_event(spelling.event(fact), id=str(fact.seq)) for fact in page)
                    cursor = page[-1].seq
                if len(page) < PAGE:
                    await listener.heard(POLL_SECONDS)


def _last_seen(call: Call) -> int | None:
    text = call.header("last-event-id")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid(Fault("Last-Event-ID", "must be the id of an event of this stream"))
    return int(text)
