"""The faces that listen, each told what is set for it."""

import os
import secrets
from collections.abc import Callable, Mapping

from msgspec.structs import asdict

from treadle import __version__
from treadle.compose.node import identity
from treadle.compose.parts import CannotStart, policy
from treadle.core.fabric import Fabric
from treadle.faces import console, mcp, taskdriver, ufo
from treadle.faces import fabric as fabric_face
from treadle.faces.taskdriver.prompts import INSTRUCTIONS, PROMPTS
from treadle.faces.taskdriver.tools import tools
from treadle.home import Home, write_private
from treadle.settings import Settings
from treadle.web.app import App
from treadle.web.listen import Address, Face
from treadle.web.log import Log

Urls = Callable[[], Mapping[str, str]]
"""Says where all the listeners are, once they are open."""


def faces_of(
    fabric: Fabric,
    settings: Settings,
    home: Home,
    addresses: Mapping[str, Address],
    log: Log,
    urls: Urls,
    *,
    node: bool,
) -> list[Face]:
    """One for each address. Raises CannotStart for settings that a face cannot follow."""
    hosts = (*settings.hosts, *(address.host for address in addresses.values()))
    makers: dict[str, Callable[[], App]] = {
        taskdriver.NAME: lambda: _taskdriver(fabric, settings, hosts, log),
        fabric_face.NAME: lambda: _fabric(fabric, settings, hosts, log, urls),
        ufo.NAME: lambda: _ufo(fabric, settings, hosts, log),
        console.NAME: lambda: _console(fabric, settings, home, hosts, log, node=node),
    }
    made = []
    for name, address in addresses.items():
        try:
            made.append(Face(name, makers[name](), address))
        except (ValueError, OSError) as error:
            raise CannotStart(f"{name}: {error}") from error
    return made


def _taskdriver(fabric: Fabric, settings: Settings, hosts: tuple[str, ...], log: Log) -> App:
    own = settings.taskdriver
    options = taskdriver.Options(
        rate_limit=own.rate_limit,
        cors_origins=own.cors_origins,
        hosts=hosts,
        session_timeout=own.session_timeout,
        auth=settings.auth,
        enable_auth=own.enable_auth,
        policy=policy(settings),
    )
    return taskdriver.make(fabric, options, log)


def _fabric(fabric: Fabric, settings: Settings, hosts: tuple[str, ...], log: Log, urls: Urls) -> App:
    about = mcp.About("taskdriver-mcp", "Treadle", __version__, INSTRUCTIONS)
    options = fabric_face.Options(
        version=__version__,
        listeners=urls,
        auth="required" if settings.auth == "required" else "loopback",
        rate_limit=settings.fabric.rate_limit,
        hosts=hosts,
        cors_origins=settings.fabric.cors_origins,
    )
    actions = mcp.routes(fabric, tools(fabric.clock, policy(settings)), PROMPTS, about)
    return fabric_face.make(fabric, options, log=log, routes=actions)


def _ufo(fabric: Fabric, settings: Settings, hosts: tuple[str, ...], log: Log) -> App:
    own = settings.ufo
    llm = ufo.LlmOptions(**asdict(own.llm))
    options = ufo.Options(
        version=__version__,
        api_key=own.api_key,
        auth="required" if settings.auth == "required" else "loopback",
        health_open=own.health_open,
        hosts=hosts,
        cors_origins=own.cors_origins,
        limits=ufo.Limits(
            accept=own.accept_seconds,
            command=own.command_seconds,
            session=own.session_seconds,
            registration=own.registration_seconds,
            absence=own.absence_seconds,
            queue=own.queue,
            time_to_live=own.time_to_live,
            retention=own.keep_seconds,
            kept=own.keep_results,
        ),
        runners=ufo.RunnerOptions(
            default=own.runner, platforms=own.platforms, devices=own.devices, inject=own.inject, llm=llm
        ),
    )
    return ufo.make(fabric, options, log)


def _console(fabric: Fabric, settings: Settings, home: Home, hosts: tuple[str, ...], log: Log, *, node: bool) -> App:
    own = settings.console
    gate = console.GateOptions(
        token=own.token,
        username=own.username,
        password=own.password,
        test_token=own.test_token,
        auth=settings.auth,
        hosts=hosts,
        cors_origins=own.cors_origins,
        session_secret=own.session_secret.encode(),
        setup_code=_setup_code(home) if settings.auth == "required" else "",
        proxies=own.proxies,
    )
    own_node = identity(home) if node else None
    options = console.Options(
        version=__version__,
        node=lambda: own_node,
        gate=gate,
        roots=own.roots,
        command=own.command,
        shell=os.environ.get("SHELL", ""),
        pty=own.pty,
        columns=own.columns,
        rows=own.rows,
        echo=own.echo,
        most_runs=own.most_runs,
        detached_seconds=own.detached_seconds,
        kill_seconds=own.kill_seconds,
        arguments=own.arguments,
        folder=home.folder("console"),
    )
    return console.make(fabric, options, log)


def _setup_code(home: Home) -> str:
    """What makes the Console's first user from elsewhere; it is kept for its owner to read."""
    file = home.folder("console") / "setup.txt"
    if not file.exists():
        write_private(file, secrets.token_urlsafe(16).encode() + b"\n")
    return file.read_text("ascii").strip()
