"""A server from start to clean stop: everything is opened, said to be ready, and closed in the opposite order."""

import asyncio
import os
import time
from contextlib import AsyncExitStack

from treadle import __version__
from treadle.compose.faces import faces_of
from treadle.compose.node import STOP_SECONDS, node_of
from treadle.compose.parts import Show, bus_of, furnish, outputs_of, reporting, store_of, wanted
from treadle.core.clock import SteadyClock
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.home import Home
from treadle.node.desk import Desk
from treadle.settings import Settings
from treadle.signals import stop_signals
from treadle.web.listen import Listeners
from treadle.web.log import Log


async def serve(settings: Settings, home: Home, log: Log, show: Show, *, node: bool) -> None:
    """Serve until a signal asks to stop; with `node`, this machine runs things too."""
    began = time.monotonic()
    stopping = stop_signals(lambda name: log.info("stopping", signal=name), home.withdraw)
    addresses = wanted(settings)
    home.withdraw(settings.ready_file)  # nobody must take an earlier server's word for this one's
    async with AsyncExitStack() as stack:
        store = await store_of(settings, home)
        stack.push_async_callback(store.close)
        bus = await bus_of(settings, log, name="server")
        stack.push_async_callback(bus.close)
        clock = SteadyClock()
        outputs = outputs_of(settings, home, clock)
        stack.push_async_callback(outputs.close)
        fabric = Fabric(store, bus, clock, new_id, outputs, report=reporting(log, "duty"), steps=clock)
        await furnish(fabric, settings, home.local_key())
        faces = faces_of(fabric, settings, home, addresses, log, lambda: listeners.urls, node=node)
        listeners = Listeners(faces)
        listeners.open()
        desk = Desk(fabric, outputs, report=reporting(log, "desk"))
        desk.open()
        stack.push_async_callback(desk.close)
        own = node_of(settings, home, bus, log) if node else None
        async with asyncio.TaskGroup() as group:
            group.create_task(listeners.serve(), name="listeners")
            running = [group.create_task(own.run(), name="node")] if own else []
            if own:
                await own.joined.wait()  # what it still runs is its own again before anybody sweeps
            running.append(group.create_task(fabric.duties.run(), name="duties"))
            running += [group.create_task(face.app.run(), name=face.name) for face in faces]
            await listeners.ready.wait()
            server = {"pid": os.getpid(), "home": str(home.path), "version": __version__, "listeners": listeners.urls}
            home.announce(server, settings.ready_file)
            log.info("ready", ms=round((time.monotonic() - began) * 1000), home=str(home.path), **listeners.urls)
            show(server)
            await stopping.wait()
            home.withdraw()
            if own:
                await own.stop(STOP_SECONDS)  # before the listeners, so that who watches a run hears its end
            listeners.stop()
            for task in running:
                task.cancel()
    log.info("stopped")
