"""The synchronous door: the same client, run on a loop of its own in a thread of its own."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from treadle.client.client import Client
from treadle.client.run_verbs import RunVerbs

P = ParamSpec("P")
R = TypeVar("R")


class _Door(Protocol):
    """Where the verbs of a client are called, and how their answers are waited for."""

    client: Any

    def run(self, work: Coroutine[Any, Any, R]) -> R: ...


class _Verb(Generic[P, R]):
    """A verb of a client as a method of its synchronous door that waits for the answer."""

    def __init__(self, verb: Callable[Concatenate[Any, P], Awaitable[R]]) -> None:
        self._verb = verb
        self.__doc__ = verb.__doc__

    @overload
    def __get__(self, door: None, owner: type) -> "_Verb[P, R]": ...

    @overload
    def __get__(self, door: _Door, owner: type) -> Callable[P, R]: ...

    def __get__(self, door: _Door | None, owner: type) -> "_Verb[P, R] | Callable[P, R]":
        if door is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return door.run(cast(Coroutine[Any, Any, R], self._verb(door.client, *args, **kwargs)))

        call.__doc__ = self.__doc__
        return call


class _Stream(Generic[P, R]):
    """An endless verb of Client as an ordinary iterator; leave its loop, or close it, to end it."""

    def __init__(self, verb: Callable[Concatenate[Any, P], AsyncIterator[R]]) -> None:
        self._verb = verb
        self.__doc__ = verb.__doc__

    def __get__(self, door: _Door, owner: type) -> Callable[P, Iterator[R]]:
        def call(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
            coming = self._verb(door.client, *args, **kwargs)
            try:
                while True:
                    try:
                        yield door.run(cast(Coroutine[Any, Any, R], anext(coming)))
                    except StopAsyncIteration:
                        return
            finally:
                close = getattr(coming, "aclose", None)
                if close is not None:
                    door.run(close())

        return call


class SyncRuns:
    """The verbs on runs, of a SyncClient."""

    def __init__(self, door: "SyncClient") -> None:
        self.client, self.run = door.client.runs, door.run

    start = _Verb(RunVerbs.start)
    get = _Verb(RunVerbs.get)
    ended = _Verb(RunVerbs.ended)
    list = _Verb(RunVerbs.list)
    input = _Verb(RunVerbs.input)
    resize = _Verb(RunVerbs.resize)
    signal = _Verb(RunVerbs.signal)
    nodes = _Verb(RunVerbs.nodes)
    follow = _Stream(RunVerbs.follow)


class SyncClient:
    """Client for programs without a loop. May be used from several threads. Use it with `with`, or `close` it."""

    def __init__(
        self,
        server: str | None = None,
        key: str | None = None,
        *,
        home: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
        patience: float = 10.0,
    ) -> None:
        self.client = Client(server, key, home=home, timeout=timeout, patience=patience)
        self.runs = SyncRuns(self)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "SyncClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine that uses `client` on the private loop. Ctrl-C cancels it."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="treadle-client", daemon=True)
                self._thread.start()
        running = asyncio.run_coroutine_threadsafe(_as_coroutine(work), self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def close(self) -> None:
        """Close the connections and end the thread; safe to call twice."""
        if self._loop is None or self._thread is None:
            return
        self.run(self.client.close())
        loop, self._loop = self._loop, None
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    about = _Verb(Client.about)
    projects = _Verb(Client.projects)
    project = _Verb(Client.project)
    create_project = _Verb(Client.create_project)
    change_project = _Verb(Client.change_project)
    delete_project = _Verb(Client.delete_project)
    stats = _Verb(Client.stats)
    sweep = _Verb(Client.sweep)
    types = _Verb(Client.types)
    type = _Verb(Client.type)
    create_type = _Verb(Client.create_type)
    change_type = _Verb(Client.change_type)
    delete_type = _Verb(Client.delete_type)
    submit = _Verb(Client.submit)
    submit_each = _Verb(Client.submit_each)
    task = _Verb(Client.task)
    ended = _Verb(Client.ended)
    tasks = _Verb(Client.tasks)
    edit = _Verb(Client.edit)
    cancel = _Verb(Client.cancel)
    requeue = _Verb(Client.requeue)
    delete = _Verb(Client.delete)
    claim = _Verb(Client.claim)
    extend = _Verb(Client.extend)
    release = _Verb(Client.release)
    finish = _Verb(Client.finish)
    events = _Verb(Client.events)
    follow = _Stream(Client.follow)


async def _as_coroutine(work: Awaitable[R]) -> R:
    return await work
