"""A task is one piece of work somebody asked for; a lease is a worker's time-limited hold on it.

Every legal move stands in MOVES; every other is a WrongState. The rules below are pure: each gives the task as it is
after the move, or raises and changes nothing.

          claim            finish
    queued ──▶ running ───────────────▶ succeeded
      ▲  │        │ ├─ fail, no retry left ▶ failed ──┐
      │  │        │ └─ lease lost, none left ▶ failed │ requeue
      ├──┼─ fail, lose, release                       │
      │  └────────┴── cancel ───────────▶ cancelled ──┤
      └───────────────────────────────────────────────┘

Instants and durations are microseconds.
"""

from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from .errors import LeaseLost, WrongState

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
STATES: tuple[State, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
FINAL: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})

Move = Literal["claim", "extend", "finish", "fail", "lose", "release", "cancel", "requeue", "edit", "delete"]
MOVES: dict[Move, frozenset[State]] = {
    "claim": frozenset({"queued"}),
    "extend": frozenset({"running"}),
    "finish": frozenset({"running"}),
    "fail": frozenset({"running"}),
    "lose": frozenset({"running"}),
    "release": frozenset({"running"}),
    "cancel": frozenset({"queued", "running"}),
    "requeue": frozenset({"failed", "cancelled"}),
    "edit": frozenset({"queued"}),
    "delete": frozenset({"queued", "succeeded", "failed", "cancelled"}),
}
"""From which states each move is legal."""

AttemptState = Literal["running", "succeeded", "failed", "lost", "released", "cancelled"]
OnLost = Literal["requeue", "fail"]

REMEMBERED_HOLDERS = 64
"""How many displaced holders a lease remembers; older ones have long lost their session."""


class Result(Struct, frozen=True, omit_defaults=True):
    """How work ended: its output and further named outputs, or the error and whether another try made sense."""

    ok: bool
    output: Any = None
    error: str | None = None
    outputs: dict[str, Any] | None = None
    retry: bool | None = None
    reason: Literal["reported", "lost", "cancelled"] = "reported"


class Attempt(Struct, frozen=True, omit_defaults=True):
    """One assignment of the task to a worker, from claim to end."""

    id: str
    worker: str
    fence: int
    started: int
    lease_until: int
    state: AttemptState = "running"
    ended: int | None = None
    result: Result | None = None


class Lease(Struct, frozen=True, omit_defaults=True):
    """A worker's hold on a running task: who, through which grant, until when, and who held it before them.

    A worker with a slash in its name is one of the fabric's own, such as a node; only who says that name has its lease.
    """

    worker: str
    until: int
    holder: str | None = None
    displaced: tuple[str, ...] = ()


class Hold(Struct, frozen=True):
    """What a caller shows to prove that a running task is theirs; what is None is not compared."""

    worker: str | None = None
    holder: str | None = None
    fence: int | None = None


class Task(Struct, frozen=True, kw_only=True):
    """One piece of work. `seq` is its place in creation order; `fence` grows at each assignment."""

    id: str
    project: str
    created: int
    updated: int
    seq: int = 0
    name: str | None = None
    type: str | None = None
    kind: str = "work"
    queue: str = ""
    face: str = ""
    submitter: str = ""
    description: str = ""
    instructions: str | None = None
    variables: dict[str, Any] = {}
    batch: str | None = None
    priority: int = 0
    not_before: int | None = None
    max_retries: int = 0
    on_lost: OnLost = "requeue"
    state: State = "queued"
    retries: int = 0
    fence: int = 0
    lease: Lease | None = None
    assigned: int | None = None
    finished: int | None = None
    result: Result | None = None
    attempts: tuple[Attempt, ...] = ()

    def claimed(self, *, worker: str, holder: str | None, attempt: str, now: int, until: int) -> "Task":
        """The task in the hands of a worker, with a fence nobody held before."""
        self._must("claim")
        fence = self.fence + 1
        return replace(
            self,
            state="running",
            fence=fence,
            lease=Lease(worker, until, holder),
            assigned=now,
            updated=now,
            not_before=None,
            attempts=(*self.attempts, Attempt(attempt, worker, fence, now, until)),
        )

    def passed_to(self, holder: str | None, now: int) -> "Task":
        """The same lease of the same worker, now in another session's hands; the former holder is refused."""
        lease = self._leased("extend")
        if lease.holder == holder:
            return self
        others = [former for former in (*lease.displaced, lease.holder) if former not in (None, holder)]
        passed = replace(lease, holder=holder, displaced=tuple(others[-REMEMBERED_HOLDERS:]))
        return replace(self, lease=passed, fence=self.fence + 1, updated=now)._attempt(fence=self.fence + 1)

    def extended(self, by: Hold, until: int, now: int) -> "Task":
        """The same lease with another end; `until` is an instant."""
        lease = self._held("extend", by)
        return replace(self, lease=replace(lease, until=until), updated=now)._attempt(lease_until=until)

    def succeeded(self, by: Hold, result: Result, now: int) -> "Task":
        """The task done. A lease that ran out but was not given on still counts: work is not thrown away."""
        self._held("finish", by)
        return self._ended("succeeded", result, now)._attempt(state="succeeded", ended=now)

    def failed(self, by: Hold, result: Result, now: int) -> "Task":
        """The task after a try that failed: queued again while retries are left and wanted, else failed for good."""
        self._held("fail", by)
        return self._tried("failed", result, again=bool(result.retry), now=now)

    def lost(self, now: int) -> "Task":
        """The task after its lease ran out. It always counts as a try, so a task that kills its workers ends."""
        lease = self._leased("lose")
        error = f"The lease of {lease.worker} ran out before the task was finished"
        result = Result(ok=False, error=error, retry=True, reason="lost")
        return self._tried("lost", result, again=self.on_lost == "requeue", now=now)

    def released(self, by: Hold, now: int) -> "Task":
        """The task given back by its holder unharmed: it keeps its place and the try does not count."""
        self._held("release", by)
        return self._waiting(now)._attempt(state="released", ended=now)

    def cancelled(self, reason: str | None, now: int) -> "Task":
        """The task called off, whoever held it."""
        running = self.state == "running"
        self._must("cancel")
        result = Result(ok=False, error=reason or "Cancelled", retry=False, reason="cancelled")
        ended = self._ended("cancelled", result, now)
        return ended._attempt(state="cancelled", ended=now) if running else ended

    def requeued(self, now: int) -> "Task":
        """A failed or cancelled task back in the queue at its old place, with all its retries before it."""
        self._must("requeue")
        return replace(self._waiting(now), retries=0, finished=None, result=None, attempts=self.history())

    def edited(self, now: int, **changes: Any) -> "Task":
        """The task with other instructions, variables, description or batch; only while nobody works on it."""
        self._must("edit")
        return replace(self, updated=now, **changes)

    def removable(self) -> "Task":
        """This task, if it may be deleted."""
        self._must("delete")
        return self

    def expired(self, now: int) -> bool:
        return self.lease is not None and now >= self.lease.until

    def history(self) -> tuple[Attempt, ...]:
        """All attempts, oldest first; the one that ended the task carries the task's result."""
        if self.result is None or not self.attempts or self.attempts[-1].ended != self.finished:
            return self.attempts
        return (*self.attempts[:-1], replace(self.attempts[-1], result=self.result))

    def _must(self, move: Move) -> None:
        if self.state not in MOVES[move]:
            legal = " or ".join(sorted(MOVES[move]))
            raise WrongState(f"Task {self.name or self.id} is {self.state}; it must be {legal}")

    def _leased(self, move: Move) -> Lease:
        self._must(move)
        assert self.lease is not None  # a running task has one
        return self.lease

    def _held(self, move: Move, by: Hold) -> Lease:
        lease = self._leased(move)
        named = by.worker is not None or "/" in lease.worker
        if named and by.worker != lease.worker:
            raise LeaseLost(f"Task {self.name or self.id} is held by {lease.worker}, not by {by.worker}")
        stale = by.fence is not None and by.fence != self.fence
        if stale or (by.holder is not None and by.holder in lease.displaced):
            raise LeaseLost(f"The lease of task {self.name or self.id} has passed to another holder")
        return lease

    def _attempt(self, **changes: Any) -> "Task":
        return replace(self, attempts=(*self.attempts[:-1], replace(self.attempts[-1], **changes)))

    def _tried(self, how: Literal["failed", "lost"], result: Result, *, again: bool, now: int) -> "Task":
        retries = self.retries + 1
        if again and retries <= self.max_retries:
            task = self._waiting(now)._attempt(state=how, ended=now, result=result)
        else:
            task = self._ended("failed", result, now)._attempt(state=how, ended=now)
        return replace(task, retries=retries)

    def _waiting(self, now: int) -> "Task":
        return replace(self, state="queued", lease=None, assigned=None, updated=now)

    def _ended(self, state: State, result: Result, now: int) -> "Task":
        return replace(self, state=state, lease=None, result=result, finished=now, updated=now)
