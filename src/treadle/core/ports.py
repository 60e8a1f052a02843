"""What the fabric needs from the outside: a store that is the truth and a bus that only says "look now".

Everything inside a transaction is synchronous: a verb is a plain function of a transaction, so that many share a commit
and a store may run it again after a conflict. Set-based methods take a constant number of statements whatever n.
"""

from asyncio import Future
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from msgspec import Struct

from .documents import DocumentTx
from .events import Event, EventTx
from .projects import Activity, Project, ProjectState, Tally, TaskType
from .tasks import State, Task

R = TypeVar("R")


class Filter(Struct, frozen=True, kw_only=True):
    """Which tasks of a project a list shows; what is None does not narrow it."""

    project: str
    states: tuple[State, ...] | None = None
    worker: str | None = None
    batch: str | None = None
    type: str | None = None


class TaskTx(Protocol):
    """What a transaction can do with tasks. Rows that a writing transaction reads are locked until its end."""

    def insert_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        """Add new tasks; the same tasks with their place in creation order."""
        ...

    def save_tasks(self, tasks: Sequence[Task]) -> None:
        """Write what rules change: state, retries, fence, lease, instants, result, attempts. Ids must be distinct."""
        ...

    def rewrite_tasks(self, tasks: Sequence[Task]) -> None:
        """Write what people edit: instructions, variables, description, batch."""
        ...

    def delete_tasks(self, ids: Sequence[str]) -> None: ...

    def tasks(self, ids: Sequence[str]) -> dict[str, Task]:
        """The tasks that exist, by id."""
        ...

    def ripen(self, project: str, now: int) -> None:
        """Let queued tasks whose `not_before` has come be claimed."""
        ...

    def claimable(self, project: str, queue: str, limit: int) -> list[Task]:
        """Queued tasks by priority, then creation; none that another transaction is about to claim."""
        ...

    def expired(self, project: str, now: int, limit: int) -> list[Task]:
        """Running tasks whose lease has run out, oldest lease first."""
        ...

    def move_leases(self, now: int, by: int) -> None:
        """Move the end of every live lease, where nobody but this process has kept their time."""
        ...

    def held(self, project: str, workers: Sequence[str]) -> list[Task]:
        """Running tasks of these workers, oldest first."""
        ...

    def twins(self, pairs: Sequence[tuple[str, Mapping[str, object]]]) -> list[Task]:
        """Tasks neither failed nor cancelled that may have one of these (type, variables), oldest first."""
        ...

    def list_tasks(self, which: Filter, limit: int, offset: int) -> list[Task]:
        """Tasks in creation order."""
        ...

    def count_tasks(self, which: Filter) -> int: ...

    def has_tasks(self, type: str) -> bool: ...

    def delete_project_tasks(self, project: str, limit: int) -> int:
        """Drop up to `limit` tasks of a project that is gone; how many went."""
        ...

    def count_claimable(self, project: str, now: int) -> int:
        """Tasks that a claim could give out: queued and ripe, or running with a lease that ran out."""
        ...

    def add_tallies(self, deltas: Mapping[tuple[str, State], int]) -> None: ...

    def tallies(self, projects: Sequence[str]) -> dict[str, Tally]: ...

    def activity(self, project: str, since: int, now: int) -> Activity: ...

    def busy_projects(self) -> list[str]:
        """Projects in which some task is running."""
        ...

    def alias(self, face: str, scope: str | None, name: str) -> str | None:
        """The task a face's own name stands for in a scope; with scope None the newest of that name."""
        ...

    def aliases(self, face: str, scope: str, names: Sequence[str]) -> dict[str, str]: ...

    def put_aliases(self, face: str, scope: str, names: Mapping[str, str]) -> None:
        """Let each name stand for a task; a name that stood for another one moves."""
        ...


class ProjectTx(Protocol):
    """What a transaction can do with projects and their types."""

    def insert_project(self, project: Project) -> Project: ...

    def save_project(self, project: Project) -> None: ...

    def delete_project(self, id: str) -> None:
        """Drop a project with its types and counters; its tasks go by `delete_project_tasks`."""
        ...

    def projects(self, refs: Sequence[str]) -> dict[str, Project]:
        """Projects by id or name, under the word they were asked for; an id wins over a name."""
        ...

    def list_projects(self, state: ProjectState | None, limit: int, offset: int) -> list[Project]:
        """Newest first."""
        ...

    def insert_type(self, type: TaskType) -> TaskType: ...

    def save_type(self, type: TaskType) -> None: ...

    def delete_type(self, id: str) -> None: ...

    def types(self, ids: Sequence[str]) -> dict[str, TaskType]: ...

    def types_named(self, project: str, refs: Sequence[str]) -> dict[str, TaskType]:
        """Types of one project by id or name, under the word they were asked for."""
        ...

    def list_types(self, project: str, limit: int, offset: int) -> list[TaskType]:
        """Newest first."""
        ...


class Tx(TaskTx, ProjectTx, EventTx, DocumentTx, Protocol):
    """One transaction: all of it happens or nothing."""


class Store(Protocol):
    """The truth. Every write that was answered is on disk."""

    provider: str
    on_commit: Callable[[Sequence[Event]], None] | None
    """Called on the loop with the facts of each commit of this process, after its callers were answered."""

    def write(self, verb: Callable[[Tx], R]) -> "Future[R]":
        """Run the verb in a transaction shared with others, each behind its own savepoint; answer after the fsync."""
        ...

    def read(self, query: Callable[[Tx], R]) -> "Future[R]":
        """Run the query on a snapshot that includes every write answered before."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of the files; safe to call twice."""
        ...


Answer = Callable[[str, bytes], Awaitable[bytes]]
"""Gives the answer to a request, from its subject and its payload."""


class Listener(Protocol):
    """Somebody who wants to hear a topic."""

    async def heard(self, seconds: float) -> bool:
        """Wait until something was said since the last call, at most so long; whether it was."""
        ...


class Bus(Protocol):
    """What is said between those who change, those who wait and those who work, in one process or between machines.

    Hints (`publish`, `listen`) may be lost or doubled and are kept for nobody: listeners also poll, slowly. Requests
    are answered by whoever serves their subject: dotted words, where a server may say `.>` for whatever follows.
    """

    def publish(self, topic: str) -> None: ...

    def listen(self, topic: str) -> AbstractContextManager[Listener]: ...

    async def request(self, subject: str, payload: bytes, seconds: float) -> bytes:
        """The answer. Raises Unreachable at once where nobody serves the subject, Unanswered after so many seconds."""
        ...

    def serve(self, subject: str, answer: Answer) -> AbstractContextManager[None]:
        """Answer requests, each in a task of its own; several who serve one subject share its requests."""
        ...

    async def close(self) -> None:
        """Let go of the connection; safe to call twice."""
        ...
