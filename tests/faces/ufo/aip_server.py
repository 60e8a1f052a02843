"""A UFO server as a process of its own, for tests of what it costs: `python -m … FOLDER` prints its address."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from tests.faces.ufo.aip_stage import fabric_in
from tests.web.wire import face, listening
from treadle.faces.ufo import Options, make
from treadle.faces.ufo.runners.options import RunnerOptions
from treadle.web.log import Log


async def serve(folder: Path) -> None:
    """Until stdin ends."""
    async with fabric_in(folder) as fabric:
        options = Options(version="1", runners=RunnerOptions(default="echo"))
        app = make(fabric, options, Log(sys.stderr.buffer.write, level="warning"))
        async with listening(face(app)) as listeners:
            running = asyncio.ensure_future(app.run())
            sys.stdout.write(f"{listeners.addresses['test']}\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.read)
            await app.workers.stop()
            running.cancel()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1])))
