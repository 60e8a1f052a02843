"""Health and metrics, open to anyone (contract 10)."""

import asyncio
import os
import platform
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from treadle import __version__
from treadle.core.access import PUBLIC
from treadle.core.clock import SECOND
from treadle.core.errors import FabricError
from treadle.core.fabric import Fabric
from treadle.faces.taskdriver import wire
from treadle.faces.taskdriver.envelope import Envelope
from treadle.faces.taskdriver.metrics import Meter
from treadle.faces.taskdriver.sessions import SESSION
from treadle.web.call import Call, Reply, json_reply
from treadle.web.routes import Route

if TYPE_CHECKING:
    from treadle.faces.taskdriver.exposition import Families, Standing

EXPOSITION = "treadle.faces.taskdriver.exposition"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
HEALTH_SECONDS = 5.0
"""How long the store may take to answer before it counts as unhealthy."""
LEAST_CPU_SECONDS = 1.0
"""The shortest time over which CPU use is a meaningful percentage."""
PAGE = 1000


class Monitoring:
    """Says how the server is and what it has done. prometheus_client and psutil are imported at the first question."""

    def __init__(self, fabric: Fabric, answer: Envelope, meter: Meter) -> None:
        self._fabric, self._answer, self._meter = fabric, answer, meter
        self._started = fabric.clock()
        self._looking: asyncio.Task[Standing] | None = None
        self._cpu = (time.monotonic(), time.process_time())
        self._cpu_percent = 0.0

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path="/health", handler=self.health, scope=PUBLIC, tag="Monitoring",
                  summary="Whether the server can work", reply=wire.Health),
            Route(method="GET", path="/metrics", handler=self.metrics, scope=PUBLIC, tag="Monitoring",
                  summary="Metrics for Prometheus", reply=str, media_type="text/plain"),
            Route(method="GET", path="/metrics/json", handler=self.json, scope=PUBLIC, tag="Monitoring",
                  summary="Metrics as JSON", reply=wire.Success[wire.JsonMetrics]),
        ]  # fmt: skip

    async def health(self, call: Call) -> Reply:
        provider, error = self._fabric.store.provider, None
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await self._fabric.events.last()
        except TimeoutError:
            error = "The store does not answer"
        except FabricError as failure:
            error = type(failure).__doc__ or "The store cannot be read"
        storage = wire.Storage(error is None, provider, error or "The store answers")
        status: Literal["healthy", "unhealthy"] = "healthy" if error is None else "unhealthy"
        now = self._answer.now()
        uptime = self._uptime() // SECOND
        told = wire.Health(
            success=error is None,
            data=wire.HealthData(status, now, uptime, storage),
            status=status,
            timestamp=now,
            version=__version__,
            storage=storage,
            uptime=uptime,
        )
        if error is not None:
            told.error = error
        return json_reply(told, 200 if error is None else 503)

    async def metrics(self, call: Call) -> Reply:
        families = await self._families()
        from prometheus_client import generate_latest

        return Reply(body=generate_latest(families), media_type=TEXT)

    async def json(self, call: Call) -> Reply:
        families = await self._families()
        from treadle.faces.taskdriver.exposition import flat

        told = flat(families)
        count, good, mean = self._meter.totals()
        data = wire.JsonMetrics(
            requests_total=count,
            requests_success=good,
            requests_error=count - good,
            response_time_avg=round(mean * 1000, 3),
            active_sessions=families.standing.sessions,
            system=self._system(),
            timestamp=self._answer.now(),
            uptime=self._uptime() // 1000,
            counters=told.counters,
            gauges=told.gauges,
            histograms=told.histograms,
        )
        return self._answer(data)

    def _uptime(self) -> int:
        return self._fabric.clock() - self._started

    async def _families(self) -> "Families":
        """All numbers of this moment. Whoever asks while the store is being asked shares the answer: nobody needs a
        credential here, so asking often must not cost more."""
        await asyncio.to_thread(import_module, EXPOSITION)  # a tenth of a second, the first time
        from treadle.faces.taskdriver.exposition import Families

        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._standing(), name="metrics")
        return Families(self._meter, await asyncio.shield(self._looking))

    async def _standing(self) -> "Standing":
        from treadle.faces.taskdriver.exposition import Standing

        found = page = await self._fabric.projects.page(None, PAGE)
        while len(page) == PAGE:
            page = await self._fabric.projects.page(None, PAGE, len(found))
            found = [*found, *page]
        busy = [each for each in found if each.tally.running]
        activities = [await self._fabric.projects.activity(each.project.id) for each in busy]
        return Standing(
            sessions=await self._fabric.grants.count_live(SESSION),
            projects=sum(each.project.state == "active" for each in found),
            tasks=sum(each.tally.total for each in found),
            queued=sum(each.tally.queued for each in found),
            running=sum(each.tally.running for each in found),
            completed=sum(each.tally.succeeded for each in found),
            failed=sum(each.tally.failed + each.tally.cancelled for each in found),
            agents=sum(activity.workers for activity in activities),
        )

    def _system(self) -> wire.System:
        import psutil

        before, used = self._cpu
        now, spent = time.monotonic(), time.process_time()
        if now - before >= LEAST_CPU_SECONDS:
            self._cpu_percent = round(100 * (spent - used) / (now - before), 2)
            self._cpu = (now, spent)
        process, machine = psutil.Process(), psutil.virtual_memory()
        resident = process.memory_info().rss
        return wire.System(
            memory_usage=round(100 * resident / machine.total, 2),
            cpu_usage=self._cpu_percent,
            uptime=self._uptime() // SECOND,
            memory={"rss": resident, "total": machine.total, "available": machine.available},
            cpu={"seconds": round(spent, 3), "percent": self._cpu_percent},
            pid=os.getpid(),
            version=platform.python_version(),
            platform=sys.platform,
            arch=platform.machine(),
        )
