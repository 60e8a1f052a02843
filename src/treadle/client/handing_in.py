"""How results get home: many in one request, and kept until the server has them."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from treadle.client.client import Client
from treadle.client.errors import Invalid, NoServer, Refused, TooLarge, TooMany, Unavailable, Unreachable
from treadle.client.keeping import Hold
from treadle.client.nouns import Ended, Standing
from treadle.client.retrying import backoff

log = logging.getLogger("treadle.worker")

MOST_AT_ONCE = 250
MOST_BYTES = 4_000_000
"""In one request; the server takes ten million."""
LARGEST = 8_000_000
"""One task's result."""
LONGEST_ERROR = 20_000
SENDERS = 2
"""Requests under way at once: while the server works on one, the next is on its way."""
LONGEST_PAUSE = 5.0


class HandingIn:
    """Takes results one by one and hands them in together.

    `on_settled` is told of each: True the task succeeded, False it failed, None the server took nothing of it.

    A result that the server cannot read is handed in as a failure in its place, and harms no other.
    """

    def __init__(self, client: Client, on_settled: Callable[[Sequence[tuple[Hold, bool | None]]], None]) -> None:
        self._client, self._on_settled = client, on_settled
        self._waiting: list[tuple[Hold, bytes]] = []
        self._under_way = 0
        self._more = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._waiting) + self._under_way

    def add(self, hold: Hold, ended: Ended) -> None:
        """A task has ended."""
        hold.handed_in = True
        self._waiting.append((hold, encoded(ended)))
        self._more.set()
        self._empty.clear()

    async def all_home(self) -> None:
        """Wait until nothing is left to hand in."""
        await self._empty.wait()

    async def run(self) -> None:
        """Hand in what comes, until cancelled."""
        senders = [asyncio.create_task(self._send_all()) for _ in range(SENDERS)]
        try:
            await asyncio.gather(*senders)
        finally:
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)

    async def _send_all(self) -> None:
        while True:
            await self._more.wait()
            batch = self._take()
            if not batch:
                self._more.clear()
                continue
            self._under_way += len(batch)
            try:
                await self._send(batch)
            finally:
                self._under_way -= len(batch)
            if not len(self):
                self._empty.set()

    def _take(self) -> list[tuple[Hold, bytes]]:
        size = count = 0
        for _, body in self._waiting[:MOST_AT_ONCE]:
            size += len(body)
            if count and size > MOST_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _send(self, batch: list[tuple[Hold, bytes]]) -> None:
        attempt = 0
        while True:
            try:
                outcomes = await self._client.finish_encoded([body for _, body in batch])
            except (Unreachable, NoServer, Unavailable, TooMany) as error:
                least = error.retry_after if isinstance(error, TooMany) else 0.0
                pause = max(least, backoff(attempt, LONGEST_PAUSE))
                log.warning("%d results not handed in (again in %.1f s): %s", len(batch), pause, error)
                attempt += 1
                await asyncio.sleep(pause)
            except (Invalid, TooLarge) as error:
                return await self._apart(batch, error)
            else:
                return self._settle(batch, outcomes)

    def _settle(self, batch: list[tuple[Hold, bytes]], outcomes: Sequence[Standing | Refused]) -> None:
        settled: list[tuple[Hold, bool | None]] = []
        for (hold, _), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Refused):
                log.warning("the result of task %s was refused: %s", hold.task.id, outcome.message)
                settled.append((hold, None))
            else:
                settled.append((hold, outcome.state == "succeeded"))
        self._on_settled(settled)

    async def _apart(self, batch: list[tuple[Hold, bytes]], error: Refused) -> None:
        """Something in this batch cannot be read by the server: find out what."""
        if len(batch) > 1:
            half = len(batch) // 2
            await self._send(batch[:half])
            await self._send(batch[half:])
            return
        hold = batch[0][0]
        told = hold.task.failed(f"The result was refused: {error.message}"[:LONGEST_ERROR], retry=False)
        if batch[0][1] == msgspec.json.encode(told):  # not even that; the lease will run out
            log.error("the failure of task %s was refused: %s", hold.task.id, error.message)
            self._on_settled([(hold, None)])
            return
        await self._send([(hold, msgspec.json.encode(told))])


def encoded(ended: Ended) -> bytes:
    """The result as JSON; one that cannot be sent becomes a failure that says why."""
    if ended.error is not None and len(ended.error) > LONGEST_ERROR:
        ended = msgspec.structs.replace(ended, error=ended.error[:LONGEST_ERROR] + " …")
    try:
        body = msgspec.json.encode(ended)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return _instead(ended, f"The result is no JSON: {error}")
    if len(body) > LARGEST:
        return _instead(ended, f"The result is {len(body):,} bytes long; {LARGEST:,} are taken")
    return body


def _instead(ended: Ended, why: str) -> bytes:
    return msgspec.json.encode(Ended(id=ended.id, fence=ended.fence, ok=False, error=why, retry=False))
