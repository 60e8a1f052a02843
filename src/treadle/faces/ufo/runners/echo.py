"""The runner that gives the request back at once: for smoke tests and load tests."""

from treadle.faces.ufo.running import DeviceIO, Outcome, TaskSpec


class Echo:
    """Succeeds with the request as its output and touches no device."""

    name = "echo"

    async def run(self, task: TaskSpec, io: DeviceIO) -> Outcome:
        return Outcome(ok=True, output=task.request, rounds=[{"request": task.request, "result": task.request}])
