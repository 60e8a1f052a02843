"""Commands as tasks: what is asked for, who may touch it, which orders reach the node, and how an end is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from msgspec import msgpack, to_builtins

from tests.core.stage import Stage
from treadle.core import runs, topics
from treadle.core.access import Principal
from treadle.core.clock import SECOND
from treadle.core.errors import Conflict, Denied, Invalid, LeaseLost, NotFound, Unreachable, WrongState
from treadle.core.leases import Claim, Finish
from treadle.core.nodes import ANY, queue_of, worker_of
from treadle.core.queue import Edit
from treadle.core.runs import Command, Ending, Limits, Window
from treadle.core.speech import answered
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Hold, Result, Task

BOB = Principal("bob", "native", ("*",))
ECHO = Command(argv=("echo", "two words"))


async def started(stage: Stage, command: Command = ECHO, **how: object) -> Task:
    return await stage.fabric.runs.start(command, by=BOB, **how)  # type: ignore[arg-type]


async def running(stage: Stage, command: Command = ECHO) -> Task:
    node = await stage.fabric.nodes.join("n1", "loom", slots=1, version="1", inventory={})
    await started(stage, command)
    claim = Claim(project=runs.PROJECT, worker=worker_of(node), queue=queue_of(ANY))
    (task,) = await stage.fabric.tasks.claim(claim)
    return task


@contextmanager
def node_that(stage: Stage, obeys: Callable[[runs.Order], Awaitable[None]]) -> Iterator[None]:
    async def answer(_: str, payload: bytes) -> bytes:
        return await answered(obeys(msgpack.decode(payload, type=runs.Order)))

    with stage.fabric.bus.serve(topics.node("n1"), answer):
        yield


async def test_a_run_is_a_task_that_says_what_it_runs(stage: Stage) -> None:
    task = await started(stage, name="greeting")
    assert (task.kind, task.queue, task.description) == ("run", queue_of(ANY), "greeting")
    assert task.instructions == "echo 'two words'"
    assert runs.wanted(task).command == ECHO
    assert [each.id for each in (await stage.fabric.runs.page())[0]] == [task.id]


async def test_runs_are_listed_newest_first_in_pages(stage: Stage) -> None:
    made = [(await started(stage)).id for _ in range(5)]
    pages = [await stage.fabric.runs.page(limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [[task.id for task in page] for page, _ in pages] == [made[:2:-1], made[2:0:-1], made[:1], []]
    assert {total for _, total in pages} == {5}


async def test_a_run_on_a_node_waits_for_that_node(stage: Stage) -> None:
    with pytest.raises(NotFound):
        await started(stage, on="loom")
    await stage.fabric.nodes.join("n1", "loom", slots=1, version="1", inventory={})
    assert (await started(stage, on="loom")).queue == queue_of("n1")


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (Command(), "argv"),
        (Command(argv=("a",), shell="a"), "argv"),
        (Command(argv=("",)), "argv"),
        (Command(argv=("a\0b",)), "argv"),
        (Command(shell="a", env={"A=B": "c"}), "env.A=B"),
        (Command(shell="a", cwd="here"), "cwd"),
        (Command(shell="a", pty=Window(0, 1)), "pty"),
        (Command(shell="a", grace=-1), "grace"),
        (Command(shell="a", limits=Limits(memory=0)), "limits.memory"),
    ],
)
async def test_what_cannot_be_run_is_refused_and_nothing_is_made(stage: Stage, command: Command, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        await started(stage, command)
    assert [fault.field for fault in refused.value.faults] == [field]
    assert await stage.fabric.projects.page(state=None) == []


async def test_without_the_right_nobody_makes_changes_or_ends_a_run(stage: Stage) -> None:
    eve = Principal("eve", "native", ("queue:*",))
    task = await started(stage)
    with pytest.raises(Denied):
        await stage.fabric.runs.start(ECHO, by=eve)
    outcomes = await stage.fabric.tasks.submit(
        Submit(project=runs.PROJECT, tasks=[NewTask(kind="run", queue=queue_of(ANY))], by=eve, atomic=False)
    )
    assert isinstance(outcomes[0], Denied)
    for attempt in (
        stage.fabric.tasks.cancel(task.id, eve),
        stage.fabric.tasks.edit(task.id, Edit(variables={}), eve),
        stage.fabric.tasks.delete(task.id, eve),
    ):
        with pytest.raises(Denied):
            await attempt
    await stage.fabric.tasks.cancel(task.id, BOB)
    with pytest.raises(Denied):
        await stage.fabric.tasks.requeue(task.id, eve)


async def test_only_who_says_the_nodes_name_has_its_lease(stage: Stage) -> None:
    task = await running(stage)
    done = Result(ok=True)
    for by in (Hold(fence=task.fence), Hold(worker="loom", fence=task.fence)):
        with pytest.raises(LeaseLost):
            await stage.fabric.tasks.finish(Finish(task=task.id, by=by, result=done))
    ended = await stage.fabric.tasks.finish(Finish(task=task.id, by=Hold("node/loom", fence=task.fence), result=done))
    assert ended.state == "succeeded"


async def test_secrets_stand_apart_and_go_when_the_run_is_over(stage: Stage) -> None:
    task = await started(stage, secrets={"TOKEN": "hush"})
    assert "hush" not in repr(task)
    assert runs.wanted(task).secrets == ("TOKEN",)
    assert await stage.fabric.runs.secrets(task) == {"TOKEN": "hush"}
    await stage.fabric.runs.forget_secrets(task)
    with pytest.raises(Invalid, match="no longer kept"):
        await stage.fabric.runs.secrets(task)


async def test_orders_reach_the_node_that_holds_the_run(stage: Stage) -> None:
    heard: list[runs.Order] = []

    async def obeys(order: runs.Order) -> None:
        heard.append(order)

    task = await running(stage, Command(argv=("cat",), stdin=True, pty=Window()))
    with node_that(stage, obeys):
        await stage.fabric.runs.input(task.id, b"hi\n", eof=True)
        await stage.fabric.runs.resize(task.id, Window(80, 24))
        await stage.fabric.runs.signal(task.id, "TERM", by=BOB, grace=2.0)
    assert heard == [
        runs.Input(task.id, b"hi\n", True),
        runs.Resize(task.id, Window(80, 24)),
        runs.Signal(task.id, "TERM", 2.0),
    ]


async def test_what_a_node_refuses_is_refused_in_its_words(stage: Stage) -> None:
    async def obeys(_: runs.Order) -> None:
        raise Conflict("It does not read its input")

    task = await running(stage, Command(argv=("sleep", "9"), stdin=True))
    with node_that(stage, obeys), pytest.raises(Conflict, match="does not read"):
        await stage.fabric.runs.input(task.id, b"x")
    with pytest.raises(Unreachable):
        await stage.fabric.runs.input(task.id, b"x")


async def test_orders_that_make_no_sense_are_refused(stage: Stage) -> None:
    task = await running(stage)
    with pytest.raises(Conflict, match="without an input"):
        await stage.fabric.runs.input(task.id, b"x")
    with pytest.raises(Conflict, match="no terminal"):
        await stage.fabric.runs.resize(task.id, Window())
    with pytest.raises(Invalid, match="name of a signal"):
        await stage.fabric.runs.signal(task.id, "SIGTERM", by=BOB)
    other = await stage.project()
    (work,) = await stage.submit(other)
    with pytest.raises(NotFound):
        await stage.fabric.runs.get(work.id)


async def test_a_run_that_has_not_begun_is_called_off_by_a_signal(stage: Stage) -> None:
    task = await started(stage)
    ended = await stage.fabric.runs.signal(task.id, "TERM", by=BOB)
    assert ended.state == "cancelled"
    assert runs.ending(ended) == Ending(reason="killed", error="Called off before it began")
    with pytest.raises(WrongState):
        await stage.fabric.runs.signal(task.id, "TERM", by=BOB)


async def test_how_a_run_ended(stage: Stage) -> None:
    task = await running(stage)
    assert runs.ending(task) is None
    ending = Ending(code=-15, signal="SIGTERM", reason="killed", seconds=1.5)
    result = Result(ok=False, output=to_builtins(ending), error=ending.told(), retry=False)
    ended = await stage.fabric.tasks.finish(Finish(task=task.id, by=Hold("node/loom"), result=result))
    assert (ended.state, ended.result and ended.result.error) == ("failed", "It was ended by SIGTERM")
    assert runs.ending(ended) == ending


async def test_a_lost_run_fails_unless_it_may_be_tried_again(stage: Stage) -> None:
    once = await running(stage)
    again = await started(stage, on_lost="requeue")
    await stage.fabric.tasks.claim(Claim(project=runs.PROJECT, worker="node/loom", queue=queue_of(ANY)))
    stage.clock.advance(runs.POLICY.lease / SECOND + 1)
    await stage.fabric.tasks.sweep(once.project)
    assert ((await stage.fabric.tasks.get(once.id)).state, (await stage.fabric.tasks.get(again.id)).state) == (
        "failed",
        "queued",
    )
    ending = runs.ending(await stage.fabric.tasks.get(once.id))
    assert ending is not None
    assert ending.reason == "lost"
