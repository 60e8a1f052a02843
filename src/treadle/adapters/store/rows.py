"""How tasks, types and projects lie in rows; the same columns in both dialects, nested things as JSON text."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

from msgspec import json
from msgspec.structs import replace

from treadle.core.events import Event
from treadle.core.projects import Policy, Project, TaskType
from treadle.core.submitting import canonical
from treadle.core.tasks import Attempt, Lease, Result, Task

Row = tuple[Any, ...]

TASK = (
    "seq, id, project, type, kind, queue, name, face, submitter, description, instructions, variables, batch, "
    "priority, not_before, max_retries, on_lost, state, retries, fence, worker, holder, displaced, lease_until, "
    "created, updated, assigned, finished, result, attempts"
)
"""The columns of a task in the order in which `task_of` reads them."""

_encode = json.Encoder().encode
_variables = json.Decoder(dict[str, Any]).decode
_displaced = json.Decoder(tuple[str, ...]).decode
_result = json.Decoder(Result).decode
_attempts = json.Decoder(tuple[Attempt, ...]).decode
_names = json.Decoder(tuple[str, ...]).decode


def text(value: Any) -> str:
    return _encode(value).decode()


def task_of(row: Row) -> Task:
    """The task that lies in a row of TASK's columns."""
    worker = row[20]
    return Task(
        seq=row[0],
        id=row[1],
        project=row[2],
        type=row[3],
        kind=row[4],
        queue=row[5],
        name=row[6],
        face=row[7],
        submitter=row[8],
        description=row[9],
        instructions=row[10],
        variables=_variables(row[11]),
        batch=row[12],
        priority=row[13],
        not_before=row[14],
        max_retries=row[15],
        on_lost=row[16],
        state=row[17],
        retries=row[18],
        fence=row[19],
        lease=None if worker is None else Lease(worker, row[23], row[21], _displaced(row[22]) if row[22] else ()),
        created=row[24],
        updated=row[25],
        assigned=row[26],
        finished=row[27],
        result=_result(row[28]) if row[28] else None,
        attempts=_attempts(row[29]) if row[29] else (),
    )


def new_row(task: Task) -> Row:
    """What is written once, when a task is made, without `seq`; the rest takes the columns' defaults."""
    return (
        task.id,
        task.project,
        task.type,
        task.kind,
        task.queue,
        task.name,
        task.face,
        task.submitter,
        task.description,
        task.instructions,
        text(task.variables),
        digest_of(task.variables),
        task.batch,
        task.priority,
        task.not_before,
        task.not_before is not None,
        task.max_retries,
        task.on_lost,
        task.state,
        task.created,
        task.updated,
    )


def moved_row(task: Task) -> Row:
    """What the rules change, and last the `seq` of the task."""
    lease = task.lease
    return (
        task.state,
        task.retries,
        task.fence,
        lease.worker if lease else None,
        lease.holder if lease else None,
        text(lease.displaced) if lease and lease.displaced else None,
        lease.until if lease else None,
        task.not_before,
        task.state == "queued" and task.not_before is not None,
        task.updated,
        task.assigned,
        task.finished,
        text(task.result) if task.result else None,
        text(task.attempts) if task.attempts else None,
        task.seq,
    )


def edited_row(task: Task) -> Row:
    """What people edit, and last the `seq` of the task."""
    return (
        task.description,
        task.instructions,
        text(task.variables),
        digest_of(task.variables),
        task.batch,
        task.updated,
        task.seq,
    )


def digest_of(variables: Mapping[str, Any]) -> int:
    """A signed 64-bit number, equal for equal variables: finds possible twins, which are then compared."""
    return int.from_bytes(blake2b(canonical(variables), digest_size=8).digest(), "big", signed=True)


def project_of(row: Row) -> Project:
    """The project in a row of: seq, id, name, description, instructions, state, policy, created, updated."""
    seq, id, name, description, instructions, state, max_retries, lease, sweep_every, created, updated = row
    return Project(
        seq=seq,
        id=id,
        name=name,
        description=description,
        instructions=instructions,
        state=state,
        policy=Policy(max_retries, lease, sweep_every),
        created=created,
        updated=updated,
    )


def project_row(project: Project) -> Row:
    """Everything but `seq`, and the id last."""
    return (
        project.name,
        project.description,
        project.instructions,
        project.state,
        project.policy.max_retries,
        project.policy.lease,
        project.policy.sweep_every,
        project.created,
        project.updated,
        project.id,
    )


def type_of(row: Row) -> TaskType:
    """The type in a row of: seq, id, project, name, template, variables, duplicates, max_retries, lease, instants."""
    seq, id, project, name, template, variables, duplicates, max_retries, lease, created, updated = row
    return TaskType(
        seq=seq,
        id=id,
        project=project,
        name=name,
        template=template,
        variables=_names(variables),
        duplicates=duplicates,
        max_retries=max_retries,
        lease=lease,
        created=created,
        updated=updated,
    )


def type_row(type: TaskType) -> Row:
    """Everything but `seq`, and the id last."""
    return (
        type.project,
        type.name,
        type.template,
        text(type.variables),
        type.duplicates,
        type.max_retries,
        type.lease,
        type.created,
        type.updated,
        type.id,
    )


def under_refs(refs: Sequence[str], found: Sequence[Any]) -> dict[str, Any]:
    """Things with an id and a name, under the words they were asked for; an id wins over a name."""
    by_name = {thing.name: thing for thing in found}
    by_id = {thing.id: thing for thing in found}
    return {ref: by_id.get(ref) or by_name[ref] for ref in refs if ref in by_id or ref in by_name}


P = TypeVar("P", Task, Project, TaskType)


def at_place(thing: P, seq: int) -> P:
    """The same thing with its place in creation order."""
    return replace(thing, seq=seq)


def event_of(row: Row) -> Event:
    """The fact in a row of: seq, kind, subject, project, at, data."""
    seq, kind, subject, project, at, data = row
    return Event(kind, subject, at, project, _variables(data), seq)
