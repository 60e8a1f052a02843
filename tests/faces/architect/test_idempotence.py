"""A request sent twice is done once, as long as its reply is kept (spec 3.3)."""

from __future__ import annotations

import asyncio

import pytest

from treadle.core.clock import SECOND
from treadle.faces.architect.errors import Conflicting
from treadle.faces.architect.frames import Outcome, Request
from treadle.faces.architect.idempotence import KEPT, MOST, MOST_BYTES, Replies


class Work:
    """Counts how often it was done."""

    def __init__(self, size: int = 0, keep: bool = True) -> None:
        self.done, self.size, self.keep = 0, size, keep
        self.gate, self.begun = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Outcome:
        self.done += 1
        self.begun.set()
        await self.gate.wait()
        return Outcome({"n": self.done, "x": "y" * self.size}, keep=self.keep)


@pytest.fixture
def time() -> list[int]:
    return [1]


@pytest.fixture
def replies(time: list[int]) -> Replies:
    return Replies(lambda: time[0])


async def test_the_same_request_gets_the_stored_reply(replies: Replies, time: list[int]) -> None:
    work = Work()
    first = await replies.once("u", Request("a", {"x": 1, "y": 2}, "t"), work)
    again = await replies.once("u", Request("a", {"y": 2, "x": 1}, "t"), work)
    assert (work.done, first.replayed, again.replayed) == (1, False, True)
    assert again.parameters == first.parameters
    await replies.once("other", Request("a", {"x": 1, "y": 2}, "t"), work)
    assert work.done == 2
    time[0] += KEPT
    assert not (await replies.once("u", Request("a", {"x": 1, "y": 2}, "t"), work)).replayed
    time[0] += KEPT
    replies.tidy()
    assert replies._users == {}


@pytest.mark.parametrize("other", [Request("b", {}, "t"), Request("a", {"x": 1}, "t")])
async def test_another_request_with_the_token_is_a_conflict(replies: Replies, other: Request) -> None:
    await replies.once("u", Request("a", {}, "t"), Work())
    work = Work()
    with pytest.raises(Conflicting):
        await replies.once("u", other, work)
    assert work.done == 0


async def test_who_comes_while_it_runs_hears_how_it_ends(replies: Replies) -> None:
    work = Work()
    work.gate.clear()
    running = [asyncio.create_task(replies.once("u", Request("a", {}, "t"), work)) for _ in range(5)]
    await work.begun.wait()
    work.gate.set()
    outcomes = await asyncio.gather(*running)
    assert work.done == 1
    assert sorted(outcome.replayed for outcome in outcomes) == [False, True, True, True, True]


async def test_work_that_breaks_frees_its_token(replies: Replies) -> None:
    async def broken() -> Outcome:
        await asyncio.sleep(0)
        raise ValueError("broken")

    request = Request("a", {}, "t")
    first = asyncio.create_task(replies.once("u", request, broken))
    second = asyncio.create_task(replies.once("u", request, broken))
    with pytest.raises(ValueError, match="broken"):
        await first
    assert (await second).parameters["error"] == "internal"
    assert (await replies.once("u", request, Work())).ok


async def test_a_passing_failure_may_be_tried_again(replies: Replies) -> None:
    work = Work(keep=False)
    for _ in range(2):
        assert not (await replies.once("u", Request("a", {}, "t"), work)).replayed
    assert work.done == 2


async def test_without_a_token_nothing_is_kept(replies: Replies) -> None:
    work = Work()
    for _ in range(2):
        await replies.once("u", Request("a"), work)
    assert work.done == 2


async def test_what_is_kept_is_bounded(replies: Replies, time: list[int]) -> None:
    for n in range(MOST + 5):
        time[0] += SECOND // 1000
        await replies.once("u", Request("a", {}, f"t{n}"), Work())
    assert not (await replies.once("u", Request("a", {}, "t0"), Work())).replayed
    assert (await replies.once("u", Request("a", {}, f"t{MOST}"), Work())).replayed
    for n in range(5):
        await replies.once("big", Request("a", {}, f"t{n}"), Work(MOST_BYTES // 4))
    assert not (await replies.once("big", Request("a", {}, "t1"), Work())).replayed
    assert (await replies.once("big", Request("a", {}, "t4"), Work(MOST_BYTES // 4))).replayed
