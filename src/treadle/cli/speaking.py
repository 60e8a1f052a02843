"""How a command speaks with the server: the options all of them take, and one client."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

from typer import Option

from treadle.client import Client, ClientError

from . import Stop, options
from .endings import USAGE, stop

T = TypeVar("T")

Server = Annotated[str | None, options.SERVER.typed()]
Home = Annotated[str | None, options.HOME.typed()]
Json = Annotated[bool, options.JSON.typed()]

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


def text_or_file(value: str | None) -> str | None:
    """What was typed; `@FILE` is what is in that file."""
    if value is None or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"{value[1:]} cannot be read: {error}", USAGE) from None
