"""Tools on projects: create, list, get, update, stats."""

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from treadle.core.actions import Action, Answer, Caller
from treadle.core.catalogue import ProjectEdit
from treadle.core.fabric import Fabric
from treadle.core.projects import Policy
from treadle.faces.taskdriver import spelling, wire
from treadle.faces.taskdriver.projects import STATES
from treadle.faces.taskdriver.sessions import MANAGE, READ

from . import asked, shown
from .callers import principal


def actions(policy: Policy) -> list[Action]:
    async def create(fabric: Fabric, caller: Caller, params: asked.CreateProject) -> Answer:
        made = await fabric.projects.create(
            params.name,
            principal(caller),
            description=params.description,
            instructions=params.instructions or None,
            policy=replace(policy, **_policy(params)),
        )
        return Answer(data=spelling.project(made), message=f"Project {params.name} created")

    return [
        Action(name="create_project", summary="Create a project: a pool of tasks", params=asked.CreateProject,
               scope=MANAGE, run=create, result=wire.Project),
        Action(name="list_projects", summary="List projects, newest first", params=asked.ListProjects, scope=READ,
               run=page, result=list[wire.Project], reads=True),
        Action(name="get_project", summary="Show a project with its settings and task counts",
               params=asked.GetProject, scope=READ, run=get, result=wire.Project, reads=True),
        Action(name="update_project", summary="Change a project, close it or open it again",
               params=asked.UpdateProject, scope=MANAGE, run=update, result=wire.Project),
        Action(name="get_project_stats", summary="Show how far a project's work is: counts, active agents, last hour",
               params=asked.OfProject, scope=READ, run=stats, result=shown.Stats, reads=True),
    ]  # fmt: skip


async def page(fabric: Fabric, _: Caller, params: asked.ListProjects) -> Answer:
    status = params.status or ("all" if params.includeClosed else "active")
    found = await fabric.projects.page(STATES[status], params.limit, params.offset)
    return Answer(data=[spelling.project(each) for each in found])


async def get(fabric: Fabric, _: Caller, params: asked.GetProject) -> Answer:
    return Answer(data=spelling.project(await fabric.projects.get(params.projectId)))


async def update(fabric: Fabric, caller: Caller, params: asked.UpdateProject) -> Answer:
    edit = ProjectEdit(
        description=params.description,
        instructions=params.instructions,
        state=params.status,
        policy=_policy(params) or UNSET,
    )
    changed = await fabric.projects.change(params.projectId, edit, principal(caller))
    return Answer(data=spelling.project(changed), message=f"Project {changed.project.name} updated")


async def stats(fabric: Fabric, _: Caller, params: asked.OfProject) -> Answer:
    overview = await fabric.projects.get(params.projectId)
    activity = await fabric.projects.activity(overview.project.id)
    recent = wire.RecentActivity(activity.succeeded, activity.failed, round(activity.mean_seconds, 3))
    report = wire.ProjectReport(spelling.project(overview), overview.tally.queued, activity.workers, recent)
    return Answer(data=shown.Stats(overview.project.id, overview.project.name, report))


def _policy(params: asked.CreateProject | asked.UpdateProject) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if params.maxRetries is not UNSET:
        said["max_retries"] = params.maxRetries
    if params.leaseDuration is not UNSET:
        said["lease"] = spelling.micros(params.leaseDuration)
    return said
