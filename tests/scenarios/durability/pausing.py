"""A worker that takes one task over HTTP, says so, and goes on when it is told to on stdin.

    python pausing.py SERVER PROJECT NAME LEASE_SECONDS

It says `taken ID`, and after a line on stdin `counted` or the kind of error by which its result was refused.
"""

from __future__ import annotations

import asyncio
import sys

from treadle.client import Client
from treadle.client.errors import Refused


async def main(server: str, project: str, name: str, lease: float) -> None:
    async with Client(server) as client:
        (task,) = await client.claim(project, name, lease=lease, wait=10)
        say(f"taken {task.id}")
        await asyncio.to_thread(sys.stdin.readline)
        (outcome,) = await client.finish(task.done(f"made by {name}"))
        say(type(outcome).__name__ if isinstance(outcome, Refused) else "counted")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
