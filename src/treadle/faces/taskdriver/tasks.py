"""Tasks over HTTP: list, create one or many, show, change, remove (contract 5.3)."""

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET, ValidationError, json

from treadle.core.errors import FabricError, Fault, Invalid, Malformed
from treadle.core.fabric import Fabric
from treadle.core.ports import Filter
from treadle.core.queue import Edit
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Task
from treadle.faces.taskdriver import spelling, wire
from treadle.faces.taskdriver.asked import BulkCreate, BulkItem, TaskCreate, TasksQuery, TaskUpdate
from treadle.faces.taskdriver.envelope import Envelope
from treadle.faces.taskdriver.naming import Names
from treadle.faces.taskdriver.sessions import READ, SUBMIT
from treadle.web.binding import Body
from treadle.web.call import Call, Reply
from treadle.web.routes import Route

LONGEST_KEY = 255
"""Characters of an Idempotency-Key."""
_KEYED = (
    "With the header `Idempotency-Key` a request that is sent again within 24 hours gets its first answer and creates "
    "nothing."
)

_item = json.Decoder(BulkItem).decode
_explained = Body(BulkItem).json


class Tasks:
    """List, make, show, change and remove tasks."""

    def __init__(self, fabric: Fabric, answer: Envelope, names: Names) -> None:
        self._queue, self._projects, self._answer, self._names = fabric.tasks, fabric.projects, answer, names

    def routes(self) -> list[Route]:
        many, one = "/api/projects/{projectId}/tasks", "/api/tasks/{taskId}"
        return [
            Route(method="GET", path=many, handler=self.page, scope=READ, tag="Tasks",
                  summary="Tasks of a project, oldest first", query=TasksQuery, reply=wire.Success[list[wire.Task]],
                  errors=(404,)),
            Route(method="POST", path=many, handler=self.create, scope=SUBMIT, tag="Tasks", summary="Make a task",
                  body=TaskCreate, reply=wire.Success[wire.Task], status=201, errors=(404, 409), description=_KEYED),
            Route(method="POST", path=f"{many}/bulk", handler=self.create_many, scope=SUBMIT, tag="Tasks",
                  summary="Make up to 1000 tasks at once", body=BulkCreate, reply=wire.Success[wire.BulkMade],
                  status=201, errors=(404, 409), description=f"An item that breaks a rule is named in `errors`, the "
                  f"others are made; an unknown type refuses all. {_KEYED}"),
            Route(method="GET", path=one, handler=self.get, scope=READ, tag="Tasks", summary="A task",
                  reply=wire.Success[wire.Task], errors=(404,)),
            Route(method="PUT", path=one, handler=self.update, scope=SUBMIT, tag="Tasks",
                  summary="Change a queued task", body=TaskUpdate, reply=wire.Success[wire.Task], errors=(404, 409)),
            Route(method="DELETE", path=one, handler=self.delete, scope=SUBMIT, tag="Tasks",
                  summary="Remove a task that nobody works on", reply=wire.Success[wire.Message], errors=(404, 409)),
        ]  # fmt: skip

    async def shown(self, task: Task) -> wire.Task:
        """The task as its type reads at this moment."""
        return spelling.task((await self._queue.views((task,)))[0])

    async def page(self, call: Call) -> Reply:
        query: TasksQuery = call.query
        project = (await self._projects.get(call.params["projectId"])).project
        which = Filter(
            project=project.id,
            states=None if query.status is UNSET else spelling.STATES[query.status],
            worker=None if query.assignedTo is UNSET else query.assignedTo,
            batch=None if query.batchId is UNSET else query.batchId,
            type=None if query.typeId is UNSET else str(query.typeId),
        )
        page = await self._queue.page(which, query.limit, query.offset)
        return self._answer([spelling.task(view, listed=True) for view in await self._queue.views(page)])

    async def create(self, call: Call) -> Reply:
        body: TaskCreate = call.body
        new = NewTask(
            type=str(body.typeId),
            name=None if body.id is UNSET else body.id,
            description=None if body.description is UNSET else body.description,
            instructions=None if body.instructions is UNSET else body.instructions,
            variables=body.variables,
            batch=None if body.batchId is UNSET else body.batchId,
        )
        submit = Submit(project=call.params["projectId"], tasks=(new,), by=call.principal, key=_key(call))
        (made,) = await self._queue.submit(submit)
        if isinstance(made, FabricError):  # a repeated key whose first answer was a refusal, or whose task is gone
            raise made
        return self._answer(await self.shown(made), 201)

    async def create_many(self, call: Call) -> Reply:
        body: BulkCreate = call.body
        batch = None if body.batchId is UNSET else body.batchId
        items = [_read(bytes(raw), batch) for raw in body.tasks]
        new = [item for item in items if isinstance(item, NewTask)]
        submit = Submit(project=call.params["projectId"], tasks=new, by=call.principal, key=_key(call), atomic=False)
        outcomes = iter(await self._queue.submit(submit))
        settled = [next(outcomes) if isinstance(item, NewTask) else item for item in items]
        errors = [
            f"Task {place}: {_told(outcome)}"
            for place, outcome in enumerate(settled)
            if isinstance(outcome, FabricError)
        ]
        views = await self._queue.views([outcome for outcome in settled if isinstance(outcome, Task)])
        made = [spelling.task(view) for view in views]
        return self._answer(wire.BulkMade(len(made), errors, made), 201)

    async def get(self, call: Call) -> Reply:
        task = await self._names.acting(call.params["taskId"], call.principal.project, self._queue.get)
        return self._answer(await self.shown(task))

    async def update(self, call: Call) -> Reply:
        body: TaskUpdate = call.body
        changes: dict[str, Any] = {}
        if body.instructions is not UNSET:
            changes["instructions"] = body.instructions or None
        if body.variables is not UNSET:
            changes["variables"] = body.variables
        if body.description is not UNSET:
            changes["description"] = body.description
        if body.batchId is not UNSET:
            changes["batch"] = body.batchId
        edit, by = Edit(**changes), call.principal
        task = await self._names.acting(call.params["taskId"], by.project, lambda id: self._queue.edit(id, edit, by))
        return self._answer(await self.shown(task))

    async def delete(self, call: Call) -> Reply:
        by = call.principal
        await self._names.acting(call.params["taskId"], by.project, lambda id: self._queue.delete(id, by))
        return self._answer.message(f"Task {call.params['taskId']} deleted")


def _read(raw: bytes, batch: str | None) -> NewTask | FabricError:
    """One item of a bulk create, or what is wrong with it."""
    try:
        item = _item(raw)
    except ValidationError:
        try:
            item = _explained(raw)
        except FabricError as error:
            return error
    type = item.typeId if item.typeId is not UNSET else item.type
    if type is UNSET:
        return Invalid(Fault("typeId", '"typeId" is required'))
    variables = item.variables if item.variables is not UNSET else item.vars
    return NewTask(
        type=type,
        name=None if item.id is UNSET else item.id,
        description=None if item.description is UNSET else item.description,
        instructions=None if item.instructions is UNSET else item.instructions,
        variables={} if variables is UNSET else variables,
        batch=batch,
    )


def _told(error: FabricError) -> str:
    """An item's error in one line: the rules it breaks, without the path that the item's place already gives."""
    return ", ".join(_rules(error.faults)) if isinstance(error, Invalid) else error.message


def _rules(faults: Iterable[Fault]) -> list[str]:
    return [fault.message for fault in faults]


def _key(call: Call) -> str | None:
    key = call.header("idempotency-key")
    if key is not None and len(key) > LONGEST_KEY:
        raise Malformed(f"The Idempotency-Key is longer than {LONGEST_KEY} characters")
    return key or None
