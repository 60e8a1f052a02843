"""A node with real processes beside a desk: what it runs, keeps, gives up, and finds again in a later life."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import msgpack

from tests.node.fabric import BOB, House, house, left_in
from tests.node.watching import ENV, children_of, until
from treadle.adapters.bus.local import LocalBus
from treadle.core import runs
from treadle.core.catalogue import ProjectEdit
from treadle.core.clock import SECOND
from treadle.core.errors import Conflict, NotFound, Unanswered, WrongState
from treadle.core.runs import Command, Ending, Window
from treadle.core.tasks import Task
from treadle.node import words
from treadle.node.inventory import Inventory
from treadle.node.node import Node
from treadle.node.processes import Process, Processes

WAITS = "echo ready; exec sleep 300"


@asynccontextmanager
async def living(
    home: House, folder: Path, *, id: str = "n1", slots: int = 4, processes: Processes | None = None
) -> AsyncIterator[Node]:
    """A node that has joined. At the end it is gone as if it was killed, with what it runs going on, if it still is."""
    own = processes or Processes(folder / id, cwd=folder)
    node = Node(
        home.fabric.bus, own, Inventory(folder),
        id=id, name=id, slots=slots, surroundings=ENV, report=home.report,
    )  # fmt: skip
    running = asyncio.create_task(node.run())
    try:
        async with asyncio.timeout(20):
            await asyncio.wait((asyncio.create_task(node.joined.wait()), running), return_when="FIRST_COMPLETED")
        assert node.joined.is_set(), running.exception()
        yield node
    finally:
        for task in (running, *node._carrying):
            task.cancel()
        await asyncio.gather(running, *node._carrying, return_exceptions=True)
        await own.close()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made, made.desk():
        yield made
        later = Processes(tmp_path / "n1")
        for left in await later.found():
            await left.forget()


@pytest.fixture
async def node(home: House, tmp_path: Path) -> AsyncIterator[Node]:
    async with living(home, tmp_path) as made:
        yield made


async def said(home: House, task: Task, text: bytes) -> bytes:
    """What it has printed once this is part of it."""
    printed = b""
    async with asyncio.timeout(20):
        async for chunk in home.fabric.output.follow(task.id, 0):
            printed += chunk.data
            if text in printed:
                return printed
    raise AssertionError(printed)


async def reached(home: House, tasks: list[Task], expected: list[str]) -> None:
    """Wait for these states."""
    async with asyncio.timeout(20):
        while [(await home.fabric.tasks.get(task.id)).state for task in tasks] != expected:  # noqa: ASYNC110 - several at once
            await asyncio.sleep(0.005)


def gone(folder: Path) -> Callable[[], bool]:
    return lambda: not left_in(folder)


async def test_it_runs_what_is_asked_and_hands_in_how_it_ended(home: House, node: Node, tmp_path: Path) -> None:
    task = await home.start(command=Command(shell="echo out; echo err >&2; echo $TREADLE_TASK_ID; exit 3"))
    ending = await home.ended(task)
    assert (ending.code, ending.reason, ending.ok) == (3, "exited", False)
    assert sorted(await home.printed(task.id)) == sorted(b"out\nerr\n" + task.id.encode() + b"\n")
    await until(lambda: not [each for each in (tmp_path / "n1").iterdir() if each.is_dir()])


async def test_what_cannot_be_started_says_so(home: House, node: Node) -> None:
    ending = await home.ended(await home.start("/no/such/program"))
    assert ending.reason == "spawn_error"
    assert "/no/such/program" in str(ending.error)
    nowhere = await home.ended(await home.start(command=Command(argv=("true",), sandbox="nothing")))
    assert (nowhere.reason, "sandbox" in str(nowhere.error)) == ("spawn_error", True)


async def test_more_runs_than_slots_wait_and_run_in_order(home: House, tmp_path: Path) -> None:
    async with living(home, tmp_path, slots=2):
        read = [await home.start(command=Command(shell="read line", stdin=True)) for _ in range(5)]
        for number, task in enumerate(read):
            expected = ["succeeded"] * number + ["running"] * 2 + ["queued"] * 3
            await reached(home, read, expected[:5])
            await home.fabric.runs.input(task.id, b"\n")
            assert (await home.ended(task)).code == 0


async def test_orders_reach_the_process(home: House, node: Node) -> None:
    task = await home.start(command=Command(shell="echo ready; read a; stty size; echo $a.; sleep 300", pty=Window()))
    await said(home, task, b"ready")
    await home.fabric.runs.resize(task.id, Window(61, 17))
    await home.fabric.runs.input(task.id, b"one\n")
    assert b"17 61" in await said(home, task, b"one.")
    await home.fabric.runs.signal(task.id, "KILL", by=BOB)
    assert (await home.ended(task)).signal == "SIGKILL"
    with pytest.raises(WrongState):
        await home.fabric.runs.input(task.id, b"two\n")


async def test_a_run_that_does_not_read_refuses_what_it_is_fed(home: House, node: Node) -> None:
    task = await home.start(command=Command(shell=WAITS, stdin=True))
    await said(home, task, b"ready")
    with pytest.raises(Conflict):
        await home.fabric.runs.input(task.id, b"x" * 500_000)
    await home.fabric.tasks.cancel(task.id, BOB)


@pytest.mark.parametrize("by", ["cancel", "remove"])
async def test_a_run_that_is_taken_away_ends_at_once(by: str, home: House, node: Node, tmp_path: Path) -> None:
    task = await home.start(command=Command(shell=WAITS))
    await said(home, task, b"ready")
    assert not gone(tmp_path)()
    if by == "cancel":
        await home.fabric.tasks.cancel(task.id, BOB)
    else:
        await home.fabric.projects.remove(runs.PROJECT, BOB)
    async with asyncio.timeout(5):  # and not at the next Keep
        await until(gone(tmp_path))


class Slow(Processes):
    """Starts nothing before it may."""

    may: asyncio.Event
    asked: asyncio.Event

    async def start(self, name: str, command: Command, secrets: Mapping[str, str], env: Mapping[str, str]) -> Process:
        self.asked.set()
        await self.may.wait()
        return await super().start(name, command, secrets, env)


async def test_a_run_cancelled_before_it_has_begun_leaves_nothing(home: House, tmp_path: Path) -> None:
    slow = Slow(tmp_path / "n1", cwd=tmp_path)
    slow.may, slow.asked = asyncio.Event(), asyncio.Event()
    async with living(home, tmp_path, processes=slow) as node:
        task = await home.start(command=Command(shell=WAITS))
        await slow.asked.wait()
        await home.fabric.tasks.cancel(task.id, BOB)
        slow.may.set()
        async with asyncio.timeout(5):
            await until(lambda: not node._held)
        assert gone(tmp_path)()


async def test_a_node_that_stops_ends_what_runs_and_says_so(home: House, tmp_path: Path) -> None:
    async with living(home, tmp_path) as node:
        stubborn = "trap '' TERM; setsid sh -c 'while :; do sleep 0.1; done' & echo ready; while :; do sleep 0.1; done"
        tasks = [await home.start(command=Command(shell=shell)) for shell in (WAITS, stubborn)]
        for task in tasks:
            await said(home, task, b"ready")
        async with asyncio.timeout(8):
            await node.stop(5.0)
        for task in tasks:
            ending = await home.ended(task)
            assert (ending.reason, ending.error) == ("shutdown", "The node was stopped")
            assert gone(tmp_path)()
        assert (await home.fabric.nodes.get("n1")).state == "absent"
        later = await home.start("true")
    assert (await home.fabric.tasks.get(later.id)).state == "queued"


async def test_a_later_life_goes_on_with_what_runs(home: House, tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); [ $((i%50)) = 0 ] && sleep 0.1; done; exit 5"
    async with living(home, tmp_path):
        task = await home.start(command=Command(shell=script))
        await said(home, task, b"line 60\n")
    async with living(home, tmp_path):
        assert (await home.ended(task)).code == 5
    assert await home.printed(task.id) == b"".join(b"line %d\n" % number for number in range(400))
    assert [attempt.state for attempt in (await home.fabric.tasks.get(task.id)).attempts] == ["failed"]


async def test_a_later_life_hands_in_what_ended_meanwhile(home: House, tmp_path: Path) -> None:
    async with living(home, tmp_path):
        task = await home.start(command=Command(shell="echo one; sleep 0.5; echo two; exit 6"))
        await said(home, task, b"one")
    await until(gone(tmp_path))
    async with living(home, tmp_path):
        assert (await home.ended(task)).code == 6
    assert await home.printed(task.id) == b"one\ntwo\n"


async def test_a_later_life_ends_what_was_lost_meanwhile(home: House, tmp_path: Path) -> None:
    async with living(home, tmp_path):
        task = await home.start(
            command=Command(shell="echo ready; trap '' TERM; while :; do echo more; sleep 0.1; done", grace=0.3)
        )
        await said(home, task, b"ready")
    home.clock.advance(runs.POLICY.lease / SECOND + 1)
    await home.fabric.tasks.sweep(task.project)
    before = await home.printed(task.id)
    assert not gone(tmp_path)()
    async with living(home, tmp_path) as node:
        await until(gone(tmp_path))
        await until(lambda: not node._held)
    assert await home.ended(task) == Ending(reason="lost", error=(await home.ended(task)).error)
    assert await home.printed(task.id) == before


async def test_a_desk_that_is_away_for_a_while_costs_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        async with home.desk() as desk, living(home, tmp_path):
            task = await home.start(
                command=Command(shell=f"echo one; read line; echo two; touch {tmp_path}/two; exit 4", stdin=True)
            )
            await said(home, task, b"one")
            await desk.close()
            await home.fabric.runs.input(task.id, b"\n")
            await until((tmp_path / "two").exists)
            waiting = await home.start("true")
            async with home.desk():
                assert (await home.ended(task)).code == 4
                assert await home.printed(task.id) == b"one\ntwo\n"
                assert (await home.ended(waiting)).code == 0
        assert all(what.startswith("The server does not answer: ") for what, _ in home.reports)
        home.reports.clear()


class Deaf(LocalBus):
    """Loses the first answers to what a node asks: the desk has done it, and the node never hears."""

    lost = 0

    async def request(self, subject: str, payload: bytes, seconds: float) -> bytes:
        answer = await super().request(subject, payload, seconds)
        if subject.startswith("desk.") and self.lost:
            said = msgpack.decode(payload, type=words.Said)
            if isinstance(said, words.Ask | words.Write | words.Report):
                self.lost -= 1
                raise Unanswered
        return answer


async def test_answers_that_are_lost_cost_nothing(tmp_path: Path) -> None:
    bus = Deaf()
    async with house(tmp_path, bus) as home, home.desk():
        async with living(home, tmp_path) as node:
            bus.lost = 3
            task = await home.start(command=Command(shell="echo one"))
            assert (await home.ended(task)).code == 0
            assert await home.printed(task.id) == b"one\n"
            assert [attempt.state for attempt in (await home.fabric.tasks.get(task.id)).attempts] == ["succeeded"]
            await until(lambda: not node._held)
            assert bus.lost == 0
        assert {what for what, _ in home.reports} == {f"The server does not answer: {Unanswered().message}"}
        home.reports.clear()


async def test_a_removed_node_joins_again_with_what_it_runs(home: House, node: Node) -> None:
    task = await home.start(command=Command(shell="echo ready; read line", stdin=True))
    await said(home, task, b"ready")
    await home.fabric.nodes.leave("n1")
    await home.fabric.nodes.remove("n1", BOB)
    with pytest.raises(NotFound):
        await home.fabric.runs.input(task.id, b"\n")
    await node._say(words.Beat(1, {}), type(None))
    assert (await home.fabric.nodes.get("n1")).state == "present"
    await home.fabric.runs.input(task.id, b"\n")
    assert (await home.ended(task)).code == 0


async def test_a_closed_project_gets_the_end_when_it_is_open_again(home: House, node: Node, tmp_path: Path) -> None:
    task = await home.start(command=Command(shell="echo ready; read line", stdin=True))
    await said(home, task, b"ready")
    await home.fabric.projects.change(runs.PROJECT, ProjectEdit(state="closed"), BOB)
    await home.fabric.runs.input(task.id, b"\n")
    await until(gone(tmp_path))
    await home.fabric.projects.change(runs.PROJECT, ProjectEdit(state="active"), BOB)
    assert (await home.ended(task)).code == 0


async def test_it_says_what_it_is_and_how_it_does(home: House, node: Node) -> None:
    known = await home.fabric.nodes.get("n1")
    assert (known.state, known.slots) == ("present", 4)
    assert known.inventory["memory"]["total"] > 0
    await node._say(words.Beat(2, {"cpu_percent": 1.5}), type(None))
    known = await home.fabric.nodes.get("n1")
    assert (known.busy, known.load) == (2, {"cpu_percent": 1.5})


async def test_many_runs_leave_no_task_and_no_file_behind(home: House, node: Node, tmp_path: Path) -> None:
    assert (await home.ended(await home.start("true"))).code == 0
    await until(lambda: not node._held)
    before, children = len(asyncio.all_tasks()), set(children_of(os.getpid()))
    tasks = [await home.start(command=Command(shell=f"exit {number}")) for number in range(30)]
    assert [(await home.ended(task)).code for task in tasks] == list(range(30))
    await until(lambda: len(asyncio.all_tasks()) <= before)
    await until(lambda: not [each for each in (tmp_path / "n1").iterdir() if each.is_dir()])
    assert set(children_of(os.getpid())) <= children
