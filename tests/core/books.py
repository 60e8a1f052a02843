"""The books of a store: everything it says at one moment, and whether it adds up."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from msgspec import Struct

from tests.core.facts import Told
from treadle.core.clock import HOUR
from treadle.core.events import Event
from treadle.core.ports import Filter, Store, Tx
from treadle.core.projects import Activity, Project, Tally
from treadle.core.tasks import STATES, Task

ALL = 1_000_000


class Books(Struct):
    """One snapshot: the tasks of each project in creation order, every figure about them, and the facts."""

    now: int
    projects: dict[str, Project]
    tasks: dict[str, list[Task]]
    tallies: dict[str, Tally]
    claimable: dict[str, int]
    activity: dict[str, Activity]
    busy: list[str]
    events: list[Event]

    def every_task(self) -> dict[str, Task]:
        return {task.id: task for tasks in self.tasks.values() for task in tasks}

    def balance(self, told: Told) -> None:
        """Fails the test unless counters, figures and facts are what the rows say; `told` hears the facts."""
        for project, tasks in self.tasks.items():
            counts = Counter(task.state for task in tasks)
            assert self.tallies.get(project, Tally()) == Tally(**{state: counts[state] for state in STATES})
            assert (project in self.busy) == bool(counts["running"])
            self._figures(self.claimable[project], self.activity[project], tasks)
            for task in tasks:
                sound(task)
        told.hear(self.events)
        assert told.states == {id: task.state for id, task in self.every_task().items()}

    def _figures(self, claimable: int, activity: Activity, tasks: list[Task]) -> None:
        now = self.now
        ripe = sum(task.state == "queued" and (task.not_before or 0) <= now for task in tasks)
        assert claimable == ripe + sum(task.expired(now) for task in tasks)
        recent = Counter(task.state for task in tasks if task.finished is not None and task.finished > now - HOUR)
        assert (activity.succeeded, activity.failed) == (recent["succeeded"], recent["failed"])
        assert activity.workers == len({task.lease.worker for task in tasks if task.lease and not task.expired(now)})


def sound(task: Task) -> None:
    """Fails the test unless the task's attempts tell of one holder at a time, each with a fence of its own."""
    fences = [attempt.fence for attempt in task.attempts]
    assert all(earlier < later for earlier, later in pairwise([0, *fences]))
    assert all((attempt.ended is None) == (attempt.state == "running") for attempt in task.attempts)
    running = [attempt for attempt in task.attempts if attempt.state == "running"]
    assert len(running) == (task.state == "running") == (task.lease is not None)
    if task.lease:
        assert running == list(task.attempts[-1:])
        attempt = running[0]
        assert (attempt.fence, attempt.worker) == (task.fence, task.lease.worker)
        assert attempt.lease_until == task.lease.until
    assert (task.finished is not None) == (task.result is not None) == (task.state not in ("queued", "running"))


async def open_books(store: Store, now: int, after: int = 0) -> Books:
    """Everything the store says now, with the facts after a cursor."""

    def query(tx: Tx) -> Books:
        projects = {project.id: project for project in tx.list_projects(None, ALL, 0)}
        return Books(
            now=now,
            projects=projects,
            tasks={project: tx.list_tasks(Filter(project=project), ALL, 0) for project in projects},
            tallies=tx.tallies(list(projects)),
            claimable={project: tx.count_claimable(project, now) for project in projects},
            activity={project: tx.activity(project, now - HOUR, now) for project in projects},
            busy=tx.busy_projects(),
            events=tx.events_after(after, ALL),
        )

    return await store.read(query)
