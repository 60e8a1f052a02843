"""`treadle types`: the task types of a project: list, create, show, change, delete."""

from typing import Annotated, cast

from msgspec import UNSET
from typer import Argument, Option

from treadle import client as sdk

from . import Stop
from .endings import USAGE
from .groups import group
from .printing import Column, fields, json_out, say, table
from .speaking import DEFAULT_PROJECT, Home, Json, Project, Server, speak, text_or_file

app = group("Task types: templates and their policies.")

Type = Annotated[str, Argument(metavar="TYPE", help="A name or id.")]
Template = Annotated[
    str | None, Option(metavar="TEXT|@FILE", help="What workers read; {{name}} is filled in from the variables.")
]
Variable = Annotated[list[str] | None, Option("--var", metavar="NAME", help="A variable; by default the template's.")]
OnDuplicate = Annotated[
    str | None, Option("--duplicates", metavar="allow|ignore|fail", help="A second task with the same variables.")
]
Retries = Annotated[int | None, Option(metavar="N", help="Tries after the first.")]
Lease = Annotated[float | None, Option(metavar="SECONDS", help="How long a worker holds a task without a word.")]

COLUMNS: list[Column[sdk.TaskType]] = [
    Column("type", lambda it: it.name),
    Column("variables", lambda it: ",".join(it.variables)),
    Column("duplicates", lambda it: it.duplicates),
    Column("max retries", lambda it: it.max_retries, "number"),
    Column("lease", lambda it: f"{it.lease:g} s", "number"),
    Column("template", lambda it: it.template, "text"),
]


@app.command("list")
def list_(
    project: Project = DEFAULT_PROJECT, server: Server = None, home: Home = None, json: Json = False
) -> None:  # fmt: skip
    """Task types of a project, newest first."""
    found = speak(server, home, lambda client: client.types(project, limit=1000))
    if json:
        json_out(found)
    else:
        table(COLUMNS, found, empty=f"no task types in {project}")


@app.command()
def create(
    name: Annotated[str, Argument(help="Letters, digits, - and _.")],
    project: Project = DEFAULT_PROJECT,
    template: Template = None,
    var: Variable = None,
    duplicates: OnDuplicate = None,
    max_retries: Retries = None,
    lease: Lease = None,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a task type."""
    text = text_or_file(template)
    made = speak(
        server,
        home,
        lambda client: client.create_type(
            project,
            name,
            template=text,
            variables=var or None,
            duplicates=checked(duplicates or "allow"),
            max_retries=max_retries,
            lease=lease,
        ),
    )
    tell(made, json, f"task type {made.name} made")


@app.command()
def show(
    name: Type, project: Project = DEFAULT_PROJECT, server: Server = None, home: Home = None, json: Json = False
) -> None:
    """One task type."""
    found = speak(server, home, lambda client: client.type(project, name))
    if json:
        json_out(found)
        return
    fields(
        [
            ("type", found.name),
            ("id", found.id),
            ("variables", ", ".join(found.variables)),
            ("duplicates", found.duplicates),
            ("max retries", found.max_retries),
            ("lease", f"{found.lease:g} s"),
            ("created", found.created),
            ("updated", found.updated),
            ("template", found.template),
        ]
    )


@app.command()
def change(
    name: Type,
    project: Project = DEFAULT_PROJECT,
    rename: Annotated[str | None, Option(metavar="NAME", help="A new name.")] = None,
    template: Template = None,
    var: Variable = None,
    duplicates: OnDuplicate = None,
    max_retries: Retries = None,
    lease: Lease = None,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Change what is given; tasks made before keep their retries."""
    text = text_or_file(template)
    changed = speak(
        server,
        home,
        lambda client: client.change_type(
            project,
            name,
            name=UNSET if rename is None else rename,
            template=UNSET if text is None else text,
            variables=var or UNSET,
            duplicates=UNSET if duplicates is None else checked(duplicates),
            max_retries=UNSET if max_retries is None else max_retries,
            lease=UNSET if lease is None else lease,
        ),
    )
    tell(changed, json, f"task type {changed.name} changed")


@app.command()
def delete(
    name: Type, project: Project = DEFAULT_PROJECT, server: Server = None, home: Home = None, json: Json = False
) -> None:
    """Remove a task type of which no task exists."""

    async def work(client: sdk.Client) -> sdk.TaskType:
        found = await client.type(project, name)
        await client.delete_type(project, found.id)
        return found

    gone = speak(server, home, work)
    tell(gone, json, f"task type {gone.name} deleted")


def tell(type: sdk.TaskType, json: bool, line: str) -> None:
    if json:
        json_out(type)
    else:
        say(line)


def checked(duplicates: str) -> sdk.Duplicates:
    if duplicates not in ("allow", "ignore", "fail"):
        raise Stop(f"--duplicates {duplicates}: say allow, ignore or fail", USAGE)
    return cast(sdk.Duplicates, duplicates)
