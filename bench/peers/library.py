"""One round of a job library: a producer enqueues numbered no-op jobs, one worker process drains them.

Half the jobs are enqueued one by one, half in one call of the library's bulk form where it has one. The drain is timed
from the first job's run to the last one's: what the store still has to note of the last batch is not counted, in the
peer's favour. Every job must be seen to have run exactly once, and the store must hold none unfinished, before a number
is reported.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from bench import load
from bench.peers.services import Service, start, stop


class Library(Protocol):
    """What a peer has to say and do; the methods run in the peers' own environment."""

    name: str
    durable: bool  # is a job on disk before its enqueue returns, and its end before it is forgotten?
    packages: tuple[str, ...]
    notes: str  # the settings it runs with, and why these

    def service(self, folder: Path) -> AbstractContextManager[Service]:
        """Starts the server it needs."""

    async def prepare(self, address: str) -> None:
        """Makes the schema, the queue, the consumer group."""

    async def enqueue(self, address: str, numbers: range) -> float:
        """Enqueues one job a number, one after the other; gives the seconds that took, connecting not counted."""

    async def enqueue_bulk(self, address: str, numbers: range) -> float | None:
        """The same in the library's bulk form, or None where it has none."""

    async def tidy(self, address: str) -> None:
        """What a store that has been in use for a while has done by itself; runs between enqueueing and draining."""

    async def unfinished(self, address: str) -> int:
        """How many jobs the store still holds as queued or running."""

    def work(self, address: str, tally: Tally) -> None:
        """The worker process: runs jobs, each telling the tally its number, until SIGTERM."""


class JobsWentWrong(Exception):
    """Jobs were lost, ran twice, or were not finished in time: there is no number to report."""


class Tally:
    """Counts the runs of each job inside the worker, and tells the parent when all have run."""

    def __init__(self, jobs: int) -> None:
        self._parent = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what the library prints goes to its log
        self._runs = [0] * jobs
        self._distinct = 0
        self._first = 0.0

    def ran(self, number: int) -> None:
        now = time.perf_counter()
        if self._distinct == 0:
            self._first = now
        self._runs[number] += 1
        if self._runs[number] == 1:
            self._distinct += 1
            if self._distinct == len(self._runs):
                self._say({"seconds": now - self._first})

    def close(self) -> None:
        self._say({"once": sum(runs == 1 for runs in self._runs)})

    def _say(self, line: dict[str, float]) -> None:
        print(json.dumps(line), file=self._parent, flush=True)


def measure(library: Library, jobs: int, folder: Path) -> dict[str, Any]:
    """Runs one round with its files under `folder`; the result is the object that `bench.peers run --json` prints."""
    with library.service(folder) as service:
        load.drive(library.prepare, service.address)
        half = jobs // 2
        bulk_seconds = load.drive(library.enqueue_bulk, service.address, range(half, jobs))
        one_by_one = range(half if bulk_seconds else jobs)
        seconds = load.drive(library.enqueue, service.address, one_by_one)
        load.drive(library.tidy, service.address)
        drain_seconds = _drain(library, service.address, jobs, folder)
    return {
        "name": library.name,
        "enqueue_per_s": round(len(one_by_one) / seconds, 1),
        "enqueue_bulk_per_s": round((jobs - half) / bulk_seconds, 1) if bulk_seconds else None,
        "drain_per_s": round(jobs / drain_seconds, 1),
        "durable": library.durable,
        "versions": {"server": service.version, **{name: metadata.version(name) for name in library.packages}},
        "notes": library.notes,
    }


def _drain(library: Library, address: str, jobs: int, folder: Path) -> float:
    """Seconds from the first job's run to the last one's, in one worker process that may use both cores."""
    errors = folder / "worker.log"
    command = [sys.executable, "-m", "bench.peers.inside", "work", library.name, address, str(jobs)]
    with errors.open("wb") as log:
        worker = start(command, stderr=log)
    out_of_time = threading.Timer(30 + jobs / 50, worker.kill)  # the slowest peer runs some 300 jobs/s
    out_of_time.start()
    assert worker.stdout is not None
    try:
        seconds = _hear(worker.stdout.readline(), "seconds", errors)
        left = _settle(library, address)
        stop(worker, patience=20.0)
        once = _hear(worker.stdout.readline(), "once", errors)
    finally:
        out_of_time.cancel()
        stop(worker)
        worker.stdout.close()
    if left or once != jobs:
        raise JobsWentWrong(f"of {jobs} jobs {once:g} ran exactly once and {left} are unfinished")
    return seconds


def _settle(library: Library, address: str, patience: float = 10.0) -> int:
    """Waits until the store has taken note of the last job; gives how many it still holds unfinished."""
    until = time.monotonic() + patience
    while (left := load.drive(library.unfinished, address)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _hear(line: bytes, key: str, errors: Path) -> float:
    if not line:
        tail = errors.read_text(errors="replace").strip()[-500:] or "it said nothing"
        raise JobsWentWrong(f"the worker ended or ran out of time before it was done: {tail}")
    return float(json.loads(line)[key])
