"""Tools on tasks as people handle them: create one or many, list, get."""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from msgspec import UNSET

from treadle.core.actions import Action, Answer, Caller
from treadle.core.errors import FabricError, Fault, Invalid
from treadle.core.fabric import Fabric
from treadle.core.ports import Filter
from treadle.core.projects import Project
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Task
from treadle.faces.taskdriver import spelling, wire
from treadle.faces.taskdriver.asked import TASKS_AT_ONCE, BulkItem
from treadle.faces.taskdriver.naming import Names
from treadle.faces.taskdriver.sessions import READ, SUBMIT
from treadle.faces.taskdriver.spelling import Status
from treadle.web.binding import Body

from . import asked, shown
from .callers import principal

PAGE = 1000
MOST_SHOWN = 10_000
"""Tasks that a list without a limit may have; what is longer is asked for in pages."""
STATUSES: tuple[Status, ...] = get_args(Status)

_read = Body(BulkItem).json


def actions() -> list[Action]:
    return [
        Action(name="create_task", summary="Create a task", params=asked.CreateTask, scope=SUBMIT, run=create,
               result=wire.Task),
        Action(name="create_tasks_bulk", summary=f"Create up to {TASKS_AT_ONCE} tasks at once",
               params=asked.CreateTasksBulk, scope=SUBMIT, run=create_many, result=wire.BulkMade),
        Action(name="list_tasks", summary="List a project's tasks, oldest first; completed ones only if asked for",
               params=asked.ListTasks, scope=READ, run=page, result=list[wire.Task], reads=True),
        Action(name="get_task", summary="Show a task with its instructions, attempts and result",
               params=asked.OfTask, scope=READ, run=get, result=wire.Task, reads=True),
    ]  # fmt: skip


async def create(fabric: Fabric, caller: Caller, params: asked.CreateTask) -> Answer:
    project = (await fabric.projects.get(params.projectId)).project
    item: dict[str, Any] = {
        name: value
        for name, value in msgspec.structs.asdict(params).items()
        if name in ("instructions", "id", "description") and value is not UNSET
    }
    item["variables"] = asked.unpacked_object("variables", params.variables) or {}
    item["type"] = params.type or await _newest_type(fabric, project)
    (made,) = await fabric.tasks.submit(Submit(project=project.id, tasks=(_new(item),), by=principal(caller)))
    if isinstance(made, FabricError):
        raise made
    return Answer(data=await one_shown(fabric, made), message=f"Task {spelling.task_id(made)} created")


async def create_many(fabric: Fabric, caller: Caller, params: asked.CreateTasksBulk) -> Answer:
    """One unknown type refuses all; any other fault concerns its item alone (contract 5.3)."""
    given = asked.unpacked("tasks", params.tasks)
    if not isinstance(given, list) or not 1 <= len(given) <= TASKS_AT_ONCE:
        raise Invalid(Fault("tasks", f'"tasks" must be a JSON array of 1 to {TASKS_AT_ONCE} tasks'))
    project = (await fabric.projects.get(params.projectId)).project
    if any(isinstance(item, dict) and not {"type", "typeId"} & item.keys() for item in given):
        newest = await _newest_type(fabric, project)
        given = [{"type": newest, **item} if isinstance(item, dict) else item for item in given]
    items = [_new_or_fault(item) for item in given]
    new = [item for item in items if isinstance(item, NewTask)]
    submit = Submit(project=project.id, tasks=new, by=principal(caller), atomic=False)
    outcomes = iter(await fabric.tasks.submit(submit))
    settled = [next(outcomes) if isinstance(item, NewTask) else item for item in items]
    errors = [f"Task {place}: {_told(each)}" for place, each in enumerate(settled) if isinstance(each, FabricError)]
    views = await fabric.tasks.views([each for each in settled if isinstance(each, Task)])
    made = wire.BulkMade(len(views), errors, [spelling.task(view) for view in views])
    if not made.createdTasks:
        return Answer(data=made, refusal=f"No task was created: {'; '.join(errors)}")
    return Answer(data=made, message=f"{made.tasksCreated} of {len(given)} tasks created")


async def page(fabric: Fabric, _: Caller, params: asked.ListTasks) -> Answer:
    project = (await fabric.projects.get(params.projectId)).project
    type = None if params.type is UNSET else (await fabric.projects.find_type(project.id, params.type)).id
    which = Filter(
        project=project.id,
        states=tuple(state for status in _statuses(params) for state in spelling.STATES[status]),
        worker=params.assignedTo or None,
        type=type,
    )
    total = await fabric.tasks.count(which)
    left = max(total - params.offset, 0)
    if params.limit == 0 and left > MOST_SHOWN:
        rule = f'"limit" must be given: without one at most {MOST_SHOWN} tasks are shown, and these are {left}'
        raise Invalid(Fault("limit", rule, 0))
    found = await _page(fabric, which, params.limit or left, params.offset)
    views = await fabric.tasks.views(found)
    end = params.offset + len(found)
    shows = shown.Pagination(
        total=total,
        offset=params.offset,
        limit=params.limit,
        rangeStart=params.offset + 1 if found else 0,
        rangeEnd=end if found else 0,
        hasMore=end < total,
    )
    return Answer(data=[spelling.task(view, listed=True) for view in views], beside={"pagination": shows})


async def get(fabric: Fabric, _: Caller, params: asked.OfTask) -> Answer:
    task = await Names(fabric).acting(params.taskId, None, fabric.tasks.get)
    return Answer(data=await one_shown(fabric, task))


async def one_shown(fabric: Fabric, task: Task) -> wire.Task:
    """The task as its type reads at this moment."""
    return spelling.task((await fabric.tasks.views((task,)))[0])


async def _newest_type(fabric: Fabric, project: Project) -> str:
    newest = await fabric.projects.list_types(project.id, limit=1)
    if not newest:
        raise Invalid(Fault("type", f"Project {project.name} has no task types; create one first"))
    return newest[0].id


async def _page(fabric: Fabric, which: Filter, limit: int, offset: int) -> Sequence[Task]:
    found: list[Task] = []
    while len(found) < limit:
        more = await fabric.tasks.page(which, min(limit - len(found), PAGE), offset + len(found))
        found += more
        if not more:
            break
    return found


def _statuses(params: asked.ListTasks) -> Sequence[Status]:
    if params.status is UNSET:
        return [status for status in STATUSES if status != "completed" or params.includeCompleted]
    return STATUSES if params.status == "all" else (params.status,)


def _new(item: Any) -> NewTask:
    """A task as the HTTP API's bulk create reads it; raises Invalid."""
    if not isinstance(item, dict):
        raise Invalid(Fault("value", "must be a JSON object", item))
    asked_for: BulkItem = _read(msgspec.json.encode(item))
    type = asked_for.typeId or asked_for.type
    variables = asked_for.vars if asked_for.variables is UNSET else asked_for.variables
    return NewTask(
        type=type or None,
        name=asked_for.id or None,
        description=asked_for.description or None,
        instructions=asked_for.instructions or None,
        variables={} if variables is UNSET else variables,
    )


def _new_or_fault(item: Any) -> NewTask | FabricError:
    try:
        return _new(item)
    except FabricError as error:
        return error


def _told(error: FabricError) -> str:
    return ", ".join(fault.message for fault in error.faults) if isinstance(error, Invalid) else error.message
