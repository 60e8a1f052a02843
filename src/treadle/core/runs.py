"""A run is a task of the kind "run": one command that a node starts, feeds and ends.

The command, its window and its limits stand in the task's variables; secret values stand apart, for the node alone.
"""

import shlex
from collections.abc import Mapping
from contextlib import suppress
from signal import Signals
from typing import Literal

from msgspec import Struct, ValidationError, convert, msgpack, to_builtins
from msgspec.structs import asdict

from . import topics
from .access import Principal
from .catalogue import Catalogue
from .clock import DAY, SECOND, Clock
from .documents import Collection
from .errors import Conflict, Duplicate, FabricError, Fault, Invalid, NotFound, WrongState
from .ids import Ids
from .nodes import ANY, Nodes, name_of, queue_of
from .ports import Bus, Filter, Store, Tx
from .projects import Policy
from .queue import Queue
from .speech import asked
from .submitting import NewTask, Submit
from .tasks import FINAL, OnLost, State, Task

KIND = "run"
PROJECT = "runs"
"""The pool of what nodes run; made with the first run."""
POLICY = Policy(max_retries=0, lease=30 * SECOND, sweep_every=5 * SECOND)
TRIES_WHEN_LOST = 3
SECRETS_KEPT = 7 * DAY
ORDER_SECONDS = 5.0
"""How long a node may take to carry out an order."""

secrets_of = Collection("run.secrets", dict[str, str])
"""Secret values by a name that only the run's task knows."""


class Window(Struct, frozen=True):
    """A terminal: its size in characters, and whether it repeats what is typed."""

    columns: int = 120
    rows: int = 40
    echo: bool = True


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run may use at most: bytes of memory, CPU seconds, open files, processes, bytes of one file, seconds."""

    memory: int | None = None
    cpu: int | None = None
    files: int | None = None
    processes: int | None = None
    file_size: int | None = None
    seconds: float | None = None


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to run: an argument list, or text for a shell; and in which surroundings.

    With `pty` it has a terminal of this size, else pipes; without `stdin` it reads nothing. `grace` is the seconds
    between TERM and KILL. `sandbox` names a profile of the node.
    """

    argv: tuple[str, ...] = ()
    shell: str | None = None
    cwd: str | None = None
    env: dict[str, str] = {}
    pty: Window | None = None
    stdin: bool = False
    limits: Limits = Limits()
    sandbox: str | None = None
    grace: float = 5.0

    def shown(self) -> str:
        """The command as a person would type it."""
        return self.shell if self.shell is not None else shlex.join(self.argv)


Reason = Literal["exited", "killed", "timeout", "shutdown", "spawn_error", "lost"]


class Ending(Struct, frozen=True, omit_defaults=True):
    """How a run ended: its exit code (-N after signal N), the signal's name, why, and after how many seconds."""

    code: int | None = None
    signal: str | None = None
    reason: Reason = "exited"
    error: str | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.code == 0 and self.reason == "exited"

    def told(self) -> str:
        """One sentence for people."""
        if self.error:
            return self.error
        if self.reason == "timeout":
            return "It ran longer than it was allowed to"
        if self.signal:
            return f"It was ended by {self.signal}"
        return f"Its exit code is {self.code}"


class Input(Struct, frozen=True, tag=True):
    """An order to a node: let a run read these bytes, and then, with `eof`, nothing more."""

    task: str
    data: bytes
    eof: bool = False


class Resize(Struct, frozen=True, tag=True):
    """An order to a node: the terminal of a run has another size now."""

    task: str
    window: Window


class Signal(Struct, frozen=True, tag=True):
    """An order to a node: send a signal; with `grace` to all processes of the run, and KILL after so many seconds."""

    task: str
    signal: str
    grace: float | None = None


class Look(Struct, frozen=True, tag=True):
    """An order to a node: see whether what you hold is still yours."""


Order = Input | Resize | Signal | Look


class Wanted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run's task carries in its variables."""

    command: Command
    on: str = ANY
    name: str | None = None
    secrets: tuple[str, ...] = ()
    vault: str | None = None


class Runs:
    """Start commands on nodes, feed and signal them, and tell how they ended."""

    def __init__(
        self, store: Store, bus: Bus, clock: Clock, ids: Ids, *, tasks: Queue, projects: Catalogue, nodes: Nodes
    ) -> None:
        self._store, self._bus, self._clock, self._ids = store, bus, clock, ids
        self._tasks, self._projects, self._nodes = tasks, projects, nodes

    async def start(
        self,
        command: Command,
        *,
        by: Principal,
        on: str = ANY,
        name: str | None = None,
        secrets: Mapping[str, str] | None = None,
        on_lost: OnLost = "fail",
    ) -> Task:
        """Ask for a run on a node (id or name), or on whichever is free first. Raises Invalid and NotFound (node)."""
        check(command, secrets or {})
        node = ANY if on == ANY else (await self._nodes.get(on)).id
        vault = await self._keep(secrets) if secrets else None
        ask = Wanted(command=command, on=on, name=name, secrets=tuple(secrets or ()), vault=vault)
        new = NewTask(
            kind=KIND,
            queue=queue_of(node),
            description=name,
            instructions=command.shown(),
            variables=to_builtins(ask),
            max_retries=TRIES_WHEN_LOST if on_lost == "requeue" else 0,
            on_lost=on_lost,
        )
        submit = Submit(project=PROJECT, tasks=[new], by=by)
        try:
            (outcome,) = await self._tasks.submit(submit)
        except NotFound:  # the first run of all
            with suppress(Duplicate):
                await self._projects.create(PROJECT, by, description="What nodes run", policy=POLICY)
            (outcome,) = await self._tasks.submit(submit)
        if isinstance(outcome, FabricError):
            raise outcome
        return outcome

    async def get(self, id: str) -> Task:
        """The run's task. Raises NotFound for what is none."""
        task = await self._tasks.get(id)
        if task.kind != KIND:
            raise NotFound("Run", id)
        return task

    async def page(
        self, states: tuple[State, ...] | None = None, limit: int = 100, offset: int = 0
    ) -> tuple[list[Task], int]:
        """Runs, newest first; and how many there are in all."""

        def query(tx: Tx) -> tuple[list[Task], int]:
            found = tx.projects([PROJECT])
            if not found:
                return [], 0
            which = Filter(project=found[PROJECT].id, states=states)
            total = tx.count_tasks(which)
            newest = max(total - offset, 0)  # how many are not skipped; the list itself begins with the oldest
            page = tx.list_tasks(which, min(limit, newest), max(newest - limit, 0)) if newest else []
            return page[::-1], total

        return await self._store.read(query)

    async def input(self, id: str, data: bytes, *, eof: bool = False) -> bool:
        """Let the run read these bytes; False if it has begun to, and the rest still waits.

        Raises WrongState, Conflict when it takes none of them, and Unreachable.
        """
        task = await self.get(id)
        if not wanted(task).command.stdin and not wanted(task).command.pty:
            raise Conflict("This run was started without an input")
        return bool(await self._order(task, Input(id, data, eof)))

    async def resize(self, id: str, window: Window) -> None:
        """Change the size of the run's terminal."""
        task = await self.get(id)
        if not wanted(task).command.pty:
            raise Conflict("This run has no terminal")
        await self._order(task, Resize(id, window))

    async def signal(self, id: str, signal: str, *, by: Principal, grace: float | None = None) -> Task:
        """Send a signal (see `Signal`); a run that has not begun is cancelled. The task as it is then."""
        if f"SIG{signal}" not in Signals.__members__:
            raise Invalid(Fault("signal", "must be the name of a signal without SIG, such as TERM", signal))
        task = await self.get(id)
        if task.state == "queued":
            return await self._tasks.cancel(id, by, "Called off before it began")
        await self._order(task, Signal(id, signal, grace))
        return await self._tasks.get(id)

    async def _order(self, task: Task, order: Order) -> object:
        if task.state in FINAL or task.lease is None:
            raise WrongState(f"Run {task.id} is {task.state}; it must be running")
        node = await self._nodes.get(name_of(task.lease.worker))
        payload = msgpack.encode(order)
        return await asked(self._bus.request(topics.node(node.id), payload, ORDER_SECONDS), object)

    async def _keep(self, secrets: Mapping[str, str]) -> str:
        vault = self._ids()
        expires = self._clock() + SECRETS_KEPT
        await self._store.write(lambda tx: secrets_of.put(tx, vault, dict(secrets), expires=expires))
        return vault

    async def secrets(self, task: Task) -> dict[str, str]:
        """The secret values of a run, for the node that got it. Raises Invalid if they are no longer kept."""
        vault = wanted(task).vault
        if vault is None:
            return {}
        found = await self._store.read(lambda tx: secrets_of.get(tx, vault))
        if found is None:
            raise Invalid(Fault("secrets", "are no longer kept; start the run again with them"))
        return found.value

    async def forget_secrets(self, task: Task) -> None:
        """Drop the secret values of a run that has ended."""
        vault = wanted(task).vault
        if vault:
            await self._store.write(lambda tx: secrets_of.delete(tx, vault))


def wanted(task: Task) -> Wanted:
    """What a run's task asks for. Raises Invalid for a task that asks for nothing readable."""
    try:
        return convert(task.variables, Wanted)
    except ValidationError as error:
        raise Invalid(Fault("variables", str(error))) from None


def ending(task: Task) -> Ending | None:
    """How the run ended, or None while it has not; a run that no node ended says why in `error`."""
    if task.result is None or task.state not in FINAL:
        return None
    if isinstance(task.result.output, dict):
        with suppress(ValidationError):
            return convert(task.result.output, Ending)
    return Ending(reason="lost" if task.result.reason == "lost" else "killed", error=task.result.error)


def check(command: Command, secrets: Mapping[str, str]) -> None:
    """Raise Invalid for a command that cannot be run as it is asked for."""
    faults = []
    if bool(command.argv) == (command.shell is not None):
        faults.append(Fault("argv", "give an argument list, or shell text, and not both"))
    if command.argv and not command.argv[0]:
        faults.append(Fault("argv", "its first element names the program"))
    if "\0" in "".join((*command.argv, command.shell or "", command.cwd or "")):
        faults.append(Fault("argv", "must not hold a NUL character"))
    for field, names in (("env", command.env), ("secrets", secrets)):
        for name, value in names.items():
            if not name or "=" in name or "\0" in name + value:
                faults.append(Fault(f"{field}.{name}", "a variable has a name without =, and no NUL character"))
    if command.cwd is not None and not command.cwd.startswith("/"):
        faults.append(Fault("cwd", "must be an absolute path"))
    if command.pty and not (1 <= command.pty.columns <= 1000 and 1 <= command.pty.rows <= 1000):
        faults.append(Fault("pty", "a terminal has 1 to 1000 columns and rows"))
    if not 0 <= command.grace <= 3600:
        faults.append(Fault("grace", "must be 0 to 3600 seconds"))
    for name, limit in asdict(command.limits).items():
        if limit is not None and limit <= 0:
            faults.append(Fault(f"limits.{name}", "must be greater than 0"))
    if faults:
        raise Invalid(*faults)
