"""The power fails in the middle of everything: what was acknowledged is there when it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.core.books import open_books
from tests.core.facts import Told
from tests.scenarios.durability.acknowledged import ANN, Ack, broken, check_file, finish, make, open_fabric, take
from tests.scenarios.durability.losing_disk import LosingDisk
from treadle.adapters.store.sqlite import store as sqlite

CLIENTS, EACH = 4, 16


class Outages:
    """At some of the disk's changes, what would be left and what had been promised by then."""

    def __init__(self, disk: LosingDisk, folder: Path, chance: Random, share: float) -> None:
        self.disk, self.folder, self.chance, self.share = disk, folder, chance, share
        self.acks: list[Ack] = []
        self.left: list[tuple[Path, list[Ack]]] = []
        self.numbers = count()

    def perhaps(self) -> None:
        if self.chance.random() < self.share:
            promised = list(self.acks)
            folder = self.folder / f"outage-{next(self.numbers)}"
            self.disk.lose_power(folder, self.chance)
            self.left.append((folder / "treadle.db", promised))


async def work(path: Path, outages: Outages) -> None:
    """Several clients make, take and finish tasks; each answer is noted when it arrives."""
    fabric = await open_fabric(path, outages.disk.name)
    project = (await fabric.projects.create("looms", ANN)).project.id
    outages.disk.before_change = outages.perhaps

    async def client(own: int) -> None:
        for turn in range(EACH):
            outages.acks.append(await make(fabric, project, own * EACH + turn))
            taken = await take(fabric, project, f"w{own}")
            if taken:
                outages.acks.append(taken)
                outages.acks.append(await finish(fabric, taken))

    await asyncio.gather(*map(client, range(CLIENTS)))
    await fabric.store.close()
    outages.perhaps()


@pytest.fixture(params=[2000, 25], ids=["rare checkpoints", "a checkpoint every few commits"])
def _checkpoints(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = f"wal_autocheckpoint = {request.param}"
    assert "wal_autocheckpoint = 2000" in sqlite.DURABLE
    monkeypatch.setattr(sqlite, "DURABLE", sqlite.DURABLE.replace("wal_autocheckpoint = 2000", pages))


@pytest.mark.usefixtures("_checkpoints")
@pytest.mark.parametrize("seed", range(3))
async def test_what_was_acknowledged_survives(tmp_path: Path, seed: int) -> None:
    outages = Outages(LosingDisk(f"losing-{seed}"), tmp_path, Random(seed), 0.01)
    (tmp_path / "home").mkdir()
    await work(tmp_path / "home" / "treadle.db", outages)
    assert len(outages.acks) >= CLIENTS * EACH
    assert len(outages.left) > 5
    for path, promised in outages.left:
        await check_file(path, promised)


async def test_a_disk_that_lies_about_syncing_loses_work(tmp_path: Path) -> None:
    """That the test above can fail: on a disk that only says that it synced, promises are broken."""
    outages = Outages(LosingDisk("lying", lies=True), tmp_path, Random(7), 0.02)
    (tmp_path / "home").mkdir()
    await work(tmp_path / "home" / "treadle.db", outages)
    kept: list[Callable[[], None]] = []
    for path, promised in outages.left:
        try:
            await check_file(path, promised)
        except (AssertionError, Exception):
            continue
        kept.append(path.exists)
    assert len(kept) < len(outages.left)
