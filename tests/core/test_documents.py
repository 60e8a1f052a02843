"""A collection on the real store: versions, compare-and-set, groups, pages, expiry."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Struct

from tests.core.stage import Stage
from treadle.core.documents import Collection, Stored
from treadle.core.errors import Conflict, StoreCorrupt
from treadle.core.ports import Tx


class Spool(Struct, frozen=True):
    colour: str
    metres: int = 0


spools = Collection("spool", Spool)
RED, BLUE = Spool("red", 5), Spool("blue")


async def test_a_thing_is_put_got_and_deleted(stage: Stage) -> None:
    store = stage.store
    assert await store.read(lambda tx: spools.get(tx, "a")) is None
    assert await store.write(lambda tx: spools.put(tx, "a", RED)) == 1
    assert await store.read(lambda tx: spools.get(tx, "a")) == Stored("a", RED, 1)
    assert await store.write(lambda tx: spools.put(tx, "a", BLUE)) == 2
    assert await store.write(lambda tx: spools.delete(tx, "a", "none")) == 1
    assert await store.read(lambda tx: spools.get(tx, "a")) is None
    assert await store.write(lambda tx: spools.put(tx, "a", RED)) == 1


@pytest.mark.parametrize(
    ("before", "version", "accepted"),
    [(0, None, True), (0, 0, True), (0, 1, False), (2, None, True), (2, 2, True), (2, 1, False), (2, 0, False)],
)
async def test_compare_and_set(stage: Stage, before: int, version: int | None, accepted: bool) -> None:
    for _ in range(before):
        await stage.store.write(lambda tx: spools.put(tx, "a", RED))
    put = stage.store.write(lambda tx: spools.put(tx, "a", BLUE, version=version))
    if accepted:
        assert await put == before + 1
    else:
        with pytest.raises(Conflict):
            await put
    found = await stage.store.read(lambda tx: spools.get(tx, "a"))
    kept = Stored("a", RED, before) if before else None
    assert found == (Stored("a", BLUE, before + 1) if accepted else kept)


async def test_of_many_who_saw_the_same_version_one_wins(stage: Stage) -> None:
    def put(metres: int) -> asyncio.Future[int]:
        return stage.store.write(lambda tx: spools.put(tx, "a", Spool("red", metres), version=0))

    outcomes = await asyncio.gather(*map(put, range(8)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(int) == 1
    assert [type(outcome) for outcome in outcomes].count(Conflict) == 7


async def test_pages_go_in_key_order_through_a_group_or_all(stage: Stage) -> None:
    def fill(tx: Tx) -> None:
        for number in (3, 1, 4, 0, 2):
            spools.put(tx, f"k{number}", Spool("red", number), group="even" if number % 2 == 0 else "odd")
        Collection("other", Spool).put(tx, "k9", BLUE, group="even")

    await stage.store.write(fill)

    def keys(group: str | None, after: str = "", limit: int = 2) -> asyncio.Future[list[str]]:
        def query(tx: Tx) -> list[str]:
            return [found.key for found in spools.page(tx, group=group, after=after, limit=limit)]

        return stage.store.read(query)

    assert await keys(None) == ["k0", "k1"]
    assert await keys(None, "k1", 9) == ["k2", "k3", "k4"]
    assert await keys("even") == ["k0", "k2"]
    assert await keys("even", "k2") == ["k4"]
    assert await keys("none") == []
    assert sorted(await stage.store.write(lambda tx: spools.delete_group(tx, "even"))) == ["k0", "k2", "k4"]
    assert await keys(None, limit=9) == ["k1", "k3"]
    found = await stage.store.read(lambda tx: spools.get_many(tx, ["k3", "k4", "k9"]))
    assert found == {"k3": Spool("red", 3)}


async def test_a_put_says_anew_to_which_group_a_thing_belongs_and_when_it_expires(stage: Stage) -> None:
    await stage.store.write(lambda tx: spools.put(tx, "a", RED, group="g", expires=100))
    await stage.store.write(lambda tx: spools.put(tx, "a", RED))
    assert await stage.store.read(lambda tx: spools.page(tx, group="g")) == []
    assert await stage.store.write(lambda tx: tx.prune_documents(10**18, 10)) == 0


async def test_expired_things_are_pruned_and_the_others_stay(stage: Stage) -> None:
    def fill(tx: Tx) -> None:
        for key, expires in {"a": 100, "b": 200, "c": 300, "d": None}.items():
            spools.put(tx, key, RED, expires=expires)

    await stage.store.write(fill)
    assert await stage.store.write(lambda tx: tx.prune_documents(200, 1)) == 1
    assert await stage.store.write(lambda tx: tx.prune_documents(200, 5)) == 1
    left = await stage.store.read(spools.page)
    assert [found.key for found in left] == ["c", "d"]


async def test_what_does_not_fit_the_type_is_refused_when_read(stage: Stage) -> None:
    await stage.store.write(lambda tx: Collection("spool", dict[str, int]).put(tx, "a", {"metres": 1}))
    with pytest.raises(StoreCorrupt, match="Object missing required field"):
        await stage.store.read(lambda tx: spools.get(tx, "a"))
