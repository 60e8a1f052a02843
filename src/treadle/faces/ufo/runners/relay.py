"""The runner for devices that carry out requests themselves: it waits for the device's own word that it has ended."""

import asyncio
from typing import Protocol, runtime_checkable

from treadle.faces.ufo.running import DeviceIO, Outcome, TaskSpec


@runtime_checkable
class TakesRequests(Protocol):
    """The part of `Handing` that tells a session apart which can give a request away."""

    async def hand_over(self) -> Outcome:
        """See `Handing`."""


class Relay:
    """Gives the request to the device whole; the outcome is the device's own."""

    name = "relay"

    async def run(self, task: TaskSpec, io: DeviceIO) -> Outcome:
        """The device's own outcome, or a failure once the session's time is over. Raises as `hand_over` does."""
        if not isinstance(io, TakesRequests):
            return Outcome(ok=False, error="This session cannot give a request to its device whole.")
        await io.progress({"event": "relay", "to": task.client_id})
        time = asyncio.timeout_at(io.deadline)
        try:
            async with time:
                return await io.hand_over()
        except TimeoutError:
            if not time.expired():
                raise
            return Outcome(ok=False, error="the device did not end the task in the session's time")
