"""`treadle up` and `treadle serve`: the server in the foreground, from what was typed to the table of its addresses."""

import os
import sys
from collections.abc import Iterable, Mapping
from functools import wraps
from pathlib import Path
from shlex import quote
from shutil import which
from typing import Annotated, Any

from typer import Option

from treadle.settings import FACES, Settings
from treadle.settings.reading import Wrong, read

from . import Stop

PAGES = {"taskdriver": "/api/docs", "fabric": "/", "console": "/"}
"""What a browser can open on a face's address."""


# No docstring: the line in the table of commands describes it, under each of its two names.
def up(
    home: Annotated[
        str | None, Option(metavar="DIR", help="Keep everything in this folder, not in ~/.treadle.")
    ] = None,
    config: Annotated[str | None, Option(metavar="FILE", help="Read this instead of treadle.toml in the home.")] = None,
    listen: Annotated[
        list[str] | None,
        Option(metavar="FACE=HOST:PORT", help="Where a face listens (FACE=off: nowhere); port 0 takes a free one."),
    ] = None,
    ready_file: Annotated[
        str | None, Option(metavar="FILE", help="Write the addresses here once everything accepts connections.")
    ] = None,
    store: Annotated[
        str | None, Option(metavar="URL", help="sqlite, postgresql://USER@HOST/NAME, or @FILE with the URL in it.")
    ] = None,
    bus: Annotated[str | None, Option(metavar="URL", help="local:, inside this process, or nats://HOST:PORT.")] = None,
    bus_credentials: Annotated[
        str | None, Option(metavar="FILE", help="The file with the credentials for the bus.")
    ] = None,
    project: Annotated[list[str] | None, Option(metavar="NAME", help="Make this project if it is missing.")] = None,
    auth: Annotated[
        str | None, Option(metavar="open|required", help="required: everybody needs a key, on loopback too.")
    ] = None,
) -> None:
    typed: dict[str, Any] = {
        "home": home,
        "config": config,
        "ready_file": ready_file,
        "store": store,
        "bus": bus,
        "bus_credentials": bus_credentials,
        "projects": project,
        "auth": auth,
    }
    start(typed, listen or (), node=True)


@wraps(up)
def serve(listen: list[str] | None = None, project: list[str] | None = None, **typed: Any) -> None:
    start({**typed, "projects": project}, listen or (), node=False)


def start(typed: dict[str, Any], listen: Iterable[str], *, node: bool) -> None:
    """Run the server with what was typed; ends the program."""
    flags = {name: value for name, value in typed.items() if value is not None} | addresses(listen)
    try:
        reading = read(flags, os.environ)
    except Wrong as wrong:
        raise Stop(str(wrong), 2) from None

    from treadle import compose

    sys.exit(compose.run(reading.settings, reading.warnings, lambda server: show(server, reading.settings), node=node))


def addresses(listen: Iterable[str]) -> dict[str, str]:
    """The settings that `--listen FACE=…` stands for; the last word on a face counts."""
    found = {}
    for text in listen:
        face, equals, address = text.partition("=")
        if face not in FACES or not equals:
            raise Stop(f"--listen {text}: say FACE=HOST:PORT or FACE=off; the faces are {', '.join(FACES)}", 2)
        found[f"listen.{face}"] = address
    return found


def show(server: dict[str, Any], settings: Settings) -> None:
    """Print where everything is and what to do next. A reader that left does not stop the server."""
    try:
        (table if sys.stdout.isatty() else lines)(server["listeners"])
        sys.stdout.write("".join(f"{line}\n" for line in ("", *next_steps(server["listeners"], settings))))
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # or the interpreter complains again when it ends


def lines(listeners: Mapping[str, str]) -> None:
    for face, url in listeners.items():
        sys.stdout.write(f"{face} {url}\n")


def table(listeners: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    grid = Table("face", "address", "for people", box=None, header_style="dim", pad_edge=False)
    for face, url in listeners.items():
        grid.add_row(face, url, url + PAGES[face] if face in PAGES else "")
    Console().print(grid)


def next_steps(listeners: Mapping[str, str], settings: Settings) -> list[str]:
    """What to paste into a second terminal: one command that submits a task, and one that is a worker for it.

    The worker needs nothing but curl, so that it shows the whole TaskDriver API of an agent: log in, take, complete.
    """
    treadle = program(Path(sys.argv[0]), Path.cwd())
    if settings.home != Path("~/.treadle").expanduser():
        treadle = f"TREADLE_HOME={quote(str(settings.home))} {treadle}"
    submit = f'{treadle} tasks submit --project default --instructions "Say hello"'
    opened = []
    if "console" in listeners and not settings.console.roots:
        again = f"UA_BROWSE_ROOTS={quote(str(Path.cwd()))} {treadle} up"
        opened = [
            "",
            f"No folder is open to {listeners['console']}, so nothing can be run there. To open one:",
            "",
            again,
        ]
    if "taskdriver" not in listeners or "fabric" not in listeners:
        return ["Stop with Ctrl-C.", *opened]
    key = f' -H "X-API-Key: $(cat {quote(str(settings.home / "secrets" / "local.key"))})"'
    login = f"-d agentName=ada -d projectId=default{key if settings.auth == 'required' else ''}"
    token, task = (f"sed -n 's/.*{before}\"\\([^\"]*\\).*/\\1/p'" for before in ('"token":', '"task":{"id":'))
    return [
        "Paste these two commands into another terminal. The first submits a task; the second is a worker that takes",
        "it, completes it and shows it, with nothing but curl and the TaskDriver API. Stop the server with Ctrl-C.",
        "",
        submit,
        "",
        f'API={listeners["taskdriver"]}/api; call() {{ curl -s -H "Authorization: Bearer $TOKEN" "$@"; }};'
        f" TOKEN=$(call $API/auth/login {login} | {token});"
        f" TASK=$(call -X POST $API/agents/ada/next-task | {task});"
        " call $API/tasks/$TASK/complete -d result=Hello | python3 -m json.tool",
        *opened,
    ]


def program(started: Path, here: Path) -> str:
    """How a person in this folder would call the program that runs."""
    if started.name != "treadle":
        return f"{quote(sys.executable)} -m treadle"
    if which("treadle") == str(started):
        return "treadle"
    return quote(str(started.relative_to(here) if started.is_relative_to(here) else started))
