"""What TaskDriver answers: its objects and envelopes, spelled exactly as its document spells them (contract 2-5).

Optional fields are absent when unset, never null; the one null is `data.task` when there is nothing to do.
"""
# ruff: noqa: N815  (the words are the document's)

from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

T = TypeVar("T")

Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""ISO 8601 UTC with milliseconds and `Z`."""
Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Number = int | float


class Success(Struct, Generic[T], kw_only=True):
    """The envelope of an answer."""

    success: Literal[True] = True
    data: T
    timestamp: Instant


class Row(Struct):
    """One broken rule of a request: the dotted path, the rule's text, the value unless it was missing."""

    field: str
    message: str
    value: Any | UnsetType = UNSET


class Failure(Struct, kw_only=True):
    """The envelope of an error; `validationDetails` only with status 422."""

    success: Literal[False] = False
    error: str
    timestamp: Instant
    correlationId: str
    validationDetails: list[Row] | UnsetType = UNSET


class Message(Struct):
    """The answer of a verb that leaves nothing to show."""

    message: str


class ProjectConfig(Struct):
    """What a project's task types get unless they say otherwise, and how often lost leases are swept."""

    defaultMaxRetries: int
    defaultLeaseDurationMinutes: Number
    reaperIntervalMinutes: Number


class ProjectStats(Struct):
    """How many tasks are in each state; always current."""

    totalTasks: int
    completedTasks: int
    failedTasks: int
    queuedTasks: int
    runningTasks: int


class Project(Struct, kw_only=True):
    """A project (contract 4.1)."""

    id: Id
    name: str
    description: str
    instructions: str | UnsetType = UNSET
    status: Literal["active", "closed"]
    createdAt: Instant
    updatedAt: Instant
    config: ProjectConfig
    stats: ProjectStats


class RecentActivity(Struct):
    """The last hour; the average is in seconds, from claim to completion, 0 if there was none."""

    tasksCompletedLastHour: int
    tasksFailedLastHour: int
    averageTaskDuration: float


class ProjectReport(Struct):
    """A project and what goes on in it (contract 5.1)."""

    project: Project
    queueDepth: int
    activeAgents: int
    recentActivity: RecentActivity


class TaskType(Struct, kw_only=True):
    """A task type (contract 4.2)."""

    id: Id
    projectId: Id
    name: str
    template: str | UnsetType = UNSET
    variables: list[str]
    duplicateHandling: Literal["ignore", "fail", "allow"]
    maxRetries: int
    leaseDurationMinutes: Number
    createdAt: Instant
    updatedAt: Instant


class TaskResult(Struct, kw_only=True):
    """How a task or an attempt ended (contract 4.3)."""

    success: bool
    output: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    canRetry: bool | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class TaskAttempt(Struct, kw_only=True):
    """One claim of a task, from start to end (contract 4.3)."""

    id: Id
    agentName: str
    startedAt: Instant
    completedAt: Instant | UnsetType = UNSET
    status: Literal["running", "completed", "failed", "timeout"]
    leaseExpiresAt: Instant
    result: TaskResult | UnsetType = UNSET
    explanation: str | UnsetType = UNSET
    failureReason: Literal["agent_reported", "timeout", "server_error"] | UnsetType = UNSET


class Task(Struct, kw_only=True):
    """A task (contract 4.3). `id` is the client's own where it chose one."""

    id: str
    projectId: Id
    typeId: Id | UnsetType = UNSET
    typeName: str | UnsetType = UNSET
    description: str
    instructions: str | UnsetType = UNSET
    variables: dict[str, str]
    batchId: str | UnsetType = UNSET
    status: Literal["queued", "running", "completed", "failed"]
    assignedTo: str | UnsetType = UNSET
    assignedAt: Instant | UnsetType = UNSET
    leaseExpiresAt: Instant | UnsetType = UNSET
    retryCount: int
    maxRetries: int
    createdAt: Instant
    updatedAt: Instant
    completedAt: Instant | UnsetType = UNSET
    failedAt: Instant | UnsetType = UNSET
    result: TaskResult | UnsetType = UNSET
    attempts: list[TaskAttempt]


class BulkMade(Struct):
    """What a bulk create did; `errors` name the items by their zero-based place."""

    tasksCreated: int
    errors: list[str]
    createdTasks: list[Task]


class Session(Struct):
    """A login as the server keeps it (contract 4.4)."""

    id: Id
    agentId: str
    agentName: str
    projectId: Id
    createdAt: Instant
    lastAccessedAt: Instant
    expiresAt: Instant
    data: dict[str, Any]


class LoggedIn(Struct):
    """A login's answer: the document's fields, and those of its published server."""

    sessionId: Id
    token: str
    expiresAt: Instant
    sessionToken: str
    resumed: bool
    session: Session


class AgentName(Struct):
    """An agent is only a name."""

    name: str


class SessionInfo(Struct):
    """The session that asks: the document's flat fields, and the objects of its published server."""

    sessionId: Id
    agentName: str
    projectId: Id
    createdAt: Instant
    expiresAt: Instant
    lastActivity: Instant
    id: Id
    agentId: str
    lastAccessedAt: Instant
    data: dict[str, Any]
    session: Session
    project: Project
    agent: AgentName


class Agent(Struct):
    """Somebody who works now, under the document's names and those of its published server (contract 4.5)."""

    agentName: str
    taskId: str
    assignedAt: Instant
    leaseExpiresAt: Instant
    status: Literal["running"]
    name: str
    projectId: Id
    currentTaskId: str


class Peek(Struct):
    """How many tasks a claim could get now: queued, or running with an expired lease."""

    projectId: Id
    tasksAvailable: int


class Assignment(Struct):
    """What an agent got; `id` repeats the task's id, where the document's own clients read it."""

    task: Task | None
    agentName: str
    id: str | UnsetType = UNSET


class NextTask(Struct, kw_only=True):
    """The answer of next-task; with nothing to do it is no success, has an error and a null task, and status 200."""

    success: bool
    error: str | UnsetType = UNSET
    data: Assignment
    timestamp: Instant
    correlationId: str | UnsetType = UNSET


class Cleanup(Struct):
    """What a sweep put back, and how many distinct agents had held it."""

    reclaimedTasks: int
    cleanedAgents: int


class Storage(Struct):
    """Whether the store answers, and which one it is."""

    healthy: bool
    provider: str
    message: str


class HealthData(Struct):
    """The server's state as the document has it; `uptime` in seconds."""

    status: Literal["healthy", "unhealthy"]
    timestamp: Instant
    uptime: int
    storage: Storage


class Health(Struct, kw_only=True):
    """The document's envelope and the published server's bare object in one."""

    success: bool
    error: str | UnsetType = UNSET
    data: HealthData
    status: Literal["healthy", "unhealthy"]
    timestamp: Instant
    version: str
    storage: Storage
    uptime: int


class System(Struct):
    """This process: memory and CPU in percent, uptime in seconds; and the details as its published server has them."""

    memory_usage: float
    cpu_usage: float
    uptime: int
    memory: dict[str, int]
    cpu: dict[str, float]
    pid: int
    version: str
    platform: str
    arch: str


class JsonMetrics(Struct):
    """The document's flat numbers (milliseconds), and the registry with the names of `/metrics`; `uptime` in ms."""

    requests_total: int
    requests_success: int
    requests_error: int
    response_time_avg: float
    active_sessions: int
    system: System
    timestamp: Instant
    uptime: int
    counters: dict[str, float]
    gauges: dict[str, float]
    histograms: dict[str, dict[str, float]]
