"""The things of the native API as a program sees them: projects, types, tasks, leases, facts.

Instants are aware datetimes, durations are seconds. Keys that a newer server adds are ignored.
"""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Duplicates = Literal["ignore", "fail", "allow"]
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


class Policy(Struct, frozen=True, kw_only=True):
    """What tasks of a project get unless their type says otherwise; `lease` and `sweep_every` are seconds."""

    max_retries: int = 3
    lease: float = 600.0
    sweep_every: float = 60.0


class Tally(Struct, frozen=True, kw_only=True):
    """How many tasks are in each state."""

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    total: int = 0


class Project(Struct, frozen=True, kw_only=True):
    """A named pool of work."""

    id: str
    name: str
    description: str = ""
    instructions: str | None = None
    state: Literal["active", "closed"] = "active"
    policy: Policy = Policy()
    tally: Tally = Tally()
    created: datetime
    updated: datetime


class Stats(Struct, frozen=True, kw_only=True):
    """What a project holds, and what it did in the last hour."""

    tally: Tally
    claimable: int
    workers: int
    succeeded_last_hour: int
    failed_last_hour: int
    mean_seconds_last_hour: float


class TaskType(Struct, frozen=True, kw_only=True):
    """A template and its policies, named inside one project."""

    id: str
    project: str
    name: str
    template: str | None = None
    variables: list[str] = []
    duplicates: Duplicates = "allow"
    max_retries: int
    lease: float
    created: datetime
    updated: datetime


class Result(Struct, frozen=True, kw_only=True):
    """How work ended."""

    ok: bool
    output: Any = None
    error: str | None = None
    outputs: dict[str, Any] | None = None
    retry: bool | None = None
    reason: str = "reported"


class Attempt(Struct, frozen=True, kw_only=True):
    """One assignment of a task to a worker."""

    worker: str
    fence: int
    state: str
    started: datetime
    ended: datetime | None = None
    lease_until: datetime
    result: Result | None = None


class Held(Struct, frozen=True):
    """A lease: the task and the fence that its claim gave."""

    id: str
    fence: int


class Ended(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one task ended, to be handed in; `Task.done` and `Task.failed` make it."""

    id: str
    fence: int
    ok: bool = True
    output: Any = None
    outputs: dict[str, Any] | None = None
    error: str | None = None
    retry: bool = True


class Task(Struct, frozen=True, kw_only=True):
    """A task. `worker` and `lease_until` are there while it runs; `attempts` where one task was asked for."""

    id: str
    project: str
    name: str | None = None
    type: str | None = None
    type_name: str | None = None
    kind: str = "work"
    queue: str = ""
    submitter: str = ""
    description: str = ""
    instructions: str | None = None
    variables: dict[str, Any] = {}
    batch: str | None = None
    priority: int = 0
    not_before: datetime | None = None
    max_retries: int = 0
    on_lost: str = "requeue"
    state: State
    retries: int = 0
    fence: int = 0
    worker: str | None = None
    lease_until: datetime | None = None
    created: datetime
    updated: datetime
    assigned: datetime | None = None
    finished: datetime | None = None
    result: Result | None = None
    attempts: list[Attempt] = []

    @property
    def held(self) -> Held:
        """What its holder shows."""
        return Held(self.id, self.fence)

    @property
    def lease_seconds(self) -> float:
        """How long the lease was when it was given; by the server's clock alone."""
        if self.lease_until is None or self.assigned is None:
            return 0.0
        return (self.lease_until - self.assigned).total_seconds()

    def done(self, output: Any = None, outputs: dict[str, Any] | None = None) -> Ended:
        """This task, well done."""
        return Ended(id=self.id, fence=self.fence, output=output, outputs=outputs)

    def failed(
        self, error: str, *, retry: bool = True, output: Any = None, outputs: dict[str, Any] | None = None
    ) -> Ended:
        """This task, not done; with `retry` another try makes sense."""
        return Ended(
            id=self.id, fence=self.fence, ok=False, error=error, retry=retry, output=output, outputs=outputs
        )  # fmt: skip


class NewTask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task to be made. `type` is an id or a name; `name` is the submitter's own, unique in the project."""

    type: str | None = None
    name: str | None = None
    kind: str = "work"
    queue: str = ""
    description: str | None = None
    instructions: str | None = None
    variables: dict[str, Any] = {}
    batch: str | None = None
    priority: int = 0
    not_before: datetime | None = None
    max_retries: int | None = None
    on_lost: Literal["requeue", "fail"] = "requeue"


class Standing(Struct, frozen=True, kw_only=True):
    """Where a task stands after a worker's word on it."""

    id: str
    state: State
    retries: int
    fence: int
    lease_until: datetime | None = None


class Page(Struct, frozen=True, kw_only=True):
    """Some tasks of a list, and how many the list has in all."""

    tasks: list[Task]
    total: int


class Swept(Struct, frozen=True, kw_only=True):
    """The tasks whose lease had run out, and who held them."""

    tasks: list[str]
    workers: list[str]


class Event(Struct, frozen=True, kw_only=True):
    """A fact; `cursor` is where to go on from."""

    cursor: int
    kind: str
    subject: str
    project: str | None = None
    at: datetime
    data: dict[str, Any] = {}


class Events(Struct, frozen=True, kw_only=True):
    """Some facts, oldest first, and the cursor to go on from."""

    events: list[Event]
    cursor: int


class About(Struct, frozen=True, kw_only=True):
    """What runs there."""

    version: str
    pid: int
    started: datetime
    store: str
    listeners: dict[str, str]
