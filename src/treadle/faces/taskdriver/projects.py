"""Projects over HTTP (contract 5.1)."""

from msgspec import UNSET
from msgspec.structs import replace

from treadle.core.catalogue import ProjectEdit
from treadle.core.clock import MINUTE
from treadle.core.fabric import Fabric
from treadle.core.projects import Policy, ProjectState
from treadle.faces.taskdriver import spelling, wire
from treadle.faces.taskdriver.asked import ConfigBody, ProjectCreate, ProjectsQuery, ProjectUpdate
from treadle.faces.taskdriver.envelope import Envelope
from treadle.faces.taskdriver.sessions import MANAGE, READ
from treadle.web.call import Call, Reply
from treadle.web.routes import Route

STATES: dict[str, ProjectState | None] = {"active": "active", "closed": "closed", "all": None}


class Projects:
    """List, make, show, change and remove projects; `policy` is what a new one gets where its maker is silent."""

    def __init__(self, fabric: Fabric, answer: Envelope, policy: Policy) -> None:
        self._projects, self._answer, self._policy = fabric.projects, answer, policy

    def routes(self) -> list[Route]:
        one = "/api/projects/{projectId}"
        return [
            Route(method="GET", path="/api/projects", handler=self.page, scope=READ, tag="Projects",
                  summary="Projects, newest first", query=ProjectsQuery, reply=wire.Success[list[wire.Project]]),
            Route(method="POST", path="/api/projects", handler=self.create, scope=MANAGE, tag="Projects",
                  summary="Make a project", body=ProjectCreate, reply=wire.Success[wire.Project], status=201,
                  errors=(409,), form=True),
            Route(method="GET", path=one, handler=self.get, scope=READ, tag="Projects",
                  summary="A project, by id or name", reply=wire.Success[wire.Project], errors=(404,)),
            Route(method="PUT", path=one, handler=self.update, scope=MANAGE, tag="Projects",
                  summary="Change, close or reopen a project", body=ProjectUpdate, reply=wire.Success[wire.Project],
                  errors=(404, 409), form=True),
            Route(method="DELETE", path=one, handler=self.delete, scope=MANAGE, tag="Projects",
                  summary="Remove a project with its types, tasks and sessions", reply=wire.Success[wire.Message],
                  errors=(404,)),
            Route(method="GET", path=f"{one}/stats", handler=self.stats, scope=READ, tag="Projects",
                  summary="What goes on in a project", reply=wire.Success[wire.ProjectReport], errors=(404,)),
        ]  # fmt: skip

    async def page(self, call: Call) -> Reply:
        query: ProjectsQuery = call.query
        asked = ("all" if query.includeClosed else "active") if query.status is UNSET else query.status
        page = await self._projects.page(STATES[asked], query.limit, query.offset)
        return self._answer([spelling.project(each) for each in page])

    async def create(self, call: Call) -> Reply:
        body: ProjectCreate = call.body
        made = await self._projects.create(
            body.name,
            call.principal,
            description=body.description,
            instructions=None if body.instructions is UNSET else body.instructions,
            policy=replace(self._policy, **_policy(body.config)),
        )
        return self._answer(spelling.project(made), 201)

    async def get(self, call: Call) -> Reply:
        return self._answer(spelling.project(await self._projects.get(call.params["projectId"])))

    async def update(self, call: Call) -> Reply:
        body: ProjectUpdate = call.body
        edit = ProjectEdit(
            name=body.name,
            description=body.description,
            instructions=body.instructions,
            state=body.status,
            policy=_policy(body.config) or UNSET,
        )
        return self._answer(
            spelling.project(await self._projects.change(call.params["projectId"], edit, call.principal))
        )

    async def delete(self, call: Call) -> Reply:
        gone = await self._projects.remove(call.params["projectId"], call.principal)
        return self._answer.message(f"Project {gone.name} deleted")

    async def stats(self, call: Call) -> Reply:
        overview = await self._projects.get(call.params["projectId"])
        activity = await self._projects.activity(overview.project.id)
        recent = wire.RecentActivity(activity.succeeded, activity.failed, round(activity.mean_seconds, 3))
        report = wire.ProjectReport(spelling.project(overview), overview.tally.queued, activity.workers, recent)
        return self._answer(report)


def _policy(config: ConfigBody) -> dict[str, int]:
    """What a config says, in the core's words and units."""
    said: dict[str, int] = {}
    if config.defaultMaxRetries is not UNSET:
        said["max_retries"] = config.defaultMaxRetries
    if config.defaultLeaseDurationMinutes is not UNSET:
        said["lease"] = config.defaultLeaseDurationMinutes * MINUTE
    if config.reaperIntervalMinutes is not UNSET:
        said["sweep_every"] = config.reaperIntervalMinutes * MINUTE
    return said
