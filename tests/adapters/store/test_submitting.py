"""Submits on every store: templates, duplicates, own names, idempotency, bulk."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.adapters.replica import Replica, named
from tests.core.stage import ANN
from treadle.core.access import Principal
from treadle.core.catalogue import NewType
from treadle.core.errors import Conflict, Duplicate, FabricError, Invalid, NotFound
from treadle.core.ports import Filter
from treadle.core.projects import Duplicates
from treadle.core.queue import Edit
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Result, Task

EVERYTHING = NewTask(
    name="all-1",
    kind="build",
    queue="night",
    description="a \\ \"quoted\" 'one', {braces}, NULL and ünïcödé ✓",
    instructions='line one\nline two\ttab "x" \\n',
    variables={"text": 'a"b\\c', "number": 1.5, "list": [1, None, {"deep": True}], "nul": "\x00", "null": None},
    batch="b,1",
    priority=-3,
    not_before=1_800_000_000_000_000,
    max_retries=7,
    on_lost="fail",
)


async def test_a_task_comes_back_as_it_was_made(replica: Replica) -> None:
    looms = await replica.project()
    (made,) = await replica.submit(looms, EVERYTHING)
    read = await replica.fabric.tasks.get(made.id)
    assert read == made
    assert made.seq > 0
    for field in EVERYTHING.__struct_fields__:
        if field != "type":
            assert getattr(read, field) == getattr(EVERYTHING, field), field
    assert (read.project, read.submitter, read.face, read.created) == (looms.id, "ann", "native", replica.clock())


async def test_a_missing_variable_refuses_the_task(replica: Replica) -> None:
    looms = await replica.project()
    await replica.type(looms, NewType(name="weave", template="weave {{pattern}} in {{colour}}"))
    with pytest.raises(Invalid, match="Missing required template variables: colour, pattern"):
        await replica.submit(looms, NewTask(type="weave", variables={"other": 1}))
    (task,) = await replica.submit(
        looms, NewTask(type="weave", variables={"pattern": "{{colour}}", "colour": "red", "more": 1})
    )
    (view,) = await replica.fabric.tasks.views([task])
    assert (view.instructions, view.task.variables["more"]) == ("weave {{colour}} in red", 1)
    with pytest.raises(NotFound):
        await replica.submit(looms, NewTask(type="knit"))


@pytest.mark.parametrize("equal", [({"a": 1, "b": {"c": [1], "d": 2}}, {"b": {"d": 2, "c": [1]}, "a": 1}), ({}, {})])
async def test_duplicates_are_equal_maps_whatever_their_order(
    replica: Replica, equal: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    looms = await replica.project()
    for how in ("ignore", "fail", "allow"):
        await replica.type(looms, NewType(name=how, duplicates=how))
    first, second = equal
    (made,) = await replica.submit(looms, NewTask(type="ignore", variables=first))
    assert await replica.submit(looms, NewTask(type="ignore", variables=second)) == [made]
    await replica.submit(looms, NewTask(type="fail", variables=first))
    with pytest.raises(Duplicate, match="exists already"):
        await replica.submit(looms, NewTask(type="fail", variables=second))
    await replica.submit(looms, NewTask(type="allow", variables=first), NewTask(type="allow", variables=second))
    assert (await replica.tally(looms)).total == 4


async def test_other_variables_are_no_duplicate(replica: Replica) -> None:
    looms = await replica.project()
    await replica.type(looms, NewType(name="once", duplicates="fail"))
    others: list[dict[str, Any]] = [
        {"a": 1},
        {"a": "1"},
        {"a": 1.5},
        {"a": None},
        {"a": [1]},
        {"b": 1},
        {"a": 1, "b": 1},
    ]
    await replica.submit(looms, *[NewTask(type="once", variables=variables) for variables in others])
    assert (await replica.tally(looms)).queued == len(others)


async def test_a_task_that_failed_or_was_cancelled_is_no_duplicate(replica: Replica) -> None:
    looms = await replica.project()
    await replica.type(looms, NewType(name="once", duplicates="fail", max_retries=0))
    new = NewTask(type="once", variables={"a": 1})
    (task,) = await replica.submit(looms, new)
    await replica.fabric.tasks.cancel(task.id, ANN)
    await replica.submit(looms, new)
    (task,) = await replica.claim(looms)
    await replica.finish(task, result=Result(ok=False, error="jammed"))
    await replica.submit(looms, new)
    (task,) = await replica.claim(looms)
    await replica.finish(task)
    with pytest.raises(Duplicate):  # one that succeeded still stands
        await replica.submit(looms, new)


@pytest.mark.parametrize("how", ["ignore", "fail"])
async def test_duplicates_of_one_ride_see_each_other(replica: Replica, how: Duplicates) -> None:
    looms = await replica.project()
    await replica.type(looms, NewType(name="once", duplicates=how))
    call = Submit(project=looms.id, tasks=[NewTask(type="once", variables={"a": 1})], by=ANN)
    got = await asyncio.gather(*[replica.fabric.tasks.submit(call) for _ in range(12)], return_exceptions=True)
    made = [outcome[0] for outcome in got if isinstance(outcome, list)]
    assert len({task.id for task in made if isinstance(task, Task)}) == 1
    assert len(made) == (12 if how == "ignore" else 1)
    assert (await replica.tally(looms)).total == 1
    bulk = Submit(project=looms.id, tasks=[NewTask(type="once", variables={"b": 1})] * 3, by=ANN, atomic=False)
    outcomes = await replica.fabric.tasks.submit(bulk)
    assert isinstance(outcomes[0], Task)
    assert (outcomes[1] == outcomes[0]) is (how == "ignore")
    assert isinstance(outcomes[2], Task if how == "ignore" else Duplicate)


async def test_own_names_are_taken_once_in_a_project_and_face(replica: Replica) -> None:
    looms = await replica.project()
    other = await replica.project("other")
    (first,) = await replica.submit(looms, NewTask(name="x"))
    with pytest.raises(Duplicate, match="named x"):
        await replica.submit(looms, NewTask(name="x"))
    (second,) = await replica.submit(other, NewTask(name="x"))
    elsewhere = Submit(project=looms.id, tasks=[NewTask(name="x")], by=Principal("ann", "other face"))
    await replica.fabric.tasks.submit(elsewhere)
    assert await replica.fabric.tasks.resolve("native", "x", looms.id) == first.id
    assert await replica.fabric.tasks.resolve("native", "x") == second.id
    await replica.fabric.tasks.delete(second.id, ANN)
    assert await replica.fabric.tasks.resolve("native", "x") == first.id
    with pytest.raises(NotFound):
        await replica.fabric.tasks.resolve("native", "x", other.id)
    await replica.submit(other, NewTask(name="x"))


async def test_one_idempotency_key_makes_one_task(replica: Replica) -> None:
    looms = await replica.project()
    call = Submit(project=looms.id, tasks=[NewTask(name="a"), NewTask()], by=ANN, key="k")
    rides = await asyncio.gather(*[replica.fabric.tasks.submit(call) for _ in range(5)])
    later = await replica.fabric.tasks.submit(call)
    assert all(ride == rides[0] for ride in [*rides, later])
    assert (await replica.tally(looms)).total == 2
    with pytest.raises(Conflict, match="another request"):
        await replica.fabric.tasks.submit(Submit(project=looms.id, tasks=[NewTask()], by=ANN, key="k"))
    await replica.fabric.tasks.submit(
        Submit(project=looms.id, tasks=[NewTask()], by=Principal("bob", "native"), key="k")
    )
    assert (await replica.tally(looms)).total == 3


async def test_an_atomic_bulk_is_all_or_nothing(replica: Replica) -> None:
    looms = await replica.project()
    await replica.type(looms, NewType(name="weave", template="{{pattern}}"))
    tasks = [NewTask(name="fine"), NewTask(type="weave"), NewTask(type="weave")]
    with pytest.raises(Invalid) as refused:
        await replica.submit(looms, *tasks)
    assert [fault.field for fault in refused.value.faults] == ["tasks.1.variables", "tasks.2.variables"]
    assert (await replica.tally(looms)).total == 0
    outcomes = await replica.fabric.tasks.submit(Submit(project=looms.id, tasks=tasks, by=ANN, atomic=False))
    assert [isinstance(outcome, FabricError) for outcome in outcomes] == [False, True, True]
    assert named(await replica.claim(looms, count=9)) == ["fine"]


async def test_a_refused_call_leaves_the_others_of_its_ride_alone(replica: Replica) -> None:
    looms = await replica.project()
    calls = [Submit(project=looms.id, tasks=[NewTask(name=name)], by=ANN) for name in ("a", "b", "a", "c", "b")]
    got = await asyncio.gather(*map(replica.fabric.tasks.submit, calls), return_exceptions=True)
    assert [isinstance(outcome, Duplicate) for outcome in got] == [False, False, True, False, True]
    assert named(await replica.fabric.tasks.page(Filter(project=looms.id))) == ["a", "b", "c"]


@pytest.mark.parametrize("new", [NewTask(priority=2**70), NewTask(instructions="half a pair: \ud800")])
async def test_a_value_that_cannot_be_stored_is_refused_and_only_for_its_own_call(
    replica: Replica, new: NewTask
) -> None:
    looms = await replica.project()
    refused, made = await asyncio.gather(replica.submit(looms, new), replica.submit(looms), return_exceptions=True)
    assert isinstance(refused, Invalid)
    assert isinstance(made, list)
    assert (await replica.tally(looms)).total == 1


async def test_a_thousand_tasks_come_in_the_order_given(replica: Replica) -> None:
    looms = await replica.project()
    made = await replica.submit(looms, *[NewTask(name=f"n{n}") for n in range(1000)])
    assert [task.seq for task in made] == sorted(task.seq for task in made)
    assert await replica.fabric.tasks.page(Filter(project=looms.id), limit=2000) == made
    got = [await replica.claim(looms, count=400) for _ in range(3)]
    assert named([task for tasks in got for task in tasks]) == [f"n{n}" for n in range(1000)]


async def test_a_queued_task_can_be_rewritten(replica: Replica) -> None:
    looms = await replica.project()
    await replica.type(looms, NewType(name="once", template="{{a}}", duplicates="fail"))
    (task,) = await replica.submit(looms, NewTask(type="once", variables={"a": 1}))
    replica.clock.advance(5)
    edit = Edit(variables={"a": 2}, description="other", batch="b", instructions="do it")
    edited = await replica.fabric.tasks.edit(task.id, edit, ANN)
    assert edited == await replica.fabric.tasks.get(task.id)
    assert (edited.variables, edited.description, edited.batch, edited.instructions) == (
        {"a": 2},
        "other",
        "b",
        "do it",
    )
    assert edited.updated == replica.clock()
    await replica.submit(looms, NewTask(type="once", variables={"a": 1}))
    with pytest.raises(Duplicate):
        await replica.submit(looms, NewTask(type="once", variables={"a": 2}))
    with pytest.raises(Invalid):
        await replica.fabric.tasks.edit(task.id, Edit(variables={}), ANN)
