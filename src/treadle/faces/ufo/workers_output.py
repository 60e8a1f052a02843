"""What a session tells of its course: JSON lines in the output of its task, which is what its followers read."""

import asyncio
from typing import Any

from msgspec import json

from treadle.core.errors import LeaseLost, NotFound, StoreUnavailable
from treadle.core.fabric import Fabric
from treadle.core.tasks import Task
from treadle.faces.ufo.aip import stamp
from treadle.web.log import Log

GATHER_SECONDS = 0.03
"""How long facts wait for company: each write is a look at the lease and at a file."""


class Printed:
    """Writes facts, each with its time, some together. What cannot be written is a gap that followers see."""

    def __init__(self, fabric: Fabric, task: Task, log: Log) -> None:
        self._fabric, self._task, self._log = fabric, task, log
        self._lock = asyncio.Lock()
        self._lines: list[bytes] = []
        self._soon: asyncio.Task[None] | None = None
        self._at = 0
        self._failed = False

    async def __call__(self, fact: dict[str, Any]) -> None:
        """Raises TypeError for a fact that is no JSON."""
        self._lines.append(json.encode({"at": stamp(self._fabric.clock()), **fact}) + b"\n")
        if self._soon is None:
            self._soon = asyncio.create_task(self._later())

    async def _later(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        self._soon = None
        await self.flush()

    async def flush(self) -> None:
        """Write what waits; to be called before the task ends, which closes its output."""
        async with self._lock:
            told, self._lines = b"".join(self._lines), []
            if not told:
                return
            try:
                self._at = await self._fabric.output.write(
                    self._task.id, self._task.fence, self._at, [("stdout", told)]
                )
            except (LeaseLost, NotFound, StoreUnavailable) as error:
                self._at += len(told)
                if not self._failed:
                    self._failed = True
                    self._log.warning("a session's progress was lost", task=self._task.id, reason=error.message)
