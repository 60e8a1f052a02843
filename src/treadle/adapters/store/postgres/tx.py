"""One PostgreSQL transaction as the core sees it: every method is one statement, run over arrays.

Reading and writing transactions share their methods. A writing one also locks what it reads, remembers what it found
missing, and collects the facts to be told after the commit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from treadle.adapters.store import lists, rows
from treadle.adapters.store.queries import queries
from treadle.core.documents import Document
from treadle.core.events import Event
from treadle.core.ports import Filter
from treadle.core.projects import Activity, Project, ProjectState, Tally, TaskType
from treadle.core.submitting import canonical
from treadle.core.tasks import State, Task

from . import locks, pages
from .known import Known, remembered
from .line import Line, Row, Value
from .schema import PACKAGE, Ground
from .troubles import CatalogueNeeded, Overtaken, Refusal


def _variant(parts: Mapping[str, str]) -> dict[str, str]:
    found = queries(PACKAGE)
    for part, sql in parts.items():
        found = {name: text.replace(part, sql) for name, text in found.items()}
    return found


COLUMNS = rows.TASK.replace(" project,", " tasks.project,")
READING = _variant({"{columns}": COLUMNS, "{lock}": "", "{skip}": "", "{documents}": ""})
WRITING = _variant(
    {
        "{columns}": COLUMNS,
        "{lock}": "FOR UPDATE OF progress",
        "{skip}": "FOR UPDATE OF progress SKIP LOCKED",
        "{documents}": "FOR UPDATE",
    }
)

NUMBERING = frozenset({"tasks", "claimable", "documents", "insert_tasks"})
"""Questions after which a writing transaction usually has its number; asked along with them, it costs no round trip."""

FACTS_AT_MOST = 1 << 20
"""Facts in one transaction: their places are the low twenty bits of the cursor."""


class PostgresTx:
    """The core's Tx on one line, in a transaction that is already begun.

    `writes` counts the statements that change something, `number` is the transaction's own once it is known, and
    `committing` says that the server was asked to commit.
    """

    def __init__(
        self, line: Line, ground: Ground, *, known: Known | None = None, shard: int = 0, exclusive: bool = False
    ) -> None:
        writing = known is not None
        self._line, self._ground, self._writing, self._shard = line, ground, writing, shard
        self._known = known
        self._sql = WRITING if writing else READING
        self._exclusive = self._catalogue_locked = exclusive
        self._catalogue_changed = False
        self._absent_documents: set[tuple[str, str]] = set()
        self._absent_aliases: set[tuple[str, str, str]] = set()
        self._facts = 0
        self.committed: list[Event] = []
        self.writes = 0
        self.number: str | None = None
        self._numbered = 0  # how many changes it had made when it was last asked for its number
        self.committing = False
        line.tell(self._sql["begin_writing" if writing else "begin_reading"])
        if exclusive:
            self._lock([locks.number(ground.schema, "catalogue")], [False])

    # tasks

    def insert_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        if not tasks:
            return []
        self.writes += 1
        placed = self._ask("insert_tasks", *_columns([rows.new_row(task) for task in tasks]))
        return [rows.at_place(task, seq) for task, (seq,) in zip(tasks, placed, strict=True)]

    def save_tasks(self, tasks: Sequence[Task]) -> None:
        if not tasks:
            return
        self._tell("save_tasks", *_columns([rows.moved_row(task) for task in tasks]))

    def rewrite_tasks(self, tasks: Sequence[Task]) -> None:
        if not tasks:
            return
        self._tell("rewrite_tasks", *_columns([rows.edited_row(task) for task in tasks]))

    def delete_tasks(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        self._tell("delete_tasks", ids)

    def tasks(self, ids: Sequence[str]) -> dict[str, Task]:
        return {task.id: task for task in self._tasks("tasks", ids)} if ids else {}

    def ripen(self, project: str, now: int) -> None:
        self._tell("ripen", project, now)

    def claimable(self, project: str, queue: str, limit: int) -> list[Task]:
        return self._tasks("claimable", project, queue, limit)

    def expired(self, project: str, now: int, limit: int) -> list[Task]:
        return self._tasks("expired", project, now, limit)

    def move_leases(self, now: int, by: int) -> None:
        """Nothing: the other replicas have kept the time of these leases while this one's clock stood still."""

    def held(self, project: str, workers: Sequence[str]) -> list[Task]:
        self._lock(*locks.grouped(self._ground.schema, "held", {project: workers}))
        return self._tasks("held", project, workers)

    def twins(self, pairs: Sequence[tuple[str, Mapping[str, object]]]) -> list[Task]:
        if not pairs:
            return []
        sought = {(type, canonical(variables)) for type, variables in pairs}
        digests: dict[str, set[int]] = {}
        for type, variables in pairs:
            digests.setdefault(type, set()).add(rows.digest_of(variables))
        self._lock(*locks.grouped(self._ground.schema, "twin", digests))
        keys = [(type, digest) for type, found in digests.items() for digest in found]
        found = self._tasks("twins", *_columns(keys))
        return [task for task in found if (task.type, canonical(task.variables)) in sought]

    def list_tasks(self, which: Filter, limit: int, offset: int) -> list[Task]:
        def read(state: State | None, most: int, skipped: int) -> list[Task]:
            sql, values = pages.page(which, state, COLUMNS)
            return [rows.task_of(row) for row in self._line.ask(sql, *values, most, skipped)]

        return lists.merged(which, limit, offset, read)

    def count_tasks(self, which: Filter) -> int:
        if lists.told_by_tally(which):
            return lists.tallied(which, self.tallies([which.project]))
        total = 0
        for state in which.states or (None,):
            sql, values = pages.count(which, state)
            total += int(self._line.ask(sql, *values)[0][0])
        return total

    def has_tasks(self, type: str) -> bool:
        return bool(self._ask("has_tasks", type)[0][0])

    def delete_project_tasks(self, project: str, limit: int) -> int:
        gone = self._change("delete_project_tasks", project, limit)
        self._tell("delete_project_tallies", project)  # a late result of a task that was still there counted again
        return gone

    def count_claimable(self, project: str, now: int) -> int:
        return int(self._ask("count_claimable", project, now)[0][0])

    def add_tallies(self, deltas: Mapping[tuple[str, State], int]) -> None:
        if not deltas:
            return
        pieces = sorted((project, state, delta) for (project, state), delta in deltas.items())
        self._tell("add_tallies", *_columns(pieces), self._shard)

    def tallies(self, projects: Sequence[str]) -> dict[str, Tally]:
        counts: dict[str, dict[str, int]] = {}
        for project, state, count in self._ask("tallies", projects):
            counts.setdefault(project, {})[state] = count
        return {project: Tally(**states) for project, states in counts.items()}

    def activity(self, project: str, since: int, now: int) -> Activity:
        ended = {state: (count, mean) for state, count, mean in self._ask("activity", project, since)}
        succeeded, mean = ended.get("succeeded", (0, 0.0))
        workers = int(self._ask("workers", project, now)[0][0])
        return Activity(succeeded, ended.get("failed", (0, 0.0))[0], (mean or 0.0) / 1e6, workers)

    def busy_projects(self) -> list[str]:
        return [project for (project,) in self._ask("busy_projects")]

    def alias(self, face: str, scope: str | None, name: str) -> str | None:
        found = self._ask("alias", face, name, scope)
        return found[0][0] if found else None

    def aliases(self, face: str, scope: str, names: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = dict(self._ask("aliases", face, scope, names))
        self._absent_aliases.update((face, scope, name) for name in names if name not in found)
        return found

    def put_aliases(self, face: str, scope: str, names: Mapping[str, str]) -> None:
        # A name that was found missing is only inserted: if another replica has taken it since, the server refuses,
        # the verb runs again and sees it.
        new = {name: task for name, task in names.items() if (face, scope, name) in self._absent_aliases}
        old = {name: task for name, task in names.items() if name not in new}
        for statement, part in (("new_aliases", new), ("put_aliases", old)):
            if part:
                self._tell(statement, face, scope, list(part), list(part.values()))
        self._absent_aliases.difference_update((face, scope, name) for name in new)

    # projects and types

    def insert_project(self, project: Project) -> Project:
        return rows.at_place(project, self._change_catalogue("insert_project", *rows.project_row(project)))

    def save_project(self, project: Project) -> None:
        self._tell_catalogue("save_project", *rows.project_row(project))

    def delete_project(self, id: str) -> None:
        for name in ("delete_project_types", "delete_project_tallies", "delete_project_aliases", "delete_project"):
            self._tell_catalogue(name, id)

    def projects(self, refs: Sequence[str]) -> dict[str, Project]:
        def ask(refs: Sequence[str]) -> dict[str, Project]:
            return rows.under_refs(refs, [rows.project_of(row) for row in self._ask("projects", refs)])

        if not refs:
            return {}
        known = self._relying_on()
        return remembered(known.projects, refs, ask) if known else ask(refs)

    def list_projects(self, state: ProjectState | None, limit: int, offset: int) -> list[Project]:
        self._relying_on()
        return [rows.project_of(row) for row in self._ask("list_projects", state, limit, offset)]

    def insert_type(self, type: TaskType) -> TaskType:
        return rows.at_place(type, self._change_catalogue("insert_type", *rows.type_row(type)))

    def save_type(self, type: TaskType) -> None:
        self._tell_catalogue("save_type", *rows.type_row(type))

    def delete_type(self, id: str) -> None:
        self._tell_catalogue("delete_type", id)

    def types(self, ids: Sequence[str]) -> dict[str, TaskType]:
        def ask(ids: Sequence[str]) -> dict[str, TaskType]:
            return {row[1]: rows.type_of(row) for row in self._ask("types", ids)}

        if not ids:
            return {}
        known = self._relying_on()
        return remembered(known.types, ids, ask) if known else ask(ids)

    def types_named(self, project: str, refs: Sequence[str]) -> dict[str, TaskType]:
        def ask(refs: Sequence[str]) -> dict[str, TaskType]:
            return rows.under_refs(refs, [rows.type_of(row) for row in self._ask("types_named", project, refs)])

        if not refs:
            return {}
        known = self._relying_on()
        return remembered(known.types_of(project), refs, ask) if known else ask(refs)

    def list_types(self, project: str, limit: int, offset: int) -> list[TaskType]:
        self._relying_on()
        return [rows.type_of(row) for row in self._ask("list_types", project, limit, offset)]

    # facts

    def append_events(self, events: Sequence[Event]) -> None:
        if not events:
            return
        if self._facts + len(events) > FACTS_AT_MOST:
            raise Refusal("54000", f"more than {FACTS_AT_MOST} facts in one transaction")
        told = [(event.kind, event.subject, event.project, event.at, rows.text(event.data)) for event in events]
        self._tell("insert_events", self._ground.base, self._facts, *_columns(told))
        self._facts += len(events)
        self.committed += events

    def events_after(self, cursor: int, limit: int, project: str | None = None) -> list[Event]:
        found = self._ask("events_after", self._ground.base, cursor, project, limit)
        return [rows.event_of(row) for row in found]

    def last_event(self) -> int:
        return int(self._ask("last_event", self._ground.base)[0][0])

    def prune_events(self, before: int, limit: int) -> int:
        return self._change("prune_events", before, limit)

    # documents

    def document(self, collection: str, key: str) -> Document | None:
        return next(iter(self.documents(collection, [key])), None)

    def documents(self, collection: str, keys: Sequence[str]) -> list[Document]:
        found = [_document(row) for row in self._ask("documents", collection, keys)] if keys else []
        if self._writing:
            there = {document.key for document in found}
            if any((collection, key) in self._absent_documents for key in there):
                raise Overtaken
            self._absent_documents.update((collection, key) for key in keys if key not in there)
        return found

    def put_document(self, document: Document) -> None:
        # As with names: what was found missing is only inserted.
        place = (document.collection, document.key)
        name = "new_document" if place in self._absent_documents else "put_document"
        self._absent_documents.discard(place)
        self._tell(name, *place, document.body, document.group, document.expires, document.version)

    def delete_documents(self, collection: str, keys: Sequence[str]) -> int:
        return self._change("delete_documents", collection, keys)

    def list_documents(self, collection: str, group: str | None, after: str, limit: int) -> list[Document]:
        if group is None:
            found = self._ask("list_documents", collection, after, limit)
        else:
            found = self._ask("list_group", collection, group, after, limit)
        return [_document(row) for row in found]

    def delete_group(self, collection: str, group: str) -> list[str]:
        self.writes += 1
        return [key for (key,) in self._ask("delete_group", collection, group)]

    def prune_documents(self, now: int, limit: int) -> int:
        return self._change("prune_documents", now, limit)

    # the transaction itself

    def commit(self) -> None:
        """Ask the server to commit. Whoever loses the line meanwhile looks up the fate of `number`."""
        if self.number is None and self.writes != self._numbered:
            self.number = self._line.ask(self._sql["number"])[0][0]
        self.committing = bool(self.writes)
        self._line.ask(self._sql["commit"])
        if self._line.last_tag != b"COMMIT":
            raise Refusal("25P02", "the transaction was spoilt and has been rolled back")

    def _ask(self, name: str, *values: Value) -> list[Row]:
        if not self._writing or self.number is not None or name not in NUMBERING:
            return self._line.ask(self._sql[name], *values)
        self._line.tell(self._sql[name], *values)
        self._line.tell(self._sql["number"])
        found, number = self._line.ask_told(2)
        self.number, self._numbered = number[0][0], self.writes
        return found

    def _tell(self, name: str, *values: Value) -> None:
        self.writes += 1
        self._line.tell(self._sql[name], *values)

    def _change(self, name: str, *values: Value) -> int:
        """A change that gives one number."""
        self.writes += 1
        return int(self._ask(name, *values)[0][0])

    def _relying_on(self) -> Known | None:
        """What the lane remembers of the catalogue, from here on locked as it is; None where it does not count."""
        if self._known is None or self._exclusive:
            return None
        if not self._catalogue_locked:
            self._catalogue_locked = True
            self._lock([locks.number(self._ground.schema, "catalogue")], [True])
            if self._known.number is None:
                self._known.number = self._ask("catalogue")[0][0]
            else:
                self._line.tell(self._sql["catalogue_is"], self._known.number)
        return self._known

    def _tell_catalogue(self, name: str, *values: Value) -> None:
        self._must_be_exclusive()
        self._tell(name, *values)

    def _change_catalogue(self, name: str, *values: Value) -> int:
        self._must_be_exclusive()
        return self._change(name, *values)

    def _must_be_exclusive(self) -> None:
        # Taking it now would be a step up from the shared lock; two that do so wait for each other for ever.
        if not self._exclusive:
            raise CatalogueNeeded
        if not self._catalogue_changed:
            self._catalogue_changed = True
            self._tell("catalogue_changed")

    def _lock(self, numbers: list[int], shared: list[bool]) -> None:
        if self._writing and numbers:
            self._line.tell(self._sql["lock"], numbers, shared)

    def _tasks(self, name: str, *values: Any) -> list[Task]:
        return [rows.task_of(row) for row in self._ask(name, *values)]


def _columns(found: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Rows as one sequence for each column."""
    return list(zip(*found, strict=True))


def _document(row: Row) -> Document:
    collection, key, body, group, expires, version = row
    return Document(collection, key, body.encode(), group, expires, version)
