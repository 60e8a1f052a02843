"""What a person sets for the Architect face, and what it is told of the server that it is part of."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

FACE = "architect"


class LogEntry(Struct, frozen=True):
    """One line of the server's log; `date` is UNIX seconds."""

    id: str
    date: float
    level: str
    message: str
    fields: dict[str, Any] = {}


class Options(Struct, frozen=True, kw_only=True):
    """Everything that `[architect]` says, and what compose knows.

    `root_file` is where the generated password of root is written (mode 0600), once. `attempts` failures are a ban of
    `ban_seconds`. `retention` is days of the audit log. `fingerprint` is that of the certificate (None without TLS).
    `settings` gives the server's settings by name with their secrets masked, and where each comes from. `entries`
    gives the newest lines of the log (how many, of which level at least, before which id). `reload` and `shutdown`
    are called when the actions of these names are; an action whose callable is None is not offered.
    """

    version: str
    root_file: Path
    ssl: bool = True
    hostname: str = ""
    fingerprint: Callable[[], str] | None = None
    hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    attempts: int = 5
    ban_seconds: int = 60
    disable_remote_root: bool = False
    retention: int = 7
    most_connections: int = 1000
    most_per_user: int = 30
    features: tuple[str, ...] = ()
    settings: Callable[[], tuple[dict[str, Any], dict[str, str]]] | None = None
    entries: Callable[[int, str | None, str | None], Sequence[LogEntry]] | None = None
    reload: Callable[[], None] | None = None
    shutdown: Callable[[bool], None] | None = None
