"""What a person sets for the Console, and what it is told of the server that it is part of."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from treadle.faces.console.gate.options import GateOptions


class Options(Struct, frozen=True, kw_only=True):
    """Everything that `[console]` says, and who the server's own node is.

    `node` gives the id of the node on which execute runs, None while there is none. `roots` are folders. `command` is
    an argument list in which an element `{args}` is spliced and `{path}` stands for the path; empty runs the file
    itself, or `shell` (empty: /bin/sh) in a folder. `folder` is where the access log is kept; without one there is
    none. `arguments` is a file of arguments to pick from (see `picking`).
    """

    version: str
    node: Callable[[], str | None]
    gate: GateOptions = GateOptions()
    roots: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    shell: str = ""
    pty: bool = True
    columns: int = 120
    rows: int = 40
    echo: bool = False
    most_runs: int = 16
    detached_seconds: int = 60
    kill_seconds: int = 5
    arguments: Path | None = None
    folder: Path | None = None
