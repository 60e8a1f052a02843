"""Reach is how a lane has its line: opened when first needed, and again, with patience, after it broke."""

import threading
import time
from typing import Any

import psycopg

from treadle.core.errors import FabricError, StoreUnavailable

from . import locks
from .address import Address
from .line import Line
from .schema import Ground, ground

PATIENCE_SECONDS = 20.0
"""So long after a line broke its verbs wait for a new one; after that each is refused at once until there is one."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

SHARDS = 64
"""Writing lanes, of all replicas together, that count without making each other wait."""


class Reach:
    """One lane's connection. `closing` ends every wait."""

    def __init__(
        self, address: Address, closing: threading.Event, *, writing: bool, patience: float = PATIENCE_SECONDS
    ) -> None:
        self.closing = closing
        self.shown = address.shown
        self.shard = 0
        self._address, self._writing, self._patience = address, writing, patience
        self._line: Line | None = None
        self._ground: Ground | None = None
        self._backend: tuple[int, Any] | None = None
        self._broke: float | None = None

    @property
    def ground(self) -> Ground:
        assert self._ground is not None  # known as soon as there is a line
        return self._ground

    def line(self) -> Line:
        """The line, a new one if need be. Raises StoreUnavailable after a while without a server."""
        pause = FIRST_PAUSE_SECONDS
        while self._line is None:
            try:
                self._line = self._open()
            except StoreUnavailable:
                since = self._broke = time.monotonic() if self._broke is None else self._broke
                if self.closing.is_set() or time.monotonic() + pause > since + self._patience:
                    raise
                self.closing.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self._broke = None
        return self._line

    def drop(self) -> None:
        """Let go of a line that broke."""
        if self._broke is None:
            self._broke = time.monotonic()
        self.close()

    def close(self) -> None:
        """Hang up; safe to call twice."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _open(self) -> Line:
        connection = self._address.connect()
        try:
            self._ground = ground(connection, self._address)
            self._end_former(connection)
            if self._writing:
                self.shard = _shard(connection, self._ground.schema)
            return Line(connection)
        except psycopg.Error as error:
            connection.close()
            raise self._address.plain(error) from None
        except FabricError:
            connection.close()
            raise

    def _end_former(self, connection: psycopg.Connection[Any]) -> None:
        """End what the server may still be doing for the line that broke: its locks would be in our way."""
        if self._backend:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s",
                self._backend,
            )
        started = connection.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()
        self._backend = (started[0], started[1]) if started else None


def _shard(connection: psycopg.Connection[Any], schema: str) -> int:
    """A shard of the counters that nobody else holds, held as long as the connection lives."""
    first = locks.number(schema, "shard") & ~(SHARDS - 1)
    held = connection.execute(
        "SELECT shard FROM generate_series(0, %s) AS shard WHERE pg_try_advisory_lock(%s + shard) LIMIT 1",
        (SHARDS - 1, first),
    ).fetchone()
    # With more lanes than shards some share: they count right, and wait for each other.
    return held[0] if held else connection.info.backend_pid % SHARDS
