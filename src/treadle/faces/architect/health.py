"""How the agent is: whether its store answers, and how late its event loop runs."""

import asyncio
from typing import Any

from treadle.core.errors import FabricError
from treadle.core.fabric import Fabric

EVERY = 0.5
LATE = 0.25
"""Seconds from which on a late loop is a degraded agent."""
STORE_SECONDS = 2.0


class Health:
    """Measures the lag of the loop for as long as it runs."""

    def __init__(self) -> None:
        self.lag = 0.0
        """Seconds by which the last tick was late, at most of the last few."""

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + EVERY
            await asyncio.sleep(EVERY)
            self.lag = max(loop.time() - due, self.lag * 0.8)

    async def checks(self, fabric: Fabric) -> dict[str, dict[str, Any]]:
        """Each check with whether it is fine, and what it says."""
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await fabric.events.last()
            store = {"ok": True, "message": "answers"}
        except (FabricError, TimeoutError) as error:
            store = {"ok": False, "message": error.message if isinstance(error, FabricError) else "does not answer"}
        loop = {"ok": self.lag < LATE, "message": f"{self.lag * 1000:.1f} ms late"}
        return {"store": store, "event_loop": loop}
