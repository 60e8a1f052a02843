"""The core's nouns in TaskDriver's words: pure functions from what the fabric knows to what the document shows."""

import time
from functools import lru_cache
from typing import Any, Literal

from msgspec import UNSET, UnsetType, json

from treadle.core.access import Grant
from treadle.core.catalogue import Overview
from treadle.core.clock import MINUTE, SECOND
from treadle.core.projects import TaskType
from treadle.core.queue import View
from treadle.core.tasks import Attempt, AttemptState, Result, State, Task
from treadle.faces.taskdriver import wire

FACE = "taskdriver"

Status = Literal["queued", "running", "completed", "failed"]
AttemptStatus = Literal["running", "completed", "failed", "timeout"]
Reason = Literal["agent_reported", "timeout", "server_error"]

STATUS: dict[State, Status] = {
    "queued": "queued",
    "running": "running",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "failed",
}
STATES: dict[Status, tuple[State, ...]] = {
    status: tuple(state for state, spelled in STATUS.items() if spelled == status) for status in STATUS.values()
}
"""Our states behind each status, for filters."""

ATTEMPTS: dict[AttemptState, tuple[AttemptStatus, Reason | UnsetType, str | UnsetType]] = {
    "running": ("running", UNSET, UNSET),
    "succeeded": ("completed", UNSET, UNSET),
    "failed": ("failed", "agent_reported", UNSET),
    "lost": ("timeout", "timeout", UNSET),
    "released": ("failed", UNSET, "The agent gave the task back untouched; this does not count as a try"),
    "cancelled": ("failed", "server_error", "The task was cancelled"),
}


@lru_cache(maxsize=8192)  # one answer says the same instant several times
def instant(micros: int) -> wire.Instant:
    """Microseconds UTC as ISO 8601 with milliseconds and `Z`."""
    second, rest = divmod(micros, SECOND)
    return f"{_seconds(second)}.{rest // 1000:03d}Z"


@lru_cache(maxsize=1024)
def _seconds(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def minutes(micros: int) -> wire.Number:
    """A duration in minutes, whole where it is whole."""
    whole, rest = divmod(micros, MINUTE)
    return whole if rest == 0 else round(micros / MINUTE, 6)


def micros(minutes: float) -> int:
    return round(minutes * MINUTE)


def project(overview: Overview) -> wire.Project:
    found, tally = overview.project, overview.tally
    return wire.Project(
        id=found.id,
        name=found.name,
        description=found.description,
        instructions=found.instructions or UNSET,
        status=found.state,
        createdAt=instant(found.created),
        updatedAt=instant(found.updated),
        config=wire.ProjectConfig(
            defaultMaxRetries=found.policy.max_retries,
            defaultLeaseDurationMinutes=minutes(found.policy.lease),
            reaperIntervalMinutes=minutes(found.policy.sweep_every),
        ),
        stats=wire.ProjectStats(
            totalTasks=tally.total,
            completedTasks=tally.succeeded,
            failedTasks=tally.failed + tally.cancelled,
            queuedTasks=tally.queued,
            runningTasks=tally.running,
        ),
    )


def task_type(type: TaskType) -> wire.TaskType:
    return wire.TaskType(
        id=type.id,
        projectId=type.project,
        name=type.name,
        template=type.template or UNSET,
        variables=list(type.variables),
        duplicateHandling=type.duplicates,
        maxRetries=type.max_retries,
        leaseDurationMinutes=minutes(type.lease),
        createdAt=instant(type.created),
        updatedAt=instant(type.updated),
    )


def task_id(task: Task) -> str:
    """The name its client gave the task on this face, else its id."""
    return task.name if task.name is not None and task.face == FACE else task.id


def task(view: View, *, listed: bool = False) -> wire.Task:
    """A task; only a list says the type's name as well (contract 4.3)."""
    found = view.task
    lease, state, finished = found.lease, found.state, found.finished
    ended = instant(finished) if finished is not None else UNSET
    return wire.Task(
        id=task_id(found),
        projectId=found.project,
        typeId=found.type or UNSET,
        typeName=view.type_name or UNSET if listed else UNSET,
        description=found.description,
        instructions=view.instructions or UNSET,
        variables=_texts(found.variables),
        batchId=found.batch or UNSET,
        status=STATUS[state],
        assignedTo=lease.worker if lease is not None else UNSET,
        assignedAt=(
            instant(found.assigned) if found.assigned is not None and state in ("running", "succeeded") else UNSET
        ),
        leaseExpiresAt=instant(lease.until) if lease is not None else UNSET,
        retryCount=found.retries,
        maxRetries=found.max_retries,
        createdAt=instant(found.created),
        updatedAt=instant(found.updated),
        completedAt=ended if state == "succeeded" else UNSET,
        failedAt=ended if state in ("failed", "cancelled") else UNSET,
        result=_result(found.result, found.attempts[-1] if found.attempts else None) if found.result else UNSET,
        attempts=[attempt(each) for each in found.history()] if found.attempts else [],
    )


def attempt(tried: Attempt) -> wire.TaskAttempt:
    status, reason, explanation = ATTEMPTS[tried.state]
    return wire.TaskAttempt(
        id=tried.id,
        agentName=tried.worker,
        startedAt=instant(tried.started),
        completedAt=instant(tried.ended) if tried.ended is not None else UNSET,
        status=status,
        leaseExpiresAt=instant(tried.lease_until),
        result=_result(tried.result, tried) if tried.result else UNSET,
        explanation=explanation,
        failureReason=reason,
    )


def _result(result: Result, tried: Attempt | None) -> wire.TaskResult:
    metadata: dict[str, Any] | UnsetType = UNSET if result.outputs is None else result.outputs
    if result.reason == "lost" and tried is not None and tried.ended is not None:
        metadata = {
            "reclaimedAt": instant(tried.ended),
            "originalAssignedTo": tried.worker,
            "originalAssignedAt": instant(tried.started),
        }
    return wire.TaskResult(
        success=result.ok,
        output=_text(result.output) if result.output is not None else UNSET,
        error=result.error if result.error is not None else UNSET,
        canRetry=result.retry if result.retry is not None else UNSET,
        metadata=metadata,
    )


def session(grant: Grant, used: int) -> wire.Session:
    return wire.Session(
        id=grant.id,
        agentId=grant.principal,
        agentName=grant.principal,
        projectId=grant.project or "",
        createdAt=instant(grant.created),
        lastAccessedAt=instant(used),
        expiresAt=instant(grant.expires or 0),
        data=grant.data,
    )


def session_info(grant: Grant, used: int, overview: Overview) -> wire.SessionInfo:
    shown = session(grant, used)
    return wire.SessionInfo(
        sessionId=shown.id,
        agentName=shown.agentName,
        projectId=shown.projectId,
        createdAt=shown.createdAt,
        expiresAt=shown.expiresAt,
        lastActivity=shown.lastAccessedAt,
        id=shown.id,
        agentId=shown.agentId,
        lastAccessedAt=shown.lastAccessedAt,
        data=shown.data,
        session=shown,
        project=project(overview),
        agent=wire.AgentName(shown.agentName),
    )


def agent(task: Task) -> wire.Agent:
    """Whoever holds this running task."""
    lease = task.lease
    assert lease is not None  # it is running
    shown = task_id(task)
    return wire.Agent(
        agentName=lease.worker,
        taskId=shown,
        assignedAt=instant(task.assigned or task.updated),
        leaseExpiresAt=instant(lease.until),
        status="running",
        name=lease.worker,
        projectId=task.project,
        currentTaskId=shown,
    )


def _text(value: Any) -> str:
    """What other faces may have stored as numbers or objects, as this one's text."""
    return value if isinstance(value, str) else json.encode(value).decode()


def _texts(variables: dict[str, Any]) -> dict[str, str]:
    for value in variables.values():
        if type(value) is not str:
            return {name: _text(value) for name, value in variables.items()}
    return variables
