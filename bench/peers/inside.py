"""What runs in the peers' own environment.

`measure NAME JOBS FOLDER` runs one round and prints its result as JSON; `work NAME ADDRESS JOBS` is its worker process.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from bench.peers.library import JobsWentWrong, Library, Tally
from bench.peers.library import measure as measure_library
from bench.peers.services import ServiceMissing


def library(name: str) -> Library:
    """The peer of that name; each needs only its own packages, so that one that is broken costs only itself."""
    match name:
        case "pgqueuer":
            from bench.peers.on_postgres import Pgqueuer

            return Pgqueuer(name, 100, "its guide says to raise it for short jobs; 50 to 300 are equally fast")
        case "pgqueuer-batch-10":
            from bench.peers.on_postgres import Pgqueuer

            return Pgqueuer(name, 10, "its default")
        case "procrastinate":
            from bench.peers.on_postgres import Procrastinate

            return Procrastinate()
        case "celery":
            from bench.peers.on_redis import Celery

            return Celery()
        case "taskiq":
            from bench.peers.on_redis import Taskiq

            return Taskiq()
    raise SystemExit(f"no peer is called {name}")


def measure(name: str, jobs: int, folder: Path) -> dict[str, Any]:
    try:
        if name == "baseline":
            from bench.peers import baseline

            return baseline.measure(jobs, folder)
        return measure_library(library(name), jobs, folder)
    except (ServiceMissing, JobsWentWrong) as exc:
        return {"name": name, "skipped": str(exc)}


def main() -> None:
    match sys.argv[1:]:
        case ["measure", name, jobs, folder]:
            # Unwind on SIGTERM too, so that the servers under the peer are stopped.
            signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(143))
            print(json.dumps(measure(name, int(jobs), Path(folder))))
        case ["work", name, address, jobs]:
            tally = Tally(int(jobs))
            library(name).work(address, tally)
            tally.close()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
