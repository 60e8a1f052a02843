"""`treadle tasks submit`: one task from what was typed, or many from a file of JSON lines."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from stat import S_ISREG
from typing import IO, Annotated, Any, NamedTuple

import msgspec
from msgspec.structs import asdict, replace
from typer import Option

from treadle import client as sdk

from . import Stop
from .endings import FAILED, USAGE
from .printing import json_line, json_out, note, plain, say
from .speaking import DEFAULT_PROJECT, Home, Json, Project, Server, speak, text_or_file

AT_ONCE, BYTES_AT_ONCE = 1000, 4_000_000
"""Tasks, and bytes of them, in one request of a bulk submit."""
TOLD_EVERY = 10_000
_VARIABLE = re.compile(r"([A-Za-z][A-Za-z0-9_]*)(:?=)(.*)", re.DOTALL)
_LATER = re.compile(r"\+(\d+(?:\.\d+)?)([smhd]?)\Z")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Portion(NamedTuple):
    """Some lines of a bulk file: its number, its tasks, and how many bytes of the file it takes."""

    number: int
    tasks: list[sdk.NewTask]
    size: int


def submit(
    project: Project = DEFAULT_PROJECT,
    type: Annotated[str | None, Option("--type", "-t", metavar="TYPE", help="A task type's name or id.")] = None,
    var: Annotated[
        list[str] | None, Option(metavar="NAME=TEXT", help="A variable; NAME:=JSON for numbers, lists, objects.")
    ] = None,
    instructions: Annotated[
        str | None, Option("--instructions", "-i", metavar="TEXT|@FILE", help="What the worker reads.")
    ] = None,
    description: Annotated[str | None, Option(help="One line for people.")] = None,
    name: Annotated[str | None, Option(help="A name of your own, unique in the project.")] = None,
    priority: Annotated[int, Option(metavar="N", help="Higher ones are given out first.")] = 0,
    batch: Annotated[str | None, Option(metavar="LABEL", help="A label to find tasks together by.")] = None,
    queue: Annotated[str, Option(metavar="NAME", help="A queue within the project.")] = "",
    max_retries: Annotated[int | None, Option(metavar="N", help="Tries after the first.")] = None,
    not_before: Annotated[
        str | None, Option(metavar="TIME|+N[smhd]", help="Not before this instant (ISO, with offset), or so long.")
    ] = None,
    bulk: Annotated[
        str | None, Option(metavar="FILE.jsonl|-", help="One task a line, as JSON; the other options are defaults.")
    ] = None,
    key: Annotated[
        str | None, Option("--idempotency-key", metavar="KEY", help="Asked again with it, nothing is made twice.")
    ] = None,
    wait: Annotated[float | None, Option(metavar="SECONDS", help="Wait for the result, and print it.")] = None,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Submit a task, or many."""
    task = sdk.NewTask(
        type=type,
        name=name,
        queue=queue,
        description=description,
        instructions=text_or_file(instructions),
        variables=dict(map(variable, var or ())),
        batch=batch,
        priority=priority,
        not_before=None if not_before is None else moment(not_before, datetime.now(UTC)),
        max_retries=max_retries,
    )
    if bulk is not None:
        if wait is not None or name is not None:
            raise Stop("--wait and --name are for one task, not for --bulk", USAGE)
        submit_file(bulk, task, project, key, server, home, json)
    else:
        submit_one(task, project, key, wait, server, home, json)


def submit_one(
    task: sdk.NewTask,
    project: str,
    key: str | None,
    wait: float | None,
    server: str | None,
    home: str | None,
    json: bool,
) -> None:
    async def work(client: sdk.Client) -> sdk.Task:
        made = (await client.submit(project, task, key=key))[0]
        if wait is None:
            return made
        return await client.ended(made.id, within=wait)

    done = speak(server, home, work)
    if json:
        json_out(done)
    elif wait is None:
        say(done.id)
    else:
        say(outcome(done))
    if wait is not None and done.state != "succeeded":
        raise Stop(f"task {done.id} is {done.state}", FAILED)


def outcome(task: sdk.Task) -> str:
    """What came of a task, for eyes."""
    if task.result is None:
        return f"task {task.id} is still {task.state}"
    if not task.result.ok:
        return f"{task.state}: {task.result.error}"
    return plain(task.result.output, lines=True).rstrip("\n")


def submit_file(
    path: str, default: sdk.NewTask, project: str, key: str | None, server: str | None, home: str | None, json: bool
) -> None:
    """Submit every line of the file, a thousand in a request; each request is all or nothing."""

    async def work(client: sdk.Client) -> int:
        made = 0
        with opened(path) as file, progress(file) as advance:
            for portion in portions(file, default):
                part_key = f"{key}/{portion.number}" if key else None
                try:
                    tasks = await client.submit(project, *portion.tasks, key=part_key)
                except sdk.ClientError as error:
                    note(f"{made} tasks were submitted; the next {len(portion.tasks)} were refused together")
                    if isinstance(error, sdk.Invalid):
                        raise Stop("; ".join(f"{it.field}: {it.message}" for it in error.faults[:5])) from error
                    raise
                made += len(tasks)
                advance(portion.size, made)
                if json:
                    json_line({"submitted": made, "ids": [task.id for task in tasks]})
        return made

    made = speak(server, home, work)
    if not json:
        say(f"{made} tasks submitted")


def portions(file: IO[bytes], default: sdk.NewTask) -> Iterator[Portion]:
    """The file's tasks, a request's worth at a time. Raises Stop that names the line at fault."""
    tasks: list[sdk.NewTask] = []
    number = size = 0
    for place, line in enumerate(file, 1):
        if line.strip():
            tasks.append(task_of(line, place, default))
        size += len(line)
        if len(tasks) >= AT_ONCE or size >= BYTES_AT_ONCE:
            yield Portion(number, tasks, size)
            tasks, number, size = [], number + 1, 0
    if tasks:
        yield Portion(number, tasks, size)


def task_of(line: bytes, place: int, default: sdk.NewTask) -> sdk.NewTask:
    """One line as a task; what it leaves out comes from the command line."""
    try:
        given = msgspec.json.decode(line, type=dict[str, Any])
        known = msgspec.convert(given, sdk.NewTask)
    except msgspec.DecodeError as error:
        raise Stop(f"line {place}: {error}", USAGE) from None
    unknown = set(given) - set(sdk.NewTask.__struct_fields__)
    if unknown:
        raise Stop(f"line {place}: a task has no {', '.join(sorted(unknown))}", USAGE)
    task = replace(default, **{field: value for field, value in asdict(known).items() if field in given})
    return replace(task, variables={**default.variables, **known.variables})


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """The file, or standard input for `-`."""
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; only opening it may fail in this way
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}", USAGE) from None
    with file:
        yield file


@contextmanager
def progress(file: IO[bytes]) -> Iterator[Callable[[int, int], None]]:
    """Tells how far it is, called with more bytes read and tasks made so far: a bar on a terminal, else plain lines."""
    if not sys.stderr.isatty():
        told = 0

        def tell(_: int, made: int) -> None:
            nonlocal told
            if made - told >= TOLD_EVERY:
                told = made
                note(f"{made} tasks submitted so far")

        yield tell
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.fields[made]} tasks"), BarColumn(), TimeRemainingColumn())
    about = os.fstat(file.fileno())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("", total=about.st_size if S_ISREG(about.st_mode) else None, made=0)
        yield lambda size, made: bar.update(line, advance=size, made=made)


def variable(text: str) -> tuple[str, Any]:
    """`name=text` or `name:=json`."""
    found = _VARIABLE.fullmatch(text)
    if found is None:
        raise Stop(f"--var {text}: say NAME=TEXT or NAME:=JSON; a name is letters, digits and _", USAGE)
    name, how, value = found.groups()
    if how == "=":
        return name, value
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise Stop(f"--var {text}: {error}", USAGE) from None


def moment(text: str, now: datetime) -> datetime:
    """An instant as typed: ISO with an offset, or `+90s`, `+5m`, `+2h`, `+1d` from now."""
    later = _LATER.match(text)
    if later is not None:
        return now + timedelta(seconds=float(later[1]) * _UNITS[later[2]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Stop(f"--not-before {text}: say +5m or an instant such as 2030-01-31T08:00:00+01:00", USAGE) from None
    return found if found.tzinfo else found.astimezone()
