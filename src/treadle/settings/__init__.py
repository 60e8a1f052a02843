"""Every setting there is, with its default, its rule and its meaning; `reading.read` fills them in, once, at start.

A setting has one name in three spellings: `[taskdriver] rate_limit` in treadle.toml, `TREADLE_TASKDRIVER_RATE_LIMIT` in
the environment, and a flag where people type it. `also` names a variable of a public document that means the same.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

FACES: dict[str, str | None] = {
    "taskdriver": "127.0.0.1:3000",
    "fabric": "127.0.0.1:4892",
    "ufo": None,
    "console": None,
    "architect": None,
}
"""The five faces, and where each listens by default; None: not built yet."""

ADDRESS = r"^(off|[^\s:@/\[\]]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5})$"
ADDRESS_RULE = "HOST:PORT, [IPV6]:PORT or off"
NAME = r"^[A-Za-z0-9_-]{1,100}$(?!\n)"


def setting(
    meaning: str, *, rule: str = "", flag: str = "", also: str = "", secret: bool = False, **limits: Any
) -> Meta:
    """A setting's meaning; `rule` finishes "must be …" where the limits do not say it."""
    extra = {"rule": rule, "flag": flag, "also": also, "secret": secret}
    return Meta(description=meaning, extra=extra, **limits)


def listens(face: str) -> Meta:
    built = "" if FACES[face] else " (not built yet: only off)"
    return setting(f"where the {face} face listens, or off{built}", rule=ADDRESS_RULE, pattern=ADDRESS,
                   flag=f"--listen {face}=")  # fmt: skip


Name = Annotated[str, Meta(pattern=NAME)]
Origin = Annotated[str, Meta(pattern=r"^(\*|https?://[^\s/]+/?)$")]
Origins = Annotated[
    tuple[Origin, ...],
    setting("web origins whose pages may call this face (comma list; * is all); its own always may",
            rule="origins such as https://example.org, or *"),
]  # fmt: skip


class Listen(Struct, frozen=True, kw_only=True):
    """`[listen]`: one address for each face."""

    taskdriver: Annotated[str, listens("taskdriver"), Meta(extra={"also": "TASKDRIVER_HOST, TASKDRIVER_PORT"})] = (
        FACES["taskdriver"] or "off"
    )
    fabric: Annotated[str, listens("fabric")] = FACES["fabric"] or "off"
    ufo: Annotated[str, listens("ufo")] = "off"
    console: Annotated[str, listens("console")] = "off"
    architect: Annotated[str, listens("architect")] = "off"


class TaskDriver(Struct, frozen=True, kw_only=True):
    """`[taskdriver]`: units are those of TaskDriver's own variables."""

    rate_limit: Annotated[int, setting("requests in 15 minutes from one address; 0 is no limit", ge=0)] = 100
    session_timeout: Annotated[
        int, setting("how long a login lasts, in milliseconds", ge=1000, also="TASKDRIVER_SESSION_TIMEOUT")
    ] = 3_600_000
    enable_auth: Annotated[
        bool, setting("false: calls without a token are let in, on loopback only", also="TASKDRIVER_ENABLE_AUTH")
    ] = True
    default_max_retries: Annotated[
        int, setting("retries of a new project's tasks", ge=0, le=10, also="TASKDRIVER_DEFAULT_MAX_RETRIES")
    ] = 3
    default_lease_duration: Annotated[
        int,
        setting("lease of a new project's tasks, in minutes", ge=1, le=1440, also="TASKDRIVER_DEFAULT_LEASE_DURATION"),
    ] = 10
    reaper_interval: Annotated[
        int,
        setting("minutes between two sweeps of a new project's lost leases", ge=1, le=60,
                also="TASKDRIVER_REAPER_INTERVAL"),
    ] = 1  # fmt: skip
    cors_origins: Annotated[Origins, Meta(extra={"also": "CORS_ORIGIN"})] = ()


class FabricFace(Struct, frozen=True, kw_only=True):
    """`[fabric]`: the native API, and later OpenFabric's."""

    rate_limit: Annotated[
        int, setting("requests in 15 minutes from one address; 0 is no limit; the local key is exempt", ge=0)
    ] = 0
    cors_origins: Origins = ()


class Settings(Struct, frozen=True, kw_only=True):
    """What a server was told. Read once and frozen: a setting that changed later would be true in half the rooms."""

    home: Annotated[Path, setting("the folder of everything this server keeps", flag="--home")]
    config: Annotated[
        Path | None, setting("the file of settings instead of treadle.toml in the home", flag="--config")
    ] = None
    store: Annotated[
        str,
        setting("where tasks are kept: sqlite (in the home) or postgresql://USER:PASSWORD@HOST/NAME",
                rule="sqlite or postgresql://USER@HOST/NAME", pattern=r"^(sqlite|postgres(ql)?://.+)$",
                flag="--store", secret=True),
    ] = "sqlite"  # fmt: skip
    bus: Annotated[
        str,
        setting("how processes tell each other to look: local: (inside this process)",
                rule="local: (no other bus is built yet)", pattern="^local:$", flag="--bus", secret=True),
    ] = "local:"  # fmt: skip
    auth: Annotated[
        Literal["open", "required"],
        setting("open: on loopback a face lets in whom its document lets in; required: a key is asked for everywhere",
                flag="--auth"),
    ] = "open"  # fmt: skip
    hosts: Annotated[
        tuple[str, ...], setting("host names, besides localhost, under which this server may be addressed (comma list)")
    ] = ()
    projects: Annotated[
        tuple[Name, ...],
        setting("projects made at start if they are missing, besides default (comma list)", flag="--project",
                rule="names of letters, digits, hyphens and underscores, at most 100 long"),
    ] = ()  # fmt: skip
    ready_file: Annotated[
        Path | None, setting("a file that is written when everything accepts connections", flag="--ready-file")
    ] = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"], setting("the least that is logged")] = "info"
    log_format: Annotated[
        Literal["auto", "human", "json"], setting("how lines look on stderr; auto: human on a terminal, json elsewhere")
    ] = "auto"
    listen: Listen = Listen()
    taskdriver: TaskDriver = TaskDriver()
    fabric: FabricFace = FabricFace()
