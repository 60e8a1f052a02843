"""A worker: claims tasks in batches, runs a handler on them, keeps their leases, hands the results in."""

import asyncio
import functools
import inspect
import logging
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Any

from msgspec import Struct

from treadle.client.appetite import Appetite
from treadle.client.client import Client
from treadle.client.errors import ClientError, NoServer, ProjectClosed, TooMany, Unavailable, Unreachable
from treadle.client.handing_in import HandingIn
from treadle.client.keeping import Hold, Keeper
from treadle.client.nouns import Ended, Task
from treadle.client.retrying import backoff

log = logging.getLogger("treadle.worker")

WAIT_SECONDS = 20.0
"""How long a claim stays at the server when there is nothing to do."""
LONGEST_PAUSE = 10.0
CLAIM_SECONDS = 0.25
"""How long a stop waits for the claim under way: cut off later, it may cost a task its lease."""
TIDY_SECONDS = 15.0
LAST_SECONDS = 5.0
"""What cancelled handlers have to tidy up, and the last results to get home, even when the grace is over."""
YIELD_SECONDS = 0.01
"""How long quick handlers may follow one another before the rest of the program has its turn."""

Handler = Callable[[Task], Any]


class Done(Struct, frozen=True):
    """What a handler returns to hand in named outputs besides its output."""

    output: Any = None
    outputs: dict[str, Any] | None = None


class Fail(Exception):
    """What a handler raises to fail its task; with `retry` false nobody tries again."""

    def __init__(
        self, message: str, *, retry: bool = True, output: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        self.message, self.retry, self.output, self.outputs = message, retry, output, outputs
        super().__init__(message)


class Worker:
    """Works on the tasks of one project until it is stopped.

    The handler gets a Task. What it returns is the task's output (JSON); `raise Fail(…)` and every other exception fail
    the task. It may be a coroutine function or an ordinary one, which then runs in a thread. `concurrency` tasks are
    worked on at a time. A server that is away is waited for. When a lease is lost (or the task called off) the handler
    is cancelled; one that runs in a thread is left to end, and its result dropped.

    `done`, `failed` and `lost` count tries, as the server has acknowledged them.

    With `drain` it ends by itself once nothing can be claimed; with `limit` after so many tasks. `stop()` (and SIGTERM,
    with `start`) ends it: tasks not begun go back, running ones have `grace` seconds, and then go back too.
    """

    def __init__(
        self,
        project: str,
        handler: Handler | None = None,
        *,
        concurrency: int = 1,
        name: str | None = None,
        queue: str = "",
        lease: float | None = None,
        drain: bool = False,
        limit: int | None = None,
        grace: float = 30.0,
        server: str | None = None,
        key: str | None = None,
        home: str | os.PathLike[str] | None = None,
    ) -> None:
        self.project, self.queue, self.name = project, queue, name or worker_name()
        self.done = self.failed = self.lost = 0
        self._handler = handler
        self._concurrency, self._lease, self._grace = max(1, concurrency), lease, grace
        self._drain, self._left = drain, limit
        self._client = Client(server, key, home=home, patience=0)
        self._appetite = Appetite(self._concurrency)
        self._ready: asyncio.Queue[Hold] = asyncio.Queue()
        self._unbegun: list[Hold] = []
        self._running: dict[Hold, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._at_once = False
        self._threads: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle(self, handler: Handler) -> Handler:
        """Use as a decorator: this function does the work."""
        self._handler = handler
        return handler

    def start(self) -> None:
        """Run to the end, in this thread; SIGTERM and Ctrl-C stop it, a second one at once."""
        asyncio.run(self.run())

    def stop(self, at_once: bool = False) -> None:
        """End soon; `at_once` without waiting for running handlers. May be called from any thread, and twice."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended: so have we
                self._loop.call_soon_threadsafe(self._stop, at_once)
        else:
            self._stop(at_once)

    def _stop(self, at_once: bool = False) -> None:
        self._at_once = at_once or self._stopping.is_set()
        self._stopping.set()
        self._changed.set()

    async def run(self) -> None:
        """Work until stopped, drained or done. Raises what the server refuses for good, such as an unknown project."""
        if self._handler is None:
            raise TypeError("a worker needs a handler")
        self._work = self._awaitable(self._handler)
        self._loop = asyncio.get_running_loop()
        self._keeper = Keeper(self._client, self._lost_one)
        self._home = HandingIn(self._client, self._settled)
        caught = self._catch_signals(self._loop)
        claiming = asyncio.create_task(self._claim_all())
        others = [asyncio.create_task(self._keeper.run()), asyncio.create_task(self._home.run())]
        others += [asyncio.create_task(self._work_on()) for _ in range(self._concurrency)]
        others += [asyncio.create_task(self._until_stopped())]
        try:
            await asyncio.wait((claiming, *others), return_when=asyncio.FIRST_COMPLETED)
            await self._wind_down(claiming)
            for task in (claiming, *others):
                if task.done() and not task.cancelled():
                    task.result()
        finally:
            for task in (claiming, *others):
                task.cancel()
            await asyncio.gather(claiming, *others, return_exceptions=True)
            for number in caught:
                self._loop.remove_signal_handler(number)
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)
            await self._client.close()

    async def _until_stopped(self) -> None:
        await self._stopping.wait()

    # claiming

    async def _claim_all(self) -> None:
        attempt = 0
        while not self._stopping.is_set() and self._left != 0:
            wanted = self._appetite.wants(self._ready.qsize(), len(self._running))
            if not wanted:
                await self._change()
                continue
            if self._left is not None:
                wanted = min(wanted, self._left)
            try:
                tasks = await self._client.claim(
                    self.project,
                    self.name,
                    wanted,
                    queue=self.queue,
                    wait=0 if self._drain else WAIT_SECONDS,
                    lease=self._lease,
                )
            except (Unreachable, NoServer, Unavailable, TooMany, ProjectClosed) as error:
                if self._drain and isinstance(error, ProjectClosed):
                    raise
                least = error.retry_after if isinstance(error, TooMany) else 0.0
                pause = max(least, backoff(attempt, LONGEST_PAUSE))
                log.warning("no tasks claimed (again in %.1f s): %s", pause, error)
                attempt += 1
                await asyncio.sleep(pause)
                continue
            attempt = 0
            for hold in self._keeper.hold(tasks):
                self._ready.put_nowait(hold)
            if self._left is not None:
                self._left -= len(tasks)
            if not tasks and self._drain:
                if not len(self._keeper):
                    return
                await self._change()  # a task that fails may be claimable again
        while len(self._keeper):
            await self._change()

    async def _change(self) -> None:
        """Wait until something is begun, ended or settled."""
        self._changed.clear()
        await self._changed.wait()

    # working

    async def _work_on(self) -> None:
        """One of the hands: takes what lies ready, one task after another."""
        me = asyncio.current_task()
        assert me is not None
        yielded = monotonic()
        while True:
            hold = await self._ready.get()
            if self._stopping.is_set() or hold.is_lost():
                self._unbegun.append(hold)
                self._changed.set()
                continue
            self._running[hold] = me
            hold.began = began = monotonic()
            self._changed.set()
            try:
                ended = await self._handled(hold.task)
            except asyncio.CancelledError:
                if not hold.is_lost() and me.cancelling():
                    raise
                ended = hold.task.failed("The handler was cancelled")
            finally:
                del self._running[hold]
                self._changed.set()
            if hold.is_lost():
                while me.cancelling():
                    me.uncancel()
                continue
            now = monotonic()
            self._appetite.took(now - began)
            self._home.add(hold, ended)
            if now - yielded > YIELD_SECONDS:
                await asyncio.sleep(0)
                yielded = now

    async def _handled(self, task: Task) -> Ended:
        """What became of the task in the handler's hands."""
        try:
            output = await self._work(task)
        except Fail as fail:
            return task.failed(fail.message, retry=fail.retry, output=fail.output, outputs=fail.outputs)
        except Exception as error:  # whatever it is, it is the task's failure and not the worker's
            log.warning("the handler failed on task %s", task.id, exc_info=error)
            return task.failed(f"{type(error).__name__}: {error}")
        if isinstance(output, Done):
            return task.done(output.output, output.outputs)
        return task.done(output)

    def _awaitable(self, handler: Handler) -> Callable[[Task], Awaitable[Any]]:
        call = getattr(handler, "__call__", handler)  # noqa: B004 - an object's own coroutine function
        if inspect.iscoroutinefunction(inspect.unwrap(handler)) or inspect.iscoroutinefunction(call):
            return handler
        self._threads = ThreadPoolExecutor(self._concurrency, "treadle-work")

        async def in_a_thread(task: Task) -> Any:
            return await asyncio.get_running_loop().run_in_executor(self._threads, handler, task)

        return in_a_thread

    # what others tell

    def _lost_one(self, hold: Hold) -> None:
        self.lost += 1
        hand = self._running.get(hold)
        if hand is not None:
            hand.cancel()
        self._changed.set()

    def _settled(self, settled: Sequence[tuple[Hold, bool | None]]) -> None:
        for _, ok in settled:
            if ok:
                self.done += 1
            elif ok is None:
                self.lost += 1
            else:
                self.failed += 1
        self._keeper.let_go([hold for hold, _ in settled])
        self._changed.set()

    # the end

    async def _wind_down(self, claiming: "asyncio.Task[None]") -> None:
        """Nothing new is begun; what was not begun goes back, what runs has its grace, results get home."""
        self._stopping.set()
        until = monotonic() + self._grace
        await asyncio.wait((claiming,), timeout=CLAIM_SECONDS)
        claiming.cancel()
        await asyncio.gather(claiming, return_exceptions=True)
        self._unbegun += [self._ready.get_nowait() for _ in range(self._ready.qsize())]
        await self._give_back([hold for hold in self._unbegun if not hold.is_lost()])
        while self._running and monotonic() < until and not self._at_once:
            await self._change_before(until)
        await self._give_back(await self._abandon())
        with suppress(TimeoutError):
            async with asyncio.timeout(max(until - monotonic(), LAST_SECONDS)):
                await self._home.all_home()

    async def _abandon(self) -> list[Hold]:
        """Cancel what still runs, and wait until it has tidied up: nobody else may begin before."""
        left = list(self._running)
        for hold in left:
            hold.lose()
            self._running[hold].cancel()
        until = monotonic() + TIDY_SECONDS
        while self._running and monotonic() < until:
            await self._change_before(until)
        return left

    async def _change_before(self, until: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - monotonic())):
                await self._change()

    async def _give_back(self, holds: list[Hold]) -> None:
        if not holds:
            return
        try:
            await self._client.release([hold.task for hold in holds])
        except ClientError as error:
            log.warning("%d tasks not given back; their leases will run out: %s", len(holds), error)
        self._keeper.let_go(holds)

    def _catch_signals(self, loop: asyncio.AbstractEventLoop) -> list[int]:
        if threading.current_thread() is not threading.main_thread():
            return []
        caught: list[int] = [signal.SIGTERM, signal.SIGINT]
        for number in caught:
            loop.add_signal_handler(number, functools.partial(self._stop))
        return caught


def worker_name() -> str:
    """A name for this worker, unlike any other: the machine, the process and some random digits."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:24] or "worker"
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"
