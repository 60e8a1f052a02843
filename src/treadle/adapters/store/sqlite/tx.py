"""One SQLite transaction as the core sees it: every method is one prepared statement, run once or over rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from treadle.adapters.store import lists, rows
from treadle.adapters.store.queries import queries
from treadle.core.documents import Document
from treadle.core.events import Event
from treadle.core.ports import Filter
from treadle.core.projects import Activity, Project, ProjectState, Tally, TaskType
from treadle.core.submitting import canonical
from treadle.core.tasks import State, Task

SQL = {name: sql.replace("{columns}", rows.TASK) for name, sql in queries("treadle.adapters.store.sqlite").items()}
NEWEST = 2**62


class Counters:
    """The next places in creation order and in the log of facts; only the writing thread moves them."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.task = int(connection.execute("SELECT coalesce(max(seq), 0) FROM tasks").get)
        self.event = int(connection.execute(SQL["last_event"]).get)


class SqliteTx:
    """The core's Tx on one connection; `committed` collects the facts that will be told after the commit."""

    def __init__(self, connection: apsw.Connection, counters: Counters | None = None) -> None:
        self._connection = connection
        self._run = connection.execute
        self._run_many = connection.executemany
        self._counters = counters
        self.committed: list[Event] = []

    # tasks

    def insert_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        counters = self._writing()
        placed = []
        for task in tasks:
            counters.task += 1
            placed.append(rows.at_place(task, counters.task))
        self._run_many(SQL["insert_task"], [(task.seq, *rows.new_row(task)) for task in placed])
        return placed

    def save_tasks(self, tasks: Sequence[Task]) -> None:
        self._run_many(SQL["save_task"], [rows.moved_row(task) for task in tasks])

    def rewrite_tasks(self, tasks: Sequence[Task]) -> None:
        self._run_many(SQL["rewrite_task"], [rows.edited_row(task) for task in tasks])

    def delete_tasks(self, ids: Sequence[str]) -> None:
        self._run(SQL["delete_task_aliases"], (rows.text(ids),))
        self._run(SQL["delete_tasks"], (rows.text(ids),))

    def tasks(self, ids: Sequence[str]) -> dict[str, Task]:
        return {task.id: task for task in self._tasks("tasks", rows.text(ids))}

    def ripen(self, project: str, now: int) -> None:
        self._run(SQL["ripen"], (project, now))

    def claimable(self, project: str, queue: str, limit: int) -> list[Task]:
        return self._tasks("claimable", project, queue, limit)

    def expired(self, project: str, now: int, limit: int) -> list[Task]:
        return self._tasks("expired", project, now, limit)

    def move_leases(self, now: int, by: int) -> None:
        self._run(SQL["move_leases"], {"now": now, "by": by})

    def held(self, project: str, workers: Sequence[str]) -> list[Task]:
        return self._tasks("held", project, rows.text(workers))

    def twins(self, pairs: Sequence[tuple[str, Mapping[str, object]]]) -> list[Task]:
        sought = {(type, canonical(variables)) for type, variables in pairs}
        keys = list({(type, rows.digest_of(variables)) for type, variables in pairs})
        if not keys:
            return []
        self._run(SQL["seek_twins"], (rows.text(list({type for type, _ in keys})),))
        found = self._tasks("twins", rows.text(keys))
        return [task for task in found if (task.type, canonical(task.variables)) in sought]

    def list_tasks(self, which: Filter, limit: int, offset: int) -> list[Task]:
        def read(state: State | None, most: int, skipped: int) -> list[Task]:
            conditions, values = lists.narrowed(which, state, _equals)
            found = self._run(_list("list_tasks", which, state, conditions), (*values, most, skipped))
            return [rows.task_of(row) for row in found]

        return lists.merged(which, limit, offset, read)

    def count_tasks(self, which: Filter) -> int:
        if lists.told_by_tally(which):
            return lists.tallied(which, self.tallies([which.project]))
        total = 0
        for state in which.states or (None,):
            conditions, values = lists.narrowed(which, state, _equals)
            total += self._number(self._run(_list("count_tasks", which, state, conditions), values))
        return total

    def has_tasks(self, type: str) -> bool:
        return bool(self._number(self._run(SQL["has_tasks"], {"type": type})))

    def delete_project_tasks(self, project: str, limit: int) -> int:
        self._run(SQL["delete_project_tasks"], (project, limit))
        gone = self._connection.changes()
        self._run(SQL["delete_project_tallies"], (project,))  # a late result of a task that still stood counted again
        return gone

    def count_claimable(self, project: str, now: int) -> int:
        return self._number(self._run(SQL["count_claimable"], {"project": project, "now": now}))

    def add_tallies(self, deltas: Mapping[tuple[str, State], int]) -> None:
        self._run_many(SQL["add_tally"], [(project, state, delta) for (project, state), delta in deltas.items()])

    def tallies(self, projects: Sequence[str]) -> dict[str, Tally]:
        counts: dict[str, dict[str, int]] = {}
        for project, state, count in self._run(SQL["tallies"], (rows.text(projects),)):
            counts.setdefault(project, {})[state] = count
        return {project: Tally(**states) for project, states in counts.items()}

    def activity(self, project: str, since: int, now: int) -> Activity:
        ended = {state: (count, mean) for state, count, mean in self._run(SQL["activity"], (project, since))}
        succeeded, mean = ended.get("succeeded", (0, 0.0))
        workers = self._number(self._run(SQL["workers"], (project, now)))
        return Activity(succeeded, ended.get("failed", (0, 0.0))[0], (mean or 0.0) / 1e6, workers)

    def busy_projects(self) -> list[str]:
        return [project for (project,) in self._run(SQL["busy_projects"])]

    def alias(self, face: str, scope: str | None, name: str) -> str | None:
        found: tuple[str] | None = self._run(SQL["alias"], {"face": face, "scope": scope, "name": name}).fetchone()
        return found[0] if found else None

    def aliases(self, face: str, scope: str, names: Sequence[str]) -> dict[str, str]:
        return dict(self._run(SQL["aliases"], (face, scope, rows.text(names))))

    def put_aliases(self, face: str, scope: str, names: Mapping[str, str]) -> None:
        self._run_many(SQL["put_alias"], [(face, scope, name, task) for name, task in names.items()])

    # projects and types

    def insert_project(self, project: Project) -> Project:
        return rows.at_place(project, self._number(self._run(SQL["insert_project"], rows.project_row(project))))

    def save_project(self, project: Project) -> None:
        self._run(SQL["save_project"], rows.project_row(project))

    def delete_project(self, id: str) -> None:
        for name in ("delete_project_types", "delete_project_tallies", "delete_project_aliases", "delete_project"):
            self._run(SQL[name], (id,))

    def projects(self, refs: Sequence[str]) -> dict[str, Project]:
        found = self._run(SQL["projects"], {"refs": rows.text(refs)})
        return rows.under_refs(refs, [rows.project_of(row) for row in found])

    def list_projects(self, state: ProjectState | None, limit: int, offset: int) -> list[Project]:
        found = self._run(SQL["list_projects"], {"state": state, "limit": limit, "offset": offset})
        return [rows.project_of(row) for row in found]

    def insert_type(self, type: TaskType) -> TaskType:
        return rows.at_place(type, self._number(self._run(SQL["insert_type"], rows.type_row(type))))

    def save_type(self, type: TaskType) -> None:
        self._run(SQL["save_type"], rows.type_row(type))

    def delete_type(self, id: str) -> None:
        self._run(SQL["delete_type"], (id,))

    def types(self, ids: Sequence[str]) -> dict[str, TaskType]:
        if not ids:
            return {}
        return {row[1]: rows.type_of(row) for row in self._run(SQL["types"], (rows.text(ids),))}

    def types_named(self, project: str, refs: Sequence[str]) -> dict[str, TaskType]:
        if not refs:
            return {}
        found = self._run(SQL["types_named"], {"project": project, "refs": rows.text(refs)})
        return rows.under_refs(refs, [rows.type_of(row) for row in found])

    def list_types(self, project: str, limit: int, offset: int) -> list[TaskType]:
        return [rows.type_of(row) for row in self._run(SQL["list_types"], (project, limit, offset))]

    # facts

    def append_events(self, events: Sequence[Event]) -> None:
        counters = self._writing()
        placed = []
        for event in events:
            counters.event += 1
            placed.append((counters.event, event.kind, event.subject, event.project, event.at, rows.text(event.data)))
        self._run_many(SQL["insert_event"], placed)
        self.committed += events

    def events_after(self, cursor: int, limit: int, project: str | None = None) -> list[Event]:
        found = self._run(SQL["events_after"], {"cursor": cursor, "project": project, "limit": limit})
        return [rows.event_of(row) for row in found]

    def last_event(self) -> int:
        return self._number(self._run(SQL["last_event"]))

    def prune_events(self, before: int, limit: int) -> int:
        self._run(SQL["prune_events"], {"before": before, "limit": limit})
        return self._connection.changes()

    # documents

    def document(self, collection: str, key: str) -> Document | None:
        return next(iter(self.documents(collection, [key])), None)

    def documents(self, collection: str, keys: Sequence[str]) -> list[Document]:
        return [Document(*row) for row in self._run(SQL["documents"], (collection, rows.text(keys)))]

    def put_document(self, document: Document) -> None:
        self._run(
            SQL["put_document"],
            (
                document.collection,
                document.key,
                document.body,
                document.group,
                document.expires,
                document.version,
            ),
        )

    def delete_documents(self, collection: str, keys: Sequence[str]) -> int:
        self._run(SQL["delete_documents"], (collection, rows.text(keys)))
        return self._connection.changes()

    def list_documents(self, collection: str, group: str | None, after: str, limit: int) -> list[Document]:
        if group is None:
            found = self._run(SQL["list_documents"], (collection, after, limit))
        else:
            found = self._run(SQL["list_group"], (collection, group, after, limit))
        return [Document(*row) for row in found]

    def delete_group(self, collection: str, group: str) -> list[str]:
        return [key for (key,) in self._run(SQL["delete_group"], (collection, group))]

    def prune_documents(self, now: int, limit: int) -> int:
        self._run(SQL["prune_documents"], (now, limit))
        return self._connection.changes()

    def _writing(self) -> Counters:
        if self._counters is None:
            raise AssertionError("a reading transaction cannot add")
        return self._counters

    def _tasks(self, name: str, *values: Any) -> list[Task]:
        return [rows.task_of(row) for row in self._run(SQL[name], values)]

    @staticmethod
    def _number(cursor: apsw.Cursor) -> int:
        return int(cursor.get)


def _equals(column: str, place: int) -> str:
    return f"{column} = ?{place}"


def _list(name: str, which: Filter, state: State | None, conditions: str) -> str:
    return SQL[name].replace("{index}", lists.index_for(which, state)).replace("{conditions}", conditions)
