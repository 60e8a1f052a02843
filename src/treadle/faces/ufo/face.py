"""UFO's address as one application: four routes and some more, the socket of its clients, and the look after both."""

import asyncio

from msgspec.structs import replace

from treadle.core.fabric import Fabric
from treadle.faces.ufo import wire
from treadle.faces.ufo.dispatching import Dispatching
from treadle.faces.ufo.errors import Detail, spell
from treadle.faces.ufo.gate import CONNECT, FACE, Gate
from treadle.faces.ufo.http import DISPATCHES, Http
from treadle.faces.ufo.options import Options
from treadle.faces.ufo.registry import Registry
from treadle.faces.ufo.runners.choosing import Choice
from treadle.faces.ufo.socket import Clients
from treadle.faces.ufo.sweeping import Sweeping
from treadle.faces.ufo.workers import Workers
from treadle.web.admission import Admission
from treadle.web.app import App
from treadle.web.log import Log
from treadle.web.openapi import Part, Spec

NAME = FACE
_ABOUT = "Tasks in plain words for devices that are connected over a WebSocket, and what came of them."


class Ufo(App):
    """The application; `run` it beside its listener."""

    workers: Workers
    sweeping: Sweeping
    _ending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Keeps what devices do and looks after what waits for them, until cancelled; then ends what runs."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.workers.run())
                group.create_task(self.sweeping.run())
        finally:
            if self._ending is not None:
                await self._ending

    def stop(self) -> None:
        """As every face; sessions end before their sockets do, so that their results say why."""
        self._ending = self._ending or asyncio.get_running_loop().create_task(self.workers.stop())
        super().stop()

    def part(self, spec: Spec) -> Part:
        """The document tells what a dispatch reads, although its handler reads the body itself: in its own order."""
        part = super().part(spec)
        rows = [replace(row, body=wire.Dispatch) if row.path == DISPATCHES else row for row in part.routes]
        return part._replace(routes=rows)


def make(fabric: Fabric, options: Options, log: Log) -> Ufo:
    """The application that speaks UFO's API. Raises ValueError for settings that cannot be meant as they are."""
    gate = Gate(fabric, options)
    registry = Registry()
    choice = Choice(options.runners)
    dispatching = Dispatching(fabric, options.limits)
    workers = Workers(fabric, registry, dispatching, choice.choose, options.limits, log)
    dispatching.poke = workers.poke
    clients = Clients(registry, workers, limits=options.limits, clock=fabric.clock, ids=fabric.ids, log=log)
    app = Ufo(
        name=NAME,
        routes=Http(fabric, registry, dispatching, gate, options.limits).routes(),
        sockets=[clients.route(CONNECT)],
        spell=spell,
        authenticate=gate.authenticate,
        admission=Admission(hosts=options.hosts, origins=options.cors_origins),
        log=log,
        correlate=fabric.ids,
        spec=Spec(
            title="UFO",
            version=options.version,
            error=Detail,
            description=_ABOUT,
            optional=not gate.required,
            security={"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        ),
        docs="/docs",
    )
    app.workers = workers
    app.sweeping = Sweeping(fabric, options.limits, dispatching, lambda id: registry.get(id) is not None, log.failed)
    return app
