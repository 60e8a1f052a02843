"""What the native API reads and says of runs and nodes; the conventions are those of `wire`."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from treadle.core.runs import Limits, Window
from treadle.core.tasks import OnLost, State
from treadle.faces.fabric.wire import Instant, Label, Limit, Offset, Ref

MOST_INPUT = 64 * 1024

Argument = Annotated[str, Meta(max_length=128 * 1024)]
Grace = Annotated[float, Meta(ge=0, le=3600)]


class NewRun(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command to run: an argument list, or text for a shell. `on` is a node (id or name) or `any`.

    With `pty` it has a terminal, else pipes; `stdin` lets it read what is sent to `input`. `secrets` are environment
    variables too, but they are shown nowhere and replaced by `***` in what the command prints.
    """

    argv: Annotated[list[Argument], Meta(max_length=10_000)] = []
    shell: Argument | None = None
    on: Ref = "any"
    name: Label | None = None
    cwd: Annotated[str, Meta(max_length=4096)] | None = None
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    pty: Window | None = None
    stdin: bool = False
    limits: Limits = Limits()
    sandbox: Literal["bwrap"] | None = None
    on_lost: OnLost = "fail"
    grace: Grace = 5.0


class Printed(Struct, frozen=True):
    """The oldest byte that is kept of what a task printed, and the end: what comes next has this offset."""

    first: int
    end: int


class Run(Struct, frozen=True, kw_only=True):
    """A run. `code` is -N where signal N ended it; `reason` says what did."""

    id: str
    state: State
    name: str | None
    argv: list[str] | None
    shell: str | None
    cwd: str | None
    on: str
    node: str | None
    by: str
    pty: bool
    stdin: bool
    created: Instant
    started: Instant | None
    finished: Instant | None
    seconds: float | None
    code: int | None
    signal: str | None
    reason: str | None
    error: str | None
    output: Printed


class Runs(Struct, frozen=True):
    """A page of runs, newest first; `total` is how many there are in all."""

    runs: list[Run]
    total: int


class RunQuery(Struct, frozen=True, kw_only=True):
    """Which runs to list; `state` may be given more than once."""

    state: list[State] | None = None
    limit: Limit = 100
    offset: Offset = 0


class Input(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run shall read: text, or bytes in base64; and then, with `eof`, nothing more."""

    text: Annotated[str, Meta(max_length=MOST_INPUT)] | None = None
    base64: Annotated[bytes, Meta(max_length=MOST_INPUT)] | None = None
    eof: bool = False


class Signal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signal by name. With `grace` all processes of the run get it, and KILL after so many seconds."""

    signal: Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9+-]{1,15}$(?!\n)")] = "TERM"
    grace: Grace | None = None


class Node(Struct, frozen=True, kw_only=True):
    """A machine that joined, what it has (`inventory`) and what is used of it (`load`)."""

    id: str
    name: str
    state: Literal["present", "absent"]
    slots: int
    busy: int
    version: str
    joined: Instant
    seen: Instant
    inventory: dict[str, Any]
    load: dict[str, Any]


class Nodes(Struct, frozen=True):
    """All machines that joined, by name."""

    nodes: list[Node]
