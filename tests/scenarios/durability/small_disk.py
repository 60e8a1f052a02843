"""What happens to a store on a small file system: it fills up, or it is mounted read-only. Run in a mount namespace.

python small_disk.py FOLDER fill | read-only
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # started by its path, so that it finds the tests it belongs to

import pytest

from tests.core.books import open_books
from tests.core.facts import Told
from tests.scenarios.durability.acknowledged import ANN, Ack, check_file, make, open_fabric
from treadle.core.errors import StoreFull, StoreReadOnly
from treadle.core.fabric import Fabric

BALLAST = 2_000_000


async def fill(folder: Path) -> str:
    """Make tasks until there is no room; then make room and go on with the same store."""
    (folder / "ballast").write_bytes(bytes(BALLAST))
    fabric = await open_fabric(folder / "treadle.db")
    try:
        acks = await filled(fabric, folder / "ballast")
    finally:
        await fabric.store.close()
    await check_file(folder / "treadle.db", acks)
    return "full, read, made room, went on"


async def filled(fabric: Fabric, ballast: Path) -> list[Ack]:
    project = (await fabric.projects.create("looms", ANN)).project.id
    acks: list[Ack] = []
    with suppress(StoreFull):
        while True:
            acks.append(await make(fabric, project, len(acks)))
    several = [make(fabric, project, len(acks) + more) for more in range(8)]
    outcomes = await asyncio.gather(*several, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreFull] * 8, outcomes
    books = await open_books(fabric.store, fabric.clock())
    books.balance(Told())
    assert len(books.every_task()) == len(acks) > 10
    await asyncio.to_thread(ballast.unlink)
    for _ in range(20):
        acks.append(await make(fabric, project, len(acks)))
    return acks


async def read_only(folder: Path) -> str:
    """Open a store that cannot be written, and one that cannot be made; then open it when it can be."""
    path = folder / "treadle.db"
    fabric = await open_fabric(path)
    project = (await fabric.projects.create("looms", ANN)).project.id
    ack = await make(fabric, project, 1)
    await fabric.store.close()
    await remount(folder, "ro")
    for name in ("treadle.db", "new.db"):
        with pytest.raises(StoreReadOnly, match=f"{folder / name} cannot be written to"):
            await open_fabric(folder / name)
    await remount(folder, "rw")
    await check_file(path, [ack])
    return "refused, remounted, went on"


async def remount(folder: Path, how: str) -> None:
    await asyncio.to_thread(subprocess.run, ["mount", "-o", f"remount,{how}", str(folder)], check=True)


if __name__ == "__main__":
    print(asyncio.run({"fill": fill, "read-only": read_only}[sys.argv[2]](Path(sys.argv[1]))))  # noqa: T201
