"""Tools on task types: create, list, get, update."""

from msgspec import UNSET

from treadle.core.actions import Action, Answer, Caller
from treadle.core.catalogue import NewType, TypeEdit
from treadle.core.fabric import Fabric
from treadle.faces.taskdriver import spelling, wire
from treadle.faces.taskdriver.sessions import MANAGE, READ

from . import asked
from .callers import principal


def actions() -> list[Action]:
    return [
        Action(name="create_task_type", summary="Create a task type: a template and the rules of its tasks",
               params=asked.CreateTaskType, scope=MANAGE, run=create, result=wire.TaskType),
        Action(name="list_task_types", summary="List a project's task types, newest first",
               params=asked.ListTaskTypes, scope=READ, run=page, result=list[wire.TaskType], reads=True),
        Action(name="get_task_type", summary="Show a task type with its template and variables",
               params=asked.GetTaskType, scope=READ, run=get, result=wire.TaskType, reads=True),
        Action(name="update_task_type", summary="Change a task type; its waiting tasks get the new template",
               params=asked.UpdateTaskType, scope=MANAGE, run=update, result=wire.TaskType),
    ]  # fmt: skip


async def create(fabric: Fabric, caller: Caller, params: asked.CreateTaskType) -> Answer:
    new = NewType(
        name=params.name,
        template=params.template or None,
        variables=None if params.variables is UNSET else params.variables,
        duplicates=params.duplicateHandling,
        max_retries=None if params.maxRetries is UNSET else params.maxRetries,
        lease=None if params.leaseDurationMinutes is UNSET else spelling.micros(params.leaseDurationMinutes),
    )
    made = await fabric.projects.create_type(params.projectId, new, principal(caller))
    return Answer(data=spelling.task_type(made), message=f"Task type {made.name} created")


async def page(fabric: Fabric, _: Caller, params: asked.ListTaskTypes) -> Answer:
    found = await fabric.projects.list_types(params.projectId, params.limit, params.offset)
    return Answer(data=[spelling.task_type(each) for each in found])


async def get(fabric: Fabric, _: Caller, params: asked.GetTaskType) -> Answer:
    return Answer(data=spelling.task_type(await fabric.projects.get_type(params.taskTypeId)))


async def update(fabric: Fabric, caller: Caller, params: asked.UpdateTaskType) -> Answer:
    edit = TypeEdit(
        template=params.template,
        variables=params.variables,
        duplicates=params.duplicateHandling,
        max_retries=params.maxRetries,
        lease=UNSET if params.leaseDurationMinutes is UNSET else spelling.micros(params.leaseDurationMinutes),
    )
    project = (await fabric.projects.get(params.projectId)).project
    type = await fabric.projects.find_type(project.id, params.taskType)
    changed = await fabric.projects.change_type(type.id, edit, principal(caller))
    return Answer(data=spelling.task_type(changed), message=f"Task type {changed.name} updated")
