"""Rounds of the peers, each in a process and a folder of its own; standard library only."""

from __future__ import annotations

import functools
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.peers import environment
from bench.peers.services import Command, start, stop

NAMES = ("baseline", "pgqueuer", "pgqueuer-batch-10", "procrastinate", "celery", "taskiq")
JOBS = 3000


def run(name: str, jobs: int = JOBS) -> dict[str, Any]:
    """One round of one peer.

    Returns:
        `name`, `enqueue_per_s`, `enqueue_bulk_per_s` (None where the library has no bulk form), `drain_per_s`,
        `durable`, `versions` and `notes`; or `name` and `skipped`, which says why there are no numbers.
    """
    if jobs < 2:
        raise ValueError("a round needs at least two jobs")
    python = _python()
    if isinstance(python, environment.SetupFailed):
        return {"name": name, "skipped": str(python)}
    with tempfile.TemporaryDirectory(prefix="peers-", dir=_disk()) as folder, tempfile.TemporaryFile() as errors:
        command: Command = [python, "-m", "bench.peers.inside", "measure", name, str(jobs), folder]
        process = start(command, stderr=errors, cwd=environment.ROOT)
        try:
            answer, _ = process.communicate(timeout=60 + jobs / 25)
        except subprocess.TimeoutExpired:
            return {"name": name, "skipped": "it was not done in time"}
        finally:
            stop(process, patience=30.0)
        if process.returncode:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            return {"name": name, "skipped": f"it ended with {process.returncode}: {said[-1]}"}
    result: dict[str, Any] = json.loads(answer)
    return result


@functools.cache  # a set-up that failed is not tried again for each round
def _python() -> Path | environment.SetupFailed:
    try:
        return environment.setup()
    except environment.SetupFailed as exc:
        return exc


def _disk() -> Path:
    """A folder for temporary files that is on a disk: on a RAM disk an fsync costs nothing and proves nothing."""
    candidates = [Path(tempfile.gettempdir()), Path("/var/tmp"), environment.HERE]
    for folder in candidates:
        kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False)
        if kind.returncode == 0 and kind.stdout.strip() not in {"tmpfs", "ramfs"}:
            return folder
    return candidates[-1]
