"""The catalogue: projects and their task types, as people make, change and remove them."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from .access import Principal, guard_project
from .clock import HOUR, Clock
from .documents import Collection
from .errors import Conflict, Duplicate, NotFound, ProjectClosed
from .events import Event, Kind
from .ids import Ids
from .ports import Store, Tx
from .projects import Activity, Duplicates, Policy, Project, ProjectState, Tally, TaskType
from .templates import declared

DROPPED_AT_ONCE = 5000
"""Tasks of a deleted project that go in one transaction; the rest follow in the background."""

remains = Collection("remains", str)
"""Projects that are gone but whose tasks are still being removed."""


DEFAULT_POLICY = Policy()


class NewType(Struct, frozen=True, kw_only=True):
    """A task type as asked for; what is None comes from the project."""

    name: str
    template: str | None = None
    variables: Sequence[str] | None = None
    duplicates: Duplicates = "allow"
    max_retries: int | None = None
    lease: int | None = None


class TypeEdit(Struct, frozen=True, kw_only=True):
    """What may be changed in a type; a new template without variables declares its own."""

    name: str | UnsetType = UNSET
    template: str | None | UnsetType = UNSET
    variables: Sequence[str] | UnsetType = UNSET
    duplicates: Duplicates | UnsetType = UNSET
    max_retries: int | UnsetType = UNSET
    lease: int | UnsetType = UNSET


class ProjectEdit(Struct, frozen=True, kw_only=True):
    """What may be changed in a project; the policy is merged key by key."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    instructions: str | None | UnsetType = UNSET
    state: ProjectState | UnsetType = UNSET
    policy: dict[str, int] | UnsetType = UNSET


class Overview(Struct, frozen=True):
    """A project with its exact counts."""

    project: Project
    tally: Tally


class Catalogue:
    """Make, change, remove and look up projects and types. Every change and its event commit together."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store, self._clock, self._ids = store, clock, ids

    async def create(
        self,
        name: str,
        by: Principal,
        *,
        description: str = "",
        instructions: str | None = None,
        policy: Policy = DEFAULT_POLICY,
    ) -> Overview:
        """A new project; its name is unique among all, closed ones included."""

        def verb(tx: Tx) -> Overview:
            guard_project(name, by)
            if name in tx.projects([name]):
                raise Duplicate(f"A project named {name} exists already")
            now = self._clock()
            project = Project(
                id=self._ids(),
                name=name,
                created=now,
                updated=now,
                description=description,
                instructions=instructions or None,
                policy=policy,
            )
            project = tx.insert_project(project)
            tx.append_events([_fact("project.created", project, by, now, {"name": name})])
            return Overview(project, Tally())

        return await self._store.write(verb)

    async def change(self, ref: str, edit: ProjectEdit, by: Principal) -> Overview:
        """Change a project; closing it stops its work, reopening lets it go on."""

        def verb(tx: Tx) -> Overview:
            project = the_project(tx, ref)
            changes = given(edit)
            guard_project(project.name, by)
            guard_project(changes.get("name", ""), by)
            name = changes.get("name", project.name)
            if name != project.name and name in tx.projects([name]):
                raise Duplicate(f"A project named {name} exists already")
            if "policy" in changes:
                changes["policy"] = replace(project.policy, **changes["policy"])
            if changes:
                now = self._clock()
                project = replace(project, updated=now, **changes)
                tx.save_project(project)
                tx.append_events([_fact("project.changed", project, by, now, {"fields": sorted(changes)})])
            return Overview(project, tx.tallies([project.id]).get(project.id, Tally()))

        return await self._store.write(verb)

    async def remove(self, ref: str, by: Principal) -> Project:
        """Remove a project with its types, tasks and everything that was opened for it."""

        def verb(tx: Tx) -> Project:
            project = the_project(tx, ref)
            guard_project(project.name, by)
            now = self._clock()
            tx.delete_project(project.id)
            for collection in PROJECT_GROUPS:
                tx.delete_group(collection, project.id)
            if tx.delete_project_tasks(project.id, DROPPED_AT_ONCE) == DROPPED_AT_ONCE:
                remains.put(tx, project.id, project.name)
            tx.append_events([_fact("project.deleted", project, by, now, {"name": project.name})])
            return project

        return await self._store.write(verb)

    async def clear_remains(self) -> bool:
        """Drop one more portion of the tasks of deleted projects; whether there may be more."""

        def verb(tx: Tx) -> bool:
            page = remains.page(tx, limit=1)
            for gone in page:
                if tx.delete_project_tasks(gone.key, DROPPED_AT_ONCE) < DROPPED_AT_ONCE:
                    remains.delete(tx, gone.key)
            return bool(page)

        return await self._store.write(verb)

    async def get(self, ref: str) -> Overview:
        """A project by id or name, with its counts."""
        return await self._store.read(lambda tx: overviews(tx, [the_project(tx, ref)])[0])

    async def page(self, state: ProjectState | None = "active", limit: int = 100, offset: int = 0) -> list[Overview]:
        """Projects, newest first; state None shows all."""
        return await self._store.read(lambda tx: overviews(tx, tx.list_projects(state, limit, offset)))

    async def activity(self, project: str) -> Activity:
        """What a project (by id) did in the last hour, and how many workers hold a live lease in it."""
        now = self._clock()
        return await self._store.read(lambda tx: tx.activity(project, now - HOUR, now))

    async def claimable(self, project: str) -> int:
        """How many tasks of a project (by id) a claim could give out now."""
        now = self._clock()
        return await self._store.read(lambda tx: tx.count_claimable(project, now))

    async def create_type(self, ref: str, new: NewType, by: Principal) -> TaskType:
        """A new type in an open project; its name is unique there."""

        def verb(tx: Tx) -> TaskType:
            project = the_project(tx, ref)
            must_be_open(project)
            if new.name in tx.types_named(project.id, [new.name]):
                raise Duplicate(f"A task type named {new.name} exists already in project {project.name}")
            now = self._clock()
            type = TaskType(
                id=self._ids(),
                project=project.id,
                name=new.name,
                created=now,
                updated=now,
                template=new.template,
                variables=declared(new.template, new.variables),
                duplicates=new.duplicates,
                max_retries=project.policy.max_retries if new.max_retries is None else new.max_retries,
                lease=project.policy.lease if new.lease is None else new.lease,
            )
            type = tx.insert_type(type)
            tx.append_events([Event("type.created", type.id, now, project.id, {"name": type.name, "by": by.name})])
            return type

        return await self._store.write(verb)

    async def change_type(self, id: str, edit: TypeEdit, by: Principal) -> TaskType:
        """Change a type of an open project. Tasks made before keep their retries; lease and template apply at once."""

        def verb(tx: Tx) -> TaskType:
            type = the_type(tx, id)
            project = the_project(tx, type.project)
            must_be_open(project)
            changes = given(edit)
            name = changes.get("name", type.name)
            if name != type.name and name in tx.types_named(project.id, [name]):
                raise Duplicate(f"A task type named {name} exists already in project {project.name}")
            template = changes.get("template", type.template)
            if "variables" in changes or template != type.template:
                changes["variables"] = declared(template, changes.get("variables"))
            if changes:
                now = self._clock()
                type = replace(type, updated=now, **changes)
                tx.save_type(type)
                told = {"fields": sorted(changes), "by": by.name}
                tx.append_events([Event("type.changed", type.id, now, project.id, told)])
            return type

        return await self._store.write(verb)

    async def remove_type(self, id: str, by: Principal) -> TaskType:
        """Remove a type of which no task exists, whatever its state."""

        def verb(tx: Tx) -> TaskType:
            type = the_type(tx, id)
            must_be_open(the_project(tx, type.project))
            if tx.has_tasks(type.id):
                raise Conflict(f"Task type {type.name} still has tasks; delete them first")
            tx.delete_type(type.id)
            now = self._clock()
            tx.append_events([Event("type.deleted", type.id, now, type.project, {"name": type.name, "by": by.name})])
            return type

        return await self._store.write(verb)

    async def get_type(self, id: str) -> TaskType:
        return await self._store.read(lambda tx: the_type(tx, id))

    async def find_type(self, project: str, ref: str) -> TaskType:
        """A type of a project (by id) by id or name."""
        found = await self._store.read(lambda tx: tx.types_named(project, [ref]))
        if ref not in found:
            raise NotFound("Task type", ref)
        return found[ref]

    async def list_types(self, ref: str, limit: int = 1000, offset: int = 0) -> list[TaskType]:
        """Types of a project, newest first."""
        return await self._store.read(lambda tx: tx.list_types(the_project(tx, ref).id, limit, offset))


PROJECT_GROUPS = ("grant", "holder", "receipt")
"""The collections in which a project's id is the group: what is in them goes with the project."""


def the_project(tx: Tx, ref: str) -> Project:
    """The project of this id or name, or NotFound."""
    found = tx.projects([ref]).get(ref)
    if found is None:
        raise NotFound("Project", ref)
    return found


def the_type(tx: Tx, id: str) -> TaskType:
    """The type of this id, or NotFound."""
    found = tx.types([id]).get(id)
    if found is None:
        raise NotFound("Task type", id)
    return found


def must_be_open(project: Project) -> None:
    if project.state == "closed":
        raise ProjectClosed(f"Project {project.name} is closed; reopen it first")


def overviews(tx: Tx, projects: Sequence[Project]) -> list[Overview]:
    tallies = tx.tallies([project.id for project in projects]) if projects else {}
    return [Overview(project, tallies.get(project.id, Tally())) for project in projects]


def given(edit: Struct) -> dict[str, Any]:
    """What an edit says, without what it leaves alone."""
    return {name: value for name, value in asdict(edit).items() if value is not UNSET}


def _fact(kind: Kind, project: Project, by: Principal, at: int, data: dict[str, Any]) -> Event:
    return Event(kind, project.id, at, project.id, {"by": by.name, **data})
