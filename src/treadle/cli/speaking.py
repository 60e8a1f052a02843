"""How a command speaks with the server: the options all of them take, one client, and errors as one line and a code."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

from typer import Option

from treadle.client import Client, ClientError, NoServer, Refused, Unauthenticated, Unreachable

from . import Stop

T = TypeVar("T")

Server = Annotated[
    str | None, Option("--server", metavar="URL", help="The server to speak with, not the one of the home.")
]
Home = Annotated[str | None, Option("--home", metavar="DIR", help="The home whose server to speak with.")]
Json = Annotated[bool, Option("--json", help="Print JSON.")]

FAILED, USAGE, NO_SERVER = 1, 2, 3
DEFAULT_PROJECT = "default"


def projects_like(incomplete: str) -> list[str]:
    """The names of projects, for the shell's completion."""

    async def names() -> list[str]:
        async with Client(patience=0, timeout=1) as client:
            return [project.name for project in await client.projects("all")]

    try:
        return [name for name in asyncio.run(names()) if name.startswith(incomplete)]
    except ClientError:
        return []


Project = Annotated[
    str, Option("--project", "-p", metavar="NAME", help="The project, by name or id.", autocompletion=projects_like)
]


def speak(server: str | None, home: str | None, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    """Run the work with a client. Raises Stop with what a person can do about it."""

    async def working() -> T:
        async with Client(server, home=home, patience=0) as client:
            return await work(client)

    try:
        return asyncio.run(working())
    except ClientError as error:
        raise stop(error) from error


def stop(error: ClientError) -> Stop:
    """The end of the program for this error."""
    if isinstance(error, NoServer | Unreachable):
        return Stop(f"{error}; is `treadle up` running?" if isinstance(error, Unreachable) else str(error), NO_SERVER)
    if isinstance(error, Unauthenticated):
        return Stop(f"{error.message} (the command line shows the key in TREADLE_KEY, or the home's own)", FAILED)
    if isinstance(error, Refused):
        return Stop("; ".join(f"{it.field}: {it.message}" for it in error.faults) or error.message, FAILED)
    return Stop(str(error), FAILED)


def text_or_file(value: str | None) -> str | None:
    """What was typed; `@FILE` is what is in that file."""
    if value is None or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"{value[1:]} cannot be read: {error}", USAGE) from None
