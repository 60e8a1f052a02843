"""`treadle attach`: back to a run that goes on."""

from typing import Annotated

from treadle.client import asking
from treadle.client.finding import Finder

from .attaching import attend
from .options import Argument, Home, Json, Option, Server
from .reaching import reached
from .run import readable


def attach(
    id: Annotated[str, Argument(metavar="RUN", help="The run's id.")],
    tail: Annotated[bool, Option("--tail", help="Only what it prints from now on, not what it printed.")] = False,
    no_stdin: Annotated[bool, Option("--no-stdin", "-n", help="Only look on: Ctrl-C leaves.")] = False,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """See what a run prints, from its beginning, and type what it reads.

    Ctrl-C goes to the run as with `treadle run`. Exits with its exit code. In a terminal Enter ~ . leaves.
    """
    with reached(server, home) as plain:
        run = plain.ask(asking.get(id))
        feeds = not no_stdin and (run.stdin or run.pty) and run.finished is None and readable()
        after = run.output.end if tail else 0
        attend(plain, Finder(server, home=home), run, after=after, feeds=feeds, looks_on=no_stdin, json=json)
