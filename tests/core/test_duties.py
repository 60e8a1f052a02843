"""Duties on the real store: each turn is taken once however many look, and one that fails stops no other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.core.stage import ANN, Stage
from tests.unprinted import unprinted
from treadle.core import catalogue, duties
from treadle.core.access import Principal
from treadle.core.catalogue import ProjectEdit
from treadle.core.clock import DAY, MINUTE, SECOND
from treadle.core.documents import Collection
from treadle.core.duties import Duties
from treadle.core.leases import Claim
from treadle.core.ports import Tx
from treadle.core.projects import Policy, Project
from treadle.core.queue import Queue
from treadle.core.submitting import NewTask
from treadle.core.tasks import Task


@dataclass
class Replica:
    """One process's duties over the shared store, and what they did."""

    stage: Stage
    swept: list[str] = field(default_factory=list)
    reports: list[tuple[str, Exception]] = field(default_factory=list)
    broken: bool = False

    def __post_init__(self) -> None:
        replica, fabric = self, self.stage.fabric

        class Watched(Queue):
            async def sweep(self, project: str) -> list[Task]:
                replica.swept.append(project)
                if replica.broken:
                    raise OSError("the broom is gone")
                return await super().sweep(project)

        self.duties = Duties(
            self.stage.store,
            self.stage.clock,
            queue=Watched(self.stage.store, fabric.bus, self.stage.clock, fabric.ids, fabric._types),
            catalogue=fabric.projects,
            grants=fabric.grants,
            nodes=fabric.nodes,
            outputs=unprinted(self.stage.clock),
            report=lambda name, error: self.reports.append((name, error)),
        )

    async def tick(self) -> int:
        """Look once; how many sweeps that made."""
        self.swept.clear()
        await self.duties.tick()
        return len(self.swept)


async def weaving(stage: Stage, *, every: int = 10 * MINUTE, lease: int = 5 * SECOND) -> tuple[Project, Task]:
    """A project with its sweep interval, and a task whose worker will not come back."""
    policy = Policy(sweep_every=every, lease=lease)
    project = (await stage.fabric.projects.create("looms", ANN, policy=policy)).project
    await stage.submit(project)
    (task,) = await stage.fabric.tasks.claim(Claim(project=project.id, worker="gone"))
    return project, task


async def test_a_lost_lease_is_swept_at_the_projects_interval(stage: Stage) -> None:
    _, task = await weaving(stage)
    replica = Replica(stage)
    assert await replica.tick() == 1  # nobody ever swept: due at once
    stage.clock.advance(599)
    assert await replica.tick() == 0
    assert (await stage.fabric.tasks.get(task.id)).state == "running"
    stage.clock.advance(1)
    assert await replica.tick() == 1
    assert (await stage.fabric.tasks.get(task.id)).state == "queued"
    assert replica.reports == []


async def test_of_two_replicas_exactly_one_takes_each_turn(stage: Stage) -> None:
    await weaving(stage, lease=30 * DAY)
    two = [Replica(stage), Replica(stage)]
    for _ in range(12):
        turns = await asyncio.gather(*(replica.tick() for replica in two))
        assert sum(turns) == 1
        stage.clock.advance(300)
        assert await asyncio.gather(*(replica.tick() for replica in two)) == [0, 0]
        stage.clock.advance(300)


async def test_a_replica_that_joins_later_keeps_to_the_turns(stage: Stage) -> None:
    await weaving(stage)
    assert await Replica(stage).tick() == 1
    stage.clock.advance(1)
    assert await Replica(stage).tick() == 0


async def test_a_shorter_interval_counts_from_the_next_look(stage: Stage) -> None:
    project, task = await weaving(stage, every=60 * MINUTE)
    replica, other = Replica(stage), Replica(stage)
    assert await replica.tick() + await other.tick() == 1
    await stage.fabric.projects.change(project.id, ProjectEdit(policy={"sweep_every": MINUTE}), ANN)
    stage.clock.advance(61)
    assert await replica.tick() + await other.tick() == 1
    assert (await stage.fabric.tasks.get(task.id)).state == "queued"


async def test_a_turn_far_in_the_future_is_not_waited_for(stage: Stage) -> None:
    """Written by a process whose clock was wrong."""
    project, _ = await weaving(stage)
    await stage.store.write(lambda tx: duties.turns.put(tx, f"sweep:{project.id}", stage.clock() + 300 * DAY))
    assert await Replica(stage).tick() == 1


async def test_turns_of_a_project_that_is_gone_do_not_stay(stage: Stage) -> None:
    project, _ = await weaving(stage)
    replica = Replica(stage)
    await replica.tick()
    await stage.fabric.projects.remove(project.id, ANN)
    stage.clock.advance(3600)
    await replica.tick()
    stage.clock.advance(3600)
    await replica.tick()
    turns = await stage.store.read(lambda tx: {turn.key for turn in duties.turns.page(tx)})
    assert turns <= {"prune", "remains", "output"}


async def test_a_quiet_project_is_not_swept(stage: Stage) -> None:
    project = await stage.project()
    await stage.submit(project)
    assert await Replica(stage).tick() == 0


async def test_old_facts_and_expired_documents_are_pruned(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "PRUNED_AT_ONCE", 3)  # so that it takes several portions
    notes = Collection("note", str)
    project = await stage.project()
    await stage.submit(project, *(NewTask() for _ in range(10)))

    def note(tx: Tx) -> None:
        for number in range(7):
            notes.put(tx, f"old-{number}", "", expires=stage.clock() + DAY)
        notes.put(tx, "lasting", "")

    await stage.store.write(note)
    stage.clock.advance(7 * 86400 + 1)
    late = await stage.submit(project)
    await stage.fabric.duties.tick()
    left = await stage.fabric.events.after(0)
    assert [(event.kind, event.subject) for event in left] == [("task.submitted", late[0].id)]
    assert await stage.store.read(lambda tx: [note.key for note in notes.page(tx)]) == ["lasting"]
    assert stage.reports == []


async def test_the_newest_fact_stays_so_that_the_cursor_never_goes_back(stage: Stage) -> None:
    await stage.project()
    last = await stage.fabric.events.last()
    stage.clock.advance(30 * 86400)
    await stage.fabric.duties.tick()
    assert await stage.fabric.events.last() == last == 1


async def test_the_tasks_of_a_removed_project_are_cleared_away(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "DROPPED_AT_ONCE", 3)
    project, keep = await stage.project("gone"), await stage.project("keep")
    tasks = await stage.submit(project, *(NewTask(name=f"n{number}") for number in range(11)))
    kept = await stage.submit(keep)
    await stage.fabric.projects.remove(project.id, ANN)

    def left(tx: Tx) -> int:
        return len(tx.tasks([task.id for task in tasks]))

    assert await stage.store.read(left) == 8
    await stage.fabric.duties.tick()
    assert await stage.store.read(left) == 0
    assert await stage.store.read(catalogue.remains.page) == []
    assert (await stage.fabric.tasks.get(kept[0].id)).project == keep.id


async def test_a_failing_duty_is_reported_and_the_others_go_on(stage: Stage) -> None:
    await weaving(stage)
    stage.clock.advance(8 * 86400)
    replica = Replica(stage, broken=True)
    assert await replica.tick() == 1
    assert [(name.split(":")[0], type(error)) for name, error in replica.reports] == [("sweep", OSError)]
    assert [event.kind for event in await stage.fabric.events.after(0)] == ["task.claimed"]  # pruned all the same
    replica.broken = False
    stage.clock.advance(600)
    assert await replica.tick() == 1  # tried again at its next turn
    assert len(replica.reports) == 1


async def test_when_grants_were_used_is_written_down(stage: Stage) -> None:
    opened, secret = await stage.fabric.grants.open(kind="session", principal="ann", face="native", scopes=("*",))
    stage.clock.advance(60)
    checked = await stage.fabric.grants.check(secret)
    assert checked is not None
    assert checked.opens_for() == Principal("ann", "native", ("*",), opened.id)
    await stage.fabric.duties.tick()
    stage.clock.advance(1)
    again = await stage.fabric.grants.check(secret)
    assert again is not None
    assert again.used == opened.used + 60 * SECOND


async def test_run_looks_until_it_is_cancelled(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "TICK_SECONDS", 0.001)
    _, task = await weaving(stage)
    stage.clock.advance(6)
    ended = asyncio.Event()
    stage.store.on_commit = lambda facts: ended.set()  # the sweep commits a fact
    running = asyncio.create_task(stage.fabric.duties.run())
    async with asyncio.timeout(30):
        await ended.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await stage.fabric.tasks.get(task.id)).state == "queued"
