"""A fabric with a desk for tests: runs are started and ended in it, and nodes, real or played, ask it for work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from msgspec import msgpack

from tests.core.stage import HandClock, numbered
from tests.node.watching import pids, state_of
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.output.disk import DiskOutputs
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core import runs, topics
from treadle.core.access import Principal
from treadle.core.fabric import Fabric
from treadle.core.ports import Bus
from treadle.core.runs import Command
from treadle.core.speech import answered, asked
from treadle.core.tasks import Task
from treadle.node import words
from treadle.node.desk import Desk
from treadle.node.spawning import MARK

T = TypeVar("T")
BOB = Principal("bob", "native", ("*",))


@dataclass
class House:
    """What a test holds in its hands."""

    fabric: Fabric
    outputs: DiskOutputs
    clock: HandClock
    reports: list[tuple[str, BaseException | None]] = field(default_factory=list)

    def report(self, what: str, error: BaseException | None) -> None:
        self.reports.append((what, error))

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[Desk]:
        desk = Desk(self.fabric, self.outputs, self.report)
        desk.open()
        try:
            yield desk
        finally:
            await desk.close()

    async def start(self, *argv: str, **how: Any) -> Task:
        command = how.pop("command", None) or Command(argv=argv)
        return await self.fabric.runs.start(command, by=BOB, **how)

    async def printed(self, task: str) -> bytes:
        return b"".join([chunk.data async for chunk in self.fabric.output.follow(task, 0)])

    async def ended(self, task: Task) -> runs.Ending:
        ending = runs.ending(await self.fabric.tasks.settled(task.id, 1e9))
        assert ending is not None
        return ending


@asynccontextmanager
async def house(folder: Path, bus: Bus | None = None) -> AsyncIterator[House]:
    """A fabric in a folder, without a desk at first. Nothing may have been reported at the end."""
    store = await open_sqlite(folder / "treadle.db")
    clock = HandClock()
    outputs = DiskOutputs(folder / "output", clock=clock)
    reports: list[tuple[str, BaseException | None]] = []
    bus = bus or LocalBus(report=lambda what, error: reports.append((what, error)))
    fabric = Fabric(store, bus, clock, numbered(), outputs, report=lambda what, error: reports.append((what, error)))
    yield House(fabric, outputs, clock, reports)
    await outputs.close()
    await bus.close()
    await store.close()
    assert reports == []


class Played:
    """A node that a test plays: it says what the test says, and keeps what it is told."""

    def __init__(self, house: House, id: str) -> None:
        self._bus, self.id = house.fabric.bus, id
        self.told: list[words.Order] = []
        self.waits = True

    async def says(self, said: words.Said, of: type[T]) -> T:
        return await asked(self._bus.request(topics.desk(self.id), msgpack.encode(said), 30), of)

    async def joins(self, name: str = "loom") -> None:
        await self.says(words.Join(name, 4, "1", {}), Any)

    async def asks(self, count: int = 4, *held: words.Lease) -> list[words.Assignment]:
        return await self.says(words.Ask("an ask", count, list(held)), list[words.Assignment])

    @contextmanager
    def there(self) -> Iterator[Played]:
        """It takes orders."""

        async def answer(_: str, payload: bytes) -> bytes:
            order = msgpack.decode(payload, type=words.Order)
            self.told.append(order)
            return await answered(given(self.waits if isinstance(order, words.Waits) else None))

        with self._bus.serve(topics.node(self.id), answer):
            yield self

    def looks(self) -> int:
        """How often it was told to look."""
        return sum(isinstance(order, runs.Look) for order in self.told)


def left_in(folder: Path) -> list[int]:
    """The living processes of runs whose folders are in this one."""
    mark = f"{MARK}={folder}/".encode()
    return [pid for pid in pids() if mark in environ_of(pid) and state_of(pid) not in "ZX"]


def environ_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""  # it ended meanwhile


async def given(value: T) -> T:
    return value
