"""One round of the practical limit: its server on core 0, this repository's load generator on core 1."""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import apsw
import msgspec

from bench import load
from bench.peers.library import JobsWentWrong
from bench.peers.services import start, stop

CLIENTS = 16
WARM_UP = 200  # jobs created and completed before the clock starts
PACKAGES = ("apsw", "starlette", "uvicorn", "uvloop", "httptools", "msgspec")
NOTES = (
    f"enqueue: creates/s of {CLIENTS} keep-alive clients; drain: claim+complete cycles/s of {CLIENTS} keep-alive "
    "workers; one server process, SQLite WAL with synchronous=FULL, one writer thread commits all that waits"
)


def measure(jobs: int, folder: Path) -> dict[str, Any]:
    """Creates the jobs, claims and completes them all; latencies are of one create, and of one whole cycle."""
    file = folder / "queue.db"
    with (folder / "server.log").open("wb") as log:
        server = start([sys.executable, "-m", "bench.peers.baseline_server", str(file)], stderr=log)
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        created, cycled = load.apart(_round, port, jobs)
    finally:
        stop(server)
        server.stdout.close()
    _check(file, jobs + WARM_UP, created.errors + cycled.errors)
    return {
        "name": "baseline",
        "enqueue_per_s": round(created.per_second, 1),
        "enqueue_bulk_per_s": None,
        "drain_per_s": round(cycled.per_second, 1),
        "durable": True,
        "versions": {"server": f"SQLite {apsw.sqlite_lib_version()}", **{p: metadata.version(p) for p in PACKAGES}},
        "notes": NOTES,
        "enqueue": asdict(created),
        "drain": asdict(cycled),
    }


async def _round(port: int, jobs: int) -> tuple[load.Result, load.Result]:
    host = f"127.0.0.1:{port}"
    create = load.request("POST", "/jobs", host, msgspec.json.encode({"type": "noop", "payload": "x" * 300}))
    claims = [
        load.request("POST", "/claim", host, msgspec.json.encode({"worker": f"w{number}", "type": "noop"}))
        for number in range(CLIENTS)
    ]

    def complete(connection: int, status: int, body: bytes) -> bytes | None:
        if status == 204:
            raise JobsWentWrong("the queue was empty before every job was done")
        job = msgspec.json.decode(body)
        if "fence" not in job:
            return None  # the answer to a completion: this cycle is done
        done = msgspec.json.encode({"id": job["id"], "fence": job["fence"], "result": "ok"})
        return load.request("POST", "/complete", host, done)

    async def both(count: int) -> tuple[load.Result, load.Result]:
        return (
            await load.run("127.0.0.1", port, CLIENTS, count, lambda connection: create),
            await load.run("127.0.0.1", port, CLIENTS, count, claims.__getitem__, complete),
        )

    await both(WARM_UP)
    return await both(jobs)


def _check(file: Path, jobs: int, errors: int) -> None:
    """Every job was given out once and completed once."""
    with apsw.Connection(str(file)) as database:
        once = database.execute("select count(*) from jobs where state = 'done' and fence = 1").get
    if once != jobs or errors:
        raise JobsWentWrong(f"of {jobs} jobs {once} were done exactly once; {errors} requests were refused")
