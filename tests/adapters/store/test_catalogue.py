"""Projects and types on every store: names, changes, removal with everything in them."""

from __future__ import annotations

import asyncio

import pytest

from tests.adapters.replica import Replica
from tests.core.stage import ANN
from treadle.core import catalogue
from treadle.core.catalogue import NewType, ProjectEdit, TypeEdit
from treadle.core.errors import Conflict, Duplicate, NotFound, ProjectClosed
from treadle.core.ports import Filter, Store, Tx
from treadle.core.projects import Policy, Project, Tally, TaskType
from treadle.core.submitting import NewTask, Submit

MINUTE = 60_000_000


async def test_a_project_comes_back_as_it_was_made(replica: Replica) -> None:
    made = await replica.fabric.projects.create(
        "looms", ANN, description="d", instructions="i\nj", policy=Policy(1, 2 * MINUTE, 3 * MINUTE)
    )
    assert made == await replica.fabric.projects.get("looms") == await replica.fabric.projects.get(made.project.id)
    assert (made.project.policy, made.tally) == (Policy(1, 2 * MINUTE, 3 * MINUTE), Tally())
    with pytest.raises(NotFound):
        await replica.fabric.projects.get("loom")


async def test_names_are_taken_once(replica: Replica) -> None:
    got = await asyncio.gather(*[replica.project("looms") for _ in range(6)], return_exceptions=True)
    assert sum(isinstance(outcome, Project) for outcome in got) == 1
    assert sum(isinstance(outcome, Duplicate) for outcome in got) == 5
    looms = (await replica.fabric.projects.get("looms")).project
    got_types = await asyncio.gather(
        *[replica.type(looms, NewType(name="weave")) for _ in range(6)], return_exceptions=True
    )
    assert sum(isinstance(outcome, TaskType) for outcome in got_types) == 1
    other = await replica.project("other")
    await replica.type(other, NewType(name="weave"))
    with pytest.raises(Duplicate):
        await replica.fabric.projects.change(other.id, ProjectEdit(name="looms"), ANN)


async def test_an_id_wins_over_a_name(replica: Replica) -> None:
    looms = await replica.project("looms")
    like_it = Project(id="other", name=looms.id, created=1, updated=1)
    await replica.store.write(lambda tx: tx.insert_project(like_it))
    assert (await replica.fabric.projects.get(looms.id)).project.name == "looms"


async def test_what_is_changed_stays_changed(replica: Replica) -> None:
    looms = await replica.project()
    edit = ProjectEdit(name="mill", description="x", instructions="y", state="closed", policy={"lease": 5 * MINUTE})
    changed = await replica.fabric.projects.change(looms.id, edit, ANN)
    assert changed == await replica.fabric.projects.get("mill")
    assert changed.project.policy == Policy(lease=5 * MINUTE)
    with pytest.raises(ProjectClosed):
        await replica.submit(looms)
    with pytest.raises(ProjectClosed):
        await replica.claim(looms)
    await replica.fabric.projects.change("mill", ProjectEdit(state="active"), ANN)
    weave = await replica.type(looms, NewType(name="weave", template="{{a}}"))
    renamed = await replica.fabric.projects.change_type(weave.id, TypeEdit(name="knit", template="{{b}}{{c}}"), ANN)
    assert renamed == await replica.fabric.projects.find_type(looms.id, "knit")
    assert renamed.variables == ("b", "c")


async def test_lists_are_newest_first(replica: Replica) -> None:
    names = [f"p{n}" for n in range(5)]
    for name in names:
        looms = await replica.project(name)
    await replica.fabric.projects.change("p2", ProjectEdit(state="closed"), ANN)

    async def page(*asked: object) -> list[str]:
        return [one.project.name for one in await replica.fabric.projects.page(*asked)]  # type: ignore[arg-type]

    assert await page() == ["p4", "p3", "p1", "p0"]
    assert await page("closed") == ["p2"]
    assert await page(None, 2, 1) == ["p3", "p2"]
    for name in ("a", "b", "c"):
        await replica.type(looms, NewType(name=name))
    assert [type.name for type in await replica.fabric.projects.list_types(looms.id, 2, 1)] == ["b", "a"]


async def test_a_type_with_tasks_stays(replica: Replica) -> None:
    looms = await replica.project()
    weave = await replica.type(looms, NewType(name="weave"))
    (task,) = await replica.submit(looms, NewTask(type="weave"))
    with pytest.raises(Conflict, match="still has tasks"):
        await replica.fabric.projects.remove_type(weave.id, ANN)
    await replica.fabric.tasks.delete(task.id, ANN)
    await replica.fabric.projects.remove_type(weave.id, ANN)
    with pytest.raises(NotFound):
        await replica.fabric.projects.get_type(weave.id)


@pytest.mark.parametrize("tasks", [0, 3, 4, 11])
async def test_a_removed_project_takes_everything_with_it(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, tasks: int
) -> None:
    monkeypatch.setattr(catalogue, "DROPPED_AT_ONCE", 4)
    looms, other = await replica.project(), await replica.project("other")
    await replica.type(looms, NewType(name="weave"))
    made = await replica.submit(looms, *[NewTask(type="weave", name=f"n{n}") for n in range(tasks)]) if tasks else []
    await replica.fabric.tasks.submit(Submit(project=looms.id, tasks=[], by=ANN, key="k"))
    await replica.submit(other, NewTask(name="n0"))
    await replica.claim(looms)
    _, token = await replica.fabric.grants.open(
        kind="session", principal="w", face="native", scopes=("*",), project=looms.id
    )
    await replica.fabric.projects.remove(looms.id, ANN)
    assert await replica.fabric.grants.check(token) is None
    while await replica.fabric.projects.clear_remains():
        pass

    def look(tx: Tx) -> tuple[object, ...]:
        ids = [task.id for task in made]
        return (
            tx.tasks(ids),
            tx.tallies([looms.id]),
            tx.aliases("native", looms.id, ["n0"]),
            tx.types_named(looms.id, ["weave"]),
            tx.documents("receipt", [f"{looms.id}/native/ann/k"]),
            tx.busy_projects(),
        )

    assert await replica.store.read(look) == ({}, {}, {}, {}, [], [])
    assert (await replica.tally(other)).total == 1
    again = await replica.project("looms")
    assert await replica.fabric.tasks.page(Filter(project=again.id)) == []


async def test_tasks_of_a_removed_project_are_gone_before_their_rows_are(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "DROPPED_AT_ONCE", 1)
    looms = await replica.project()
    await replica.submit(looms, NewTask(), NewTask(), NewTask())
    *_, last = await replica.claim(looms, count=3)
    await replica.fabric.projects.remove(looms.id, ANN)
    with pytest.raises(NotFound):
        await replica.finish(last)
    with pytest.raises(NotFound):
        await replica.fabric.tasks.get(last.id)
    while await replica.fabric.projects.clear_remains():
        pass
    assert await replica.store.read(lambda tx: (tx.tallies([looms.id]), tx.tasks([last.id]))) == ({}, {})


async def test_types_are_found_by_id_and_by_name(replica: Replica, store: Store) -> None:
    looms = await replica.project()
    weave = await replica.type(looms, NewType(name="weave", variables=("z", "a"), duplicates="fail", max_retries=9))
    found = await store.read(lambda tx: tx.types_named(looms.id, [weave.id, "weave", "knit"]))
    assert found == {weave.id: weave, "weave": weave}
    assert weave.variables == ("z", "a")
    assert await store.read(lambda tx: (tx.types([]), tx.types_named(looms.id, []))) == ({}, {})
