"""`treadle ps`: the runs that go on, or all."""

import shlex
from typing import Annotated

from treadle.client import asking
from treadle.client.runs import Run

from .options import Home, Json, Option, Server
from .printing import Column, json_out, note, table
from .reaching import reached


def ps(
    all: Annotated[bool, Option("--all", "-a", help="Also those that have ended.")] = False,
    limit: Annotated[int, Option("--limit", metavar="N", help="At most so many.", least=1)] = 100,
    offset: Annotated[int, Option("--offset", metavar="N", help="Leave out the first so many.", least=0)] = 0,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Runs, newest first: those that wait or go on, or all of them."""
    with reached(server, home) as plain:
        page = plain.ask(asking.listed(() if all else ("running", "queued"), limit, offset))
        if json:
            json_out(page)
            return
        names = {node.id: node.name for node in plain.ask(asking.nodes()).nodes}
    table(columns(names), page.runs, empty="no runs" if all else "nothing runs; --all shows what ran")
    if page.total > offset + len(page.runs):
        note(f"{page.total} in all; --limit and --offset show the others")


def columns(names: dict[str, str]) -> list[Column[Run]]:
    """The columns of a list of runs; `names` are those of the nodes by their ids."""
    return [
        Column("run", lambda it: it.id),
        Column("state", lambda it: it.state, "state"),
        Column("node", lambda it: names.get(it.node, it.node) if it.node else None),
        Column("started", lambda it: it.started or it.created),
        Column("code", lambda it: it.code, "number"),
        Column("what", what, "text"),
    ]


def what(run: Run) -> str:
    """What it is called, and what it runs."""
    command = run.shell if run.shell is not None else shlex.join(run.argv or ())
    return f"{run.name}: {command}" if run.name else command
