"""A process that works a queue until somebody kills it, and says on stdout what was acknowledged, once it was.

    python working.py STORE GENERATION

One JSON line for each answer: {"what": "made" | "taken" | "done", "task": id, "number": …}.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[3]))  # started by its path, so that it finds the tests it belongs to

from tests.scenarios.durability.acknowledged import ANN, Ack, finish, make, open_fabric, take
from treadle.core.clock import SECOND
from treadle.core.errors import Duplicate, LeaseLost, WrongState
from treadle.core.fabric import Fabric

CLIENTS = 4


async def client(fabric: Fabric, project: str, own: int, generation: str) -> None:
    """Make every number of one's own, from the first on as if nobody had before; take and finish what there is."""
    for turn in count():
        say(await make(fabric, project, own + turn * CLIENTS))
        taken = await take(fabric, project, f"w{own}-{generation}", lease=SECOND)
        if taken:
            say(taken)
            try:
                say(await finish(fabric, taken))
            except (LeaseLost, WrongState):
                continue  # it took so long that another got it: no answer, no promise


def say(ack: Ack) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(ack) + b"\n")
    sys.stdout.buffer.flush()


async def main(path: Path, generation: str) -> None:
    fabric = await open_fabric(path)
    try:
        project = (await fabric.projects.create("looms", ANN)).project.id
    except Duplicate:
        project = (await fabric.projects.get("looms")).project.id
    async with asyncio.TaskGroup() as group:
        for own in range(CLIENTS):
            group.create_task(client(fabric, project, own, generation))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
