"""Group commit: one thread drains the waiting verbs into one transaction, syncs it once and answers them all."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import apsw
from msgspec import DecodeError

from treadle.adapters.store.queries import steps
from treadle.adapters.store.waiting import Outcome, Verb, Waiting, answer_and_tell, taken_together
from treadle.core.errors import (
    FabricError,
    StoreCorrupt,
    StoreFull,
    StoreReadOnly,
    StoreTooNew,
    StoreUnavailable,
)
from treadle.core.events import Event
from treadle.core.ports import Tx

from .tx import Counters, SqliteTx

R = TypeVar("R")

PACKAGE = "treadle.adapters.store.sqlite"
READERS = 2
TOGETHER = 512
"""Verbs in one transaction at most."""

# EXTRA is FULL, and syncs the folder after a rollback journal is deleted. A new file has one until it is in WAL mode;
# if a power failure brought that back, SQLite would take the whole store for half-made and empty it.
DURABLE = """
PRAGMA synchronous = EXTRA;
PRAGMA wal_autocheckpoint = 2000;
PRAGMA journal_size_limit = 67108864;
"""
LEAN = """
PRAGMA cache_size = -16000;
PRAGMA temp_store = MEMORY;
PRAGMA busy_timeout = 5000;
"""

FROM_THE_FILE = (apsw.Error, UnicodeDecodeError, DecodeError)
"""What says that the file is at fault and not the verb: SQLite knows damage to its pages, not to what lies in them."""


class SqliteStore:
    """A store in one file. Only its thread writes and checkpoints; readers see every write that was answered."""

    provider = "sqlite"

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, vfs: str | None) -> None:
        self.on_commit: Callable[[Sequence[Event]], None] | None = None
        self._path, self._loop, self._vfs = path, loop, vfs
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._connection = self._open(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        try:
            self._connection.execute(DURABLE)
            if self._connection.execute("PRAGMA journal_mode = WAL").get != "wal":
                raise StoreUnavailable(f"The store {path} cannot keep a write-ahead log; use a local disk")
            upgrade(self._connection)
            self._counters = Counters(self._connection)
        except apsw.Error as error:
            self._connection.close()
            raise plain(error, path) from error
        except FabricError:
            self._connection.close()
            raise
        self._readers = ThreadPoolExecutor(READERS, "treadle-read")
        self._reading = threading.local()
        self._opened: list[apsw.Connection] = []
        self._writer = threading.Thread(target=self._write_all, name="treadle-write", daemon=True)
        self._writer.start()
        self._closed = False

    def write(self, verb: Callable[[Tx], R]) -> "asyncio.Future[R]":
        answer: asyncio.Future[R] = self._loop.create_future()
        if self._closed:
            answer.set_exception(StoreUnavailable("The store is closed"))
        else:
            self._queue.put((verb, answer))
        return answer

    def read(self, query: Callable[[Tx], R]) -> "asyncio.Future[R]":
        if self._closed:
            answer: asyncio.Future[R] = self._loop.create_future()
            answer.set_exception(StoreUnavailable("The store is closed"))
            return answer
        return self._loop.run_in_executor(self._readers, self._read, query)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in (*self._opened, self._connection):
            connection.close()

    def _open(self, flags: int) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self._path), flags=flags, vfs=self._vfs)
            # Without this SQLite plans a query anew at each binding where a partial index is in play: 50 µs each.
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
            connection.execute(LEAN)
        except apsw.Error as error:
            raise plain(error, self._path) from error
        return connection

    def _read(self, query: Callable[[Tx], R]) -> R:
        tx = getattr(self._reading, "tx", None)
        if tx is None:
            connection = self._open(apsw.SQLITE_OPEN_READONLY)
            connection.execute("PRAGMA query_only = ON")
            self._opened.append(connection)
            tx = self._reading.tx = SqliteTx(connection)
            self._reading.connection = connection
        connection = self._reading.connection
        try:
            connection.execute("BEGIN")
            try:
                return query(tx)
            finally:
                if connection.in_transaction:  # else SQLite gave it up, and what it complained of must not be hidden
                    connection.execute("ROLLBACK")
        except FROM_THE_FILE as error:
            raise plain(error, self._path) from error

    def _write_all(self) -> None:
        for together in taken_together(self._queue, TOGETHER):
            self._commit(together)

    def _commit(self, together: list[Waiting]) -> None:
        """Run the verbs in one transaction; if it cannot be committed, none of them happened and each learns why."""
        outcomes: list[Outcome] = []
        tx = SqliteTx(self._connection, self._counters)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for verb, answer in together:
                outcomes.append((answer, *self._run(tx, verb)))
            self._connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - it is handed to every caller
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            failure = plain(error, self._path) if isinstance(error, FROM_THE_FILE) else error
            outcomes = [(answer, None, failure) for _, answer in together]
            tx.committed = []
        self._loop.call_soon_threadsafe(lambda: answer_and_tell(outcomes, tx.committed, self.on_commit))

    def _run(self, tx: SqliteTx, verb: Verb) -> tuple[Any, BaseException | None]:
        """One verb behind its savepoint: what it gave, or what it raised after leaving nothing behind."""
        told = len(tx.committed)
        self._connection.execute("SAVEPOINT verb")
        try:
            result = verb(tx)
        except BaseException as error:
            if not self._connection.in_transaction:  # SQLite gave the whole transaction up: disk full, I/O error
                raise
            self._connection.execute("ROLLBACK TO verb")
            self._connection.execute("RELEASE verb")
            del tx.committed[told:]
            return None, plain(error, self._path) if isinstance(error, FROM_THE_FILE) else error
        self._connection.execute("RELEASE verb")
        return result, None


async def open_sqlite(path: Path, *, vfs: str | None = None) -> SqliteStore:
    """Open or create the store in this file and bring its schema up to date."""
    return await asyncio.to_thread(SqliteStore, path, asyncio.get_running_loop(), vfs)


def upgrade(connection: apsw.Connection) -> None:
    """Take the schema steps that this file has not taken yet, all of them or none."""
    todo = steps(PACKAGE)
    with connection:
        version = int(connection.execute("PRAGMA user_version").get)
        if version > len(todo):
            raise StoreTooNew
        for step in todo[version:]:
            connection.execute(step)
        connection.execute(f"PRAGMA user_version = {len(todo)}")


def plain(error: BaseException, path: Path) -> FabricError:
    """What SQLite complains of, in our words."""
    if isinstance(error, apsw.FullError):
        return StoreFull()
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError):
        return StoreReadOnly(f"The store {path} cannot be written to; make its folder writable and try again")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError | DecodeError):
        return StoreCorrupt(f"The store {path} is damaged; restore it from a backup ({error})")
    return StoreUnavailable(f"The store {path} cannot take this now: {error}")
