"""A NATS server for scenarios whose parts are processes of their own: started, killed and restarted at will."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from treadle.adapters.bus.credentials import new_seed, public_key
from treadle.adapters.bus.nats_server import NatsServer


class OwnNats:
    """One server on the loopback. `credentials` is the file with all rights; `node` makes one for a node."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._folder, self._loop = folder, loop
        self.reports: list[str] = []
        self._server = NatsServer(folder / "nats", report=lambda text, error: self.reports.append(text))

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def credentials(self) -> Path:
        return self._server.credentials

    def start(self) -> None:
        """Returns when it accepts connections, on the same port as before."""
        self._do(self._server.start())

    def stop(self) -> None:
        self._do(self._server.stop())

    def signal(self, number: signal.Signals) -> None:
        """A killed server is started again by itself."""
        assert self._server.pid is not None
        os.kill(self._server.pid, number)

    def node(self, id: str) -> Path:
        """The credentials file of a node, admitted by hand."""
        seed = new_seed()
        file = self._folder / f"{id}.nk"
        file.touch(0o600)
        file.write_text(seed + "\n", "ascii")
        self._server.admit(id, public_key(seed))
        self._do(self._server.reload())
        return file

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)


@contextmanager
def own_nats(folder: Path) -> Iterator[OwnNats]:
    """A server that runs until the end of the scenario; its keeper has a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="own nats", daemon=True)
    thread.start()
    server = OwnNats(folder, loop)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
