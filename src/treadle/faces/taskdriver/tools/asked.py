"""What the tools read: parameters with their rules, spelled as the contract spells them (section 12).

What the contract calls a JSON string may also be sent as the value itself.
"""
# ruff: noqa: N815  (the words are the document's)

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from treadle.core.errors import Fault, Invalid
from treadle.core.projects import Duplicates, ProjectName, ProjectState, Retries, TypeName, WorkerName
from treadle.faces.taskdriver.asked import (
    Description,
    Instructions,
    Offset,
    Ref,
    TaskId,
    TaskInstructions,
    Template,
    TypeMinutes,
    VariableNames,
)


def said(meaning: str, **limits: Any) -> Meta:
    return Meta(description=meaning, **limits)


def json_text(meaning: str) -> Meta:
    return Meta(description=meaning, extra_json_schema={"type": "string"})


ProjectRef = Annotated[Ref, said("Project: its id or its name")]
TypeRef = Annotated[Ref, said("Task type: its id or its name")]
TaskRef = Annotated[Ref, said("Task: its id")]
AgentName = Annotated[WorkerName, said("The name you work under; it was given to you with the task")]
ProjectDescription = Annotated[str, said("What the project is for", min_length=1, max_length=500)]
ProjectInstructions = Annotated[Instructions, said("Instructions for everybody who works in this project")]
MaxRetries = Annotated[Retries, said("How often a failed task is tried again")]
Lease = Annotated[TypeMinutes, said("How many minutes an agent may keep a task before it goes to another")]
TypeTemplate = Annotated[Template, said("Instructions with {{variable}} placeholders, filled in for each task")]
TypeVariables = Annotated[VariableNames, said("Names of the variables; without them the template's own are taken")]
OnDuplicate = Annotated[
    Duplicates, said("A task with the same variables exists: make another, give back that one (ignore), or refuse")
]
Minutes = Annotated[float, said("Minutes to add to the present end of the lease", ge=1, le=1440)]
Verbose = Annotated[bool, said("Has no effect: answers are always complete")]
First = Annotated[Offset, said("How many to leave out at the beginning")]
AtMost = Annotated[int, said("How many to show at most", ge=1, le=1000)]


class Asked(Struct, forbid_unknown_fields=True, kw_only=True):
    """What all tools have in common: a parameter that nobody knows is refused."""


class Nothing(Asked):
    """No parameters."""


class OfProject(Asked):
    """A project and nothing else."""

    projectId: ProjectRef


class CreateProject(Asked):
    name: Annotated[ProjectName, said("Unique name: letters, digits, hyphens and underscores")]
    description: ProjectDescription
    instructions: ProjectInstructions | UnsetType = UNSET
    maxRetries: MaxRetries | UnsetType = UNSET
    leaseDuration: Lease | UnsetType = UNSET
    verbose: Verbose = False


class ListProjects(Asked):
    status: (
        Annotated[
            Literal["active", "closed", "all"],
            said("Which projects to show", extra_json_schema={"default": "active"}),
        ]
        | UnsetType
    ) = UNSET
    includeClosed: Annotated[bool, said("Show closed projects too")] = False
    limit: AtMost = 100
    offset: First = 0
    verbose: Verbose = False


class GetProject(OfProject):
    verbose: Verbose = False


class UpdateProject(OfProject):
    description: ProjectDescription | UnsetType = UNSET
    instructions: ProjectInstructions | UnsetType = UNSET
    status: Annotated[ProjectState, said("A closed project gives out and takes no work")] | UnsetType = UNSET
    maxRetries: MaxRetries | UnsetType = UNSET
    leaseDuration: Lease | UnsetType = UNSET
    verbose: Verbose = False


class CreateTaskType(OfProject):
    name: Annotated[TypeName, said("Name, unique in the project: letters, digits, hyphens and underscores")]
    template: TypeTemplate | UnsetType = UNSET
    variables: TypeVariables | UnsetType = UNSET
    duplicateHandling: OnDuplicate = "allow"
    maxRetries: MaxRetries | UnsetType = UNSET
    leaseDurationMinutes: Lease | UnsetType = UNSET
    verbose: Verbose = False


class ListTaskTypes(OfProject):
    limit: AtMost = 50
    offset: First = 0


class GetTaskType(Asked):
    taskTypeId: Annotated[Ref, said("Task type: its id")]


class UpdateTaskType(OfProject):
    taskType: TypeRef
    template: TypeTemplate | UnsetType = UNSET
    variables: TypeVariables | UnsetType = UNSET
    duplicateHandling: OnDuplicate | UnsetType = UNSET
    maxRetries: MaxRetries | UnsetType = UNSET
    leaseDurationMinutes: Lease | UnsetType = UNSET
    verbose: Verbose = False


class CreateTask(OfProject):
    type: (
        Annotated[TypeRef, said("Task type: its id or its name; without it the newest of the project")] | UnsetType
    ) = UNSET
    instructions: Annotated[TaskInstructions, said("What is to be done; wins over the type's template")] | UnsetType = (
        UNSET
    )
    id: Annotated[TaskId, said("An id of your own, unique in the project")] | UnsetType = UNSET
    description: Annotated[Description, said("One line for people")] | UnsetType = UNSET
    variables: Annotated[Any, json_text('Values for the template as a JSON object: {"name": "value"}')] = UNSET


class CreateTasksBulk(OfProject):
    tasks: Annotated[
        Any, json_text('A JSON array of tasks: [{"type": "…", "vars": {…}, "instructions": "…", "id": "…"}, …]')
    ]


class ListTasks(OfProject):
    status: (
        Annotated[Literal["queued", "running", "completed", "failed", "all"], said("Only tasks in this state")]
        | UnsetType
    ) = UNSET
    type: TypeRef | UnsetType = UNSET
    assignedTo: Annotated[WorkerName, said("Only what this agent works on now")] | UnsetType = UNSET
    includeCompleted: Annotated[bool, said("Show completed tasks too")] = False
    limit: Annotated[int, said("How many to show at most; 0 shows all", ge=0, le=1000)] = 50
    offset: First = 0


class OfTask(Asked):
    taskId: TaskRef


class GetNextTask(OfProject):
    agentName: (
        Annotated[WorkerName, said("Your name; without it the one you used last here, else a new one")] | UnsetType
    ) = UNSET


class OfHeldTask(OfProject):
    agentName: AgentName
    taskId: TaskRef


class CompleteTask(OfHeldTask):
    result: Annotated[str, said("What came out")]
    outputs: Annotated[Any, json_text("Further results as a JSON object")] = UNSET


class FailTask(OfHeldTask):
    error: Annotated[str, said("What went wrong")]
    canRetry: Annotated[bool, said("Whether another try makes sense")] = True


class ExtendLease(OfTask):
    minutes: Minutes


class ExtendTaskLease(OfTask):
    extensionMinutes: Minutes


def unpacked(field: str, value: Any) -> Any:
    """The value of a parameter that is JSON as text; anything but text stands for itself."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        raise Invalid(Fault(field, f'"{field}" must be JSON', value)) from None


def unpacked_object(field: str, value: Any) -> dict[str, Any] | None:
    """The same, where only an object will do; None if it was left out, or left empty as models do."""
    if value is UNSET or value is None or value == "":
        return None
    found = unpacked(field, value)
    if not isinstance(found, dict):
        raise Invalid(Fault(field, f'"{field}" must be a JSON object', value))
    return found
