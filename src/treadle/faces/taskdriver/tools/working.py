"""Tools of whoever works: take a task, look how many there are, end one, and see who works."""

from treadle.core.actions import Action, Answer, Caller
from treadle.core.errors import NotFound
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim, Finish
from treadle.core.ports import Filter
from treadle.core.tasks import Result, Task
from treadle.faces.taskdriver import spelling, wire
from treadle.faces.taskdriver.agents import NOTHING
from treadle.faces.taskdriver.naming import Names
from treadle.faces.taskdriver.sessions import READ, WORK

from . import asked, shown
from .callers import agent_name, hold
from .tasks import PAGE, one_shown


def actions() -> list[Action]:
    return [
        Action(name="get_next_task", summary="Take the next task, or get the one again that you hold already",
               params=asked.GetNextTask, scope=WORK, run=next_task, result=wire.Task),
        Action(name="peek_next_task", summary="Show how many tasks could be taken, without taking one",
               params=asked.OfProject, scope=READ, run=peek, result=shown.Peek, reads=True),
        Action(name="list_active_agents", summary="List who works in a project, longest at work first",
               params=asked.OfProject, scope=READ, run=agents, result=list[wire.Agent], reads=True),
        Action(name="complete_task", summary="Hand in the result of a task you hold", params=asked.CompleteTask,
               scope=WORK, run=complete, result=wire.Task),
        Action(name="fail_task", summary="Report that a task you hold failed; it is tried again if that makes sense",
               params=asked.FailTask, scope=WORK, run=fail, result=wire.Task),
    ]  # fmt: skip


async def next_task(fabric: Fabric, caller: Caller, params: asked.GetNextTask) -> Answer:
    project = (await fabric.projects.get(params.projectId)).project
    name = await agent_name(fabric, caller, params.agentName)
    # whoever asks under a name gets that name's task back, so an agent that was restarted goes on where it was
    claim = Claim(project=project.id, worker=name, holder=caller.conversation, resume=True)
    found = await fabric.tasks.claim(claim)
    named = {"agentName": name}
    if not found:
        return Answer(data=None, beside=named, refusal=NOTHING)
    return Answer(data=await one_shown(fabric, found[0]), beside=named)


async def peek(fabric: Fabric, _: Caller, params: asked.OfProject) -> Answer:
    project = (await fabric.projects.get(params.projectId)).project
    available = await fabric.projects.claimable(project.id)
    return Answer(data=shown.Peek(project.id, available), refusal=None if available else "No tasks available")


async def agents(fabric: Fabric, _: Caller, params: asked.OfProject) -> Answer:
    project = (await fabric.projects.get(params.projectId)).project
    return Answer(data=[spelling.agent(task) for task in await _at_work(fabric, project.id)])


async def complete(fabric: Fabric, caller: Caller, params: asked.CompleteTask) -> Answer:
    result = Result(ok=True, output=params.result, outputs=asked.unpacked_object("outputs", params.outputs))
    return await _finish(fabric, caller, params, result)


async def fail(fabric: Fabric, caller: Caller, params: asked.FailTask) -> Answer:
    return await _finish(fabric, caller, params, Result(ok=False, error=params.error, retry=params.canRetry))


async def _finish(fabric: Fabric, caller: Caller, params: asked.OfHeldTask, result: Result) -> Answer:
    project = (await fabric.projects.get(params.projectId)).project
    held = await Names(fabric).acting(params.taskId, project.id, fabric.tasks.get)
    if held.project != project.id:
        raise NotFound("Task", params.taskId)
    finish = Finish(task=held.id, by=hold(caller, params.agentName), result=result)
    task = await one_shown(fabric, await fabric.tasks.finish(finish))
    return Answer(data=task, message=f"Task {task.id} is {task.status}")


async def _at_work(fabric: Fabric, project: str) -> list[Task]:
    """The running tasks with a live lease, one for each worker, oldest assignment first."""
    running: list[Task] = []
    while more := await fabric.tasks.page(Filter(project=project, states=("running",)), PAGE, len(running)):
        running += more
    now = fabric.clock()
    live: dict[str, Task] = {}
    for task in sorted(running, key=lambda task: task.assigned or 0):
        if task.lease is not None and not task.expired(now):
            live.setdefault(task.lease.worker, task)
    return [*live.values()]
