"""What TaskDriver is asked: bodies and queries with their rules, spelled as its document spells them (contract 3-5)."""
# ruff: noqa: N815  (the words are the document's)

from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, json

from treadle.core.projects import (
    NAME,
    Duplicates,
    ProjectName,
    ProjectState,
    Retries,
    TypeName,
    VariableName,
    WorkerName,
)

TASKS_AT_ONCE = 1000
MOST_WAIT = 60
"""Seconds that next-task may wait for work."""
_TASK_ID = "Task id can only contain letters, numbers, hyphens, and underscores"

Ref = Annotated[str, Meta(min_length=1, max_length=100)]
"""An id or a name."""
TaskId = Annotated[str, Meta(min_length=1, max_length=100, pattern=NAME, extra={"rule": _TASK_ID})]
Description = Annotated[str, Meta(max_length=500)]
Instructions = Annotated[str, Meta(min_length=1, max_length=10_000)]
TaskInstructions = Annotated[str, Meta(max_length=10_000)]
Template = Annotated[str, Meta(min_length=1, max_length=10_000)]
VariableNames = Annotated[list[VariableName], Meta(max_length=20)]
Variables = Annotated[dict[VariableName, Annotated[str, Meta(min_length=1, max_length=1000)]], Meta(max_length=50)]
BatchId = Annotated[str, Meta(min_length=1, max_length=255)]
TypeMinutes = Annotated[float, Meta(ge=0.1, le=1440)]
ProjectMinutes = Annotated[int, Meta(ge=1, le=1440)]
ReaperMinutes = Annotated[int, Meta(ge=1, le=60)]
Offset = Annotated[int, Meta(ge=0, le=2**53)]


class Login(Struct):
    """POST /api/auth/login; both names are required, and a missing one is a 400."""

    agentName: WorkerName = ""
    projectId: Ref = ""
    resumeExisting: bool = False
    allowMultipleSessions: bool = False


class SessionChange(Struct):
    """PUT /api/auth/session: seconds to add, and the session's free-form data."""

    extendBy: Annotated[int, Meta(ge=1, le=86_400)] | UnsetType = UNSET
    data: dict[str, Any] | UnsetType = UNSET


class ConfigBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a project's config."""

    defaultMaxRetries: Retries | UnsetType = UNSET
    defaultLeaseDurationMinutes: ProjectMinutes | UnsetType = UNSET
    reaperIntervalMinutes: ReaperMinutes | UnsetType = UNSET


NO_CONFIG = ConfigBody()


class ProjectCreate(Struct, forbid_unknown_fields=True):
    """POST /api/projects."""

    name: ProjectName
    description: Annotated[str, Meta(min_length=1, max_length=500)]
    instructions: Instructions | UnsetType = UNSET
    config: ConfigBody = NO_CONFIG


class ProjectUpdate(Struct, forbid_unknown_fields=True):
    """PUT /api/projects/{projectId}; the config is merged key by key, null takes the instructions away."""

    name: ProjectName | UnsetType = UNSET
    description: Annotated[str, Meta(min_length=1, max_length=500)] | UnsetType = UNSET
    instructions: Instructions | None | UnsetType = UNSET
    status: ProjectState | UnsetType = UNSET
    config: ConfigBody = NO_CONFIG


class ProjectsQuery(Struct):
    """GET /api/projects."""

    status: Literal["active", "closed", "all"] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=100)] = 100
    offset: Offset = 0
    includeClosed: bool = False


class TypeCreate(Struct, forbid_unknown_fields=True):
    """POST /api/projects/{projectId}/task-types."""

    name: TypeName
    template: Template | UnsetType = UNSET
    variables: VariableNames | UnsetType = UNSET
    duplicateHandling: Duplicates = "allow"
    maxRetries: Retries | UnsetType = UNSET
    leaseDurationMinutes: TypeMinutes | UnsetType = UNSET


class TypeUpdate(Struct, forbid_unknown_fields=True):
    """PUT /api/task-types/{typeId}; a template of null takes the template away."""

    name: TypeName | UnsetType = UNSET
    template: Template | None | UnsetType = UNSET
    variables: VariableNames | UnsetType = UNSET
    duplicateHandling: Duplicates | UnsetType = UNSET
    maxRetries: Retries | UnsetType = UNSET
    leaseDurationMinutes: TypeMinutes | UnsetType = UNSET


class TypesQuery(Struct):
    """GET /api/projects/{projectId}/task-types."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    offset: Offset = 0


class TaskCreate(Struct, forbid_unknown_fields=True):
    """POST /api/projects/{projectId}/tasks."""

    typeId: UUID
    instructions: TaskInstructions | UnsetType = UNSET
    variables: Variables = {}
    batchId: BatchId | UnsetType = UNSET
    id: TaskId | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class BulkItem(Struct, forbid_unknown_fields=True):
    """One task of a bulk create: `typeId` and `variables`, or `type` and `vars`; a type by id or name."""

    typeId: Ref | UnsetType = UNSET
    type: Ref | UnsetType = UNSET
    instructions: TaskInstructions | UnsetType = UNSET
    variables: Variables | UnsetType = UNSET
    vars: Variables | UnsetType = UNSET
    id: TaskId | UnsetType = UNSET
    description: Description | UnsetType = UNSET


_ITEM = json.schema_components((BulkItem,))[1]["BulkItem"]


class BulkCreate(Struct, forbid_unknown_fields=True):
    """POST /api/projects/{projectId}/tasks/bulk; each item is read by itself, so that one bad item spoils no other."""

    tasks: Annotated[list[Annotated[Raw, Meta(extra_json_schema=_ITEM)]], Meta(min_length=1, max_length=TASKS_AT_ONCE)]
    batchId: BatchId | UnsetType = UNSET


class TaskUpdate(Struct, forbid_unknown_fields=True):
    """PUT /api/tasks/{taskId}; a batchId of null takes the task out of its batch."""

    instructions: TaskInstructions | UnsetType = UNSET
    variables: Variables | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    batchId: BatchId | None | UnsetType = UNSET


class TasksQuery(Struct):
    """GET /api/projects/{projectId}/tasks."""

    status: Literal["queued", "running", "completed", "failed"] | UnsetType = UNSET
    assignedTo: WorkerName | UnsetType = UNSET
    batchId: BatchId | UnsetType = UNSET
    typeId: UUID | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    offset: Offset = 0


class NextTaskBody(Struct):
    """POST /api/agents/{agentName}/next-task; without a project it is the session's."""

    projectId: Ref | None = None


class NextTaskQuery(Struct):
    """How many seconds next-task may wait for work (an addition to the document)."""

    wait: Annotated[float, Meta(ge=0, le=MOST_WAIT)] = 0


class Complete(Struct):
    """POST /api/tasks/{taskId}/complete; without an agent it is the session's."""

    result: str
    agentName: str | None = None
    outputs: dict[str, Any] | None = None
    projectId: Ref | None = None


class Fail(Struct):
    """POST /api/tasks/{taskId}/fail; without an agent it is the session's."""

    error: str
    agentName: str | None = None
    canRetry: bool = True
    projectId: Ref | None = None


class ExtendLease(Struct):
    """POST /api/tasks/{taskId}/extend-lease: minutes to add to the present end of the lease."""

    extensionMinutes: Annotated[float, Meta(ge=1, le=1440)]
    projectId: Ref | None = None


class AgentQuery(Struct):
    """Whose agent is meant; without a project it is the session's."""

    projectId: Ref | None = None


class AgentPath(Struct):
    """The agent's name in an address."""

    agentName: WorkerName
