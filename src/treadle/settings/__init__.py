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
    "ufo": "127.0.0.1:5000",
    "console": "127.0.0.1:5000",
    "architect": None,
}
"""The five faces, and where each listens by default; None: not built yet."""

ADDRESS = r"^(off|[^\s:@/\[\]]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5})$"
ADDRESS_RULE = "HOST:PORT, [IPV6]:PORT or off"
NAME = r"^[A-Za-z0-9_-]{1,100}$(?!\n)"


def setting(
    meaning: str,
    *,
    rule: str = "",
    flag: str = "",
    also: str = "",
    secret: bool = False,
    words: bool = False,
    **limits: Any,
) -> Meta:
    """A setting's meaning; `rule` finishes "must be …" where the limits do not say it.

    A list is written with commas in the environment; with `words` it is written there as a shell reads words.
    """
    extra = {"rule": rule, "flag": flag, "also": also, "secret": secret, "words": words}
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
    ufo: Annotated[str, listens("ufo")] = FACES["ufo"] or "off"
    console: Annotated[str, listens("console")] = FACES["console"] or "off"
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


class Console(Struct, frozen=True, kw_only=True):
    """`[console]`: what may be browsed and run from the Web UI, and who gets in."""

    roots: Annotated[
        tuple[str, ...],
        setting("folders that may be browsed and run in; none: nothing can run (comma list)", also="UA_BROWSE_ROOTS"),
    ] = ()
    command: Annotated[
        tuple[str, ...],
        setting("what execute runs, with {path} and {args}; none: the file itself, or a shell in a folder", words=True),
    ] = ()
    pty: Annotated[bool, setting("whether runs have a terminal; false: two pipes")] = True
    columns: Annotated[int, setting("width of the terminal", ge=20, le=1000)] = 120
    rows: Annotated[int, setting("height of the terminal", ge=5, le=1000)] = 40
    echo: Annotated[bool, setting("whether the terminal repeats what is typed")] = False
    most_runs: Annotated[int, setting("runs at the same time", ge=1, le=1000)] = 16
    detached_seconds: Annotated[
        int, setting("how long a run goes on that nobody watches, 0 is without end", ge=0, le=2_592_000)
    ] = 60
    kill_seconds: Annotated[int, setting("seconds between asking a run to end and making it", ge=0, le=3600)] = 5
    arguments: Annotated[Path | None, setting("a JSON file with the arguments that the page offers to pick from")] = (
        None
    )
    token: Annotated[str, setting("the one bearer token that is valid", also="UA_TOKEN", secret=True)] = ""
    username: Annotated[str, setting("the web user's name", also="UA_WEBUI_USERNAME")] = ""
    password: Annotated[str, setting("the web user's password", also="UA_WEBUI_PASSWORD", secret=True)] = ""
    test_token: Annotated[
        str, setting("one more bearer token, for tests", also="UA_TEST_BEARER_TOKEN", secret=True)
    ] = ""
    session_secret: Annotated[
        str,
        setting("what sessions are signed with, at least 32 bytes; made by itself", also="SESSION_SECRET", secret=True),
    ] = ""
    cors_origins: Annotated[Origins, Meta(extra={"also": "UA_WEBUI_CORS_ORIGINS"})] = ()
    proxies: Annotated[
        tuple[str, ...], setting("addresses of proxies whose X-Forwarded headers are believed (comma list)")
    ] = ()


RunnerName = Literal["auto", "llm", "rules", "script", "echo", "relay"]


class Llm(Struct, frozen=True, kw_only=True):
    """`[ufo.llm]`: the language model that plans for devices, and how far one session may go with it."""

    base_url: Annotated[str, setting("an OpenAI-compatible endpoint; empty: no model plans")] = ""
    model: Annotated[str, setting("the model's name there")] = ""
    api_key_env: Annotated[str, setting("the environment variable with the endpoint's key; empty: none is sent")] = ""
    mode: Annotated[
        Literal["schema", "tools", "text"],
        setting("how actions are chosen: held to a JSON schema, by native tool calls, or asked for in words"),
    ] = "schema"
    thoughts: Annotated[bool, setting("whether the model says why before what; very small ones do better without")] = (
        True
    )
    act_first: Annotated[bool, setting("whether the model may finish only after it has called a tool")] = False
    vision: Annotated[bool, setting("whether the model is shown screenshots")] = False
    max_rounds: Annotated[int, setting("rounds of one session", ge=1)] = 50
    max_tokens: Annotated[int, setting("tokens of one session, prompts and answers together", ge=1)] = 400_000
    max_seconds: Annotated[float, setting("seconds of one session", ge=1)] = 1800.0


class Ufo(Struct, frozen=True, kw_only=True):
    """`[ufo]`: devices, what they may be asked, and who plans for them."""

    api_key: Annotated[str, setting("a key that callers and devices show; empty: none is asked for", secret=True)] = ""
    health_open: Annotated[bool, setting("whether /api/health needs no key")] = False
    cors_origins: Origins = ()
    runner: Annotated[
        RunnerName, setting("who turns a request into commands; auto: the model if one is configured, else rules")
    ] = "auto"
    platforms: Annotated[dict[str, RunnerName], setting("the runner of a platform")] = {}
    devices: Annotated[dict[str, RunnerName], setting("the runner of one device, by its client id")] = {}
    inject: Annotated[
        dict[str, dict[str, Any]],
        setting("arguments added to calls of a tool (NAME or NAME@CLIENT_ID) that no model sees; env:NAME is read"),
    ] = {}
    accept_seconds: Annotated[float, setting("how long a device may take to take up a task", ge=1)] = 30.0
    command_seconds: Annotated[float, setting("how long a device may take for a command", ge=1)] = 300.0
    session_seconds: Annotated[float, setting("how long one task may take", ge=1)] = 3600.0
    registration_seconds: Annotated[float, setting("how long a new connection may take to register", ge=1)] = 10.0
    absence_seconds: Annotated[
        float, setting("how long a task that waits for a device outlives the device's going", ge=0)
    ] = 60.0
    time_to_live: Annotated[float, setting("seconds a task waits for an absent device (when_online)", ge=1)] = 86_400.0
    keep_seconds: Annotated[float, setting("how long results are kept", ge=60)] = 86_400.0
    keep_results: Annotated[int, setting("how many results are kept", ge=1)] = 10_000
    queue: Annotated[int, setting("tasks that may wait for one device", ge=1)] = 100
    llm: Llm = Llm()


class NodeSettings(Struct, frozen=True, kw_only=True):
    """`[node]`: this machine as one that runs things."""

    name: Annotated[
        str,
        setting("what this machine is called; empty: its host name", pattern=r"^[A-Za-z0-9_.-]{0,63}$(?!\n)",
                rule="at most 63 letters, digits, dots, hyphens and underscores", flag="--name"),
    ] = ""  # fmt: skip
    slots: Annotated[int, setting("runs at the same time on this machine", flag="--slots", ge=1, le=10_000)] = 64


class OutputSettings(Struct, frozen=True, kw_only=True):
    """`[output]`: how much of what tasks print is kept."""

    per_task: Annotated[int, setting("bytes kept of one task", ge=65_536)] = 256 * 1024 * 1024
    total: Annotated[int, setting("bytes kept in all", ge=1_048_576)] = 4 * 1024**3
    days: Annotated[int, setting("days for which it is kept", ge=1, le=36_500)] = 7


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
        setting("how processes and machines speak: local: (inside this process) or nats://HOST:PORT",
                rule="local: or nats://HOST:PORT", pattern=r"^(local:|(nats|tls)://.+)$", flag="--bus",
                secret=True),
    ] = "local:"  # fmt: skip
    bus_credentials: Annotated[
        Path | None, setting("the file with the credentials for the bus", flag="--bus-credentials")
    ] = None
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
    console: Console = Console()
    ufo: Ufo = Ufo()
    node: NodeSettings = NodeSettings()
    output: OutputSettings = OutputSettings()
