"""`treadle run`: a command on a node, as if it ran here."""

import os
from contextlib import suppress
from typing import Annotated

from treadle.client import asking
from treadle.client.errors import ClientError
from treadle.client.finding import Finder
from treadle.client.runs import NewRun

from . import Stop
from .attaching import NOBODY, able, attend
from .endings import USAGE
from .limits import NAMES, limits
from .options import Argument, Home, Json, Option, Server
from .printing import json_line, note, say
from .reaching import reached
from .terminal import window


def run(
    command: Annotated[
        list[str], Argument(metavar="-- COMMAND…", help="The program and its arguments; no shell.", rest=True)
    ],
    on: Annotated[str, Option("--on", metavar="NODE", help="The node to run it on.")] = "any",
    pty: Annotated[bool, Option("--pty", "-t", help="Run it in a terminal, and pass each key on.")] = False,
    detach: Annotated[bool, Option("--detach", "-d", help="Print its id and come back at once.")] = False,
    env: Annotated[
        list[str] | None, Option("--env", "-e", metavar="K=V|K", help="A variable; K alone takes its value from here.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        Option("--secret", metavar="K=@FILE|K", help="A variable that nobody gets to see; K alone takes it from here."),
    ] = None,
    cwd: Annotated[str | None, Option("--cwd", metavar="DIR", help="The folder it starts in, on the node.")] = None,
    name: Annotated[str | None, Option("--name", metavar="NAME", help="What people call it.")] = None,
    limit: Annotated[
        list[str] | None, Option("--limit", metavar="NAME=VALUE", help=f"The most it may use: {', '.join(NAMES)}.")
    ] = None,
    sandbox: Annotated[str | None, Option("--sandbox", metavar="PROFILE", help="Shut it in: bwrap.")] = None,
    no_stdin: Annotated[bool, Option("--no-stdin", "-n", help="Do not read stdin.")] = False,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Run a command on a node, as if it ran here.

    Its stdout and stderr come here, and it reads our stdin if that is no terminal. Ctrl-C interrupts it, the second
    one ends it, the third kills it. Exits with its exit code, or 128 and the number of the signal that ended it.

    With --pty every key goes to it; Enter ~ . leaves it running. So does a terminal that is closed: `treadle attach`
    comes back to it.
    """
    finder = Finder(server, home=home)
    feeds = not detach and not no_stdin and readable() and (pty or not os.isatty(0))
    new = NewRun(
        argv=tuple(map(text, command)),
        on=on,
        name=name,
        cwd=None if cwd is None else os.path.abspath(cwd),
        env=dict(variable(each) for each in env or ()) | terminal_type(pty, env or []),
        secrets=dict(hidden(each) for each in secret or ()),
        pty=window() if pty else None,
        stdin=feeds,
        limits=limits(limit) if limit else None,
        sandbox=sandbox,
    )
    with reached(server, home) as plain:
        started = plain.ask(asking.start(new))
        if not detach:
            if json:
                json_line({"event": "start", "run": started})
            attend(plain, finder, started, feeds=feeds, owns=True, json=json)
        if json:
            json_line(started)
            return
        say(started.id)
        with suppress(ClientError):  # the run is on its way; this is only a hint
            if not able(on, plain.ask(asking.nodes()).nodes):
                note(f"treadle: it waits: {NOBODY}")


def readable() -> bool:
    """Whether stdin is open and is not the file that is always empty."""
    try:
        return os.fstat(0).st_rdev != os.stat(os.devnull).st_rdev or os.isatty(0)
    except OSError:
        return False


def variable(typed: str) -> tuple[str, str]:
    """`K=V`, or `K` for the value it has here."""
    name, equals, value = text(typed).partition("=")
    return name, value if equals else _own(name, "--env")


def hidden(typed: str) -> tuple[str, str]:
    """`K=@FILE`, or `K` for the value it has here. A value that is typed is refused: everybody could read it."""
    name, equals, value = text(typed).partition("=")
    if not equals:
        return name, _own(name, "--secret")
    if not value.startswith("@"):
        raise Stop(f"--secret {name}=…: others can read what is typed; say {name}=@FILE, or {name} to take it "
                   "from the environment", USAGE)  # fmt: skip
    try:
        with open(value[1:], encoding="utf-8") as file:
            return name, file.read().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise Stop(f"--secret {name}: {value[1:]} cannot be read: {reason}", USAGE) from None


def terminal_type(pty: bool, env: list[str]) -> dict[str, str]:
    """TERM, which says what our terminal understands, unless it was given."""
    given = any(each.partition("=")[0] == "TERM" for each in env)
    return {"TERM": os.environ["TERM"]} if pty and not given and os.environ.get("TERM") else {}


def text(word: str) -> str:
    """A word of the command line, if it is text."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise Stop(f"{word!a} is not text in UTF-8", USAGE) from None
    return word


def _own(name: str, option: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise Stop(f"{option} {name}: there is no variable {name} here", USAGE)
    return text(value)
