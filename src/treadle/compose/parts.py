"""The parts that a server is put together from: its addresses, its store, its bus, and what every server has."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from treadle.adapters.bus.opening import open_bus
from treadle.adapters.output.disk import DiskOutputs
from treadle.adapters.output.retention import Retention
from treadle.core.access import Principal
from treadle.core.clock import DAY, MINUTE, Clock
from treadle.core.errors import Duplicate, FabricError
from treadle.core.fabric import Fabric
from treadle.core.ports import Bus, Store
from treadle.core.projects import Policy
from treadle.faces import fabric as fabric_face
from treadle.home import Home
from treadle.settings import FACES, Settings
from treadle.web.listen import Address, parse_address
from treadle.web.log import Log

OWNER = Principal(name="local", face=fabric_face.NAME, scopes=("*",))
"""Whoever started this server; the local key opens the same."""

FIRST_PROJECT = "default"

Show = Callable[[dict[str, Any]], None]
"""Told once, when everything accepts connections: `pid`, `home`, `version` and the URL of each listener."""


class CannotStart(FabricError):
    """What was asked for cannot be started as it is."""


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


def reporting(log: Log, room: str) -> Callable[[str, BaseException | None], None]:
    """What a room calls when something went wrong that nobody waits for: a line of the log."""

    def report(what: str, error: BaseException | None) -> None:
        if error is None:
            log.warning(what, room=room)
        else:
            log.failed(what, error, room=room)

    return report


async def store_of(settings: Settings, home: Home) -> Store:
    """The store that the settings name; only its own driver is imported."""
    if settings.store == "sqlite":
        from treadle.adapters.store.sqlite import open_sqlite

        return await open_sqlite(home.database)
    from treadle.adapters.store.postgres import open_postgres

    return await open_postgres(settings.store)


async def bus_of(settings: Settings, log: Log, *, name: str) -> Bus:
    """The bus that the settings name, under the name by which its permissions know us."""
    return await open_bus(settings.bus, name=name, report=reporting(log, "bus"), credentials=settings.bus_credentials)


def outputs_of(settings: Settings, home: Home, clock: Clock) -> DiskOutputs:
    """Where what tasks print is kept."""
    kept = settings.output
    keep = Retention(per_task=kept.per_task, total=kept.total, age=kept.days * DAY)
    return DiskOutputs(home.folder("output"), clock=clock, keep=keep)


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
