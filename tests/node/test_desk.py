"""What the desk gives to nodes, believes of them and tells them; the nodes are played, the rest is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.node.fabric import BOB, House, Played, house
from tests.node.watching import until
from treadle.core import runs
from treadle.core.access import Principal
from treadle.core.clock import SECOND
from treadle.core.errors import Invalid, LeaseLost, NotFound, WrongState
from treadle.core.nodes import ANY, queue_of
from treadle.core.output import Chunk, Part
from treadle.core.runs import Command, Ending
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Task
from treadle.node import words

DONE = Ending(code=0, seconds=0.5)
LEASE = runs.POLICY.lease / SECOND


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made, made.desk():
        yield made


@pytest.fixture
async def node(home: House) -> AsyncIterator[Played]:
    with Played(home, "n1").there() as played:
        await played.joins()
        yield played


async def state(home: House, task: Task) -> tuple[str, int]:
    now = await home.fabric.tasks.get(task.id)
    return now.state, now.fence


async def test_a_run_from_its_start_to_its_end(home: House, node: Played) -> None:
    task = await home.start("echo", "hi", secrets={"TOKEN": "hush"})
    assert await node.asks() == [words.Assignment(task.id, 1, Command(argv=("echo", "hi")), {"TOKEN": "hush"})]
    assert await node.says(words.Expected(task.id, 1), int) == 0
    assert await node.says(words.Write(task.id, 1, 0, [("stdout", b"hi\n"), ("stderr", b"oh\n")]), int) == 6
    assert await node.says(words.Write(task.id, 1, 0, [("stdout", b"hi\n")]), int) == 6
    assert await node.says(words.Expected(task.id, 1), int) == 6
    await node.says(words.Report(task.id, 1, DONE), type(None))
    assert await home.ended(task) == DONE
    assert await home.printed(task.id) == b"hi\noh\n"
    assert (await home.fabric.tasks.get(task.id)).attempts[0].worker == "node/loom"
    with pytest.raises(Invalid, match="no longer kept"):
        await home.fabric.runs.secrets(task)


async def test_what_waits_for_a_node_comes_before_what_waits_for_any(home: House, node: Played) -> None:
    anywhere = [await home.start("a"), await home.start("b")]
    here = await home.start("c", on="loom")
    await home.fabric.nodes.join("n2", "other", slots=1, version="1", inventory={})
    elsewhere = await home.start("d", on="n2")
    assert [given.task for given in await node.asks(2)] == [here.id, anywhere[0].id]
    assert await state(home, anywhere[1]) == await state(home, elsewhere) == ("queued", 0)


async def test_who_asks_waits_for_the_first_run_of_all(home: House, node: Played) -> None:
    asking = asyncio.create_task(node.asks())
    await asyncio.sleep(0)  # it has asked
    task = await home.start("a")
    async with asyncio.timeout(4):  # and not when it looks again by itself
        assert [given.task for given in await asking] == [task.id]


async def test_an_answer_that_did_not_arrive_is_given_again_under_the_same_fence(home: House, node: Played) -> None:
    task = await home.start("a")
    for _ in range(2):
        assert [(given.task, given.fence) for given in await node.asks()] == [(task.id, 1)]
    other = await home.start("b")
    assert [given.task for given in await node.asks(4, (task.id, 1))] == [other.id]


async def test_what_nobody_is_there_to_take_goes_back_untouched(home: House) -> None:
    gone = Played(home, "n1")
    await gone.joins()
    task = await home.start("a")
    assert await gone.asks() == []
    assert (await state(home, task))[0] == "queued"
    assert [attempt.state for attempt in (await home.fabric.tasks.get(task.id)).attempts] == ["released"]


async def test_an_ask_that_was_given_up_leaves_its_work_to_the_next(home: House, node: Played) -> None:
    task = await home.start("a")
    node.waits = False
    assert await node.asks() == []
    node.waits = True
    assert [(given.task, given.fence) for given in await node.asks()] == [(task.id, 1)]


async def test_who_leaves_gives_back_what_has_not_reached_it(home: House, node: Played) -> None:
    kept, unheard = await home.start("a"), await home.start("b")
    await node.asks()
    await node.says(words.Leave([(kept.id, 1)]), type(None))
    assert (await state(home, kept))[0] == "running"
    assert (await state(home, unheard))[0] == "queued"
    assert (await home.fabric.nodes.get("n1")).state == "absent"


async def test_leases_are_kept_as_long_as_they_are_extended(home: House, node: Played) -> None:
    task = await home.start("a")
    await node.asks()
    for _ in range(3):
        home.clock.advance(LEASE - 1)
        assert await node.says(words.Keep([(task.id, 1), ("nothing", 1)]), list[words.Lease]) == [(task.id, 1)]
        assert await home.fabric.tasks.sweep(task.project) == []
    assert await node.says(words.Keep([(task.id, 7)]), list[words.Lease]) == []


async def test_a_node_that_comes_late_but_before_the_sweep_keeps_its_run(home: House, node: Played) -> None:
    task = await home.start("a")
    await node.asks()
    home.clock.advance(LEASE + 5)
    assert await node.says(words.Keep([(task.id, 1)]), list[words.Lease]) == [(task.id, 1)]
    assert await home.fabric.tasks.sweep(task.project) == []


async def test_a_lost_run_takes_nothing_from_who_had_it(home: House, node: Played) -> None:
    task = await home.start("a")
    await node.asks()
    await node.says(words.Write(task.id, 1, 0, [("stdout", b"before ")]), int)
    home.clock.advance(LEASE + 1)
    assert len(await home.fabric.tasks.sweep(task.project)) == 1
    for late in (
        words.Write(task.id, 1, 7, [("stdout", b"after")]),
        words.Expected(task.id, 1),
        words.Report(task.id, 1, DONE),
    ):
        with pytest.raises((LeaseLost, WrongState)):
            await node.says(late, int)
    assert await node.says(words.Keep([(task.id, 1)]), list[words.Lease]) == []
    assert (await home.ended(task)).reason == "lost"
    assert await home.printed(task.id) == b"before "
    await until(lambda: node.looks() == 1)


async def test_a_lost_run_that_may_be_tried_again_is_given_to_another_node(home: House, node: Played) -> None:
    task = await home.start("a", on_lost="requeue")
    await node.asks()
    await node.says(words.Write(task.id, 1, 0, [("stdout", b"first ")]), int)
    home.clock.advance(LEASE + 1)
    await home.fabric.tasks.sweep(task.project)
    with Played(home, "n2").there() as other:
        await other.joins("spindle")
        assert [(given.task, given.fence) for given in await other.asks()] == [(task.id, 2)]
        with pytest.raises(LeaseLost):
            await node.says(words.Write(task.id, 1, 6, [("stdout", b"late")]), int)
        with pytest.raises(LeaseLost):  # the fence alone is not enough: it is another's name
            await node.says(words.Report(task.id, 2, DONE), type(None))
        await other.says(words.Write(task.id, 2, 0, [("stdout", b"second")]), int)
        await other.says(words.Report(task.id, 2, DONE), type(None))
    now = await home.fabric.tasks.get(task.id)
    assert [(attempt.worker, attempt.state) for attempt in now.attempts] == [
        ("node/loom", "lost"),
        ("node/spindle", "succeeded"),
    ]
    assert await home.printed(task.id) == b"first second"


async def test_a_run_whose_holder_was_killed_is_tried_again_only_if_it_may_be(home: House, node: Played) -> None:
    killed = Ending(reason="lost", error="The process that held this run was killed")
    once, again = await home.start("a"), await home.start("b", on_lost="requeue")
    await node.asks()
    for task in (once, again):
        await node.says(words.Report(task.id, 1, killed, again=True), type(None))
    assert await home.ended(once) == killed
    assert await state(home, again) == ("queued", 1)


async def test_a_node_is_told_at_once_that_its_run_is_cancelled(home: House, node: Played) -> None:
    task = await home.start("a", secrets={"TOKEN": "hush"})
    await node.asks()
    await home.fabric.tasks.cancel(task.id, BOB)
    await until(lambda: node.looks() == 1)
    with pytest.raises(Invalid, match="no longer kept"):
        await home.fabric.runs.secrets(task)
    with pytest.raises(LeaseLost):
        await node.says(words.Expected(task.id, 1), int)


async def test_a_node_is_told_soon_that_all_runs_are_removed(home: House, node: Played) -> None:
    tasks = [await home.start("a"), await home.start("b")]
    await node.asks()
    await home.fabric.projects.remove(runs.PROJECT, BOB)
    await until(lambda: node.looks() == 2)
    assert await node.says(words.Keep([(task.id, 1) for task in tasks]), list[words.Lease]) == []
    with pytest.raises(LeaseLost):
        await node.says(words.Report(tasks[0].id, 1, DONE), type(None))


async def test_another_desk_watches_what_a_node_keeps(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        node = Played(home, "n1")
        with node.there():
            async with home.desk():
                await node.joins()
                task = await home.start("a")
                await node.asks()
            async with home.desk():
                await until(lambda: words.Here() in node.told)
                assert await node.says(words.Keep([(task.id, 1)]), list[words.Lease]) == [(task.id, 1)]
                await home.fabric.tasks.cancel(task.id, BOB)
                await until(lambda: node.looks() == 1)


async def test_a_node_that_was_removed_is_told_to_join(home: House, node: Played) -> None:
    task = await home.start("a")
    await node.asks()
    await home.fabric.nodes.leave("n1")
    await home.fabric.nodes.remove("n1", BOB)
    for said in (words.Ask("b", 1, []), words.Keep([(task.id, 1)]), words.Report(task.id, 1, DONE), words.Beat(0, {})):
        with pytest.raises(NotFound):
            await node.says(said, int)
    await node.joins()
    await node.says(words.Report(task.id, 1, DONE), type(None))
    assert await home.ended(task) == DONE


async def test_other_kinds_of_tasks_in_a_nodes_queue_are_not_run(home: House, node: Played) -> None:
    task = await home.start("a")
    eve = Principal("eve", "native", ("queue:*",))
    new = NewTask(kind="work", queue=queue_of(ANY), variables=task.variables)
    (made,) = await home.fabric.tasks.submit(Submit(project=runs.PROJECT, tasks=[new], by=eve))
    assert isinstance(made, Task)
    assert [given.task for given in await node.asks()] == [task.id]
    now = await home.fabric.tasks.get(made.id)
    assert (now.state, now.result and now.result.error) == ("failed", "kind: only runs are for nodes")


async def test_large_runs_come_in_as_many_answers_as_it_takes(home: House, node: Played) -> None:
    large = [await home.start(command=Command(shell="#" * 400_000)) for _ in range(3)]
    too_large = await home.start(command=Command(shell="#" * 800_000))
    held: list[words.Lease] = []
    for task in large:
        assert [given.task for given in await node.asks(4, *held)] == [task.id]
        held.append((task.id, 1))
    assert "bytes" in str((await home.ended(too_large)).error)


async def test_a_program_that_takes_turns_between_its_streams_fits_into_messages(home: House, node: Played) -> None:
    task = await home.start("a")
    await node.asks()
    parts: list[Part] = [("stdout", b"o"), ("stderr", b"e")] * (words.MOST_PARTS // 2)
    assert await node.says(words.Write(task.id, 1, 0, parts), int) == words.MOST_PARTS
    assert await home.fabric.output.read(task.id, 0, 2) == [Chunk(0, "stdout", b"o"), Chunk(1, "stderr", b"e")]
