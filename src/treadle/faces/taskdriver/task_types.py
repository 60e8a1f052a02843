"""Task types over HTTP (contract 5.2)."""

from msgspec import UNSET

from treadle.core.catalogue import NewType, TypeEdit
from treadle.core.fabric import Fabric
from treadle.faces.taskdriver import spelling, wire
from treadle.faces.taskdriver.asked import TypeCreate, TypesQuery, TypeUpdate
from treadle.faces.taskdriver.envelope import Envelope
from treadle.faces.taskdriver.sessions import MANAGE, READ
from treadle.faces.taskdriver.spelling import micros
from treadle.web.call import Call, Reply
from treadle.web.routes import Route


class TaskTypes:
    """List, make, show, change and remove the task types of projects."""

    def __init__(self, fabric: Fabric, answer: Envelope) -> None:
        self._projects, self._answer = fabric.projects, answer

    def routes(self) -> list[Route]:
        many, one = "/api/projects/{projectId}/task-types", "/api/task-types/{typeId}"
        return [
            Route(method="GET", path=many, handler=self.page, scope=READ, tag="Task types",
                  summary="Task types of a project, newest first", query=TypesQuery,
                  reply=wire.Success[list[wire.TaskType]], errors=(404,)),
            Route(method="POST", path=many, handler=self.create, scope=MANAGE, tag="Task types",
                  summary="Make a task type", body=TypeCreate, reply=wire.Success[wire.TaskType], status=201,
                  errors=(404, 409), form=True),
            Route(method="GET", path=one, handler=self.get, scope=READ, tag="Task types", summary="A task type",
                  reply=wire.Success[wire.TaskType], errors=(404,)),
            Route(method="PUT", path=one, handler=self.update, scope=MANAGE, tag="Task types",
                  summary="Change a task type", body=TypeUpdate, reply=wire.Success[wire.TaskType], errors=(404, 409),
                  form=True, description="A new template without variables declares its own."),
            Route(method="DELETE", path=one, handler=self.delete, scope=MANAGE, tag="Task types",
                  summary="Remove a task type of which no task exists", reply=wire.Success[wire.Message],
                  errors=(404, 409)),
        ]  # fmt: skip

    async def page(self, call: Call) -> Reply:
        query: TypesQuery = call.query
        types = await self._projects.list_types(call.params["projectId"], query.limit, query.offset)
        return self._answer([spelling.task_type(type) for type in types])

    async def create(self, call: Call) -> Reply:
        body: TypeCreate = call.body
        new = NewType(
            name=body.name,
            template=None if body.template is UNSET else body.template,
            variables=None if body.variables is UNSET else body.variables,
            duplicates=body.duplicateHandling,
            max_retries=None if body.maxRetries is UNSET else body.maxRetries,
            lease=None if body.leaseDurationMinutes is UNSET else micros(body.leaseDurationMinutes),
        )
        made = await self._projects.create_type(call.params["projectId"], new, call.principal)
        return self._answer(spelling.task_type(made), 201)

    async def get(self, call: Call) -> Reply:
        return self._answer(spelling.task_type(await self._projects.get_type(call.params["typeId"])))

    async def update(self, call: Call) -> Reply:
        body: TypeUpdate = call.body
        edit = TypeEdit(
            name=body.name,
            template=body.template,
            variables=body.variables,
            duplicates=body.duplicateHandling,
            max_retries=body.maxRetries,
            lease=UNSET if body.leaseDurationMinutes is UNSET else micros(body.leaseDurationMinutes),
        )
        changed = await self._projects.change_type(call.params["typeId"], edit, call.principal)
        return self._answer(spelling.task_type(changed))

    async def delete(self, call: Call) -> Reply:
        gone = await self._projects.remove_type(call.params["typeId"], call.principal)
        return self._answer.message(f"Task type {gone.name} deleted")
