"""Calls that ride together, on the real SQLite store: who is answered what when one of them is at fault."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from treadle.adapters.store.sqlite import SqliteStore, open_sqlite
from treadle.core import batching
from treadle.core.batching import QUIET_TURNS, Batched, Station
from treadle.core.documents import Collection
from treadle.core.errors import Conflict, FabricError, Fault, Invalid, StoreFull, StoreUnavailable
from treadle.core.ports import Tx

stamps = Collection("stamp", int)
"""What the verb under test writes: how often each word was stamped."""


class Office:
    """Two set-based verbs, one that stamps words and one that reads them; remembers who rode together."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.rides: list[list[str]] = []
        self.journeys: list[Tx] = []
        """The transaction of each ride."""
        station = Station(store)
        self.stamp = Batched[str, int](station, self.verb)
        self.read = Batched[str, int](station, self.reading)

    def verb(self, tx: Tx, words: Sequence[str]) -> Sequence[int | FabricError]:
        self.rides.append(list(words))
        self.journeys.append(tx)
        outcomes: list[int | FabricError] = []
        for word in words:
            if word.startswith("refused"):
                outcomes.append(Conflict(f"{word} is not for us"))
                continue
            found = stamps.get(tx, word)
            stamps.put(tx, word, (found.value if found else 0) + 1)
            outcomes.append(len(word))
            if word.startswith("breaks"):
                raise ZeroDivisionError(word)
            if word.startswith("full"):
                raise StoreFull(word)
            if word.startswith("unstorable"):
                raise Invalid(Fault("word", "cannot be stored"))
        return outcomes

    def reading(self, tx: Tx, words: Sequence[str]) -> Sequence[int]:
        self.journeys.append(tx)
        return list(map(len, words))

    async def stamped(self) -> dict[str, int]:
        return await self.store.read(lambda tx: {stamp.key: stamp.value for stamp in stamps.page(tx, limit=1000)})

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While inside, the store is in the middle of somebody else's transaction."""
        go_on = threading.Event()
        self.store.write(lambda tx: go_on.wait(30))
        try:
            yield
        finally:
            go_on.set()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    store = await open_sqlite(tmp_path / "treadle.db")
    yield Office(store)
    await store.close()


async def departed() -> None:
    """As many turns of the loop as it takes: calls made before have left for the store."""
    for _ in range(QUIET_TURNS + 2):
        await asyncio.sleep(0)


async def test_calls_made_at_once_ride_together_and_are_answered_in_order(office: Office) -> None:
    assert await asyncio.gather(*map(office.stamp, ["a", "bb", "ccc"])) == [1, 2, 3]
    assert office.rides == [["a", "bb", "ccc"]]


async def test_a_lone_call_waits_for_nobody(office: Office) -> None:
    assert await office.stamp("alone") == 5
    assert await office.stamp("again") == 5
    assert office.rides == [["alone"], ["again"]]


async def test_calls_that_arrive_while_a_ride_is_under_way_share_the_next(office: Office) -> None:
    with office.busy():
        first = office.stamp("first")
        await departed()
        later = [office.stamp(word) for word in ("x", "y", "z")]
        await departed()
    await asyncio.gather(first, *later)
    assert office.rides == [["first"], ["x", "y", "z"]]


async def test_different_verbs_share_a_commit(office: Office) -> None:
    with office.busy():
        first = office.stamp("first")
        await departed()
        later = (office.read("x"), office.stamp("yy"))
    assert await asyncio.gather(first, *later) == [5, 1, 2]
    one, *two = office.journeys
    assert len(two) == 2
    assert two[0] is two[1] is not one


async def test_callers_answered_together_come_back_together(office: Office) -> None:
    """One of them needs three turns of the loop in between: reading an answer and writing a request takes some."""

    async def caller(word: str, turns: int) -> None:
        for verb in (office.stamp, office.read) * 3:
            await verb(word)
            for _ in range(turns):
                await asyncio.sleep(0)

    await asyncio.gather(caller("a", 0), caller("b", 3))
    assert office.rides == [["a", "b"]] * 3


async def test_those_who_keep_coming_do_not_hold_up_the_first(office: Office) -> None:
    first, others = office.stamp("first"), []
    async with asyncio.timeout(10):
        while not first.done():
            others.append(office.stamp(f"w{len(others)}"))
            await asyncio.sleep(0)
    assert await first == 5
    await asyncio.gather(*others)


async def test_a_ride_has_a_largest_size(office: Office) -> None:
    words = [f"w{number}" for number in range(batching.LARGEST + 3)]
    await asyncio.gather(*map(office.stamp, words))
    assert [len(ride) for ride in office.rides] == [batching.LARGEST, 3]
    assert await office.stamped() == dict.fromkeys(words, 1)


async def test_a_refused_call_fails_alone(office: Office) -> None:
    outcomes = await asyncio.gather(*map(office.stamp, ["a", "refused", "b"]), return_exceptions=True)
    assert isinstance(outcomes[1], Conflict)
    assert [outcomes[0], outcomes[2]] == [1, 1]
    assert len(office.rides) == 1
    assert await office.stamped() == {"a": 1, "b": 1}


async def test_many_gives_each_outcome_in_its_place(office: Office) -> None:
    first, refused, last = await office.stamp.many(["a", "refused", "bb"])
    assert (first, last) == (1, 2)
    assert isinstance(refused, Conflict)
    assert await office.stamp.many([]) == []
    with pytest.raises(ZeroDivisionError):
        await office.stamp.many(["c", "breaks"])
    assert await office.stamped() == {"a": 1, "bb": 1, "c": 1}


async def test_what_breaks_unforeseen_breaks_alone_and_the_others_happen_once(office: Office) -> None:
    words = ["a", "breaks", "b", "refused"]
    outcomes = await asyncio.gather(*map(office.stamp, words), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, ZeroDivisionError, int, Conflict]
    assert office.rides == [words, *([word] for word in words)]
    assert await office.stamped() == {"a": 1, "b": 1}
    assert await office.stamp("after") == 5


async def test_a_lone_call_that_breaks_is_not_tried_again(office: Office) -> None:
    with pytest.raises(ZeroDivisionError):
        await office.stamp("breaks")
    assert office.rides == [["breaks"]]


async def test_a_store_that_cannot_take_the_ride_is_everybodys_trouble(office: Office) -> None:
    """It says so once; trying each call again by itself would only press it harder."""
    outcomes = await asyncio.gather(*map(office.stamp, ["a", "full", "b"]), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreFull] * 3
    assert await office.stamped() == {}


async def test_a_value_the_store_cannot_hold_is_its_own_callers_trouble(office: Office) -> None:
    outcomes = await asyncio.gather(*map(office.stamp, ["a", "unstorable", "b"]), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, Invalid, int]
    assert await office.stamped() == {"a": 1, "b": 1}


async def test_a_caller_that_left_before_departure_does_not_ride(office: Office) -> None:
    with office.busy():
        first = office.stamp("first")
        await departed()
        leaves, stays = office.stamp("leaves"), office.stamp("stays")
        leaves.cancel()
    assert (await first, await stays) == (5, 5)
    assert office.rides == [["first"], ["stays"]]
    assert await office.stamped() == {"first": 1, "stays": 1}


async def test_a_caller_that_left_under_way_costs_the_others_nothing(office: Office) -> None:
    with office.busy():
        leaves, stays = office.stamp("leaves"), office.stamp("stays")
        await departed()
        leaves.cancel()
    assert await stays == 5
    assert office.rides == [["leaves", "stays"]]
    assert await office.stamp("next") == 4


async def test_when_all_have_left_the_next_caller_is_served(office: Office) -> None:
    with office.busy():
        first = office.stamp("first")
        await departed()
        for answer in [first, *(office.stamp(f"w{number}") for number in range(batching.LARGEST * 2))]:
            answer.cancel()
    assert await asyncio.wait_for(office.stamp("last"), 10) == 4
    assert office.rides == [["first"], ["last"]]


async def test_a_closed_store_refuses_every_caller(office: Office) -> None:
    await office.store.close()
    outcomes = await asyncio.gather(*map(office.stamp, ["a", "b"]), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
