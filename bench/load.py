"""A lean HTTP/1.1 load generator: keep-alive connections, each going round in cycles of dependent requests.

It speaks to the socket directly, so that the client costs little beside the server it measures, and is meant to run
in a process of its own on another core than the server: see `apart`.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar, cast

T = TypeVar("T")

MakeRequest = Callable[[int], bytes | None]
"""`(connection)` -> the first request of a new cycle, or None: this connection has nothing more to do."""

OnResponse = Callable[[int, int, bytes], bytes | None]
"""`(connection, status, body)` of a 2xx answer -> the next request of the same cycle, or None: the cycle is done."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one run did. Times are in seconds; p50, p95 and p99 are of whole cycles, first byte out to last byte in."""

    count: int  # cycles completed, every answer of theirs 2xx
    errors: int  # answers outside 2xx; each ends its cycle, which is then not counted
    seconds: float  # first request to last answer
    p50: float
    p95: float
    p99: float

    @property
    def per_second(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0


class LoadError(Exception):
    """The server closed a connection, answered with something this client cannot read, or did not answer in time."""


def request(method: str, path: str, host: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of one keep-alive request; `host` is the Host header, a body is announced as JSON."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    if body or method not in {"GET", "HEAD", "DELETE"}:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def run(
    host: str,
    port: int,
    connections: int,
    seconds_or_count: float,
    make_request: MakeRequest,
    on_response: OnResponse | None = None,
    *,
    give_up_after: float = 120.0,
) -> Result:
    """Opens `connections`, lets each go round until the limit, and says what happened.

    Args:
        host: Where the server listens.
        port: Its port.
        connections: How many keep-alive connections, each with one request under way at a time.
        seconds_or_count: An `int` is how many cycles to start in all, a `float` for how many seconds to start new ones.
        make_request: Begins a cycle.
        on_response: Continues it; without one a cycle is a single request.
        give_up_after: Seconds after which a run that has not ended is an error.

    Raises:
        LoadError: The connection broke, or an answer could not be read.
        OSError: The server could not be reached.
    """
    crowd = _Crowd(seconds_or_count, make_request, on_response or (lambda connection, status, body: None))
    loop = asyncio.get_running_loop()
    opened: list[_Connection] = []
    try:
        async with asyncio.timeout(give_up_after):
            for number in range(connections):
                _, connection = await loop.create_connection(partial(_Connection, number, crowd), host, port)
                opened.append(connection)
            crowd.start(opened)
            await crowd.done
    except TimeoutError as exc:
        raise LoadError(f"the run did not end within {give_up_after:g} s") from exc
    finally:
        for connection in opened:
            connection.close()
    return crowd.result()


def pin(core: int) -> None:
    """Keeps this process (and what it starts) on the `core`-th of the cores it may use; does nothing if it has one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def apart(function: Callable[..., Coroutine[Any, Any, T]], *args: object, core: int = 1) -> T:
    """Runs `await function(*args)` in a fresh process pinned to `core`; function, arguments and result are pickled."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=pin, initargs=(core,)) as pool:
        return pool.submit(drive, function, *args).result()


def drive(function: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
    """`asyncio.run`, under uvloop where it is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(function(*args))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


class _Crowd:
    """What the connections of one run share: the limit, the counts, and the end."""

    def __init__(self, limit: float, make_request: MakeRequest, on_response: OnResponse) -> None:
        self.make_request, self.on_response = make_request, on_response
        self.latencies: list[float] = []
        self.errors = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cycles_left = limit if isinstance(limit, int) else math.inf
        self._seconds = math.inf if isinstance(limit, int) else limit
        self._began = self._ended = self._until = 0.0
        self._busy = 0

    def start(self, connections: Sequence[_Connection]) -> None:
        self._began = self._ended = time.perf_counter()
        self._until = self._began + self._seconds
        self._busy = len(connections)
        for connection in connections:
            connection.begin()

    def next_cycle(self, connection: int) -> bytes | None:
        """The first request of this connection's next cycle, or None at the limit."""
        if self._cycles_left <= 0 or time.perf_counter() >= self._until:
            return None
        first = self.make_request(connection)
        if first is not None:
            self._cycles_left -= 1
        return first

    def retire(self) -> None:
        """One connection has nothing more to do."""
        self._busy -= 1
        if self._busy == 0 and not self.done.done():
            self._ended = time.perf_counter()
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def result(self) -> Result:
        ordered = sorted(self.latencies)
        p50, p95, p99 = (_quantile(ordered, share) for share in (0.50, 0.95, 0.99))
        return Result(len(ordered), self.errors, self._ended - self._began, p50, p95, p99)


class _Connection(asyncio.Protocol):
    """One keep-alive connection: a request, its whole answer, the next request."""

    def __init__(self, number: int, crowd: _Crowd) -> None:
        self._number, self._crowd = number, crowd
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._needed = 0  # bytes of a whole answer, once its head is read
        self._cycle_began = 0.0
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def begin(self) -> None:
        """Starts the next cycle, or retires."""
        first = self._crowd.next_cycle(self._number)
        if first is None:
            self._busy = False
            self._crowd.retire()
            return
        self._busy = True
        self._cycle_began = time.perf_counter()
        self._send(first)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < self._needed:
            return
        try:
            self._read_answer()
        except Exception as exc:  # noqa: BLE001 - the caller's callbacks run in here: `run` raises what they raised
            self._crowd.fail(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._busy:
            self._crowd.fail(LoadError(f"connection {self._number} closed before its answer: {exc or 'end of file'}"))

    def close(self) -> None:
        self._busy = False
        if self._transport is not None:
            self._transport.close()

    def _send(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    def _read_answer(self) -> None:
        buffer = self._buffer
        head_end = buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(buffer[:head_end])
        status = int(head[9:12])
        self._needed = head_end + 4 + _content_length(head, status)
        if len(buffer) < self._needed:
            return
        if len(buffer) > self._needed:
            raise LoadError(f"{len(buffer) - self._needed} bytes follow the answer, and nothing more was asked for")
        body = bytes(buffer[head_end + 4 :])
        buffer.clear()
        self._needed = 0
        self._answered(status, body)

    def _answered(self, status: int, body: bytes) -> None:
        crowd = self._crowd
        if 200 <= status < 300:
            following = crowd.on_response(self._number, status, body)
            if following is not None:
                self._send(following)
                return
            crowd.latencies.append(time.perf_counter() - self._cycle_began)
        else:
            crowd.errors += 1
        self.begin()


def _content_length(head: bytes, status: int) -> int:
    """The length of the body that follows this head (RFC 9112, section 6.3); chunked answers are not understood."""
    if status in {204, 304}:
        return 0
    folded = head.lower()
    at = folded.find(b"\r\ncontent-length:")
    if at < 0:
        raise LoadError(f"an answer without Content-Length: {head[:200]!r}")
    end = folded.find(b"\r\n", at + 2)
    return int(folded[at + 17 : end if end >= 0 else None])


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank; 0 when there is nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
