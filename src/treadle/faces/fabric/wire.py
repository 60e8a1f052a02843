"""What the native queue API reads and says: our own words, in snake case.

Instants are ISO 8601 in UTC with microseconds, durations are seconds (fractions allowed). Every key is always present,
except where a comment says otherwise.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from treadle.core.projects import (
    Duplicates,
    ProjectName,
    ProjectState,
    Retries,
    TypeName,
    VariableName,
    name_of,
)
from treadle.core.tasks import AttemptState, OnLost, State

LONGEST_WAIT = 300
MOST_SUBMITTED = 5_000
MOST_LEASES = 1_000
"""Tasks that one claim, extend, finish or release may name."""

Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Moment = Annotated[datetime, Meta(tz=True)]
"""An instant as a caller may write it: any offset, but with one."""
LeaseSeconds = Annotated[float, Meta(gt=0, le=2_592_000)]
SweepSeconds = Annotated[float, Meta(ge=1, le=86_400)]
WaitSeconds = Annotated[float, Meta(ge=0, le=LONGEST_WAIT)]
WorkerName = Annotated[str, name_of("Worker", 50)]
TaskName = Annotated[str, name_of("Task")]
QueueName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]*$", max_length=100)]
Ref = Annotated[str, Meta(min_length=1, max_length=100)]
"""An id or a name."""
Line = Annotated[str, Meta(max_length=500)]
Text = Annotated[str, Meta(max_length=100_000)]
Label = Annotated[str, Meta(min_length=1, max_length=200)]
Fence = Annotated[int, Meta(ge=0, le=2**53)]
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]
Limit = Annotated[int, Meta(ge=1, le=1_000)]
Offset = Annotated[int, Meta(ge=0, le=2**53)]
Variables = dict[VariableName, Any]


class Fault(Struct, frozen=True):
    """One broken rule: the dotted path of the field and what the rule says."""

    field: str
    message: str


class Error(Struct, frozen=True, omit_defaults=True):
    """The body of every refusal; `faults` is there when rules of the request were broken."""

    success: bool
    error: str
    code: str
    faults: list[Fault] = []


class Refused(Struct, frozen=True):
    """Why one item of a batch was refused."""

    code: str
    message: str


# projects and types


class Policy(Struct, frozen=True, kw_only=True):
    """What tasks of a project get unless their type says otherwise, and how often lost leases are swept."""

    max_retries: Retries = 3
    lease: LeaseSeconds = 600.0
    sweep_every: SweepSeconds = 60.0


class Tally(Struct, frozen=True):
    """How many tasks are in each state."""

    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    total: int


class Project(Struct, frozen=True):
    """A named pool of work."""

    id: str
    name: str
    description: str
    instructions: str | None
    state: ProjectState
    policy: Policy
    tally: Tally
    created: Instant
    updated: Instant


class Projects(Struct, frozen=True):
    """A page of projects, newest first."""

    projects: list[Project]


class NewProject(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project to be made; only its name is needed."""

    name: ProjectName
    description: Text = ""
    instructions: Text | None = None
    policy: Policy = Policy()


class PolicyEdit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a policy to change."""

    max_retries: Retries | UnsetType = UNSET
    lease: LeaseSeconds | UnsetType = UNSET
    sweep_every: SweepSeconds | UnsetType = UNSET


class ProjectEdit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change in a project; `state` closes and reopens it."""

    name: ProjectName | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    instructions: Text | None | UnsetType = UNSET
    state: ProjectState | UnsetType = UNSET
    policy: PolicyEdit | UnsetType = UNSET


class ProjectQuery(Struct, frozen=True, kw_only=True):
    """Which projects to list."""

    state: Literal["active", "closed", "all"] = "active"
    limit: Limit = 100
    offset: Offset = 0


class Stats(Struct, frozen=True):
    """What a project holds, and what it did in the last hour; `claimable` is what a claim could give out now."""

    tally: Tally
    claimable: int
    workers: int
    succeeded_last_hour: int
    failed_last_hour: int
    mean_seconds_last_hour: float


class TaskType(Struct, frozen=True):
    """A template and its policies, named inside one project."""

    id: str
    project: str
    name: str
    template: str | None
    variables: list[str]
    duplicates: Duplicates
    max_retries: int
    lease: float
    created: Instant
    updated: Instant


class TaskTypes(Struct, frozen=True):
    """A page of types, newest first."""

    types: list[TaskType]


class NewType(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A type to be made; what is left out comes from its project, the variables from its template."""

    name: TypeName
    template: Text | None = None
    variables: Annotated[list[VariableName], Meta(max_length=100)] | None = None
    duplicates: Duplicates = "allow"
    max_retries: Retries | None = None
    lease: LeaseSeconds | None = None


class TypeEdit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change in a type."""

    name: TypeName | UnsetType = UNSET
    template: Text | None | UnsetType = UNSET
    variables: Annotated[list[VariableName], Meta(max_length=100)] | UnsetType = UNSET
    duplicates: Duplicates | UnsetType = UNSET
    max_retries: Retries | UnsetType = UNSET
    lease: LeaseSeconds | UnsetType = UNSET


class PageQuery(Struct, frozen=True, kw_only=True):
    """Which part of a list."""

    limit: Limit = 100
    offset: Offset = 0


# tasks


class Result(Struct, frozen=True):
    """How work ended: its output and further named outputs, or the error and whether another try made sense."""

    ok: bool
    output: Any
    error: str | None
    outputs: dict[str, Any] | None
    retry: bool | None
    reason: Literal["reported", "lost", "cancelled"]


class Attempt(Struct, frozen=True):
    """One assignment of the task to a worker."""

    worker: str
    fence: int
    state: AttemptState
    started: Instant
    ended: Instant | None
    lease_until: Instant
    result: Result | None


class Task(Struct, frozen=True, kw_only=True):
    """A task. `instructions` are what a worker reads: the template with its variables filled in.

    `worker` and `lease_until` are there while it runs. `attempts` is only there where one task was asked for.
    """

    id: str
    project: str
    name: str | None
    type: str | None
    type_name: str | None
    kind: str
    queue: str
    submitter: str
    description: str
    instructions: str | None
    variables: dict[str, Any]
    batch: str | None
    priority: int
    not_before: Instant | None
    max_retries: int
    on_lost: OnLost
    state: State
    retries: int
    fence: int
    worker: str | None
    lease_until: Instant | None
    created: Instant
    updated: Instant
    assigned: Instant | None
    finished: Instant | None
    result: Result | None
    attempts: list[Attempt] | UnsetType = UNSET


class Tasks(Struct, frozen=True):
    """A page of tasks in creation order; `total` is how many there are in all."""

    tasks: list[Task]
    total: int


class Claimed(Struct, frozen=True):
    """The tasks that a claim gave, each with its fence and lease; empty when there is nothing to do."""

    tasks: list[Task]


class TaskQuery(Struct, frozen=True, kw_only=True):
    """Which tasks of a project to list; `state` may be given more than once, `type` is an id or a name."""

    project: Ref
    state: list[State] | None = None
    worker: str | None = None
    batch: str | None = None
    type: str | None = None
    limit: Limit = 100
    offset: Offset = 0


class WaitQuery(Struct, frozen=True, kw_only=True):
    """How long to stay until the task has ended."""

    wait: WaitSeconds = 0


class NewTask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task to be made. `type` is an id or a name; `name` is the submitter's own, unique in the project."""

    type: Ref | None = None
    name: TaskName | None = None
    kind: Label = "work"
    queue: QueueName = ""
    description: Text | None = None
    instructions: Text | None = None
    variables: Variables = {}
    batch: Label | None = None
    priority: Priority = 0
    not_before: Moment | None = None
    max_retries: Retries | None = None
    on_lost: OnLost = "requeue"


class Submit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New tasks for one project. With `atomic` one fault refuses all of them; else each has its own outcome."""

    project: Ref
    tasks: Annotated[list[NewTask], Meta(min_length=1, max_length=MOST_SUBMITTED)]
    atomic: bool = True


class Submitted(Struct, frozen=True, omit_defaults=True):
    """What became of one new task: the task (with `duplicates: ignore` perhaps an older one), or why not."""

    task: Task | None = None
    error: Refused | None = None


class SubmitReply(Struct, frozen=True):
    """One result for each task, in order."""

    results: list[Submitted]


class TaskEdit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change in a queued task."""

    instructions: Text | None | UnsetType = UNSET
    variables: Variables | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    batch: Label | None | UnsetType = UNSET


class Cancel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a task is called off."""

    reason: Line | None = None


# leases


class Claim(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker asks for up to `count` tasks; with `wait` it stays so many seconds until there is one.

    `lease` overrides the length that the tasks' types give. With `resume` a worker that already holds a task gets that
    one again, with a new fence.
    """

    project: Ref
    worker: WorkerName
    queue: QueueName = ""
    count: Annotated[int, Meta(ge=1, le=MOST_LEASES)] = 1
    wait: WaitSeconds = 0
    lease: LeaseSeconds | None = None
    resume: bool = False


class Held(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lease: the task and the fence that its claim gave."""

    id: Ref
    fence: Fence


class Extend(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker asks to keep its tasks for so many seconds from now (never less than it has)."""

    tasks: Annotated[list[Held], Meta(min_length=1, max_length=MOST_LEASES)]
    seconds: LeaseSeconds


class Ended(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one task ended: with `ok` its output, without it the error and whether another `retry` makes sense."""

    id: Ref
    fence: Fence
    ok: bool = True
    output: Any = None
    outputs: dict[str, Any] | None = None
    error: Text | None = None
    retry: bool = True


class Finish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker hands in how its tasks ended, good and bad ones together."""

    tasks: Annotated[list[Ended], Meta(min_length=1, max_length=MOST_LEASES)]


class Release(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker gives tasks back untouched; the try does not count."""

    tasks: Annotated[list[Held], Meta(min_length=1, max_length=MOST_LEASES)]


class Standing(Struct, frozen=True):
    """Where a task stands after a worker's word on it."""

    id: str
    state: State
    retries: int
    fence: int
    lease_until: Instant | None


class Settled(Struct, frozen=True, omit_defaults=True):
    """What became of one item of a worker's batch."""

    task: Standing | None = None
    error: Refused | None = None


class LeaseReply(Struct, frozen=True):
    """One result for each item, in order."""

    results: list[Settled]


class Sweep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put back, or fail, the tasks of a project whose lease ran out."""

    project: Ref


class Swept(Struct, frozen=True):
    """The tasks whose lease had run out, and who held them."""

    tasks: list[str]
    workers: list[str]


# facts, and the server itself


class Event(Struct, frozen=True):
    """A fact: what happened to which subject, when and in which project; `cursor` is where to go on from."""

    cursor: int
    kind: str
    subject: str
    project: str | None
    at: Instant
    data: dict[str, Any]


class Events(Struct, frozen=True):
    """A page of facts, oldest first; ask again with `after=cursor` for what comes next."""

    events: list[Event]
    cursor: int


class EventQuery(Struct, frozen=True, kw_only=True):
    """From where (0: the oldest fact kept; left out: now) and of which project."""

    after: Offset | None = None
    project: Ref | None = None
    limit: Limit = 500


class Health(Struct, frozen=True):
    """Whether this server can do its work."""

    status: Literal["healthy", "unhealthy"]
    version: str


class About(Struct, frozen=True):
    """What runs here: the version, the process, the store and where each face is reached."""

    version: str
    pid: int
    started: Instant
    store: str
    listeners: dict[str, str]
