"""What agents do with the queue: take a task, keep it, end it; and who works just now (contract 5.4, 4.5)."""

from collections.abc import Awaitable, Callable

import msgspec
from msgspec import inspect

from treadle.core.clock import MINUTE, SECOND
from treadle.core.errors import Fault, Invalid, NotFound
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim, Extend, Finish
from treadle.core.ports import Filter
from treadle.core.tasks import Hold, Result, Task
from treadle.faces.taskdriver import spelling, wire
from treadle.faces.taskdriver.asked import (
    AgentPath,
    AgentQuery,
    Complete,
    ExtendLease,
    Fail,
    NextTaskBody,
    NextTaskQuery,
)
from treadle.faces.taskdriver.envelope import Envelope
from treadle.faces.taskdriver.errors import failure
from treadle.faces.taskdriver.metrics import Meter
from treadle.faces.taskdriver.naming import Names
from treadle.faces.taskdriver.sessions import READ, WORK
from treadle.web.call import Call, Reply, json_reply
from treadle.web.faults import faults
from treadle.web.routes import Route

NOTHING = "No tasks available for assignment"
PAGE = 1000
QUEUE = "Queue"
"""The tag of what workers do all the time."""
GONE = "Agents are not registered: an agent is the name under which it takes tasks"
_agent_rules = inspect.type_info(AgentPath)


class Agents:
    """Gives out tasks, takes results, prolongs and sweeps leases, and lists who works."""

    def __init__(self, fabric: Fabric, answer: Envelope, names: Names, meter: Meter) -> None:
        self._fabric, self._queue, self._answer = fabric, fabric.tasks, answer
        self._names, self._meter = names, meter

    def routes(self) -> list[Route]:
        project, task, agent = "/api/projects/{projectId}", "/api/tasks/{taskId}", "/api/agents/{agentName}"
        return [
            Route(method="POST", path=f"{agent}/next-task", handler=self.next_task, scope=WORK, tag=QUEUE,
                  summary="Take a task, or get the one this agent holds again", body=NextTaskBody, query=NextTaskQuery,
                  reply=wire.NextTask, errors=(404, 409), counted=False, form=True,
                  description="With nothing to do the status is 200, `success` is false and `data.task` null. `?wait=` "
                  "waits up to that many seconds for work."),
            Route(method="GET", path=f"{project}/peek-next-task", handler=self.peek, scope=READ, tag=QUEUE,
                  summary="How many tasks could be taken", reply=wire.Success[wire.Peek], errors=(404,), counted=False),
            Route(method="POST", path=f"{task}/complete", handler=self.complete, scope=WORK, tag=QUEUE,
                  summary="Hand in a result", body=Complete, reply=wire.Success[wire.Task], errors=(404, 409),
                  counted=False, form=True),
            Route(method="POST", path=f"{task}/fail", handler=self.fail, scope=WORK, tag=QUEUE,
                  summary="Report a failure: the task is queued again, or fails for good", body=Fail,
                  reply=wire.Success[wire.Task], errors=(404, 409), counted=False, form=True),
            Route(method="POST", path=f"{task}/extend-lease", handler=self.extend, scope=WORK, tag=QUEUE,
                  summary="Add minutes to the end of a lease", body=ExtendLease, reply=wire.Success[wire.Task],
                  errors=(404, 409), counted=False, form=True),
            Route(method="POST", path=f"{project}/cleanup-leases", handler=self.cleanup, scope=WORK, tag=QUEUE,
                  summary="Put back the tasks whose lease ran out", reply=wire.Success[wire.Cleanup], errors=(404,)),
            Route(method="GET", path=f"{project}/agents", handler=self.page, scope=READ, tag="Agents",
                  summary="Who works in a project, oldest assignment first", reply=wire.Success[list[wire.Agent]],
                  errors=(404,)),
            Route(method="GET", path=agent, handler=self.get, scope=READ, tag="Agents",
                  summary="What an agent works on", query=AgentQuery, reply=wire.Success[wire.Agent], errors=(404,)),
            *(
                Route(method=method, path=path, handler=self.gone, scope=READ, tag="Agents", status=410,
                      summary="Not offered: agents are not registered", reply=wire.Failure)
                for method, path in (("POST", f"{project}/agents"), ("PUT", agent), ("DELETE", agent))
            ),
        ]  # fmt: skip

    async def next_task(self, call: Call) -> Reply:
        body: NextTaskBody = call.body
        query: NextTaskQuery = call.query
        by, worker = call.principal, agent_name(call.params["agentName"])
        project = body.projectId or by.project
        if project is None:
            raise Invalid(Fault("projectId", '"projectId" is required'))
        claim = Claim(project=project, worker=worker, holder=by.grant, resume=True)
        if query.wait > 0:
            # who has left gets no task; one that was given in the same instant is resumed under the agent's name
            found = await call.unless_gone(self._queue.claim(claim, query.wait))
        else:
            found = await self._queue.claim(claim)
        now = self._answer.now()
        if not found:
            nothing = wire.Assignment(None, worker)
            return json_reply(
                wire.NextTask(success=False, error=NOTHING, data=nothing, timestamp=now, correlationId=call.correlation)
            )
        task = await self._shown(found[0])
        return json_reply(wire.NextTask(success=True, data=wire.Assignment(task, worker, task.id), timestamp=now))

    async def peek(self, call: Call) -> Reply:
        project = (await self._fabric.projects.get(call.params["projectId"])).project
        return self._answer(wire.Peek(project.id, await self._fabric.projects.claimable(project.id)))

    async def complete(self, call: Call) -> Reply:
        body: Complete = call.body
        return await self._finish(call, body, Result(ok=True, output=body.result, outputs=body.outputs))

    async def fail(self, call: Call) -> Reply:
        body: Fail = call.body
        return await self._finish(call, body, Result(ok=False, error=body.error, retry=body.canRetry))

    async def _finish(self, call: Call, body: Complete | Fail, result: Result) -> Reply:
        by = call.principal
        worker = agent_name(body.agentName) if body.agentName else (by.name if by.grant is not None else None)
        hold = Hold(worker=worker, holder=by.grant)
        task = await self._on(
            call, body.projectId, lambda id: self._queue.finish(Finish(task=id, by=hold, result=result))
        )
        if task.finished is not None and task.assigned is not None:
            self._meter.task_seconds.observe((task.finished - task.assigned) / SECOND)
        return self._answer(await self._shown(task))

    async def extend(self, call: Call) -> Reply:
        body: ExtendLease = call.body
        hold, more = Hold(holder=call.principal.grant), round(body.extensionMinutes * MINUTE)
        task = await self._on(call, body.projectId, lambda id: self._queue.extend(Extend(task=id, by=hold, add=more)))
        return self._answer(await self._shown(task))

    async def cleanup(self, call: Call) -> Reply:
        project = (await self._fabric.projects.get(call.params["projectId"])).project
        swept = await self._queue.sweep(project.id)
        agents = {task.lease.worker for task in swept if task.lease is not None}
        return self._answer(wire.Cleanup(len(swept), len(agents)))

    async def page(self, call: Call) -> Reply:
        project = (await self._fabric.projects.get(call.params["projectId"])).project
        return self._answer([spelling.agent(task) for task in await self._working(project.id)])

    async def get(self, call: Call) -> Reply:
        query: AgentQuery = call.query
        name = agent_name(call.params["agentName"])
        ref = query.projectId or call.principal.project
        project = (await self._fabric.projects.get(ref)).project if ref is not None else None
        working = await self._working(project.id, name) if project is not None else []
        if not working:
            raise NotFound("Agent", name)
        return self._answer(spelling.agent(working[0]))

    async def gone(self, call: Call) -> Reply:
        return failure(GONE, call, self._fabric.clock, 410)

    async def _working(self, project: str, worker: str | None = None) -> list[Task]:
        """The running tasks with a live lease, one for each worker, oldest assignment first."""
        which, now = Filter(project=project, states=("running",), worker=worker), self._fabric.clock()
        live: dict[str, Task] = {}
        for task in sorted(await self._all(which), key=lambda task: task.assigned or 0):
            if task.lease is not None and not task.expired(now):
                live.setdefault(task.lease.worker, task)
        return [*live.values()]

    async def _all(self, which: Filter) -> list[Task]:
        found: list[Task] = []
        while page := await self._queue.page(which, PAGE, len(found)):
            found += page
            if len(page) < PAGE:
                break
        return found

    async def _on(self, call: Call, project: str | None, act: Callable[[str], Awaitable[Task]]) -> Task:
        return await self._names.acting(call.params["taskId"], project or call.principal.project, act)

    async def _shown(self, task: Task) -> wire.Task:
        return spelling.task((await self._queue.views((task,)))[0])


def agent_name(name: str) -> str:
    """The name in an address, if it keeps the rule for agent names."""
    try:
        msgspec.convert({"agentName": name}, AgentPath)
    except msgspec.ValidationError:
        raise Invalid(*faults({"agentName": name}, _agent_rules)) from None
    return name
