"""The Console's words, exactly as its document and its clients spell them (contract 2 and 5)."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Kind = Literal["video", "desc"]
"""Which files to show: films, or texts that describe them."""


class BrowseQuery(Struct):
    """Which folder, and which of its files."""

    path: Annotated[str, Meta(min_length=1)]
    filter: Kind | None = None


class SearchQuery(Struct):
    """What the name holds, which files, and how many results at most."""

    q: Annotated[str, Meta(min_length=1, max_length=256)]
    filter: Kind | None = None
    max_results: Annotated[int, Meta(ge=1, le=1000)] = 100


class Item(Struct, omit_defaults=True):
    """A file, with size in bytes and mtime in UNIX seconds, or a folder, with `children` to be filled by the client."""

    name: str
    path: str
    type: Literal["file", "folder"]
    size: int | UnsetType = UNSET
    mtime: int | UnsetType = UNSET
    children: list[None] | UnsetType = UNSET
    subtitle: str | UnsetType = UNSET
    available: bool | UnsetType = UNSET


class Browsed(Struct):
    """What lies in a folder: folders first, then by name."""

    success: bool
    path: str
    count: int
    items: list[Item]
    truncated: bool | UnsetType = UNSET


class BrowseRoots(Struct):
    """Where browsing begins."""

    success: bool
    count: int
    items: list[Item]


class Found(Struct):
    """What was found; `truncated` when there may be more."""

    success: bool
    query: str
    count: int
    items: list[Item]
    truncated: bool = False


class Execute(Struct):
    """What to run: a path, arguments as one would type them, and the client's own name for the run."""

    path: str
    args: str | None = None
    session_id: str | None = None


class Input(Struct):
    """What to type into a run. A line break is added unless it is there already, or with `raw`."""

    session_id: str
    input: str
    raw: bool = False


class Kill(Struct):
    """Which run to end."""

    session_id: str


class Done(Struct):
    """It was accepted."""

    success: bool = True
    message: str | UnsetType = UNSET


class Session(Struct):
    """A run, as those see it who may watch it; `started` is UNIX seconds, `code` and the rest come with its end."""

    session_id: str
    user: str
    path: str
    argv: tuple[str, ...]
    started: int
    running: bool
    watched: bool
    code: int | None = None
    signal: str | None = None
    reason: str | None = None


class Sessions(Struct):
    """Your name here, and your runs, newest first; those that have ended are kept for an hour."""

    success: bool
    user: str
    count: int
    sessions: list[Session]


class Health(Struct):
    """That the server answers; `server_time` is UNIX seconds, `sessions` how many runs are going on."""

    status: str
    success: bool
    server_time: int
    version: str
    sessions: int


class Argument(Struct):
    """An argument to pick: what is added to the line, what may follow it, and what it does."""

    label: str
    placeholder: str = ""
    description: str = ""


class ArgumentGroup(Struct):
    """Arguments that belong together."""

    title: str
    args: list[Argument]


class Arguments(Struct):
    """What the operator offers to pick from."""

    success: bool
    groups: list[ArgumentGroup]
