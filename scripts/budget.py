"""Holds what a start costs: time to ready, idle memory, and what a command-line call imports and takes.

`check` compares with scripts/budget.json and fails beyond 20 %; `record` writes that file. Times are compared as
multiples of a yardstick, a bare interpreter started in the same minutes, so that another machine or a busy one gives
the same verdict; the three are run in turn, and of each the fastest of several runs counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).resolve().parents[1]
RECORDED = Path(__file__).with_name("budget.json")
TREADLE = Path(sys.executable).with_name("treadle")
FACES = ("taskdriver", "fabric", "console", "ufo", "architect")
ALLOWANCE = 1.2
RUNS = 7
ROUNDS = 5  # a time over budget is measured again before it counts
IDLE_SECONDS = 2.0
START_LIMIT_SECONDS = 30.0
YARDSTICK = [sys.executable, "-c", "import asyncio, json, ssl, logging"]
# The design's promises, whatever was recorded.
MOST_START_SECONDS, MOST_IDLE_BYTES, MOST_COMMAND_SECONDS = 1.5, 90_000_000, 0.4

IMPORTED = """
import json, sys
from treadle.cli import main
sys.argv = ["treadle", *sys.argv[1:]]
try:
    main()
except SystemExit as stop:
    if stop.code:
        raise
sys.stdout.flush()
ours_not = sys.stdlib_module_names | {"__main__", "_distutils_hack", "sitecustomize"}
names = {name.partition(".")[0] for name in sys.modules} - ours_not
rooms = {".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("treadle.")}
print("\\n" + json.dumps(sorted((names - {"treadle"}) | rooms)))
"""


@dataclass
class Budget:
    """What was measured, and on what: the faces that listen, and the command that is called."""

    listen: list[str] = field(default_factory=lambda: ["taskdriver", "fabric"])
    command: list[str] = field(default_factory=lambda: ["--version"])
    yardstick_seconds: float = 0.0
    start_seconds: float = 0.0
    idle_bytes: int = 0
    command_seconds: float = 0.0
    imports: list[str] = field(default_factory=list)


def environment() -> dict[str, str]:
    """This environment without settings of ours, and with compiled files kept as a user's Python keeps them."""
    outside = {"PYTHONDONTWRITEBYTECODE"}
    return {
        name: value for name, value in os.environ.items() if name not in outside and not name.startswith("TREADLE_")
    }


def seconds(command: list[str], home: str = "") -> float:
    """What a program takes; one that speaks to a server is told its home."""
    told = environment() | ({"TREADLE_HOME": home} if home else {})
    began = time.perf_counter()
    subprocess.run(command, check=True, env=told, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


@contextlib.contextmanager
def server(listen: list[str]) -> Iterator[tuple[psutil.Process, float, str]]:
    """A server in a fresh home: its process, the seconds it took to be ready, the home. Stopped by SIGTERM."""
    with tempfile.TemporaryDirectory(prefix="treadle-budget-") as folder:
        ready = Path(folder, "ready.json")
        home = str(Path(folder, "home"))
        command = [str(TREADLE), "up", "--home", home, "--ready-file", str(ready)]
        for face in FACES:
            command += ["--listen", f"{face}={'127.0.0.1:0' if face in listen else 'off'}"]
        log = Path(folder, "log")
        with log.open("wb") as output:
            began = time.perf_counter()
            process = subprocess.Popen(command, env=environment(), stdout=output, stderr=output)
        try:
            while not is_written(ready):
                if process.poll() is not None or time.perf_counter() - began > START_LIMIT_SECONDS:
                    raise SystemExit(f"{' '.join(command)}: not ready (exit {process.poll()})\n{log.read_text()}")
                time.sleep(0.002)
            yield psutil.Process(process.pid), time.perf_counter() - began, home
            process.send_signal(signal.SIGTERM)
            if code := process.wait(timeout=30):
                raise SystemExit(f"treadle up ended with exit code {code} after SIGTERM\n{log.read_text()}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def is_written(ready: Path) -> bool:
    try:
        return bool(json.loads(ready.read_text("utf-8"))["listeners"])
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def start_seconds(listen: list[str]) -> float:
    with server(listen) as (_, took, _):
        return took


def idle_bytes(listen: list[str]) -> int:
    """Resident memory of the server and its children, some seconds after the start."""
    with server(listen) as (process, _, _):
        time.sleep(IDLE_SECONDS)
        return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


def imports(listen: list[str], command: list[str]) -> list[str]:
    """Third-party packages and our rooms that one call of the command line imports."""
    called = [sys.executable, "-c", IMPORTED, *command]
    with server(listen) as (_, _, home):
        told = environment() | {"TREADLE_HOME": home}
        said = subprocess.run(called, check=True, env=told, capture_output=True, text=True).stdout
    listed: list[str] = json.loads(said.splitlines()[-1])
    return listed


class Times(NamedTuple):
    """What several rounds took, in seconds: the yardstick, a start, a call beside a running server."""

    yardstick: float
    start: float
    command: float


def timed(listen: list[str], command: list[str]) -> Times:
    """The fastest of each from rounds in which all three are run in turn: they meet the same minutes of a machine."""
    call = [str(TREADLE), *command]
    with server(listen) as (_, _, home):
        seconds(call, home)  # once unmeasured: compiles what was edited, fills the page cache
        rounds = [(seconds(YARDSTICK), start_seconds(listen), seconds(call, home)) for _ in range(RUNS)]
    return Times(*map(min, zip(*rounds, strict=True)))


def measure(listen: list[str], command: list[str]) -> Budget:
    times = timed(listen, command)
    return Budget(
        listen=listen,
        command=command,
        yardstick_seconds=times.yardstick,
        start_seconds=times.start,
        idle_bytes=idle_bytes(listen),
        command_seconds=times.command,
        imports=imports(listen, command),
    )


def faster(now: Budget) -> Budget:
    """The same budget with its times measured once more; the fastest runs of both count."""
    times = timed(now.listen, now.command)
    return replace(
        now,
        yardstick_seconds=min(now.yardstick_seconds, times.yardstick),
        start_seconds=min(now.start_seconds, times.start),
        command_seconds=min(now.command_seconds, times.command),
    )


def rows(now: Budget, was: Budget) -> list[tuple[str, float, float, str]]:
    """Name, value, limit and unit of each measured thing; times scaled by the yardsticks of both machines."""
    speed = now.yardstick_seconds / was.yardstick_seconds
    return [
        ("start to ready", now.start_seconds, was.start_seconds * speed * ALLOWANCE, "s"),
        ("start to ready, promised", now.start_seconds, MOST_START_SECONDS * max(1.0, speed), "s"),
        ("idle memory", now.idle_bytes / 1e6, was.idle_bytes * ALLOWANCE / 1e6, "MB"),
        ("idle memory, promised", now.idle_bytes / 1e6, MOST_IDLE_BYTES / 1e6, "MB"),
        (f"treadle {' '.join(now.command)}", now.command_seconds, was.command_seconds * speed * ALLOWANCE, "s"),
        ("the same, promised", now.command_seconds, MOST_COMMAND_SECONDS * max(1.0, speed), "s"),
    ]


def check() -> int:
    if not RECORDED.exists():
        print(f"{RECORDED.relative_to(ROOT)} is missing: record what a start costs with `make budget-record`")
        return 1
    was = Budget(**json.loads(RECORDED.read_text("utf-8")))
    now = measure(was.listen, was.command)
    for _ in range(ROUNDS - 1):
        if all(value <= limit for _, value, limit, _ in rows(now, was)):
            break
        now = faster(now)
    over = 0
    for name, value, limit, unit in rows(now, was):
        within = value <= limit
        over += not within
        print(f"{'ok  ' if within else 'OVER'} {name}: {value:.3g} {unit} (limit {limit:.3g} {unit})")
    added = sorted(set(now.imports) - set(was.imports))
    listed = ", ".join(added) or "no new ones"
    print(f"{'ok  ' if not added else 'OVER'} imports of treadle {' '.join(now.command)}: {listed}")
    if over or added:
        print("A cost was added to every start. If it is worth it, say why in the change and run `make budget-record`.")
    return 1 if over or added else 0


def record() -> int:
    was = Budget(**json.loads(RECORDED.read_text("utf-8"))) if RECORDED.exists() else Budget()
    now = measure(was.listen, was.command)
    shown = asdict(now) | {name: round(value, 4) for name, value in asdict(now).items() if isinstance(value, float)}
    RECORDED.write_text(json.dumps(shown, indent=2) + "\n", "utf-8")
    print(RECORDED.read_text("utf-8"))
    return 0


if __name__ == "__main__":
    doors = {"check": check, "record": record}
    if len(sys.argv) != 2 or sys.argv[1] not in doors:
        sys.exit(f"usage: python scripts/budget.py {' | '.join(doors)}")
    sys.exit(doors[sys.argv[1]]())
