"""Small documents on every store: compare-and-set, groups, pages, expiry."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Struct

from treadle.core.documents import Collection, Stored
from treadle.core.errors import Conflict
from treadle.core.ports import Store, Tx


class Bolt(Struct):
    """A thing worth keeping."""

    colour: str
    ells: int = 1


bolts = Collection("bolts", Bolt)
numbers = Collection("numbers", int)


async def test_a_document_comes_back_with_its_version(store: Store) -> None:
    red = Bolt('red "\\ \x00 ✓', 3)
    assert await store.write(lambda tx: bolts.put(tx, "a", red)) == 1
    assert await store.write(lambda tx: bolts.put(tx, "a", red)) == 2
    assert await store.read(lambda tx: bolts.get(tx, "a")) == Stored("a", red, 2)
    assert await store.read(lambda tx: (bolts.get(tx, "b"), numbers.get(tx, "a"))) == (None, None)


async def test_put_names_the_version_it_saw(store: Store) -> None:
    assert await store.write(lambda tx: numbers.put(tx, "n", 1, version=0)) == 1
    for wrong in (0, 2):
        with pytest.raises(Conflict):
            await store.write(lambda tx, wrong=wrong: numbers.put(tx, "n", 9, version=wrong))
    assert await store.write(lambda tx: numbers.put(tx, "n", 2, version=1)) == 2


async def test_concurrent_additions_lose_nothing(store: Store) -> None:
    def add(tx: Tx) -> int:
        stored = numbers.get(tx, "sum")
        return numbers.put(tx, "sum", (stored.value if stored else 0) + 1)

    versions = await asyncio.gather(*[store.write(add) for _ in range(60)])
    assert sorted(versions) == list(range(1, 61))
    assert await store.read(lambda tx: numbers.get(tx, "sum")) == Stored("sum", 60, 60)


async def test_a_deleted_document_can_be_put_anew_in_the_same_transaction(store: Store) -> None:
    await store.write(lambda tx: numbers.put(tx, "n", 1))

    def anew(tx: Tx) -> int:
        assert numbers.delete(tx, "n", "never there") == 1
        assert numbers.get(tx, "n") is None
        return numbers.put(tx, "n", 2)

    assert await store.write(anew) == 1
    assert await store.read(lambda tx: numbers.get(tx, "n")) == Stored("n", 2, 1)


async def test_pages_go_in_key_order_and_groups_keep_to_themselves(store: Store) -> None:
    keys = ["b", "B", "a", "ä", "10", "9", "a/b", "a-b", "Z"]

    def fill(tx: Tx) -> None:
        for place, key in enumerate(keys):
            numbers.put(tx, key, place, group="even" if place % 2 == 0 else "odd")

    await store.write(fill)

    def walk(tx: Tx, group: str | None) -> list[str]:
        found: list[str] = []
        while page := numbers.page(tx, group=group, after=found[-1] if found else "", limit=2):
            found += [stored.key for stored in page]
        return found

    assert await store.read(lambda tx: walk(tx, None)) == sorted(keys)  # byte by byte, in both stores
    assert await store.read(lambda tx: walk(tx, "odd")) == sorted(keys[1::2])
    assert sorted(await store.write(lambda tx: numbers.delete_group(tx, "even"))) == sorted(keys[::2])
    assert await store.read(lambda tx: walk(tx, None)) == sorted(keys[1::2])
    assert await store.read(lambda tx: numbers.get_many(tx, keys)) == {key: keys.index(key) for key in keys[1::2]}


async def test_what_has_expired_is_pruned_in_portions(store: Store) -> None:
    def fill(tx: Tx) -> None:
        for n in range(10):
            numbers.put(tx, f"k{n}", n, expires=n)
        numbers.put(tx, "for ever", 1)

    await store.write(fill)
    assert [await store.write(lambda tx: tx.prune_documents(6, 4)) for _ in range(3)] == [4, 3, 0]
    assert [stored.key for stored in await store.read(numbers.page)] == ["for ever", "k7", "k8", "k9"]
