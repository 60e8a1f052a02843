"""A device from its options to its last word: its folder and locks, its tools, its warden, and what ends it."""

import asyncio
import fcntl
import hashlib
import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from treadle import __version__
from treadle.core.ids import new_id
from treadle.home import write_private
from treadle.node.inventory import Inventory, surroundings
from treadle.node.processes import Processes
from treadle.signals import stop_signals

from .address import Address
from .device import Device, Ways
from .dialogue import Dialogue
from .tools.commands import Commands
from .tools.configuration import Stdio
from .tools.machine import own_tools, server
from .tools.roots import Roots
from .tools.servers import Further, InProcess
from .tools.system import features, system_info
from .tools.toolbox import Toolbox
from .unsent import Unsent
from .warden import Warden
from .work import Work

log = logging.getLogger("treadle.device")

LOCK_SECONDS = 30.0
"""How long a device waits for the warden of one that was killed."""
LOOK_SECONDS = 0.1
TOOL_SERVER_SECONDS = 5.0
"""How long registration waits for further tool servers to be up."""


class CannotStart(Exception):
    """One line that says why, and what to do."""


class Options(Struct, frozen=True, kw_only=True):
    """What a device is started with. With an `executor` it carries out requests itself."""

    address: Address
    client_id: str
    home: Path
    platform: str = "linux"
    roots: tuple[Path, ...] = ()
    servers: dict[str, Stdio] = {}
    executor: tuple[str, ...] = ()
    ready_file: Path | None = None


async def serve(options: Options, show: Callable[[str], object]) -> None:
    """Be a device until a signal asks to stop. `show` gets a line once the server has taken us in.

    Raises CannotStart, and `address.Wrong` for unusable certificates.
    """
    stopping = stop_signals(lambda name: log.info("stopping: %s", name), lambda: None)
    folder = _folder(options.home, options.client_id)
    locks = await _locked(folder)
    try:
        async with AsyncExitStack() as stack:
            device = await _made(options, folder, locks[1], stack)
            running = asyncio.create_task(device.run(), name="device")
            saying = asyncio.create_task(_say_when_ready(device, options, show))
            stopped = asyncio.create_task(stopping.wait())
            await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            await device.stop()
            for task in (running, saying, stopped):
                task.cancel()
            await asyncio.gather(running, saying, stopped, return_exceptions=True)
    finally:
        for lock in locks:
            os.close(lock)
    log.info("stopped")


async def _made(options: Options, folder: Path, lock: int, stack: AsyncExitStack) -> Device:
    """The device with everything it needs; what must be ended is left to the stack."""
    env = surroundings(os.environ)
    try:
        roots = Roots(options.roots)
    except OSError as error:
        raise CannotStart(f"--root: {error.filename}: {error.strerror}") from None
    stack.callback(roots.close)
    runs = folder / "runs"
    processes = Processes(runs, hidden=(folder,))
    stack.push_async_callback(processes.close)
    await asyncio.gather(*(left.forget() for left in await processes.found()))  # of a device that was killed
    warden = Warden(runs, lock)
    stack.callback(warden.dismiss)
    commands = Commands(processes, roots, env)
    own = own_tools(commands, roots, Inventory(folder), os.environ)
    machine = await stack.enter_async_context(InProcess(server(own)))
    further = [Further(name, stdio, processes, env, random.uniform) for name, stdio in options.servers.items()]
    if further:
        keeping = [asyncio.create_task(each.run(), name=f"tool server {each.namespace}") for each in further]
        stack.push_async_callback(_end, keeping)
        tried = [asyncio.create_task(each.tried.wait()) for each in further]
        _, late = await asyncio.wait(tried, timeout=TOOL_SERVER_SECONDS)
        await _end(list(late))
    toolbox = Toolbox([machine, *further])
    metadata = {"platform": options.platform, "client_version": f"treadle {__version__}"}
    dialogue = Dialogue(options.client_id, metadata, executes=bool(options.executor), stamp=_stamp, new_id=new_id)
    offered = features(os.environ, files=bool(options.roots))

    def about(address: str) -> dict[str, Any]:
        return system_info(options.client_id, options.platform, address, offered)

    return Device(
        options.address,
        dialogue,
        Unsent(folder / "answers", time.time),
        about,
        Ways(time.monotonic, asyncio.sleep, random.uniform),
        lambda answer: Work(dialogue, toolbox, commands, options.executor, answer),
    )


async def _say_when_ready(device: Device, options: Options, show: Callable[[str], object]) -> None:
    await device.registered.wait()
    if options.ready_file is not None:
        write_private(options.ready_file, f"{options.client_id}\n".encode())
    show(f"device {options.client_id} at {options.address}")


async def _end(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _folder(home: Path, client_id: str) -> Path:
    """Where this device keeps its things: HOME/device/<id>, whatever the id holds."""
    name = quote(client_id, safe="@").replace(".", "%2E", 1 if client_id.startswith(".") else 0)
    if len(name) > 200:
        name = f"{name[:100]}-{hashlib.sha256(client_id.encode()).hexdigest()[:32]}"
    folder = home / "device" / name
    try:
        for each in (home, home / "device", folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise CannotStart(f"{folder} cannot be used: {(error.strerror or str(error)).lower()}") from None
    return folder


async def _locked(folder: Path) -> tuple[int, int]:
    """The open files that say that this device runs, and that things of it run. The second is its warden's too.

    Raises CannotStart where another process is this device.
    """
    running, clearing = _lock(folder / "lock"), -1
    waited = 0.0
    while running >= 0 and (clearing := _lock(folder / "warden")) < 0 and waited < LOCK_SECONDS:
        await asyncio.sleep(LOOK_SECONDS)  # a warden clears up after a device that was killed, and tells nobody
        waited += LOOK_SECONDS
    if clearing >= 0:
        return running, clearing
    if running >= 0:
        os.close(running)
    raise CannotStart(f"another process is this device already; it holds {folder}")


def _lock(path: Path) -> int:
    """The file, open and locked; -1 while somebody else has it."""
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return -1
    return held


def _stamp() -> str:
    return datetime.now(UTC).isoformat()
