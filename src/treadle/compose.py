"""Puts every room together: home, store, bus, fabric, faces and listeners, from the start to the clean stop."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import uvloop

from treadle import __version__
from treadle.adapters.bus.local import LocalBus
from treadle.core.access import Principal
from treadle.core.clock import MINUTE, SteadyClock
from treadle.core.errors import Duplicate, FabricError
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.core.ports import Store
from treadle.core.projects import Policy
from treadle.faces import fabric as fabric_face
from treadle.faces import mcp, taskdriver
from treadle.faces.taskdriver.prompts import INSTRUCTIONS, PROMPTS
from treadle.faces.taskdriver.tools import tools
from treadle.home import Home, Unusable
from treadle.settings import FACES, Settings
from treadle.signals import stop_signals
from treadle.web.app import App
from treadle.web.listen import Address, Face, Listeners, parse_address
from treadle.web.log import Log, bridge, stderr_log

OWNER = Principal(name="local", face=fabric_face.NAME, scopes=("*",))
"""Whoever started this server; the local key opens the same."""

FIRST_PROJECT = "default"

Show = Callable[[dict[str, Any]], None]
"""Told once, when everything accepts connections: `pid`, `home`, `version` and the URL of each listener."""


class CannotStart(FabricError):
    """What was asked for cannot be started as it is."""


def run(settings: Settings, warnings: Sequence[str], show: Show) -> int:
    """Serve until a signal asks to stop; the exit code. A start that fails is one line on stderr and exit code 1."""
    log = stderr_log(level=settings.log_level, human={"human": True, "json": False}.get(settings.log_format))
    bridge(log)
    for warning in warnings:
        log.warning(warning)
    refusals: list[str] = []
    try:
        with (
            contextlib.closing(Home(settings.home)) as home,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop,
        ):
            loop.run(serve(settings, home, log, show))
    except* (FabricError, Unusable) as known:
        refusals += [" ".join(str(error).split()) for error in leaves(known)]  # drivers speak in several lines
    except* Exception as unknown:  # noqa: BLE001 - the end of the process; it is logged whole
        log.failed("the server broke", unknown)
        refusals.append("the server broke; its log says how")
    log.flush()
    for refusal in refusals:
        sys.stderr.write(f"treadle: {refusal}\n")
    return 1 if refusals else 0


async def serve(settings: Settings, home: Home, log: Log, show: Show) -> None:
    """Start everything, say so, wait for the signal, stop everything in the opposite order; the store comes last."""
    began = time.monotonic()
    stopping = stop_signals(lambda name: log.info("stopping", signal=name), home.withdraw)
    addresses = wanted(settings)
    home.withdraw(settings.ready_file)  # nobody must take an earlier server's word for this one's
    store = await open_store(settings, home)
    try:
        clock = SteadyClock()
        fabric = Fabric(
            store, LocalBus(), clock, new_id, report=lambda duty, error: log.failed(f"duty {duty}", error), steps=clock
        )
        await furnish(fabric, settings, home.local_key())
        listeners = Listeners(faces(fabric, settings, addresses, log, lambda: listeners.urls))
        listeners.open()
        async with asyncio.TaskGroup() as group:
            group.create_task(listeners.serve(), name="listeners")
            duties = group.create_task(fabric.duties.run(), name="duties")
            await listeners.ready.wait()
            server = {"pid": os.getpid(), "home": str(home.path), "version": __version__, "listeners": listeners.urls}
            home.announce(server, settings.ready_file)
            log.info("ready", ms=round((time.monotonic() - began) * 1000), home=str(home.path), **listeners.urls)
            show(server)
            await stopping.wait()
            home.withdraw()
            listeners.stop()
            duties.cancel()
    finally:
        await store.close()
    log.info("stopped")


def wanted(settings: Settings) -> Mapping[str, Address]:
    """Where each face shall listen. Raises CannotStart for an address that others reach and that asks for no key."""
    found = {}
    for name in FACES:
        address = parse_address(getattr(settings.listen, name))
        if address is None:
            continue
        if not address.loopback and settings.auth != "required":
            raise CannotStart(
                f"{name} would let in whoever reaches {address}, without a key; add --auth required "
                f"(the key is then what stands in {settings.home / 'secrets' / 'local.key'}) or listen on 127.0.0.1"
            )
        found[name] = address
    if settings.auth == "required" and not settings.taskdriver.enable_auth:
        raise CannotStart("auth is required, and TASKDRIVER_ENABLE_AUTH=false says the opposite; take one of them away")
    return found


async def open_store(settings: Settings, home: Home) -> Store:
    """The store that the settings name; only its own driver is imported."""
    if settings.store == "sqlite":
        from treadle.adapters.store.sqlite import open_sqlite

        return await open_sqlite(home.database)
    from treadle.adapters.store.postgres import open_postgres

    return await open_postgres(settings.store)


async def furnish(fabric: Fabric, settings: Settings, key: str) -> None:
    """What every server has: the local key lets its owner in, and there is a project to begin with."""
    if await fabric.grants.check(key) is None:
        await fabric.grants.open(kind="key", principal=OWNER.name, face=OWNER.face, scopes=OWNER.scopes, secret=key)
    first = () if await fabric.projects.page(state=None, limit=1) else (FIRST_PROJECT,)
    for name in dict.fromkeys((*first, *settings.projects)):
        with contextlib.suppress(Duplicate):
            await fabric.projects.create(name, OWNER, policy=policy(settings))


def policy(settings: Settings) -> Policy:
    """What a new project's tasks get where nobody says otherwise."""
    return Policy(
        max_retries=settings.taskdriver.default_max_retries,
        lease=settings.taskdriver.default_lease_duration * MINUTE,
        sweep_every=settings.taskdriver.reaper_interval * MINUTE,
    )


def faces(
    fabric: Fabric,
    settings: Settings,
    addresses: Mapping[str, Address],
    log: Log,
    urls: Callable[[], Mapping[str, str]],
) -> list[Face]:
    """The faces that listen, each told what is set for it; `urls` says where all of them are, once they are open."""
    hosts = (*settings.hosts, *(address.host for address in addresses.values()))
    own = settings.taskdriver
    about = mcp.About("taskdriver-mcp", "Treadle", __version__, INSTRUCTIONS)
    makers: dict[str, Callable[[], App]] = {
        taskdriver.NAME: lambda: taskdriver.make(
            fabric,
            taskdriver.Options(
                rate_limit=own.rate_limit,
                cors_origins=own.cors_origins,
                hosts=hosts,
                session_timeout=own.session_timeout,
                auth=settings.auth,
                enable_auth=own.enable_auth,
                policy=policy(settings),
            ),
            log,
        ),
        fabric_face.NAME: lambda: fabric_face.make(
            fabric,
            fabric_face.Options(
                version=__version__,
                listeners=urls,
                auth="required" if settings.auth == "required" else "loopback",
                rate_limit=settings.fabric.rate_limit,
                hosts=hosts,
                cors_origins=settings.fabric.cors_origins,
            ),
            log=log,
            routes=mcp.routes(fabric, tools(fabric.clock, policy(settings)), PROMPTS, about),
        ),
    }
    return [Face(name, makers[name](), address) for name, address in addresses.items()]


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions of a group, however deep."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in leaves(inner)]
