"""One SDK worker process on no-op tasks: `python -m bench.worker SERVER PROJECT` with the key on stdin; prints JSON."""

from __future__ import annotations

import json
import sys
import time

import uvloop

from treadle.client import Task, Worker


def main() -> None:
    server, project = sys.argv[1:]
    first = 0.0

    async def noop(task: Task) -> str:
        nonlocal first
        first = first or time.perf_counter()
        return "ok"

    worker = Worker(project, noop, concurrency=64, drain=True, server=server, key=sys.stdin.readline().strip())
    began = time.perf_counter()
    uvloop.run(worker.run())
    ended = time.perf_counter()
    print(json.dumps({"tasks": worker.done, "seconds": ended - began, "first": first - began}))


if __name__ == "__main__":
    main()
