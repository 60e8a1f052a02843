"""Tasks as people handle them, over HTTP: submit, look up, list, edit, cancel, requeue, delete."""

from treadle.core.errors import Fault, Invalid
from treadle.core.fabric import Fabric
from treadle.core.ports import Filter
from treadle.core.queue import Edit
from treadle.core.submitting import NewTask, Outcome, Submit
from treadle.core.tasks import Task
from treadle.faces.fabric import spelling, wire
from treadle.web.call import Call, Reply, json_reply
from treadle.web.routes import Route

ALL = "/api/queue/tasks"
ONE = "/api/queue/tasks/{task}"
READ, SUBMIT, MANAGE = "queue:read", "queue:submit", "queue:manage"

LONGEST_KEY = 200


class Tasks:
    """Handlers; `{task}` is an id."""

    def __init__(self, fabric: Fabric) -> None:
        self._tasks, self._projects = fabric.tasks, fabric.projects

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/api/queue/submit", handler=self.submit, scope=SUBMIT, body=wire.Submit,
                  summary="Make tasks", reply=wire.SubmitReply, errors=(404, 409), tag="tasks",
                  description="With an Idempotency-Key header a repeated request gets the first one's answer for 24 "
                              "hours."),
            Route(method="GET", path=ALL, handler=self.page, scope=READ, summary="Tasks in creation order",
                  query=wire.TaskQuery, reply=wire.Tasks, errors=(404,), tag="tasks"),
            Route(method="GET", path=ONE, handler=self.get, scope=READ, query=wire.WaitQuery, errors=(404,),
                  summary="A task with its attempts, at once or when it has ended", reply=wire.Task, tag="tasks"),
            Route(method="PATCH", path=ONE, handler=self.edit, scope=MANAGE, summary="Change a queued task",
                  body=wire.TaskEdit, reply=wire.Task, errors=(404, 409), tag="tasks"),
            Route(method="DELETE", path=ONE, handler=self.delete, scope=MANAGE, status=204, errors=(404, 409),
                  summary="Remove a task that nobody works on", tag="tasks"),
            Route(method="POST", path=f"{ONE}/cancel", handler=self.cancel, scope=MANAGE, body=wire.Cancel,
                  summary="Call a task off, whoever holds it", reply=wire.Task, errors=(404, 409), tag="tasks"),
            Route(method="POST", path=f"{ONE}/requeue", handler=self.requeue, scope=MANAGE, reply=wire.Task,
                  summary="Put a failed or cancelled task back", errors=(404, 409), tag="tasks"),
        ]  # fmt: skip

    async def submit(self, call: Call) -> Reply:
        asked: wire.Submit = call.body
        outcomes = await self._tasks.submit(
            Submit(
                project=asked.project,
                tasks=list(map(_new, asked.tasks)),
                by=call.principal,
                key=_key(call),
                atomic=asked.atomic,
            )
        )
        return json_reply(wire.SubmitReply(await self._submitted(outcomes)))

    async def page(self, call: Call) -> Reply:
        asked: wire.TaskQuery = call.query
        project = (await self._projects.get(asked.project)).project.id
        type = (await self._projects.find_type(project, asked.type)).id if asked.type else None
        which = Filter(
            project=project,
            states=tuple(asked.state) if asked.state else None,
            worker=asked.worker,
            batch=asked.batch,
            type=type,
        )
        views = await self._tasks.views(await self._tasks.page(which, asked.limit, asked.offset))
        return json_reply(wire.Tasks(list(map(spelling.task, views)), await self._tasks.count(which)))

    async def get(self, call: Call) -> Reply:
        asked: wire.WaitQuery = call.query
        id = call.params["task"]
        if asked.wait:
            return await self._answer(await call.unless_gone(self._tasks.settled(id, asked.wait)))
        return await self._answer(await self._tasks.get(id))

    async def edit(self, call: Call) -> Reply:
        asked: wire.TaskEdit = call.body
        edit = Edit(
            instructions=asked.instructions,
            variables=asked.variables,
            description=asked.description,
            batch=asked.batch,
        )
        return await self._answer(await self._tasks.edit(call.params["task"], edit, call.principal))

    async def delete(self, call: Call) -> Reply:
        await self._tasks.delete(call.params["task"], call.principal)
        return Reply(204)

    async def cancel(self, call: Call) -> Reply:
        asked: wire.Cancel = call.body
        return await self._answer(await self._tasks.cancel(call.params["task"], call.principal, asked.reason))

    async def requeue(self, call: Call) -> Reply:
        return await self._answer(await self._tasks.requeue(call.params["task"], call.principal))

    async def _answer(self, task: Task) -> Reply:
        view = (await self._tasks.views([task]))[0]
        return json_reply(spelling.task(view, attempts=True))

    async def _submitted(self, outcomes: list[Outcome]) -> list[wire.Submitted]:
        views = iter(await self._tasks.views([outcome for outcome in outcomes if isinstance(outcome, Task)]))
        return [
            wire.Submitted(task=spelling.task(next(views)))
            if isinstance(outcome, Task)
            else wire.Submitted(error=spelling.refused(outcome))
            for outcome in outcomes
        ]


def _new(asked: wire.NewTask) -> NewTask:
    return NewTask(
        type=asked.type,
        name=asked.name,
        kind=asked.kind,
        queue=asked.queue,
        description=asked.description,
        instructions=asked.instructions,
        variables=asked.variables,
        batch=asked.batch,
        priority=asked.priority,
        not_before=None if asked.not_before is None else spelling.micros(asked.not_before),
        max_retries=asked.max_retries,
        on_lost=asked.on_lost,
    )


def _key(call: Call) -> str | None:
    key = call.header("idempotency-key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise Invalid(Fault("Idempotency-Key", f"must be 1 to {LONGEST_KEY} printable ASCII characters"))
    return key
