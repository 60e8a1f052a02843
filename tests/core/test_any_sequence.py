"""Any sequence of verbs: the real fabric on SQLite does what the model does, and its books balance after every step."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from tests.core.books import open_books
from tests.core.facts import Told
from tests.core.model import Kind, Model, Piece, Pool
from tests.core.stage import ANN, HandClock, numbered
from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.sqlite import open_sqlite
from treadle.adapters.store.sqlite import store as sqlite
from treadle.core.catalogue import NewType, ProjectEdit
from treadle.core.clock import MINUTE, SECOND
from treadle.core.errors import FabricError, LeaseLost
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim, Extend, Finish, Release
from treadle.core.projects import Policy, ProjectState
from treadle.core.queue import Edit
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Hold, Result, Task

R = TypeVar("R")

POLICIES = [Policy(max_retries=1, lease=20 * SECOND), Policy(max_retries=0, lease=60 * SECOND)]

pools = st.integers(0, len(POLICIES) - 1)
picks = st.integers(0, 1000)
new_tasks = st.builds(
    NewTask,
    type=st.sampled_from([None, "quick", "unique"]),
    name=st.sampled_from([None, None, None, "n1", "n2", "n3"]),
    variables=st.sampled_from([{"colour": "red", "ply": 2}, {"ply": 2, "colour": "red"}, {"colour": "blue"}]),
    priority=st.sampled_from([0, 0, 0, 5, -3]),
    not_before=st.sampled_from([None, None, 4 * SECOND, 30 * SECOND]),  # from now; made an instant when submitted
    max_retries=st.sampled_from([None, None, 0, 3]),
    on_lost=st.sampled_from(["requeue", "requeue", "fail"]),
)
claims = st.builds(
    Claim,
    project=st.just(""),
    worker=st.sampled_from(["w1", "w2", "w3"]),
    holder=st.sampled_from([None, "s1", "s2", "s3"]),
    count=st.integers(1, 3),
    resume=st.booleans(),
    lease=st.sampled_from([None, None, 3 * SECOND]),
)
works = st.tuples(
    picks,
    st.sampled_from(["finish", "finish twice", "fail", "fail", "give up", "extend", "release"]),
    # what is shown of the worker, the session and the fence
    st.sampled_from(["right", "right", "nothing", "other"]),
    st.sampled_from(["right", "right", "nothing", "former", "other"]),
    st.sampled_from(["right", "nothing", "nothing", "former"]),
)


def shown(piece: Piece, worker: str, holder: str, fence: str) -> Hold:
    """What a caller shows, seen from the task: the right thing, another's, a former one, or nothing."""
    former = min((former for former in piece.displaced if former), default=None)
    return Hold(
        worker={"nothing": None, "right": piece.worker, "other": "w9"}[worker],
        holder={"nothing": None, "right": piece.holder, "former": former, "other": "s9"}[holder],
        fence={"nothing": None, "right": piece.fence, "former": piece.fence - 1}[fence],
    )


def refusal(doing: Callable[[], R]) -> R | type[FabricError]:
    """What it gives, or the kind of error that refuses it."""
    try:
        return doing()
    except FabricError as error:
        return type(error)


class AnySequence(RuleBasedStateMachine):
    """Two projects, three workers, and everything that may happen to their tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.Runner()
        self.clock, self.ids = HandClock(), numbered()
        self.model = Model()
        self.projects: list[str] = []
        self.types: dict[str | None, str] = {}
        self.known: list[str] = []  # every task there ever was, those that are gone too
        self.holds: dict[str, list[Hold]] = {}
        self.told = Told()
        self.open()

    def run(self, doing: Awaitable[R]) -> R:
        async def until_done() -> R:
            return await doing

        return self.loop.run(until_done())

    def open(self) -> None:
        # What a power loss leaves is another test's subject; without waiting for the disk this one sees more.
        with patch.object(sqlite, "DURABLE", sqlite.DURABLE + "PRAGMA synchronous = OFF;"):
            self.store = self.run(open_sqlite(Path(self.folder.name, "treadle.db")))
        self.fabric = Fabric(
            self.store, LocalBus(), self.clock, self.ids, unprinted(self.clock), report=lambda name, error: None
        )

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
        catalogue, policy = self.fabric.projects, POLICIES[place]
        id = self.run(catalogue.create(f"project-{place}", ANN, policy=policy)).project.id
        quick = self.run(catalogue.create_type(id, NewType(name="quick", lease=5 * SECOND, max_retries=2), ANN))
        unique = self.run(catalogue.create_type(id, NewType(name="unique", duplicates="ignore"), ANN))
        self.types |= {quick.id: "quick", unique.id: "unique"}
        self.projects[place : place + 1] = [id]
        self.model.pools[id] = Pool(
            {
                None: Kind(policy.max_retries, policy.lease),
                "quick": Kind(2, 5 * SECOND),
                "unique": Kind(policy.max_retries, policy.lease, unique=True),
            }
        )

    def pick(self, number: int, *states: str) -> str:
        """Some task, three times out of four one in these states; it may be gone."""
        fitting = [piece.id for piece in self.model.pieces(*states)]
        some = fitting if fitting and number % 4 < 3 else self.known
        return some[number // 4 % len(some)] if some else "no-such-task"

    def same(self, real: Coroutine[Any, Any, Any], meant: Callable[[], Any]) -> None:
        """Both sides do it, with the same answer or the same refusal."""
        assert refusal(lambda: self.run(real)) == refusal(meant)

    # what may happen

    @rule(pool=pools, new=st.lists(new_tasks, min_size=1, max_size=4), key=st.sampled_from([None] * 3 + ["k1", "k2"]))
    def submit(self, pool: int, new: list[NewTask], key: str | None) -> None:
        project, now = self.projects[pool], self.clock()
        asked = [replace(each, not_before=each.not_before and now + each.not_before) for each in new]

        async def real() -> list[str]:
            made = await self.fabric.tasks.submit(Submit(project=project, tasks=asked, by=ANN, key=key))
            for outcome in made:
                if not isinstance(outcome, Task):
                    raise outcome
            return [outcome.id for outcome in made if isinstance(outcome, Task)]

        made = refusal(lambda: self.run(real()))
        meant = refusal(lambda: self.model.submit(project, asked, key))
        if isinstance(made, type) or isinstance(meant, type):
            assert made == meant
            return
        for id, piece in zip(made, meant, strict=True):
            if not piece.id:
                assert id not in self.known
                piece.id = id
                self.known.append(id)
            assert id == piece.id

    @precondition(lambda self: self.known)
    @rule(pool=pools, asked=st.lists(claims, min_size=1, max_size=3, unique_by=lambda claim: claim.worker))
    def claim(self, pool: int, asked: list[Claim]) -> None:
        """Several workers in one ride: as if one came after the other, and never the same task."""
        now, calls = self.clock(), [replace(each, project=self.projects[pool]) for each in asked]

        async def taken(call: Claim) -> list[str]:
            tasks = await self.fabric.tasks.claim(call)
            for task in tasks:
                hold, before = Hold(worker=call.worker, fence=task.fence), self.holds.setdefault(task.id, [])
                before += [] if hold in before else [hold]
            return [task.id for task in tasks]

        async def real() -> list[list[str]]:
            return await asyncio.gather(*map(taken, calls))

        self.same(real(), lambda: [self.model.claim(call, now) for call in calls])

    @precondition(lambda self: self.model.pieces("running"))
    @rule(acts=st.lists(works, min_size=1, max_size=4))
    def work(self, acts: list[tuple[int, str, str, str, str]]) -> None:
        for number, verb, *parts in acts:
            self.act(self.pick(number, "running"), verb, number % 3 * 5 * SECOND, number % 2 * 15 * SECOND, parts)

    def act(self, id: str, verb: str, add: int, keep: int, parts: list[str]) -> None:
        """Somebody who holds a task, or thinks so."""
        now, tasks, model = self.clock(), self.fabric.tasks, self.model
        by = next((shown(piece, *parts) for piece in model.pieces() if piece.id == id), Hold())
        good, bad = Result(ok=True, output="cloth"), Result(ok=False, error="broke", retry=verb == "fail")

        async def real() -> object:
            if verb == "extend":
                await tasks.extend(Extend(task=id, by=by, add=add, keep=keep))
            elif verb == "release":
                await tasks.release(Release(task=id, by=by))
            elif verb == "finish twice":
                outcomes = await tasks.finish.many([Finish(task=id, by=by, result=good)] * 2)
                return [None if isinstance(outcome, Task) else type(outcome) for outcome in outcomes]
            else:
                await tasks.finish(Finish(task=id, by=by, result=good if verb == "finish" else bad))
            return None

        def meant() -> object:
            if verb == "extend":
                model.extend(id, by, add, keep, now)
            elif verb == "release":
                model.release(id, by, now)
            elif verb == "finish twice":
                return [refusal(lambda: model.finish(id, by, now)) for _ in range(2)]
            elif verb == "finish":
                model.finish(id, by, now)
            else:
                model.fail(id, by, verb == "fail", now)
            return None

        self.same(real(), meant)

    @precondition(lambda self: self.known)
    @rule(number=picks, verb=st.sampled_from(["cancel", "requeue", "requeue", "edit", "delete"]))
    def manage(self, number: int, verb: str) -> None:
        """Somebody who looks after the tasks of others."""
        fitting = {"cancel": ("running", "queued"), "requeue": ("failed", "cancelled"), "edit": ("queued",)}
        id, now = self.pick(number, *fitting.get(verb, ())), self.clock()
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

        self.same(real(), meant)

    @rule(seconds=st.sampled_from([0, 1, 3, 4, 5, 20, 60]), sweeps=st.lists(pools, max_size=1))
    def time_passes(self, seconds: int, sweeps: list[int]) -> None:
        self.clock.advance(seconds)
        for pool in sweeps:
            swept = self.run(self.fabric.tasks.sweep(self.projects[pool]))
            assert {task.id for task in swept} == set(self.model.sweep(self.projects[pool], self.clock()))

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
    def the_books_balance_and_say_what_the_model_says(self) -> None:
        books = self.run(open_books(self.store, self.clock(), self.told.cursor))
        books.balance(self.told)
        for project, pool in self.model.pools.items():
            for task, piece in zip(books.tasks[project], pool.pieces, strict=True):
                self.check(task, piece)

    def check(self, task: Task, piece: Piece) -> None:
        lease = task.lease
        held = (lease.worker, lease.holder, lease.until, {*lease.displaced}) if lease else (None, None, None, set())
        assert (task.id, task.state, task.retries, task.fence) == (piece.id, piece.state, piece.retries, piece.fence)
        assert held == (piece.worker, piece.holder, piece.until, piece.displaced)
        assert (task.finished, task.not_before, task.max_retries) == (
            piece.finished,
            piece.not_before,
            piece.max_retries,
        )
        assert (self.types.get(task.type or ""), task.variables) == (piece.asked.type, piece.variables)
        assert (task.name, task.priority) == (piece.asked.name, piece.asked.priority)
        assert piece.tries <= task.max_retries + 1
        if task.state == "running":  # of all who ever held it only the last may go on
            holds = self.holds[task.id]
            assert [hold for hold in holds if self.may_go_on(task, hold)] == holds[-1:]
            assert holds[-1].fence == task.fence

    def may_go_on(self, task: Task, hold: Hold) -> bool:
        try:
            task.extended(hold, self.clock() + MINUTE, self.clock())
        except LeaseLost:
            return False
        return True


AnySequence.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestAnySequence = pytest.mark.timeout(300)(AnySequence.TestCase)  # when it fails, a short example takes its time
