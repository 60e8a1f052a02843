"""`treadle top`: nodes and runs, live."""

import sys
import time
from typing import Annotated, Any

from msgspec import Struct

from treadle.client import asking
from treadle.client.plain import Plain
from treadle.client.runs import Node, Run

from .options import Home, Json, Option, Server
from .printing import Column, json_line, on_terminal, say, table, when
from .ps import what
from .reaching import reached

PATIENCE = 600.0


class Sight(Struct, frozen=True):
    """What there is at one moment; `total` is how many runs wait or go on, of which the newest are here."""

    nodes: list[Node]
    runs: list[Run]
    total: int


def top(
    once: Annotated[bool, Option("--once", help="Look once, then end.")] = False,
    every: Annotated[float, Option("--every", metavar="SECONDS", help="How often to look.", least=0.1)] = 1.0,
    limit: Annotated[int, Option("--limit", metavar="N", help="At most so many runs.", least=1)] = 100,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Nodes and the runs that wait or go on, live on a terminal, else as plain lines, with --json an object a line."""
    with reached(server, home) as plain:
        try:
            if json or once or not on_terminal():
                lines(plain, limit, every, once, json)
            else:
                live(plain, limit, every)
        except KeyboardInterrupt:
            return


def seen(plain: Plain, limit: int, patience: float) -> Sight:
    nodes = plain.ask(asking.nodes(), patience=patience).nodes
    page = plain.ask(asking.listed(("running", "queued"), limit, 0), patience=patience)
    return Sight(nodes=nodes, runs=page.runs, total=page.total)


def lines(plain: Plain, limit: int, every: float, once: bool, json: bool) -> None:
    """One sight after another, below each other."""
    patience = 0.0
    while True:
        sight = seen(plain, limit, patience)
        if json:
            json_line(sight)
        else:
            table(NODES, sight.nodes, empty="no nodes")
            if sight.runs:
                say("")
                table(runs_of(sight), sight.runs, empty="")
        if once:
            return
        if not json:
            say("")
        sys.stdout.flush()
        patience = PATIENCE  # who was there once will come back
        time.sleep(every)


def live(plain: Plain, limit: int, every: float) -> None:
    """One sight in the place of the other, on the whole terminal."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as screen:
        patience = 0.0
        while True:
            screen.update(drawn(seen(plain, limit, patience), console.size.height), refresh=True)
            patience = PATIENCE
            time.sleep(every)


def drawn(sight: Sight, height: int) -> Any:
    """A sight for eyes, cut to what fits on the terminal."""
    from rich.console import Group
    from rich.text import Text

    from .printing import grid

    room = max(1, height - len(sight.nodes) - 5)
    busy, slots = sum(node.busy for node in sight.nodes), sum(node.slots for node in sight.nodes)
    head = Text(f"{busy} of {slots} places busy, {sight.total} runs wait or go on; Ctrl-C leaves", style="dim")
    parts = [head, Text(""), grid(NODES, sight.nodes), Text("")]
    if sight.runs:
        parts.append(grid(runs_of(sight), sight.runs[:room]))
    return Group(*parts)


def share(node: Node, name: str) -> Any:
    """One number of how busy a node is."""
    value = node.load.get(name)
    return round(value, 1) if isinstance(value, float) else value


def memory(node: Node) -> str | None:
    """Memory used of what there is, in GiB."""
    used, there = node.load.get("memory_used"), node.inventory.get("memory")
    if isinstance(there, dict):
        there = there.get("total")
    parts = [f"{value / (1 << 30):.1f}" for value in (used, there) if isinstance(value, int | float)]
    return " of ".join(parts) or None


NODES: list[Column[Node]] = [
    Column("node", lambda it: it.name),
    Column("state", lambda it: it.state, "state"),
    Column("busy", lambda it: f"{it.busy} of {it.slots}", "number"),
    Column("cpu %", lambda it: share(it, "cpu_percent"), "number"),
    Column("memory GiB", memory, "number"),
    Column("seen", lambda it: None if it.state == "present" or it.seen is None else when(it.seen)),
    Column("version", lambda it: it.version),
]


def runs_of(sight: Sight) -> list[Column[Run]]:
    names = {node.id: node.name for node in sight.nodes}
    return [
        Column("run", lambda it: it.id),
        Column("state", lambda it: it.state, "state"),
        Column("node", lambda it: names.get(it.node, it.node) if it.node else None),
        Column("since", lambda it: it.started or it.created),
        Column("printed", lambda it: it.output.end, "number"),
        Column("what", what, "text"),
    ]
