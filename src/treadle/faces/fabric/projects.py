"""Projects and task types over HTTP."""

from treadle.core.catalogue import NewType, ProjectEdit, TypeEdit
from treadle.core.fabric import Fabric
from treadle.core.projects import Policy
from treadle.faces.fabric import spelling, wire
from treadle.web.call import Call, Reply, json_reply
from treadle.web.routes import Route

ALL = "/api/queue/projects"
ONE = "/api/queue/projects/{project}"
TYPES = "/api/queue/projects/{project}/types"
TYPE = "/api/queue/projects/{project}/types/{type}"
READ, MANAGE = "queue:read", "queue:manage"


class Projects:
    """Handlers; `{project}` is an id or a name."""

    def __init__(self, fabric: Fabric) -> None:
        self._projects = fabric.projects

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path=ALL, handler=self.page, scope=READ, summary="Projects, newest first",
                  query=wire.ProjectQuery, reply=wire.Projects, tag="projects"),
            Route(method="POST", path=ALL, handler=self.create, scope=MANAGE, summary="Make a project",
                  body=wire.NewProject, reply=wire.Project, status=201, errors=(409,), tag="projects"),
            Route(method="GET", path=ONE, handler=self.get, scope=READ, summary="A project with its exact counts",
                  reply=wire.Project, errors=(404,), tag="projects"),
            Route(method="PATCH", path=ONE, handler=self.change, scope=MANAGE, body=wire.ProjectEdit,
                  summary="Change, close or reopen a project", reply=wire.Project, errors=(404, 409), tag="projects"),
            Route(method="DELETE", path=ONE, handler=self.remove, scope=MANAGE, status=204, errors=(404,),
                  summary="Remove a project with its types and tasks", tag="projects"),
            Route(method="GET", path=f"{ONE}/stats", handler=self.stats, scope=READ, errors=(404,),
                  summary="What a project holds and did in the last hour", reply=wire.Stats, tag="projects"),
            Route(method="GET", path=TYPES, handler=self.list_types, scope=READ, query=wire.PageQuery,
                  summary="Task types of a project, newest first", reply=wire.TaskTypes, errors=(404,), tag="types"),
            Route(method="POST", path=TYPES, handler=self.create_type, scope=MANAGE, summary="Make a task type",
                  body=wire.NewType, reply=wire.TaskType, status=201, errors=(404, 409), tag="types"),
            Route(method="GET", path=TYPE, handler=self.get_type, scope=READ, summary="A task type, by id or name",
                  reply=wire.TaskType, errors=(404,), tag="types"),
            Route(method="PATCH", path=TYPE, handler=self.change_type, scope=MANAGE, summary="Change a task type",
                  body=wire.TypeEdit, reply=wire.TaskType, errors=(404, 409), tag="types"),
            Route(method="DELETE", path=TYPE, handler=self.remove_type, scope=MANAGE, status=204, errors=(404, 409),
                  summary="Remove a task type of which no task exists", tag="types"),
        ]  # fmt: skip

    async def page(self, call: Call) -> Reply:
        asked: wire.ProjectQuery = call.query
        state = None if asked.state == "all" else asked.state
        found = await self._projects.page(state, asked.limit, asked.offset)
        return json_reply(wire.Projects(list(map(spelling.project, found))))

    async def create(self, call: Call) -> Reply:
        new: wire.NewProject = call.body
        made = await self._projects.create(
            new.name,
            call.principal,
            description=new.description,
            instructions=new.instructions,
            policy=Policy(
                max_retries=new.policy.max_retries,
                lease=spelling.duration(new.policy.lease),
                sweep_every=spelling.duration(new.policy.sweep_every),
            ),
        )
        return json_reply(spelling.project(made), 201)

    async def get(self, call: Call) -> Reply:
        return json_reply(spelling.project(await self._projects.get(call.params["project"])))

    async def change(self, call: Call) -> Reply:
        asked: wire.ProjectEdit = call.body
        edit = ProjectEdit(
            name=asked.name,
            description=asked.description,
            instructions=asked.instructions,
            state=asked.state,
            policy=spelling.policy_edit(asked.policy),
        )
        return json_reply(spelling.project(await self._projects.change(call.params["project"], edit, call.principal)))

    async def remove(self, call: Call) -> Reply:
        await self._projects.remove(call.params["project"], call.principal)
        return Reply(204)

    async def stats(self, call: Call) -> Reply:
        overview = await self._projects.get(call.params["project"])
        lately = await self._projects.activity(overview.project.id)
        stats = wire.Stats(
            tally=spelling.tally(overview.tally),
            claimable=await self._projects.claimable(overview.project.id),
            workers=lately.workers,
            succeeded_last_hour=lately.succeeded,
            failed_last_hour=lately.failed,
            mean_seconds_last_hour=lately.mean_seconds,
        )
        return json_reply(stats)

    async def list_types(self, call: Call) -> Reply:
        asked: wire.PageQuery = call.query
        found = await self._projects.list_types(call.params["project"], asked.limit, asked.offset)
        return json_reply(wire.TaskTypes(list(map(spelling.task_type, found))))

    async def create_type(self, call: Call) -> Reply:
        asked: wire.NewType = call.body
        new = NewType(
            name=asked.name,
            template=asked.template,
            variables=asked.variables,
            duplicates=asked.duplicates,
            max_retries=asked.max_retries,
            lease=None if asked.lease is None else spelling.duration(asked.lease),
        )
        made = await self._projects.create_type(call.params["project"], new, call.principal)
        return json_reply(spelling.task_type(made), 201)

    async def get_type(self, call: Call) -> Reply:
        overview = await self._projects.get(call.params["project"])
        found = await self._projects.find_type(overview.project.id, call.params["type"])
        return json_reply(spelling.task_type(found))

    async def change_type(self, call: Call) -> Reply:
        asked: wire.TypeEdit = call.body
        edit = TypeEdit(
            name=asked.name,
            template=asked.template,
            variables=asked.variables,
            duplicates=asked.duplicates,
            max_retries=asked.max_retries,
            lease=spelling.duration_if_set(asked.lease),
        )
        changed = await self._projects.change_type(await self._type_id(call), edit, call.principal)
        return json_reply(spelling.task_type(changed))

    async def remove_type(self, call: Call) -> Reply:
        await self._projects.remove_type(await self._type_id(call), call.principal)
        return Reply(204)

    async def _type_id(self, call: Call) -> str:
        overview = await self._projects.get(call.params["project"])
        return (await self._projects.find_type(overview.project.id, call.params["type"])).id
