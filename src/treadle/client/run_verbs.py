"""`client.runs`: start commands on nodes, feed, signal and follow them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import TypeVar

from treadle.client import asking
from treadle.client.asking import Ask
from treadle.client.connection import Connection
from treadle.client.errors import NoServer, Unavailable, Unreachable
from treadle.client.nouns import ENDED, State
from treadle.client.printed import HEADERS, Printed, Reader
from treadle.client.retrying import LONGEST_PAUSE, backoff
from treadle.client.runs import NewRun, Node, Run, RunEnd, RunPage, Window

T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Seconds of one long poll; what waits longer asks again."""


class RunVerbs:
    """The verbs on runs. All of them raise what is in `treadle.client.errors`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(self, new: NewRun) -> Run:
        """Ask a node to run a command: `await client.runs.start(NewRun(argv=("make", "test")))`."""
        return await self._ask(asking.start(new))

    async def get(self, id: str, *, wait: float = 0) -> Run:
        """A run; with `wait` once it has ended, or after so many seconds."""
        return await self._ask(asking.get(id, wait))

    async def ended(self, id: str, within: float | None = None) -> Run:
        """The run once it has ended, or as it is after so many seconds."""
        until = None if within is None else monotonic() + within
        while True:
            left = LONGEST_WAIT if until is None else max(0.0, min(LONGEST_WAIT, until - monotonic()))
            run = await self.get(id, wait=left)
            if run.state in ENDED or (until is not None and monotonic() >= until):
                return run

    async def list(self, *states: State, limit: int = 100, offset: int = 0) -> RunPage:
        """Runs in these states, or in all, newest first."""
        return await self._ask(asking.listed(states, limit, offset))

    async def input(self, id: str, data: bytes = b"", *, eof: bool = False) -> None:
        """Give a run something to read; with `eof` it is the last."""
        await self._ask(asking.feed(id, data, eof=eof))

    async def resize(self, id: str, *, columns: int, rows: int) -> None:
        """Change the size of a run's terminal."""
        await self._ask(asking.resize(id, Window(columns=columns, rows=rows)))

    async def signal(self, id: str, name: str = "TERM", *, grace: float | None = None) -> Run:
        """Send a signal. With `grace` every process of the run gets it, and KILL so many seconds later."""
        return await self._ask(asking.signal(id, name, grace))

    async def nodes(self) -> Sequence[Node]:
        """The machines that joined."""
        return (await self._ask(asking.nodes())).nodes

    async def follow(self, id: str, after: int = 0) -> AsyncIterator[Printed]:
        """What a run has printed from an offset on and what it prints, each byte once; the last item is a RunEnd.

        A negative offset counts from the end. When the connection breaks it goes on behind the last byte seen, for as
        long as the server comes back within the client's patience.
        """
        reader = Reader(after)
        attempt, until = 0, 0.0
        while True:
            resumed = reader.after > 0
            headers = {**HEADERS, **({"last-event-id": str(reader.after)} if resumed else {})}
            query = {} if resumed else {"after": reader.after}
            try:
                async with self._connection.stream(asking.output_path(id), query, headers) as lines:
                    async for line in lines:
                        printed = reader.line(line.encode())
                        if printed is not None:
                            attempt = 0
                            yield printed
                        if isinstance(printed, RunEnd):
                            return
            except (Unreachable, Unavailable, NoServer):
                if attempt and monotonic() > until:
                    raise
            reader.broken()
            if not attempt:
                until = monotonic() + self._connection.patience
            attempt += 1
            await asyncio.sleep(backoff(attempt, LONGEST_PAUSE))

    async def _ask(self, ask: Ask[T]) -> T:
        answer = await self._connection.ask(
            ask.method, ask.path, body=ask.content, query=ask.query, repeatable=ask.repeatable, wait=ask.wait
        )
        return ask.read(answer)
