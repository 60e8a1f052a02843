"""Any sequence of verbs: the real fabric on SQLite does what the model does, and its books balance after every step."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Struct

from tests.core.model import Model, Piece, Pool
from tests.core.stage import ANN, HandClock, numbered
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.catalogue import NewType, ProjectEdit
from treadle.core.clock import HOUR, MINUTE, SECOND
from treadle.core.errors import FabricError, LeaseLost
from treadle.core.events import Event
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim, Extend, Finish, Release
from treadle.core.ports import Filter, Tx
from treadle.core.projects import Activity, Policy, ProjectState, Tally
from treadle.core.queue import Edit
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import STATES, Hold, Result, Task

R = TypeVar("R")

POLICIES = [Policy(max_retries=1, lease=20 * SECOND), Policy(max_retries=0, lease=60 * SECOND)]
OPEN_TYPE = NewType(name="open", lease=5 * SECOND, max_retries=2)
UNIQUE_TYPE = NewType(name="unique", duplicates="ignore")

# Which state each fact about a task follows from and leads to; `lost` says itself where it leads.
FOLDS: dict[str, tuple[set[str | None], str | None]] = {
    "task.submitted": ({None}, "queued"),
    "task.claimed": ({"queued"}, "running"),
    "task.resumed": ({"running"}, "running"),
    "task.extended": ({"running"}, "running"),
    "task.succeeded": ({"running"}, "succeeded"),
    "task.failed": ({"running"}, "failed"),
    "task.retried": ({"running"}, "queued"),
    "task.lost": ({"running"}, "?"),
    "task.released": ({"running"}, "queued"),
    "task.cancelled": ({"queued", "running"}, "cancelled"),
    "task.requeued": ({"failed", "cancelled"}, "queued"),
    "task.changed": ({"queued"}, "queued"),
    "task.deleted": ({"queued", "succeeded", "failed", "cancelled"}, None),
}


class Books(Struct):
    """Everything the store says at one moment."""

    tasks: dict[str, list[Task]]
    tallies: dict[str, Tally]
    claimable: dict[str, int]
    activity: dict[str, Activity]
    busy: list[str]
    events: list[Event]


pools = st.integers(0, 1)
picks = st.integers(0, 1000)
workers = st.sampled_from(["w1", "w2", "w3"])
sessions = st.sampled_from([None, "s1", "s2", "s3"])
new_tasks = st.builds(
    NewTask,
    type=st.sampled_from([None, None, "open", "unique"]),
    name=st.sampled_from([None, None, None, "n1", "n2", "n3"]),
    variables=st.sampled_from([{}, {"colour": "red", "ply": 2}, {"ply": 2, "colour": "red"}, {"colour": "blue"}]),
    priority=st.sampled_from([0, 0, 0, 5, -3]),
    not_before=st.sampled_from([None, None, 4, 30]),  # seconds from now; made an instant when submitted
    max_retries=st.sampled_from([None, None, 0, 3]),
    on_lost=st.sampled_from(["requeue", "requeue", "fail"]),
)


class Claims(Struct, frozen=True):
    """A claim without its project."""

    worker: str
    holder: str | None
    count: int
    resume: bool
    lease: int | None


claims = st.builds(
    Claims,
    worker=workers,
    holder=sessions,
    count=st.integers(1, 3),
    resume=st.booleans(),
    lease=st.sampled_from([None, None, 3 * SECOND]),
)


class Shown(Struct, frozen=True):
    """What a caller shows, seen from the task: the right thing, another, or nothing."""

    worker: str
    holder: str
    fence: str

    def hold(self, piece: Piece | None) -> Hold:
        if piece is None:
            return Hold()
        return Hold(
            worker={"none": None, "right": piece.worker, "other": "w9"}[self.worker],
            holder={
                "none": None,
                "right": piece.holder,
                "former": min(piece.displaced, default=None),
                "stranger": "s9",
            }[self.holder],
            fence={"none": None, "right": piece.fence, "former": piece.fence - 1}[self.fence],
        )


shown = st.builds(
    Shown,
    worker=st.sampled_from(["right", "right", "none", "other"]),
    holder=st.sampled_from(["right", "right", "none", "former", "stranger"]),
    fence=st.sampled_from(["right", "none", "none", "former"]),
)


holders_verbs = st.sampled_from(["finish", "fail", "fail", "give up", "extend", "release"])


class AnySequence(RuleBasedStateMachine):
    """Two projects, three workers, and everything that may happen to their tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.Runner()
        self.clock, self.ids = HandClock(), numbered()
        self.model = Model()
        self.projects: list[str] = []
        self.type_ids: dict[str, str] = {}  # by id, the name
        self.known: list[str] = []  # every task there ever was, deleted ones too
        self.holds: dict[str, list[Hold]] = {}
        self.cursor = 0
        self.folded: dict[str, str] = {}
        self.fences: Counter[str] = Counter()
        self.of_project: dict[str, str | None] = {}
        self.open()

    def run(self, doing: Coroutine[Any, Any, R]) -> R:
        return self.loop.run(doing)

    def open(self) -> None:
        self.store = self.run(open_sqlite(Path(self.folder.name, "treadle.db")))
        self.fabric = Fabric(self.store, LocalBus(), self.clock, self.ids, report=lambda name, error: None)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    @initialize(new=st.lists(new_tasks, min_size=3, max_size=6))
    def begin(self, new: list[NewTask]) -> None:
        for place in range(len(POLICIES)):
            self.create(place)
            for each in new:
                self.submit(place, [each], None)

    def create(self, place: int) -> None:
        async def make() -> str:
            made = await self.fabric.projects.create(f"project-{place}", ANN, policy=POLICIES[place])
            for new in (OPEN_TYPE, UNIQUE_TYPE):
                type = await self.fabric.projects.create_type(made.project.id, new, ANN)
                self.type_ids[type.id] = type.name
            return made.project.id

        id = self.run(make())
        self.projects[place : place + 1] = [id]
        self.model.pools[id] = Pool(id)

    def pick(self, number: int, *states: str) -> str:
        """Some task, three times out of four one in these states; it may be gone."""
        fitting = [piece.id for pool in self.model.pools.values() for piece in pool.pieces if piece.state in states]
        some = fitting if fitting and number % 4 < 3 else self.known
        return some[number // 4 % len(some)] if some else "no-such-task"

    def running(self) -> bool:
        return any(piece.state == "running" for pool in self.model.pools.values() for piece in pool.pieces)

    def seen(self, id: str) -> Piece | None:
        try:
            return self.model.piece(id)
        except FabricError:
            return None

    def same(self, real: Callable[[], Awaitable[Any]], meant: Callable[[], Any]) -> None:
        """Both sides do it, with the same answer or the same refusal."""
        try:
            expected = meant()
        except FabricError as refusal:
            expected = type(refusal)

        async def tried() -> Any:
            try:
                return await real()
            except FabricError as refusal:
                return type(refusal)

        assert self.run(tried()) == expected

    # what may happen

    @rule(
        pool=pools, new=st.lists(new_tasks, min_size=1, max_size=4), key=st.sampled_from([None, None, None, "k1", "k2"])
    )
    def submit(self, pool: int, new: list[NewTask], key: str | None) -> None:
        project, policy, now = self.projects[pool], POLICIES[pool], self.clock()
        kinds: dict[str | None, tuple[int, int]] = {
            None: (policy.max_retries, policy.lease),
            "open": (OPEN_TYPE.max_retries or 0, OPEN_TYPE.lease or 0),
            "unique": (policy.max_retries, policy.lease),
        }
        asked = [
            NewTask(
                type=each.type,
                name=each.name,
                variables=each.variables,
                priority=each.priority,
                not_before=None if each.not_before is None else now + each.not_before * SECOND,
                max_retries=each.max_retries,
                on_lost=each.on_lost,
            )
            for each in new
        ]

        async def real() -> list[Task]:
            made = await self.fabric.tasks.submit(Submit(project=project, tasks=asked, by=ANN, key=key))
            for outcome in made:
                if not isinstance(outcome, Task):
                    raise outcome
            return [outcome for outcome in made if isinstance(outcome, Task)]

        def meant() -> list[str | None]:
            """The ids as far as they are known before: None for a task that is new."""
            again = self.model.answered(project, key, asked)
            if again is not None:
                return list(again)
            pieces = [
                Piece(
                    id="",
                    project=project,
                    name=each.name,
                    type=each.type,
                    variables=each.variables,
                    priority=each.priority,
                    not_before=each.not_before,
                    max_retries=kinds[each.type][0] if each.max_retries is None else each.max_retries,
                    on_lost=each.on_lost,
                    lease=kinds[each.type][1],
                )
                for each in asked
            ]
            given = self.model.check_submit(project, pieces, {"unique"})
            fresh = [piece for place, piece in enumerate(given) if all(piece is not other for other in given[:place])]
            self.fresh = [piece for piece in fresh if not piece.id]
            self.given = given
            return [piece.id or None for piece in given]

        self.fresh: list[Piece] = []
        self.given: list[Piece] = []

        async def matched() -> list[str | None]:
            old = set(self.known)
            made = await real()
            for piece, task in zip(self.given, made, strict=False):
                piece.id = piece.id or task.id
            if self.given:
                assert [piece.id for piece in self.given] == [task.id for task in made]
            pool_of = self.model.pools[project]
            pool_of.pieces += self.fresh
            self.known += [piece.id for piece in self.fresh]
            if key is not None and self.given:
                pool_of.keys[key] = (asked, [task.id for task in made])
            return [task.id if task.id in old else None for task in made]

        self.same(matched, meant)

    @precondition(lambda self: self.known)
    @rule(pool=pools, asked=st.lists(claims, min_size=1, max_size=3, unique_by=lambda claim: claim.worker))
    def claim(self, pool: int, asked: list[Claims]) -> None:
        """Several workers in one ride: as if one after the other, and never the same task."""
        project, now = self.projects[pool], self.clock()

        async def taken_by(each: Claims) -> list[str]:
            call = Claim(
                project=project,
                worker=each.worker,
                holder=each.holder,
                count=each.count,
                resume=each.resume,
                lease=each.lease,
            )
            taken = await self.fabric.tasks.claim(call)
            for task in taken:
                hold = Hold(worker=each.worker, fence=task.fence)
                if hold not in self.holds.setdefault(task.id, []):
                    self.holds[task.id].append(hold)
            return [task.id for task in taken]

        async def real() -> list[list[str]]:
            async with asyncio.TaskGroup() as group:
                given = [group.create_task(taken_by(each)) for each in asked]
            return [each.result() for each in given]

        async def ungrouped() -> list[list[str]]:
            try:
                return await real()
            except* FabricError as refusals:
                raise refusals.exceptions[0] from None

        self.same(
            ungrouped,
            lambda: [
                self.model.claim(project, each.worker, each.holder, each.count, each.resume, each.lease, now)
                for each in asked
            ],
        )

    @precondition(lambda self: self.running())
    @rule(acts=st.lists(st.tuples(picks, holders_verbs, shown), min_size=1, max_size=4))
    def work(self, acts: list[tuple[int, str, Shown]]) -> None:
        for act in acts:
            self.act(*act)

    def act(self, number: int, verb: str, show: Shown) -> None:
        """Somebody who holds a task, or thinks so."""
        id, now = self.pick(number, "running"), self.clock()
        by = show.hold(self.seen(id))
        tasks, model = self.fabric.tasks, self.model
        good, bad = Result(ok=True, output=number), Result(ok=False, error="broke", retry=verb == "fail")

        async def real() -> None:
            if verb == "extend":
                await tasks.extend(Extend(task=id, by=by, add=number % 3 * 5 * SECOND, keep=number % 2 * 15 * SECOND))
            elif verb == "release":
                await tasks.release(Release(task=id, by=by))
            else:
                await tasks.finish(Finish(task=id, by=by, result=good if verb == "finish" else bad))

        def meant() -> None:
            if verb == "extend":
                model.extend(id, by, number % 3 * 5 * SECOND, number % 2 * 15 * SECOND, now)
            elif verb == "release":
                model.release(id, by, now)
            elif verb == "finish":
                model.finish(id, by, now)
            else:
                model.fail(id, by, verb == "fail", now)

        self.same(real, meant)

    @precondition(lambda self: self.running())
    @rule(number=picks)
    def finish_twice_at_once(self, number: int) -> None:
        """The same result handed in twice in one ride counts once."""
        id, now = self.pick(number, "running"), self.clock()
        piece = self.seen(id)
        running = piece is not None and piece.state == "running"

        async def both() -> list[bool]:
            twice = await self.fabric.tasks.finish_many([Finish(task=id, by=Hold(), result=Result(ok=True))] * 2)
            return [isinstance(outcome, Task) for outcome in twice]

        assert self.run(both()) == [running, False]
        if running:
            self.model.finish(id, Hold(), now)

    @precondition(lambda self: self.known)
    @rule(number=picks, verb=st.sampled_from(["cancel", "requeue", "requeue", "edit", "delete"]))
    def manage(self, number: int, verb: str) -> None:
        """Somebody who looks after the tasks of others."""
        prefer = {"cancel": ("running", "queued"), "requeue": ("failed", "cancelled"), "edit": ("queued",)}
        id, now = self.pick(number, *prefer.get(verb, ())), self.clock()
        variables = {"colour": ["red", "blue", "green"][number % 3]}
        tasks, model = self.fabric.tasks, self.model

        async def real() -> None:
            if verb == "cancel":
                await tasks.cancel(id, ANN)
            elif verb == "requeue":
                await tasks.requeue(id, ANN)
            elif verb == "edit":
                await tasks.edit(id, Edit(variables=variables), ANN)
            else:
                await tasks.delete(id, ANN)

        def meant() -> None:
            if verb == "cancel":
                model.cancel(id, now)
            elif verb == "requeue":
                model.requeue(id, now)
            elif verb == "edit":
                model.edit(id, variables)
            else:
                model.delete(id)

        self.same(real, meant)

    @precondition(lambda self: self.known)
    @rule(pool=pools)
    def sweep(self, pool: int) -> None:
        project = self.projects[pool]

        async def real() -> list[str]:
            return sorted(task.id for task in await self.fabric.tasks.sweep(project))

        self.same(real, lambda: sorted(self.model.sweep(project, self.clock())))

    @rule(seconds=st.sampled_from([1, 4, 5, 15, 20, 61]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: len(self.known) > 8)
    @rule(pool=pools, what=st.sampled_from(["open", "open", "restart", "close", "remove"]))
    def upheaval(self, pool: int, what: str) -> None:
        project = self.projects[pool]
        if what == "restart":
            self.run(self.store.close())
            self.open()
        elif what == "remove":
            self.run(self.fabric.projects.remove(project, ANN))
            del self.model.pools[project]
            self.create(pool)
        else:
            state: ProjectState = "active" if what == "open" else "closed"
            self.run(self.fabric.projects.change(project, ProjectEdit(state=state), ANN))
            self.model.pools[project].open = what == "open"

    # what must be so after each step

    @invariant()
    def the_books_balance(self) -> None:
        books = self.run(self.look())
        for project, tasks in books.tasks.items():
            counts = Counter(task.state for task in tasks)
            assert books.tallies.get(project, Tally()) == Tally(**{state: counts[state] for state in STATES})
            assert (project in books.busy) == bool(counts["running"])
            self.check_against_model(project, tasks)
            self.check_figures(books, project, tasks)
            for task in tasks:
                self.check_task(task)
        self.check_facts(books)

    async def look(self) -> Books:
        now, projects = self.clock(), list(self.model.pools)

        def query(tx: Tx) -> Books:
            return Books(
                tasks={project: tx.list_tasks(Filter(project=project), 10_000, 0) for project in projects},
                tallies=tx.tallies(projects),
                claimable={project: tx.count_claimable(project, now) for project in projects},
                activity={project: tx.activity(project, now - HOUR, now) for project in projects},
                busy=tx.busy_projects(),
                events=tx.events_after(self.cursor, 10_000),
            )

        return await self.store.read(query)

    def check_against_model(self, project: str, tasks: list[Task]) -> None:
        def real(task: Task) -> tuple[object, ...]:
            lease = task.lease
            held = (lease.worker, lease.holder, lease.until, set(lease.displaced)) if lease else (None, None, None, set())
            named = (task.name, self.type_ids.get(task.type or ""), task.variables, task.priority, task.not_before)
            return (task.id, task.state, task.retries, task.fence, *held, task.finished, *named)

        def meant(piece: Piece) -> tuple[object, ...]:
            held = (piece.worker, piece.holder, piece.until, piece.displaced)
            named = (piece.name, piece.type, piece.variables, piece.priority, piece.not_before)
            return (piece.id, piece.state, piece.retries, piece.fence, *held, piece.finished, *named)

        assert [real(task) for task in tasks] == [meant(piece) for piece in self.model.pools[project].pieces]

    def check_figures(self, books: Books, project: str, tasks: list[Task]) -> None:
        now = self.clock()
        waiting = [task for task in tasks if task.state == "queued" and (task.not_before or 0) <= now]
        assert books.claimable[project] == len(waiting) + sum(task.expired(now) for task in tasks)
        recent = Counter(task.state for task in tasks if task.finished is not None and task.finished > now - HOUR)
        busy = {task.lease.worker for task in tasks if task.lease and not task.expired(now)}
        figures = books.activity[project]
        assert (figures.succeeded, figures.failed) == (recent["succeeded"], recent["failed"])
        assert figures.workers == len(busy)

    def check_task(self, task: Task) -> None:
        piece = self.model.piece(task.id)
        assert piece.tries <= task.max_retries + 1
        fences = [attempt.fence for attempt in task.attempts]
        assert all(earlier < later for earlier, later in pairwise([0, *fences]))
        assert sum(attempt.state == "running" for attempt in task.attempts) == (task.state == "running")
        assert all((attempt.ended is None) == (attempt.state == "running") for attempt in task.attempts)
        if task.state == "running":  # of all who ever held it, only the last may go on
            valid = [hold for hold in self.holds[task.id] if self.may_go_on(task, hold)]
            assert valid == self.holds[task.id][-1:]
            assert [hold.fence for hold in valid] == [task.fence]

    def may_go_on(self, task: Task, hold: Hold) -> bool:
        try:
            task.extended(hold, self.clock() + MINUTE, self.clock())
        except LeaseLost:
            return False
        return True

    def check_facts(self, books: Books) -> None:
        for event in books.events:
            assert event.seq > self.cursor
            self.cursor = event.seq
            if event.kind == "project.deleted":
                gone = [id for id, project in self.of_project.items() if project == event.subject]
                for id in gone:
                    self.folded.pop(id, None)
            if not event.kind.startswith("task."):
                continue
            before, after = FOLDS[event.kind]
            assert self.folded.get(event.subject) in before, event
            if event.kind in ("task.claimed", "task.resumed"):
                assert event.data["fence"] > self.fences[event.subject]
                self.fences[event.subject] = event.data["fence"]
            after = event.data["state"] if after == "?" else after
            self.of_project[event.subject] = event.project
            if after is None:
                del self.folded[event.subject]
            else:
                self.folded[event.subject] = after
        assert self.folded == {task.id: task.state for tasks in books.tasks.values() for task in tasks}


AnySequence.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestAnySequence = AnySequence.TestCase
