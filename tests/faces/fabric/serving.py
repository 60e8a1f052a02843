"""A real server for tests: the fabric face on a free port of loopback, with SQLite in a folder, in its own thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from treadle.adapters.bus.local import LocalBus
from treadle.adapters.output.disk import DiskOutputs
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.clock import SteadyClock
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.faces.fabric import NAME, Options, make
from treadle.web.app import App
from treadle.web.listen import Address, Face, Listeners
from treadle.web.log import Log

T = TypeVar("T")

KEY = "the-local-key-of-a-test"
VERSION = "1.2.3"


class Served:
    """A running server: its address, and a way to call its fabric from the test's thread."""

    def __init__(self, home: Path, port: int = 0, **options: Any) -> None:
        self.home, self.port, self._options = home, port, options
        self.fabric: Fabric
        self.loop: asyncio.AbstractEventLoop
        self.app: App
        self._listeners: Listeners
        self._up = threading.Event()
        self._failed: BaseException | None = None
        self.log_lines: list[bytes] = []
        self.log = Log(self.log_lines.append)
        self.errors: list[Exception] = []
        self._thread = threading.Thread(target=self._run, name="test server")

    @property
    def url(self) -> str:
        return self._listeners.urls[NAME]

    def start(self) -> None:
        self._thread.start()
        self._up.wait(20)
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Stop cleanly; safe to call twice."""
        if not self._thread.is_alive():
            return
        self.loop.call_soon_threadsafe(self._listeners.stop)
        self._thread.join(20)
        assert not self._thread.is_alive()
        assert self.errors == []

    def do(self, verb: Callable[[Fabric], Awaitable[T]]) -> T:
        """Call the core on the server's loop, from any thread."""

        async def doing() -> T:
            return await verb(self.fabric)

        return asyncio.run_coroutine_threadsafe(doing(), self.loop).result(20)

    def announce(self) -> None:
        """What `treadle up` leaves in a home for programs of this user."""
        secrets = self.home / "secrets"
        secrets.mkdir(exist_ok=True)
        (secrets / "local.key").write_text(KEY + "\n", "ascii")
        (self.home / "server.json").write_text(json.dumps({"listeners": {NAME: self.url}}), "utf-8")

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's thread
            self._failed = error
            self._up.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        store = await open_sqlite(self.home / "treadle.db")
        try:
            report = lambda _, error: self.errors.append(error)  # noqa: E731
            outputs = DiskOutputs(self.home / "output", clock=SteadyClock())
            self.fabric = Fabric(store, LocalBus(), SteadyClock(), new_id, outputs, report=report)
            opened = {"kind": "local", "principal": "local", "face": NAME, "scopes": ("*",)}
            await self.fabric.grants.open(**opened, secret=KEY)
            options = Options(version=VERSION, listeners=lambda: self._listeners.urls, **self._options)
            self.app = make(self.fabric, options, log=self.log)
            self._listeners = Listeners([Face(NAME, self.app, Address("127.0.0.1", self.port))], grace=2.0)
            self._listeners.open()
            self.port = self._listeners.addresses[NAME].port
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listeners.serve())
                await self._listeners.ready.wait()
                self._up.set()
        finally:
            await store.close()


@contextmanager
def served(home: Path, port: int = 0, **options: Any) -> Iterator[Served]:
    """A server while the block runs."""
    server = Served(home, port, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
