"""The client: every verb of the native API as a method."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from time import monotonic
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from treadle.client.connection import Connection, segment
from treadle.client.errors import NoServer, NotFound, Refused, Unavailable, Unreachable, Unreadable, WrongState, refused
from treadle.client.finding import Finder
from treadle.client.nouns import (
    ENDED,
    About,
    Duplicates,
    Ended,
    Event,
    Events,
    Held,
    NewTask,
    Page,
    Project,
    Standing,
    State,
    Stats,
    Swept,
    Task,
    TaskType,
)
from treadle.client.retrying import LONGEST_PAUSE, backoff
from treadle.client.run_verbs import RunVerbs

T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Seconds of one long poll; what waits longer asks again."""


class _Why(Struct):
    code: str
    message: str


class _Made(Struct):
    task: Task | None = None
    error: _Why | None = None


class _Moved(Struct):
    task: Standing | None = None
    error: _Why | None = None


class _MadeAll(Struct):
    results: list[_Made]


class _MovedAll(Struct):
    results: list[_Moved]


class _Claimed(Struct):
    tasks: list[Task]


class _Projects(Struct):
    projects: list[Project]


class _Types(Struct):
    types: list[TaskType]


class Client:
    """A program's way to a Treadle server. Use it with `async with`, or `close` it.

    The server and the key are the given ones, else TREADLE_SERVER and TREADLE_KEY, else those of the home
    (TREADLE_HOME, else ~/.treadle). Requests that may safely be repeated are, for up to `patience` seconds; `timeout`
    is for one answer. Raises what is in `treadle.client.errors`.
    """

    def __init__(
        self,
        server: str | None = None,
        key: str | None = None,
        *,
        home: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
        patience: float = 10.0,
    ) -> None:
        self._connection = Connection(Finder(server, key, home), timeout=timeout, patience=patience)
        self.runs = RunVerbs(self._connection)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        await self._connection.close()

    async def about(self) -> About:
        """What runs there."""
        return _read(About, await self._get("/api/queue/about"))

    # projects

    async def projects(
        self, state: Literal["active", "closed", "all"] = "active", *, limit: int = 100, offset: int = 0
    ) -> list[Project]:
        """Projects with their counts, newest first."""
        query: dict[str, str | int] = {"state": state, "limit": limit, "offset": offset}
        return _read(_Projects, await self._get("/api/queue/projects", **query)).projects

    async def project(self, ref: str) -> Project:
        """A project by id or name."""
        return _read(Project, await self._get(_project(ref)))

    async def create_project(
        self,
        name: str,
        *,
        description: str = "",
        instructions: str | None = None,
        max_retries: int | UnsetType = UNSET,
        lease: float | UnsetType = UNSET,
        sweep_every: float | UnsetType = UNSET,
    ) -> Project:
        """Make a project; `lease` and `sweep_every` are seconds."""
        body = _set(
            name=name,
            description=description,
            instructions=instructions,
            policy=_set(max_retries=max_retries, lease=lease, sweep_every=sweep_every),
        )
        return _read(Project, await self._send("POST", "/api/queue/projects", body))

    async def change_project(
        self,
        ref: str,
        *,
        name: str | UnsetType = UNSET,
        description: str | UnsetType = UNSET,
        instructions: str | None | UnsetType = UNSET,
        state: Literal["active", "closed"] | UnsetType = UNSET,
        max_retries: int | UnsetType = UNSET,
        lease: float | UnsetType = UNSET,
        sweep_every: float | UnsetType = UNSET,
    ) -> Project:
        """Change what is given; `state` closes and reopens."""
        policy = _set(max_retries=max_retries, lease=lease, sweep_every=sweep_every)
        body = _set(
            name=name,
            description=description,
            instructions=instructions,
            state=state,
            policy=policy or UNSET,
        )
        return _read(Project, await self._send("PATCH", _project(ref), body))

    async def delete_project(self, ref: str) -> None:
        """Remove a project with its types and tasks."""
        await self._send("DELETE", _project(ref))

    async def stats(self, ref: str) -> Stats:
        """What a project holds and did in the last hour."""
        return _read(Stats, await self._get(f"{_project(ref)}/stats"))

    async def sweep(self, project: str) -> Swept:
        """Put back, or fail, the tasks whose lease ran out."""
        return _read(Swept, await self._send("POST", "/api/queue/sweep", {"project": project}, repeatable=True))

    # types

    async def types(self, project: str, *, limit: int = 100, offset: int = 0) -> list[TaskType]:
        """Task types of a project, newest first."""
        return _read(_Types, await self._get(f"{_project(project)}/types", limit=limit, offset=offset)).types

    async def type(self, project: str, ref: str) -> TaskType:
        """A task type by id or name."""
        return _read(TaskType, await self._get(_type(project, ref)))

    async def create_type(
        self,
        project: str,
        name: str,
        *,
        template: str | None = None,
        variables: Sequence[str] | None = None,
        duplicates: Duplicates = "allow",
        max_retries: int | None = None,
        lease: float | None = None,
    ) -> TaskType:
        """Make a task type; what is left out comes from the project, the variables from the template."""
        body = {
            "name": name,
            "template": template,
            "variables": variables,
            "duplicates": duplicates,
            "max_retries": max_retries,
            "lease": lease,
        }
        return _read(TaskType, await self._send("POST", f"{_project(project)}/types", body))

    async def change_type(
        self,
        project: str,
        ref: str,
        *,
        name: str | UnsetType = UNSET,
        template: str | None | UnsetType = UNSET,
        variables: Sequence[str] | UnsetType = UNSET,
        duplicates: Duplicates | UnsetType = UNSET,
        max_retries: int | UnsetType = UNSET,
        lease: float | UnsetType = UNSET,
    ) -> TaskType:
        """Change what is given. Tasks made before keep their retries."""
        body = _set(
            name=name,
            template=template,
            variables=variables,
            duplicates=duplicates,
            max_retries=max_retries,
            lease=lease,
        )
        return _read(TaskType, await self._send("PATCH", _type(project, ref), body))

    async def delete_type(self, project: str, ref: str) -> None:
        """Remove a task type of which no task exists."""
        await self._send("DELETE", _type(project, ref))

    # tasks

    async def submit(self, project: str, *tasks: NewTask, key: str | None = None) -> list[Task]:
        """Make tasks, all of them or none.

        A caller that gives a `key` and asks again with it within 24 hours, even after a crash, gets the first answer.
        """
        return [_or_raise(outcome) for outcome in await self._submit(project, tasks, key, atomic=True)]

    async def submit_each(self, project: str, *tasks: NewTask, key: str | None = None) -> list[Task | Refused]:
        """Make those tasks that can be made; each answer stands in its task's place."""
        return await self._submit(project, tasks, key, atomic=False)

    async def task(self, id: str, *, wait: float = 0) -> Task:
        """A task with its attempts; with `wait` once it has ended, or after so many seconds."""
        path = _task(id)
        return _read(Task, await self._connection.ask("GET", path, query={"wait": wait}, repeatable=True, wait=wait))

    async def ended(self, id: str, within: float | None = None) -> Task:
        """The task once it has ended, or as it is after so many seconds."""
        until = None if within is None else monotonic() + within
        while True:
            left = LONGEST_WAIT if until is None else max(0.0, min(LONGEST_WAIT, until - monotonic()))
            task = await self.task(id, wait=left)
            if task.state in ENDED or (until is not None and monotonic() >= until):
                return task

    async def tasks(
        self,
        project: str,
        *,
        state: State | Sequence[State] | None = None,
        worker: str | None = None,
        batch: str | None = None,
        type: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Page:
        """Tasks of a project in creation order."""
        states = [state] if isinstance(state, str) else list(state) if state else None
        query = {
            "project": project,
            "state": states,
            "worker": worker,
            "batch": batch,
            "type": type,
            "limit": limit,
            "offset": offset,
        }
        return _read(Page, await self._connection.ask("GET", "/api/queue/tasks", query=query, repeatable=True))

    async def edit(
        self,
        id: str,
        *,
        instructions: str | None | UnsetType = UNSET,
        variables: dict[str, Any] | UnsetType = UNSET,
        description: str | UnsetType = UNSET,
        batch: str | None | UnsetType = UNSET,
    ) -> Task:
        """Change a queued task."""
        body = _set(instructions=instructions, variables=variables, description=description, batch=batch)
        return _read(Task, await self._send("PATCH", _task(id), body))

    async def cancel(self, id: str, reason: str | None = None) -> Task:
        """Call a task off, whoever holds it."""
        return _read(Task, await self._send("POST", f"{_task(id)}/cancel", {"reason": reason}))

    async def requeue(self, id: str) -> Task:
        """Put a failed or cancelled task back with all its retries."""
        return _read(Task, await self._send("POST", f"{_task(id)}/requeue"))

    async def delete(self, id: str) -> None:
        """Remove a task that nobody works on."""
        await self._send("DELETE", _task(id))

    # leases

    async def claim(
        self,
        project: str,
        worker: str,
        count: int = 1,
        *,
        queue: str = "",
        wait: float = 0,
        lease: float | None = None,
        resume: bool = False,
    ) -> list[Task]:
        """Take up to `count` tasks; with `wait` stay up to so many seconds until there is one.

        `lease` (seconds) overrides the length that the tasks' types give. With `resume` a worker that already holds a
        task gets that one again.
        """
        body = {
            "project": project,
            "worker": worker,
            "queue": queue,
            "count": count,
            "wait": wait,
            "lease": lease,
            "resume": resume,
        }
        answer = await self._connection.ask(
            "POST", "/api/queue/claim", body=msgspec.json.encode(body), wait=wait, repeatable=resume
        )
        return _read(_Claimed, answer).tasks

    async def extend(self, held: Iterable[Task | Held], seconds: float) -> list[Standing | Refused]:
        """Keep tasks for so many seconds from now (never less than they have)."""
        body = {"tasks": _held(held), "seconds": seconds}
        return await self._word("extend", msgspec.json.encode(body))

    async def release(self, held: Iterable[Task | Held]) -> list[Standing | Refused]:
        """Give tasks back untouched; the try does not count."""
        return await self._word("release", msgspec.json.encode({"tasks": _held(held)}))

    async def finish(self, *ended: Ended) -> list[Standing | Refused]:
        """Hand in how tasks ended: `await client.finish(task.done(42), other.failed("no"))`."""
        return await self.finish_encoded([msgspec.json.encode(end) for end in ended])

    async def finish_encoded(self, ended: Sequence[bytes]) -> list[Standing | Refused]:
        """The same with each Ended as its JSON."""
        outcomes = await self._word("finish", b'{"tasks":[' + b",".join(ended) + b"]}")
        for place, outcome in enumerate(outcomes):
            if isinstance(outcome, WrongState):
                outcomes[place] = await self._settled_before(msgspec.json.decode(ended[place], type=Ended)) or outcome
        return outcomes

    async def _settled_before(self, end: Ended) -> Standing | None:
        """Where the task stands, if it was ended by this very word: its first answer was lost on the way."""
        try:
            task = await self.task(end.id)
        except NotFound:
            return None
        said = "succeeded" if end.ok else "failed"
        if not any(attempt.fence == end.fence and attempt.state == said for attempt in task.attempts):
            return None
        return Standing(id=task.id, state=task.state, retries=task.retries, fence=end.fence)

    # facts

    async def events(self, after: int | None = None, *, project: str | None = None, limit: int = 500) -> Events:
        """Facts after a cursor, oldest first; 0 begins at the oldest kept, None only says where the log ends now."""
        query = {"after": after, "project": project, "limit": limit}
        return _read(Events, await self._connection.ask("GET", "/api/queue/events", query=query, repeatable=True))

    async def follow(self, after: int | None = None, *, project: str | None = None) -> AsyncIterator[Event]:
        """Facts after a cursor (or from now on) and then each one as it happens; never ends by itself.

        When the connection breaks it goes on behind the last fact seen, for as long as the server comes back within
        the client's patience.
        """
        attempt, until, seen = 0, 0.0, after
        accept = {"accept": "text/event-stream"}
        while True:
            query = {"after": after, "project": project}
            try:
                async with self._connection.stream("/api/queue/events", query, accept) as lines:
                    async for line in lines:
                        if line.startswith("id:"):
                            seen = int(line[3:])
                        elif line.startswith("data:"):
                            yield _read(Event, line[5:].encode())
                        elif not line:
                            after, attempt = seen, 0
            except (Unreachable, Unavailable, NoServer):
                if attempt and monotonic() > until:
                    raise
            if not attempt:
                until = monotonic() + self._connection.patience
            attempt += 1
            await asyncio.sleep(backoff(attempt, LONGEST_PAUSE))

    # the ways all of them take

    async def _get(self, path: str, **query: str | int) -> bytes:
        return await self._connection.ask("GET", path, query=query, repeatable=True)

    async def _send(self, method: str, path: str, body: Any = None, *, repeatable: bool = False) -> bytes:
        encoded = None if body is None else msgspec.json.encode(body)
        return await self._connection.ask(method, path, body=encoded, repeatable=repeatable)

    async def _submit(
        self, project: str, tasks: Sequence[NewTask], key: str | None, *, atomic: bool
    ) -> list[Task | Refused]:
        if not tasks:
            return []
        body = msgspec.json.encode({"project": project, "tasks": tasks, "atomic": atomic})
        headers = {"idempotency-key": key or str(uuid.uuid4())}
        answer = await self._connection.ask("POST", "/api/queue/submit", body=body, headers=headers, repeatable=True)
        return [_outcome(made.task, made.error) for made in _read(_MadeAll, answer).results]

    async def _word(self, verb: str, body: bytes) -> list[Standing | Refused]:
        """A worker's word on tasks it holds. Repeating it is safe: what came through is refused the second time."""
        answer = await self._connection.ask("POST", f"/api/queue/{verb}", body=body, repeatable=True)
        return [_outcome(moved.task, moved.error) for moved in _read(_MovedAll, answer).results]


def _outcome(thing: T | None, why: _Why | None) -> T | Refused:
    if thing is not None:
        return thing
    return refused(why.code, why.message) if why else Refused("The server did not say why", code="")


def _or_raise(outcome: Task | Refused) -> Task:
    if isinstance(outcome, Refused):
        raise outcome
    return outcome


def _read(kind: type[T], answer: bytes) -> T:
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.DecodeError as error:
        raise Unreadable(f"the server's answer cannot be read: {error}") from error


def _set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not UNSET}


def _held(held: Iterable[Task | Held]) -> list[Held]:
    return [each.held if isinstance(each, Task) else each for each in held]


def _project(ref: str) -> str:
    return f"/api/queue/projects/{segment(ref)}"


def _type(project: str, ref: str) -> str:
    return f"{_project(project)}/types/{segment(ref)}"


def _task(id: str) -> str:
    return f"/api/queue/tasks/{segment(id)}"
