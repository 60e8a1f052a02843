"""`treadle projects`: list, create, show, change, close, reopen, delete, stats."""

import sys
from typing import Annotated, Literal

import typer
from msgspec import UNSET
from typer import Argument, Option

from treadle import client as sdk

from . import Stop
from .endings import USAGE
from .groups import group
from .printing import Column, fields, json_out, say, table
from .speaking import Home, Json, Server, projects_like, speak

app = group("Projects: named pools of work.")

Name = Annotated[str, Argument(metavar="PROJECT", help="A name or id.", autocompletion=projects_like)]
Description = Annotated[str | None, Option(help="What this project is for.")]
Instructions = Annotated[str | None, Option(help="What workers should know.")]
Retries = Annotated[int | None, Option(metavar="N", help="Tries after the first, for tasks without a type.")]
Lease = Annotated[float | None, Option(metavar="SECONDS", help="How long a worker holds a task without a word.")]
SweepEvery = Annotated[float | None, Option(metavar="SECONDS", help="How often lost leases are looked for.")]

COLUMNS: list[Column[sdk.Project]] = [
    Column("project", lambda it: it.name),
    Column("state", lambda it: it.state),
    Column("queued", lambda it: it.tally.queued, "number"),
    Column("running", lambda it: it.tally.running, "number"),
    Column("succeeded", lambda it: it.tally.succeeded, "number"),
    Column("failed", lambda it: it.tally.failed, "number"),
    Column("cancelled", lambda it: it.tally.cancelled, "number"),
    Column("description", lambda it: it.description, "text"),
]


@app.command("list")
def list_(
    state: Annotated[str, Option(metavar="active|closed|all", help="Which projects.")] = "active",
    limit: Annotated[int, Option(metavar="N", help="At most so many.")] = 100,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Projects and what is in them, newest first."""
    wanted = checked_state(state)
    found = speak(server, home, lambda client: client.projects(wanted, limit=limit))
    if json:
        json_out(found)
    else:
        table(COLUMNS, found, empty="no projects")


@app.command()
def create(
    name: Annotated[str, Argument(help="Letters, digits, - and _.")],
    description: Description = None,
    instructions: Instructions = None,
    max_retries: Retries = None,
    lease: Lease = None,
    sweep_every: SweepEvery = None,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a project."""
    made = speak(
        server,
        home,
        lambda client: client.create_project(
            name,
            description=description or "",
            instructions=instructions,
            max_retries=UNSET if max_retries is None else max_retries,
            lease=UNSET if lease is None else lease,
            sweep_every=UNSET if sweep_every is None else sweep_every,
        ),
    )
    tell(made, json, f"project {made.name} made")


@app.command()
def show(name: Name, server: Server = None, home: Home = None, json: Json = False) -> None:
    """One project."""
    found = speak(server, home, lambda client: client.project(name))
    if json:
        json_out(found)
        return
    fields(
        [
            ("project", found.name),
            ("id", found.id),
            ("state", found.state),
            ("description", found.description),
            ("instructions", found.instructions),
            ("max retries", found.policy.max_retries),
            ("lease", f"{found.policy.lease:g} s"),
            ("sweep every", f"{found.policy.sweep_every:g} s"),
            *((state, getattr(found.tally, state)) for state in found.tally.__struct_fields__),
            ("created", found.created),
            ("updated", found.updated),
        ]
    )


@app.command()
def change(
    name: Name,
    rename: Annotated[str | None, Option(metavar="NAME", help="A new name.")] = None,
    description: Description = None,
    instructions: Instructions = None,
    max_retries: Retries = None,
    lease: Lease = None,
    sweep_every: SweepEvery = None,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Change what is given."""
    changed = speak(
        server,
        home,
        lambda client: client.change_project(
            name,
            name=UNSET if rename is None else rename,
            description=UNSET if description is None else description,
            instructions=UNSET if instructions is None else instructions,
            max_retries=UNSET if max_retries is None else max_retries,
            lease=UNSET if lease is None else lease,
            sweep_every=UNSET if sweep_every is None else sweep_every,
        ),
    )
    tell(changed, json, f"project {changed.name} changed")


@app.command()
def close(name: Name, server: Server = None, home: Home = None, json: Json = False) -> None:
    """Take no more work, and give none out."""
    closed = speak(server, home, lambda client: client.change_project(name, state="closed"))
    tell(closed, json, f"project {closed.name} is closed")


@app.command()
def reopen(name: Name, server: Server = None, home: Home = None, json: Json = False) -> None:
    """Let a closed project go on."""
    opened = speak(server, home, lambda client: client.change_project(name, state="active"))
    tell(opened, json, f"project {opened.name} is active")


@app.command()
def delete(
    name: Name,
    yes: Annotated[bool, Option("--yes", help="Do not ask.")] = False,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Remove a project with its types and all its tasks."""
    found = speak(server, home, lambda client: client.project(name))
    if not yes:
        if not sys.stdin.isatty():
            raise Stop(f"{found.tally.total} tasks of {found.name} would be lost; say --yes to delete it", USAGE)
        typed = typer.prompt(f"{found.tally.total} tasks of {found.name} will be lost. Type its name", err=True)
        if typed != found.name:
            raise Stop("nothing was deleted")
    speak(server, home, lambda client: client.delete_project(found.id))
    tell(found, json, f"project {found.name} deleted")


@app.command()
def stats(name: Name, server: Server = None, home: Home = None, json: Json = False) -> None:
    """What a project holds, and what it did in the last hour."""
    found = speak(server, home, lambda client: client.stats(name))
    if json:
        json_out(found)
        return
    fields(
        [
            *((state, getattr(found.tally, state)) for state in found.tally.__struct_fields__),
            ("claimable now", found.claimable),
            ("workers", found.workers),
            ("succeeded in the last hour", found.succeeded_last_hour),
            ("failed in the last hour", found.failed_last_hour),
            ("mean seconds in the last hour", round(found.mean_seconds_last_hour, 3)),
        ]
    )


def tell(project: sdk.Project, json: bool, line: str) -> None:
    if json:
        json_out(project)
    else:
        say(line)


def checked_state(state: str) -> Literal["active", "closed", "all"]:
    match state:
        case "active" | "closed" | "all":
            return state
    raise Stop(f"--state {state}: say active, closed or all", USAGE)
