"""What a person sets for the UFO face, and what it is told of the server that it is part of."""

from typing import Literal

from msgspec import Struct

from treadle.faces.ufo.runners.options import RunnerOptions


class Limits(Struct, frozen=True, kw_only=True):
    """How long things may take, in seconds, and how many there may be (spec 8.3).

    `accept` is the time in which a client takes up a task that it was sent, and `absence` that for which what waits
    for a client outlives its going. `queue` is how many tasks may wait for one client, `time_to_live` how long a task
    waits for an absent one where its caller does not say. Results are kept for `retention`, the newest `kept` of them.
    """

    accept: float = 30.0
    command: float = 300.0
    session: float = 3600.0
    registration: float = 10.0
    absence: float = 60.0
    queue: int = 100
    time_to_live: float = 24 * 3600.0
    retention: float = 24 * 3600.0
    kept: int = 10_000


class Options(Struct, frozen=True, kw_only=True):
    """Everything that `[ufo]` says.

    With an `api_key`, or with `auth` "required", callers show that key or the server's own; `health_open` lets probes
    in without.
    """

    version: str
    api_key: str = ""
    auth: Literal["loopback", "required"] = "loopback"
    health_open: bool = False
    hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    limits: Limits = Limits()
    runners: RunnerOptions = RunnerOptions()
