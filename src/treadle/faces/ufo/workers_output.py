"""What a session tells of its course: JSON lines in the output of its task, which is what its followers read."""

import asyncio
from typing import Any

from msgspec import json

from treadle.core.errors import LeaseLost, NotFound, StoreUnavailable
from treadle.core.fabric import Fabric
from treadle.core.tasks import Task
from treadle.faces.ufo.aip import stamp
from treadle.web.log import Log


class Printed:
    """Writes facts, each with its time, one after another. What cannot be written is a gap that followers see."""

    def __init__(self, fabric: Fabric, task: Task, log: Log) -> None:
        self._fabric, self._task, self._log = fabric, task, log
        self._lock = asyncio.Lock()
        self._at = 0
        self._failed = False

    async def __call__(self, fact: dict[str, Any]) -> None:
        """Raises TypeError for a fact that is no JSON."""
        line = json.encode({"at": stamp(self._fabric.clock()), **fact}) + b"\n"
        async with self._lock:
            try:
                self._at = await self._fabric.output.write(
                    self._task.id, self._task.fence, self._at, [("stdout", line)]
                )
            except (LeaseLost, NotFound, StoreUnavailable) as error:
                self._at += len(line)
                if not self._failed:
                    self._failed = True
                    self._log.warning("a session's progress was lost", task=self._task.id, reason=error.message)
