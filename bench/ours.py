"""What is measured of Treadle itself; each function is one round and gives figures by name."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import load, loads
from bench.server import Server, treadle

CLIENTS = 16
Figures = dict[str, float]


def over_http(creates: int, cycles: int) -> Figures:
    """Creates, cycles of claim and complete, and bulk creates over the TaskDriver API; the server has one core."""
    with treadle() as server:
        token, project, type = ready(server)
        made = load.apart(loads.create, server.port, token, project, type, CLIENTS, creates)
        turned = load.apart(loads.cycles, server.port, logins(server), project, min(cycles, creates))
        whole = load.apart(loads.bulk, server.port, token, project, type, 10)
        refuse(made, turned, whole)
        return {
            "create_per_s": made.per_second,
            "create_p99_ms": made.p99 * 1e3,
            "cycles_per_s": turned.per_second,
            "cycle_p99_ms": turned.p99 * 1e3,
            "bulk_1000_ms": whole.p50 * 1e3,
        }


def at_depth(home: Path, cycles: int) -> Figures:
    """Cycles of claim and complete against a home filled beforehand, of which a copy is used up."""
    with copied(home) as copy, treadle(copy) as server:
        tokens = logins(server, "filled")
        project = server.call("GET", "/api/projects/filled", None, tokens[0])["id"]
        turned = load.apart(loads.cycles, server.port, tokens, project, cycles)
        refuse(turned)
        return {"cycles_per_s": turned.per_second, "cycle_p99_ms": turned.p99 * 1e3}


def drain(tasks: int, store: str | None = None) -> Figures:
    """One SDK worker process drains no-op tasks, from its first claim to its last acknowledged finish."""
    with treadle(store=store, core=None) as server:
        token, project, type = ready(server)
        body = {"tasks": [{"typeId": type, "variables": {"a": str(number)}} for number in range(1000)]}
        for _ in range(tasks // 1000):
            server.call("POST", f"/api/projects/{project}/tasks/bulk", body, token)
        command = [sys.executable, "-m", "bench.worker", server.listeners["fabric"], project]
        done = subprocess.run(command, input=server.key, capture_output=True, text=True, check=True, timeout=300)
        told = json.loads(done.stdout)
        stats = server.call("GET", f"/api/projects/{project}", None, token)["stats"]
        if stats["completedTasks"] != told["tasks"] or stats["queuedTasks"] or stats["runningTasks"]:
            raise RuntimeError(f"the worker says {told}, the server {stats}")
        return {"drain_per_s": told["tasks"] / told["seconds"]}


def seen(times: int) -> Figures:
    """How soon somebody who waits hears: of a new task (long poll), and of a result (native wait)."""
    with treadle() as server:
        _, project, type = ready(server)
        tokens = (server.login("asker"), server.login("waiter"))
        taken = load.apart(loads.waiting, server.port, *tokens, project, type, times)
        fabric = int(server.listeners["fabric"].rsplit(":", 1)[1])
        heard = load.apart(loads.results, server.port, fabric, tokens[0], project, type, times)
        return {"pickup_p95_ms": _p95(taken) * 1e3, "result_p95_ms": _p95(heard) * 1e3}


def at_rest(home: Path | None = None, seconds: float = 5.0) -> Figures:
    """Start to ready, and memory and processor time of a server that nobody asks anything."""
    with perhaps_copied(home) as copy, treadle(copy, core=None) as server:
        before, began = server.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        share = (server.cpu_seconds() - before) / (time.monotonic() - began)
        return {"ready_s": server.seconds_to_ready, "idle_mb": server.memory_mb(), "idle_cpu_percent": share * 100}


@contextmanager
def filled(queued: int, finished: int = 0) -> Iterator[Path]:
    """A home whose project `filled` holds so many tasks."""
    with tempfile.TemporaryDirectory(prefix="treadle-filled-", dir="/var/tmp") as folder:
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        subprocess.run([sys.executable, "-m", "bench.fill", home, str(queued), str(finished)], check=True)
        yield home


@contextmanager
def copied(home: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="treadle-copy-", dir="/var/tmp") as folder:
        copy = Path(folder) / "home"
        shutil.copytree(home, copy)
        yield copy


@contextmanager
def perhaps_copied(home: Path | None) -> Iterator[Path | None]:
    if home is None:
        yield None
    else:
        with copied(home) as copy:
            yield copy


def ready(server: Server) -> tuple[str, str, str]:
    """A token, and the ids of the default project and of a new type in it."""
    token = server.login("setup")
    project = server.call("GET", "/api/projects/default", None, token)["id"]
    new = {"name": "noop", "template": "do {{a}}"}
    type = server.call("POST", f"/api/projects/{project}/task-types", new, token)["id"]
    return token, project, type


def logins(server: Server, project: str = "default") -> list[str]:
    return [server.login(f"w{number}", project) for number in range(CLIENTS)]


def refuse(*results: load.Result) -> None:
    """No figure is given for a run in which a request was refused."""
    errors = sum(result.errors for result in results)
    if errors:
        raise RuntimeError(f"{errors} requests were refused")


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[18]
