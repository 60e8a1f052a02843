"""Runs and nodes as a program sees them: commands that a node carries out, what they print, and how they end.

Instants are aware datetimes, durations are seconds, offsets count the bytes a run has printed on both its streams.
"""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from treadle.client.nouns import State

Stream = Literal["stdout", "stderr"]


class Window(Struct, frozen=True, kw_only=True):
    """How large a terminal is."""

    columns: int = 120
    rows: int = 40


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run may use at most: `memory` and `file_size` in bytes, `cpu` and `seconds` (of wall time) in seconds."""

    memory: int | None = None
    cpu: int | None = None
    files: int | None = None
    processes: int | None = None
    file_size: int | None = None
    seconds: float | None = None


class NewRun(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run to be started: an argument list, or a text for /bin/sh.

    `on` is a node or "any". `secrets` are more of the environment that nobody gets to see: they are replaced in what
    the run prints. With `pty` it runs in a terminal of that size; without `stdin` its input is empty.
    """

    argv: tuple[str, ...] | None = None
    shell: str | None = None
    on: str = "any"
    name: str | None = None
    cwd: str | None = None
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    pty: Window | None = None
    stdin: bool = False
    limits: Limits | None = None
    sandbox: str | None = None
    on_lost: Literal["fail", "requeue"] | None = None
    grace: float | None = None

    def __repr__(self) -> str:
        return f"NewRun(argv={self.argv!r}, shell={self.shell!r}, on={self.on!r})"  # never the secrets


class Extent(Struct, frozen=True, kw_only=True):
    """The oldest byte that is kept, and the end of what was printed so far."""

    first: int = 0
    end: int = 0


class Run(Struct, frozen=True, kw_only=True):
    """A run. `code` is its exit code, -N when signal N ended it; `node` is who carries it out."""

    id: str
    state: State
    name: str | None = None
    argv: tuple[str, ...] | None = None
    shell: str | None = None
    on: str = "any"
    node: str | None = None
    by: str = ""
    pty: bool = False
    stdin: bool = False
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    code: int | None = None
    signal: str | None = None
    reason: str | None = None
    error: str | None = None
    output: Extent = Extent()
    seconds: float | None = None


class RunPage(Struct, frozen=True, kw_only=True):
    """Some runs of a list, and how many the list has in all."""

    runs: list[Run]
    total: int


class Chunk(Struct, frozen=True, kw_only=True):
    """Bytes that a run printed; `at` is the offset of the first one."""

    at: int
    stream: Stream
    data: bytes

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.at + len(self.data)


class Gap(Struct, frozen=True, kw_only=True):
    """Bytes that are not there any more: from the offset `at` up to `end`."""

    at: int
    end: int


class RunEnd(Struct, frozen=True, kw_only=True):
    """The end of what a run prints, and of the run."""

    state: State
    code: int | None = None
    signal: str | None = None
    reason: str | None = None
    error: str | None = None
    end: int = 0


class Node(Struct, frozen=True, kw_only=True):
    """A machine that joined. `inventory` is what it has, `load` how busy it is: see the server's own document."""

    id: str
    name: str
    state: Literal["present", "absent"]
    slots: int = 0
    busy: int = 0
    joined: datetime | None = None
    seen: datetime | None = None
    version: str = ""
    inventory: dict[str, Any] = {}
    load: dict[str, Any] = {}
