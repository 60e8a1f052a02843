"""What is kept in memory: read once while fresh, anew when dropped, never older than the drop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence

import pytest

from tests.core.stage import Stage
from treadle.core import at_hand
from treadle.core.at_hand import FRESH, AtHand
from treadle.core.documents import Collection
from treadle.core.ports import Tx

colours = Collection("colour", str)


class Shelf:
    """An AtHand over a collection, and which keys it asked the store for."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.asked: list[list[str]] = []
        self.gate: threading.Event | None = None
        self.reading = threading.Event()
        self.kept = AtHand[str](stage.store, stage.clock, self.read)

    def read(self, tx: Tx, keys: Sequence[str]) -> Mapping[str, str]:
        self.asked.append(list(keys))
        found = colours.get_many(tx, keys)
        self.reading.set()
        if self.gate:
            self.gate.wait(30)
        return found

    async def paint(self, key: str, colour: str) -> None:
        await self.stage.store.write(lambda tx: colours.put(tx, key, colour))


@pytest.fixture
async def shelf(stage: Stage) -> Shelf:
    shelf = Shelf(stage)
    await shelf.paint("warp", "red")
    await shelf.paint("weft", "blue")
    return shelf


async def test_a_thing_is_read_once_while_it_is_fresh(shelf: Shelf) -> None:
    assert await shelf.kept.get("warp") == "red"
    await shelf.paint("warp", "green")  # as another replica would: nobody tells us
    shelf.stage.clock.now += FRESH
    assert await shelf.kept.get("warp") == "red"
    shelf.stage.clock.now += 1
    assert await shelf.kept.get("warp") == "green"
    assert shelf.asked == [["warp"], ["warp"]]


async def test_only_what_is_lacking_is_asked_for(shelf: Shelf) -> None:
    await shelf.kept.get("warp")
    assert await shelf.kept.get_many(["warp", "weft", "none"]) == {"warp": "red", "weft": "blue"}
    assert shelf.asked == [["warp"], ["weft", "none"]]


async def test_what_does_not_exist_is_looked_for_each_time(shelf: Shelf) -> None:
    assert await shelf.kept.get("none") is None
    await shelf.paint("none", "white")
    assert await shelf.kept.get("none") == "white"


async def test_a_dropped_thing_is_read_anew_and_the_others_stay(shelf: Shelf) -> None:
    await shelf.kept.get_many(["warp", "weft"])
    await shelf.paint("warp", "green")
    shelf.kept.drop("warp")
    assert await shelf.kept.get_many(["warp", "weft"]) == {"warp": "green", "weft": "blue"}
    assert shelf.asked == [["warp", "weft"], ["warp"]]
    shelf.kept.forget_all()
    await shelf.kept.get_many(["warp", "weft"])
    assert shelf.asked[2:] == [["warp", "weft"]]


async def test_what_was_read_before_a_drop_is_not_kept_after_it(shelf: Shelf) -> None:
    shelf.gate = threading.Event()
    slow = asyncio.create_task(shelf.kept.get("warp"))
    await asyncio.to_thread(shelf.reading.wait, 30)  # the old colour has been read, and is on its way
    await shelf.paint("warp", "green")
    shelf.kept.drop("warp")
    shelf.gate.set()
    await slow
    assert await shelf.kept.get("warp") == "green"


async def test_it_does_not_grow_without_bound(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_hand, "LARGEST", 3)
    names = [f"c{number}" for number in range(20)]
    for name in names:
        await shelf.paint(name, "grey")
        assert await shelf.kept.get(name) == "grey"
    shelf.asked.clear()
    await shelf.kept.get_many(names)
    assert len(shelf.asked[0]) >= 20 - 4  # at most LARGEST + 1 were still kept
