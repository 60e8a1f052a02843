"""A damaged file: one clear error that says which file and what to do, at the opening or when the damage is met."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from tests.core.books import open_books
from tests.scenarios.durability.acknowledged import ANN, finish, make, open_fabric, take
from treadle.core.errors import FabricError, StoreCorrupt, StoreTooNew
from treadle.core.fabric import Fabric

PAGE = 4096
TASKS = 150


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A sound store with some tasks in all its tables and indexes, closed."""
    path = tmp_path / "treadle.db"
    fabric = await open_fabric(path)
    project = (await fabric.projects.create("looms", ANN)).project.id
    await asyncio.gather(*(make(fabric, project, number) for number in range(TASKS)))
    for _ in range(20):
        taken = await take(fabric, project, "w")
        assert taken is not None
        await finish(fabric, taken)
    await fabric.store.close()
    return path


def garbage_header(content: bytearray) -> None:
    content[:100] = b"\x00\xff" * 50


def another_kind_of_file(content: bytearray) -> None:
    content[:] = b"# this is a text file\n" * 1000


def cut_short(content: bytearray) -> None:
    del content[len(content) // 3 :]


def garbage_schema(content: bytearray) -> None:
    content[100:PAGE] = Random(1).randbytes(PAGE - 100)


@pytest.mark.parametrize("damage", [garbage_header, another_kind_of_file, cut_short, garbage_schema])
async def test_a_file_that_is_no_store_any_more_is_refused_in_one_sentence(
    path: Path, damage: Callable[[bytearray], None]
) -> None:
    spoilt = spoil(path, damage)
    with pytest.raises(StoreCorrupt) as refused:
        await use(path)
    assert refused.value.message.startswith(f"The store {path} is damaged; restore it from a backup (")
    assert content_of(path) == spoilt  # a person may still want to look at it


async def test_every_page_may_be_damaged(path: Path) -> None:
    """Whatever page is lost: nothing hangs, nothing else is blamed, and mostly the damage is found at once."""
    sound = content_of(path)
    chance = Random(5)
    told: Counter[str] = Counter()
    for page in range(1, len(sound) // PAGE):

        def lost(content: bytearray, at: int = page * PAGE) -> None:
            content[:] = sound
            content[at : at + PAGE] = chance.randbytes(PAGE)

        spoil(path, lost)
        try:
            await use(path)
            told["used"] += 1
        except StoreCorrupt:
            told["damaged"] += 1
    assert told["damaged"] > told["used"]


async def test_a_few_bytes_may_be_wrong(path: Path) -> None:
    """SQLite has no checksums, so some damage passes; what is noticed, in a page or in what it holds, is named."""
    sound = content_of(path)
    chance = Random(3)
    told: Counter[str] = Counter()
    for _ in range(40):

        def flipped(content: bytearray) -> None:
            content[:] = sound
            for _ in range(8):
                content[chance.randrange(PAGE, len(content))] = chance.randrange(256)

        spoil(path, flipped)
        try:
            await use(path)
            told["used"] += 1
        except StoreCorrupt:
            told["damaged"] += 1
    assert min(told["damaged"], told["used"]) > 5


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def spoil(path: Path, damage: Callable[[bytearray], None]) -> bytes:
    """Damage the file; its content then."""
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    return bytes(content)


async def use(path: Path) -> None:
    """Open it and do a bit of everything; the first error, after which others were still answered."""
    fabric = await open_fabric(path)
    try:
        outcomes = await asyncio.gather(*everything(fabric), return_exceptions=True)
    finally:
        await fabric.store.close()
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for error in errors:
        assert isinstance(error, FabricError), repr(error)
    if errors:
        raise errors[0]


def everything(fabric: Fabric) -> list[Coroutine[Any, Any, Any]]:
    async def worked() -> None:
        project = (await fabric.projects.get("looms")).project.id
        await make(fabric, project, 10_000)
        taken = await take(fabric, project, "w")
        if taken:
            await finish(fabric, taken)
        await fabric.tasks.sweep(project)

    return [open_books(fabric.store, fabric.clock()), worked(), fabric.grants.count_live("session")]


async def test_a_store_of_a_newer_treadle_is_left_alone(path: Path) -> None:
    with apsw.Connection(str(path)) as file:
        file.execute("PRAGMA user_version = 4711")
    file.close()
    with pytest.raises(StoreTooNew):
        await open_fabric(path)
    assert path.with_name("treadle.db-wal").exists() is False
