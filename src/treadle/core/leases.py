"""Taking, keeping and ending leases: claim, extend, finish, release, sweep, each over many calls in one transaction.

Every function here answers its calls in order, each with its outcome or with the error that concerns it alone, and
decides before it writes. The number of statements depends on how many projects and queues are asked, not on how many
calls or tasks.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from .errors import FabricError, NotFound, ProjectClosed
from .events import Kind
from .ids import Ids
from .ledger import Ledger
from .ports import Tx
from .projects import Project
from .tasks import Hold, Result, State, Task

ENDINGS: dict[State, Kind] = {"succeeded": "task.succeeded", "failed": "task.failed", "queued": "task.retried"}

SWEPT_AT_ONCE = 1000
"""Lost leases that one sweep puts back; a claim or the next sweep takes the rest."""


class Claim(Struct, frozen=True, kw_only=True):
    """A worker asks for up to `count` tasks of a project's queue.

    With `resume` a worker that already holds a live lease in the project gets that task again instead, unchanged, and
    the lease passes to the holder that asks. `lease` (microseconds) overrides the length its type gives.
    """

    project: str
    worker: str
    holder: str | None = None
    queue: str = ""
    count: int = 1
    resume: bool = False
    lease: int | None = None


class Extend(Struct, frozen=True, kw_only=True):
    """A holder asks for more time: `add` to the present end, or `keep` from now (never less than there is)."""

    task: str
    by: Hold
    add: int = 0
    keep: int = 0


class Finish(Struct, frozen=True, kw_only=True):
    """A holder hands in how the work ended."""

    task: str
    by: Hold
    result: Result


class Release(Struct, frozen=True, kw_only=True):
    """A holder gives the task back untouched."""

    task: str
    by: Hold


def claim(tx: Tx, calls: Sequence[Claim], now: int, ids: Ids) -> list[list[Task] | FabricError]:
    """Give each call the tasks it gets; an empty list when there is nothing to do."""
    projects = tx.projects(list({call.project for call in calls}))
    outcomes: list[list[Task] | FabricError] = []
    asked: dict[str, tuple[Project, list[int]]] = {}
    for place, call in enumerate(calls):
        project = projects.get(call.project)
        refusal = refused(project, call.project)
        outcomes.append(refusal or [])
        if project is not None and refusal is None:
            asked.setdefault(project.id, (project, []))[1].append(place)
    for project, places in asked.values():
        given = _serve(tx, project, [calls[place] for place in places], now, ids)
        for place, tasks in zip(places, given, strict=True):
            outcomes[place] = tasks
    return outcomes


def _serve(tx: Tx, project: Project, calls: Sequence[Claim], now: int, ids: Ids) -> list[list[Task]]:
    """What each call to one project gets."""
    sweep(tx, project.id, now)
    tx.ripen(project.id, now)
    held: dict[str, Task] = {}
    resuming = {call.worker for call in calls if call.resume}
    for task in tx.held(project.id, list(resuming)) if resuming else ():
        if task.lease and not task.expired(now):
            held.setdefault(task.lease.worker, task)

    # A worker that resumes by name gets one task however often it asks at once, so its first call asks for all.
    fresh: list[int] = []
    asking: set[str] = set()
    for place, call in enumerate(calls):
        if not call.resume or (call.worker not in held and call.worker not in asking):
            fresh.append(place)
            if call.resume:
                asking.add(call.worker)

    wanted: Counter[str] = Counter()
    for place in fresh:
        wanted[calls[place].queue] += calls[place].count
    rows = {queue: tx.claimable(project.id, queue, count) for queue, count in wanted.items()}
    types = tx.types(list({row.type for found in rows.values() for row in found if row.type}))
    heads = {queue: iter(found) for queue, found in rows.items()}

    ledger = Ledger(tx, now)
    given: list[list[Task]] = [[] for _ in calls]
    for place in fresh:
        call = calls[place]
        for row in islice(heads[call.queue], call.count):
            length = call.lease or (types[row.type].lease if row.type else project.policy.lease)
            task = row.claimed(worker=call.worker, holder=call.holder, attempt=ids(), now=now, until=now + length)
            ledger.move(row, task, "task.claimed", {"worker": call.worker, "fence": task.fence})
            given[place].append(task)
            if call.resume:
                held[call.worker] = task
    for place in sorted(set(range(len(calls))) - set(fresh)):
        call = calls[place]
        if call.worker in held:
            held[call.worker] = _passed_on(held[call.worker], call, ledger, now)
            given[place].append(held[call.worker])
    ledger.write()
    return given


def _passed_on(task: Task, call: Claim, ledger: Ledger, now: int) -> Task:
    passed = task.passed_to(call.holder, now)
    if passed is task:
        return task
    return ledger.move(task, passed, "task.resumed", {"worker": call.worker, "fence": passed.fence})


def extend(tx: Tx, calls: Sequence[Extend], now: int) -> list[Task | FabricError]:
    """Move the end of leases."""

    def rule(task: Task, call: Extend) -> Task:
        until = task.lease.until if task.lease else now
        return task.extended(call.by, max(until + call.add, now + call.keep), now)

    return _each(tx, calls, now, rule, lambda _: "task.extended")


def finish(tx: Tx, calls: Sequence[Finish], now: int) -> list[Task | FabricError]:
    """End tries with what their holders hand in; a closed project takes nothing until it is opened again."""

    def rule(task: Task, call: Finish) -> Task:
        ends = task.succeeded if call.result.ok else task.failed
        return ends(call.by, call.result, now)

    return _each(tx, calls, now, rule, lambda task: ENDINGS[task.state], closed=False)


def release(tx: Tx, calls: Sequence[Release], now: int) -> list[Task | FabricError]:
    """Put tasks back as if they had not been claimed."""
    return _each(tx, calls, now, lambda task, call: task.released(call.by, now), lambda _: "task.released")


def sweep(tx: Tx, project: str, now: int) -> list[Task]:
    """Put back or fail the tasks of a project whose lease ran out; the tasks as they were."""
    expired = tx.expired(project, now, SWEPT_AT_ONCE)
    if expired:
        ledger = Ledger(tx, now)
        for task in expired:
            lost = task.lost(now)
            data = {"worker": task.lease.worker if task.lease else "", "state": lost.state, "retries": lost.retries}
            ledger.move(task, lost, "task.lost", data)
        ledger.write()
    return expired


def refused(project: Project | None, ref: str) -> FabricError | None:
    """Why this project takes no work, if it does not."""
    if project is None:
        return NotFound("Project", ref)
    if project.state == "closed":
        return ProjectClosed(f"Project {project.name} is closed; reopen it to add or take work")
    return None


Call = TypeVar("Call", Extend, Finish, Release)


def _each(
    tx: Tx,
    calls: Sequence[Call],
    now: int,
    rule: Callable[[Task, Call], Task],
    kind: Callable[[Task], Kind],
    closed: bool = True,
) -> list[Task | FabricError]:
    """Apply a rule to the task of each call; two calls on one task see each other in order.

    A task whose project is gone is gone too, also while its row still waits to be removed. `closed` says whether the
    rule applies in a closed project.
    """
    tasks = tx.tasks(list({call.task for call in calls}))
    projects = tx.projects(list({task.project for task in tasks.values()}))
    ledger = Ledger(tx, now)
    outcomes: list[Task | FabricError] = []
    for call in calls:
        try:
            before = tasks.get(call.task)
            if before is None or before.project not in projects:
                raise NotFound("Task", call.task)
            refusal = None if closed else refused(projects[before.project], before.project)
            if refusal:
                raise refusal
            after = rule(before, call)
        except FabricError as error:
            outcomes.append(error)
            continue
        worker = before.lease.worker if before.lease else ""
        tasks[call.task] = ledger.move(before, after, kind(after), {"worker": worker, "fence": before.fence})
        outcomes.append(after)
    ledger.write()
    return outcomes
