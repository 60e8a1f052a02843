"""A node of this machine: beside a server in one process, or alone with a bus that leads to one."""

import asyncio
import os
import platform
import re
from contextlib import suppress

import msgspec

from treadle import __version__
from treadle.compose.parts import CannotStart, Show, bus_of, reporting
from treadle.core.errors import Unreachable
from treadle.core.ids import new_id
from treadle.core.ports import Bus
from treadle.home import Home, write_private
from treadle.node.inventory import Inventory, surroundings
from treadle.node.node import Node
from treadle.node.processes import Processes
from treadle.settings import Settings
from treadle.signals import stop_signals
from treadle.web.log import Log

STOP_SECONDS = 15.0
"""How long a node may take to end what runs when it is asked to stop."""


def node_of(settings: Settings, home: Home, bus: Bus, log: Log) -> Node:
    """The node that this machine is."""
    return Node(
        bus,
        Processes(home.folder("node") / "runs", hidden=(home.path,)),
        Inventory(home.path),
        id=identity(home),
        name=settings.node.name or re.sub(r"[^A-Za-z0-9_.-]", "-", platform.node())[:63] or "node",
        slots=settings.node.slots,
        surroundings=surroundings(os.environ),
        report=reporting(log, "node"),
    )


def identity(home: Home) -> str:
    """The id by which the fabric knows this machine again; made at the first start."""
    file = home.folder("node") / "id"
    with suppress(FileNotFoundError):
        return file.read_text("ascii").strip()
    made = new_id()
    write_private(file, made.encode() + b"\n")
    return made


async def serve_node(settings: Settings, home: Home, log: Log, show: Show) -> None:
    """Be a node until a signal asks to stop."""
    if settings.bus == "local:":
        raise CannotStart("a node alone needs a bus that leads to its server: --bus nats://HOST:PORT")
    stopping = stop_signals(lambda name: log.info("stopping", signal=name), lambda: None)
    try:
        bus = await bus_of(settings, log, name=identity(home))
    except Unreachable as error:
        raise CannotStart(f"{error.message}; the bus must know this node as {identity(home)}") from None
    try:
        node = node_of(settings, home, bus, log)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(node.run(), name="node")
            joined = group.create_task(node.joined.wait())
            stopped = group.create_task(stopping.wait())
            await asyncio.wait((joined, stopped), return_when=asyncio.FIRST_COMPLETED)
            if joined.done():
                about = {"pid": os.getpid(), "home": str(home.path), "version": __version__, "node": identity(home)}
                if settings.ready_file:
                    write_private(settings.ready_file, msgspec.json.encode(about) + b"\n")
                log.info("ready", **about)
                show(about)
            await stopping.wait()
            await node.stop(STOP_SECONDS)
            for task in (running, joined, stopped):
                task.cancel()
    finally:
        await bus.close()
    log.info("stopped")
