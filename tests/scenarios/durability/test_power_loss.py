"""The power fails in the middle of everything: what was acknowledged is there when it comes back."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.scenarios.durability.acknowledged import ANN, Ack, check_file, finish, make, open_fabric, take
from tests.scenarios.durability.losing_disk import LosingDisk
from treadle.adapters.store.sqlite import store as sqlite
from treadle.core.errors import FabricError

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
    outages.disk.before_change = outages.perhaps
    fabric = await open_fabric(path, outages.disk.name)
    project = (await fabric.projects.create("looms", ANN)).project.id

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
    monkeypatch.setattr(sqlite, "DURABLE", f"{sqlite.DURABLE}PRAGMA wal_autocheckpoint = {request.param};")


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


async def test_a_home_whose_first_start_was_cut_off_can_be_opened(tmp_path: Path) -> None:
    outages = Outages(LosingDisk("first"), tmp_path, Random(11), 1)
    (tmp_path / "home").mkdir()
    outages.disk.before_change = outages.perhaps
    await (await open_fabric(tmp_path / "home" / "treadle.db", outages.disk.name)).store.close()
    assert len(outages.left) > 20
    for path, _ in outages.left:
        await check_file(path, [])


async def test_a_disk_that_lies_about_syncing_loses_work(tmp_path: Path) -> None:
    """That the test above can fail: on a disk that only says that it synced, promises are broken."""
    outages = Outages(LosingDisk("lying", lies=True), tmp_path, Random(7), 0.02)
    (tmp_path / "home").mkdir()
    await work(tmp_path / "home" / "treadle.db", outages)
    kept = 0
    for path, promised in outages.left:
        with contextlib.suppress(AssertionError, FabricError):
            await check_file(path, promised)
            kept += 1
    assert kept < len(outages.left) // 2
