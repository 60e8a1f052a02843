"""`treadle tasks`: submit, list, show, cancel, requeue, delete, watch."""

from collections.abc import Awaitable, Callable
from typing import Annotated, cast, get_args

from typer import Argument, Option

from treadle import client as sdk

from . import Stop
from .endings import FAILED, USAGE
from .groups import group
from .printing import Column, fields, json_line, json_out, note, plain, say, table
from .speaking import DEFAULT_PROJECT, Home, Json, Project, Server, speak
from .submitting import outcome, submit

app = group("Tasks: pieces of work.")
app.command("submit")(submit)

Ids = Annotated[list[str], Argument(metavar="TASK…", help="Ids of tasks.")]


def what(task: sdk.Task) -> str | None:
    """Why it failed, or what it is about."""
    if task.result is not None and not task.result.ok:
        return task.result.error
    return task.name or task.description or task.instructions


COLUMNS: list[Column[sdk.Task]] = [
    Column("task", lambda it: it.id),
    Column("state", lambda it: it.state, "state"),
    Column("type", lambda it: it.type_name),
    Column("worker", lambda it: it.worker),
    Column("retries", lambda it: it.retries, "number"),
    Column("created", lambda it: it.created),
    Column("what", what, "text"),
]


@app.command("list")
def list_(
    project: Project = DEFAULT_PROJECT,
    state: Annotated[
        list[str] | None, Option(metavar="STATE", help="Only these: queued, running, succeeded, failed, cancelled.")
    ] = None,
    type: Annotated[str | None, Option("--type", "-t", metavar="TYPE", help="Only of this type.")] = None,
    worker: Annotated[str | None, Option(metavar="NAME", help="Only those this worker holds.")] = None,
    batch: Annotated[str | None, Option(metavar="LABEL", help="Only of this batch.")] = None,
    limit: Annotated[int, Option(metavar="N", help="At most so many.")] = 100,
    offset: Annotated[int, Option(metavar="N", help="Leave out the first so many.")] = 0,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Tasks of a project in creation order."""
    states = [checked(each) for each in state or ()]
    page = speak(
        server,
        home,
        lambda client: client.tasks(
            project, state=states, type=type, worker=worker, batch=batch, limit=limit, offset=offset
        ),
    )
    if json:
        json_out(page)
        return
    table(COLUMNS, page.tasks, empty=f"no such tasks in {project}")
    if page.total > offset + len(page.tasks):
        note(f"{page.total} in all; --limit and --offset show the others")


@app.command()
def show(
    id: Annotated[str, Argument(metavar="TASK", help="The task's id.")],
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """One task with its attempts and what came of it."""
    task = speak(server, home, lambda client: client.task(id))
    if json:
        json_out(task)
        return
    result = task.result
    fields(
        [
            ("task", task.id),
            ("name", task.name),
            ("state", task.state),
            ("type", task.type_name),
            ("project", task.project),
            ("queue", task.queue),
            ("batch", task.batch),
            ("priority", task.priority or None),
            ("submitter", task.submitter),
            ("description", task.description),
            ("instructions", task.instructions),
            ("variables", task.variables),
            ("retries", f"{task.retries} of {task.max_retries}"),
            ("worker", task.worker),
            ("lease until", task.lease_until),
            ("not before", task.not_before),
            ("created", task.created),
            ("finished", task.finished),
            ("error", result.error if result else None),
            ("output", result.output if result else None),
            ("outputs", result.outputs if result else None),
        ]
    )
    if task.attempts:
        say("")
        table(ATTEMPTS, task.attempts, empty="")


ATTEMPTS: list[Column[sdk.Attempt]] = [
    Column("attempt", lambda it: it.fence, "number"),
    Column("worker", lambda it: it.worker),
    Column("ended as", lambda it: it.state, "state"),
    Column("started", lambda it: it.started),
    Column("seconds", lambda it: round((it.ended - it.started).total_seconds(), 3) if it.ended else None, "number"),
    Column("error", lambda it: it.result.error if it.result else None, "text"),
]


@app.command()
def cancel(
    ids: Ids,
    reason: Annotated[str | None, Option(help="Why; whoever looks at the task reads it.")] = None,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Call tasks off, whoever holds them."""
    each(ids, lambda client, id: client.cancel(id, reason), "cancelled", server, home, json)


@app.command()
def requeue(ids: Ids, server: Server = None, home: Home = None, json: Json = False) -> None:
    """Put failed or cancelled tasks back."""
    each(ids, lambda client, id: client.requeue(id), "queued again", server, home, json)


@app.command()
def delete(ids: Ids, server: Server = None, home: Home = None, json: Json = False) -> None:
    """Remove tasks that nobody works on."""

    async def remove(client: sdk.Client, id: str) -> sdk.Task:
        task = await client.task(id)
        await client.delete(id)
        return task

    each(ids, remove, "deleted", server, home, json)


def each(
    ids: list[str],
    verb: Callable[[sdk.Client, str], Awaitable[sdk.Task]],
    past: str,
    server: str | None,
    home: str | None,
    json: bool,
) -> None:
    """Do it to each task; one that is refused does not keep the others from it, but fails the command."""

    async def work(client: sdk.Client) -> tuple[list[sdk.Task], int]:
        changed, refused = [], 0
        for id in ids:
            try:
                changed.append(await verb(client, id))
            except (sdk.NotFound, sdk.Conflict) as error:
                note(f"treadle: {error.message}")
                refused += 1
            else:
                if not json:
                    say(f"{id} {past}")
        return changed, refused

    changed, refused = speak(server, home, work)
    if json:
        json_out(changed)
    if refused:
        raise Stop(f"{refused} of {len(ids)} were refused", FAILED)


@app.command()
def watch(
    id: Annotated[str | None, Argument(metavar="[TASK]", help="One task, until it has ended.")] = None,
    project: Project = DEFAULT_PROJECT,
    after: Annotated[
        int | None, Option(metavar="CURSOR", help="Of a project: begin behind this fact; 0 is the oldest kept.")
    ] = None,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Print facts as they happen: of one task until it has ended, or of a project until you stop it."""
    if id is not None and after is not None:
        raise Stop("--after is for a whole project; `treadle tasks show` has what a task has been through", USAGE)

    async def work(client: sdk.Client) -> sdk.Task | None:
        if id is None:
            async for event in client.follow(after, project=project):
                tell(event, json)
            return None
        now = (await client.events()).cursor
        task = await client.task(id)
        if task.state not in sdk.ENDED:
            async for event in client.follow(now, project=task.project):
                if event.subject == id:
                    tell(event, json)
                    task = await client.task(id)
                    if task.state in sdk.ENDED:
                        break
        return task

    try:
        ended = speak(server, home, work)
    except KeyboardInterrupt:
        return
    if ended is None:
        return
    if not json:
        say(outcome(ended))
    if ended.state != "succeeded":
        raise Stop(f"task {ended.id} is {ended.state}", FAILED)


def tell(event: sdk.Event, json: bool) -> None:
    if json:
        json_line(event)
    else:
        told = " ".join(f"{name}={plain(value)}" for name, value in event.data.items())
        say(f"{plain(event.at)}  {event.kind.ljust(15)}  {event.subject}  {told}".rstrip())


def checked(state: str) -> sdk.State:
    if state not in get_args(sdk.State):
        raise Stop(f"--state {state}: say one of {', '.join(get_args(sdk.State))}", USAGE)
    return cast(sdk.State, state)
