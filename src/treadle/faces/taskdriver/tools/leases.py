"""Tools on leases and on the server: extend, count, sweep, health."""

from treadle import __version__
from treadle.core.actions import Action, Answer, Caller
from treadle.core.clock import SECOND, Clock
from treadle.core.errors import StoreUnavailable
from treadle.core.fabric import Fabric
from treadle.core.leases import Extend
from treadle.core.tasks import Task
from treadle.faces.taskdriver import spelling, wire
from treadle.faces.taskdriver.naming import Names
from treadle.faces.taskdriver.sessions import READ, WORK

from . import asked, shown
from .callers import hold
from .tasks import one_shown


def actions(clock: Clock) -> list[Action]:
    started = clock()

    async def health(fabric: Fabric, _: Caller, __: asked.Nothing) -> Answer:
        broken: str | None = None
        try:
            await fabric.events.last()
        except StoreUnavailable as error:
            broken = type(error)().message
        now = fabric.clock()
        storage = wire.Storage(broken is None, fabric.store.provider, broken or "The store answers")
        status = "healthy" if broken is None else "unhealthy"
        data = shown.Health(status, spelling.instant(now), (now - started) // SECOND, __version__, storage)
        return Answer(data=data, refusal=broken)

    return [
        Action(name="extend_lease", summary="Add minutes to the lease of a running task", params=asked.ExtendLease,
               scope=WORK, run=extend, result=wire.Task),
        Action(name="extend_task_lease", summary="Add minutes to the lease of a running task; answers its new end",
               params=asked.ExtendTaskLease, scope=WORK, run=extend_and_tell, result=shown.Extended),
        Action(name="health_check", summary="Whether the server can do its work", params=asked.Nothing, scope=READ,
               run=health, result=shown.Health, reads=True),
        Action(name="get_lease_stats", summary="Show how many tasks are held, and how many leases have run out",
               params=asked.OfProject, scope=READ, run=stats, result=shown.LeaseStats, reads=True),
        Action(name="cleanup_expired_leases", summary="Put back the tasks whose lease ran out",
               params=asked.OfProject, scope=WORK, run=cleanup, result=shown.Cleanup),
    ]  # fmt: skip


async def extend(fabric: Fabric, caller: Caller, params: asked.ExtendLease) -> Answer:
    task = await _extended(fabric, caller, params.taskId, params.minutes)
    return Answer(data=await one_shown(fabric, task))


async def extend_and_tell(fabric: Fabric, caller: Caller, params: asked.ExtendTaskLease) -> Answer:
    task = await _extended(fabric, caller, params.taskId, params.extensionMinutes)
    assert task.lease is not None  # it was extended just now
    until = spelling.instant(task.lease.until)
    return Answer(data=shown.Extended(spelling.task_id(task), params.extensionMinutes, until))


async def stats(fabric: Fabric, _: Caller, params: asked.OfProject) -> Answer:
    overview = await fabric.projects.get(params.projectId)
    project, tally, now = overview.project, overview.tally, fabric.clock()
    expired = await fabric.store.read(lambda tx: len(tx.expired(project.id, now, max(tally.running, 1))))
    by_status = {status: sum(map(tally.of, states)) for status, states in spelling.STATES.items()}
    counts = shown.LeaseCounts(tally.running, expired, by_status)
    return Answer(data=shown.LeaseStats(project.id, project.name, counts))


async def cleanup(fabric: Fabric, _: Caller, params: asked.OfProject) -> Answer:
    project = (await fabric.projects.get(params.projectId)).project
    swept = await fabric.tasks.sweep(project.id)
    agents = {task.lease.worker for task in swept if task.lease is not None}
    return Answer(data=shown.Cleanup(project.id, project.name, len(swept), len(agents)))


async def _extended(fabric: Fabric, caller: Caller, ref: str, minutes: float) -> Task:
    by, more = hold(caller), spelling.micros(minutes)
    return await Names(fabric).acting(ref, None, lambda id: fabric.tasks.extend(Extend(task=id, by=by, add=more)))
