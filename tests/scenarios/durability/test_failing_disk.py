"""A disk that is full, read-only or failing: every caller is told plainly, nothing is half-written, and it works again
without a restart once the disk does."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

import pytest

from tests.core.books import Books, open_books
from tests.core.facts import Told
from tests.scenarios.durability.acknowledged import ANN, Ack, broken, check_file, finish, make, open_fabric, take
from tests.scenarios.durability.failing_disk import FailingDisk, Trouble
from treadle.core.batching import QUIET_TURNS
from treadle.core.errors import FabricError, StoreFull, StoreReadOnly, StoreUnavailable
from treadle.core.fabric import Fabric
from treadle.core.ports import Tx
from treadle.core.submitting import NewTask, Submit

CALLERS = 6


class Home:
    """A fabric on a disk that may fail, and all that it has promised so far."""

    def __init__(self, fabric: Fabric, disk: FailingDisk, path: Path, project: str) -> None:
        self.fabric, self.disk, self.path, self.project = fabric, disk, path, project
        self.acks: list[Ack] = []
        self.asked = 0

    async def ride(self) -> Counter[type]:
        """Several callers at once; how many got what: an answer, or which error."""
        numbers = range(self.asked, self.asked + CALLERS)
        self.asked += CALLERS
        return self.note(await asyncio.gather(*map(self.make, numbers), return_exceptions=True))

    async def again(self) -> Counter[type]:
        """The callers of the last ride ask once more."""
        self.asked -= CALLERS
        return await self.ride()

    async def make(self, number: int) -> Ack:
        return await make(self.fabric, self.project, number)

    def note(self, outcomes: Sequence[Ack | BaseException]) -> Counter[type]:
        self.acks += [outcome for outcome in outcomes if isinstance(outcome, Ack)]
        return Counter(type(outcome) for outcome in outcomes)

    async def books(self) -> Books:
        """What it says now: all that it promised, nothing that it refused, and every figure right."""
        books = await open_books(self.fabric.store, self.fabric.clock())
        books.balance(Told())
        assert broken(self.acks, books) == []
        assert {ack.task for ack in self.acks} == set(books.every_task())
        return books


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    disk = FailingDisk("failing")
    path = tmp_path / "treadle.db"
    fabric = await open_fabric(path, disk.name)
    project = (await fabric.projects.create("looms", ANN)).project.id
    home = Home(fabric, disk, path, project)
    assert await home.ride() == {Ack: CALLERS}
    yield home
    disk.room, disk.broken = None, set()
    await fabric.store.close()
    await check_file(path, home.acks)


@pytest.mark.parametrize("room", [0, 1, 4095, 4096, 10_000, 30_000])
async def test_a_full_disk_refuses_the_whole_ride_and_takes_it_once_there_is_room(home: Home, room: int) -> None:
    home.disk.room = room
    refused = await home.ride()
    while refused == {Ack: CALLERS}:  # there was room for some
        refused = await home.ride()
    assert refused == {StoreFull: CALLERS}
    assert await home.again() == {StoreFull: CALLERS}
    await home.books()  # reading goes on
    home.disk.room = None
    assert await home.again() == {Ack: CALLERS}
    await home.books()


@pytest.mark.parametrize("seed", range(4))
async def test_a_disk_that_is_full_now_and_then(home: Home, seed: int) -> None:
    chance = Random(seed)
    told: Counter[type] = Counter()
    for _ in range(25):
        home.disk.room = chance.choice([None, 0, chance.randrange(60_000)])
        told += await home.ride()
        (taken,) = await asyncio.gather(take(home.fabric, home.project, "w"), return_exceptions=True)
        if isinstance(taken, Ack):
            told += home.note([taken])
            told += home.note(await asyncio.gather(finish(home.fabric, taken), return_exceptions=True))
    assert set(told) == {Ack, StoreFull}
    home.disk.room = None
    await home.books()


async def test_a_transaction_too_big_for_memory_is_undone_with_all_that_rode_along(home: Home) -> None:
    """SQLite writes such a one out before its commit, and on a full disk gives the whole of it up in mid-verb."""
    home.disk.room = 200_000
    many = [NewTask(description="x" * 20_000) for _ in range(1200)]
    begun, gate = threading.Event(), threading.Event()

    def hold_up(tx: Tx) -> None:
        begun.set()
        gate.wait(30)

    busy = home.fabric.store.write(hold_up)
    await asyncio.to_thread(begun.wait, 30)  # what is asked from here on goes into the next transaction together
    riding = [
        asyncio.ensure_future(home.fabric.projects.create("before", ANN)),
        asyncio.ensure_future(home.fabric.tasks.submit(Submit(project=home.project, tasks=many, by=ANN))),
        asyncio.ensure_future(home.fabric.projects.create("after", ANN)),
    ]
    for _ in range(3 * QUIET_TURNS):  # each has asked, and the submit has waited for company and left
        await asyncio.sleep(0)
    gate.set()
    await busy
    outcomes = await asyncio.gather(*riding, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreFull] * 3
    books = await home.books()
    assert [project.name for project in books.projects.values()] == ["looms"]
    home.disk.room = None
    assert await home.ride() == {Ack: CALLERS}


@pytest.mark.parametrize("what", [("write",), ("sync",), ("write", "read", "sync")], ids="+".join)
async def test_a_write_that_fails_is_told_to_every_caller_of_the_ride(home: Home, what: tuple[Trouble, ...]) -> None:
    home.disk.broken = set(what)
    assert await home.ride() == {StoreUnavailable: CALLERS}
    assert await home.again() == {StoreUnavailable: CALLERS}
    with pytest.raises(StoreUnavailable, match=f"cannot take this now: ({'|'.join(what)}) failed"):
        await home.make(10_000)
    home.disk.broken = set()
    await home.books()
    assert await home.again() == {Ack: CALLERS}


async def test_a_read_that_fails_says_what_failed(home: Home) -> None:
    await home.books()
    home.disk.broken = {"read"}
    assert await home.ride() == {Ack: CALLERS}  # the writer knows what it needs
    with pytest.raises(StoreUnavailable, match="cannot take this now: read failed"):
        await home.books()
    home.disk.broken = set()
    await home.books()


@pytest.mark.parametrize("room", [0, 100, 5000, 50_000])
async def test_a_store_that_finds_no_room_to_be_made_says_so_and_can_be_made_later(tmp_path: Path, room: int) -> None:
    disk = FailingDisk("no-room")
    disk.room = room
    path = tmp_path / "treadle.db"
    with pytest.raises(StoreFull):
        await open_fabric(path, disk.name)
    disk.room = None
    await (await open_fabric(path, disk.name)).store.close()
    await check_file(path, [])


async def test_a_read_only_disk_is_refused_at_the_start_and_taken_once_it_is_writable(tmp_path: Path) -> None:
    disk = FailingDisk("read-only")
    path = tmp_path / "treadle.db"
    fabric = await open_fabric(path, disk.name)
    project = (await fabric.projects.create("looms", ANN)).project.id
    ack = await make(fabric, project, 1)
    await fabric.store.close()
    disk.read_only = True
    with pytest.raises(StoreReadOnly, match=f"{path} cannot be written to"):
        await open_fabric(path, disk.name)
    with pytest.raises(StoreReadOnly):
        await open_fabric(tmp_path / "new.db", disk.name)
    disk.read_only = False
    await check_file(path, [ack])


async def test_a_folder_that_does_not_exist_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FabricError, match=r"none/treadle\.db"):
        await open_fabric(tmp_path / "none" / "treadle.db")
