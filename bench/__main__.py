"""`make bench`: Treadle's figures, each beside what it is paired with in the same run, as a table with the targets."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bench import devices, ours, runs
from bench.ours import Figures
from bench.peers import rounds

README = Path(__file__).with_name("README.md")
MARK = "<!-- the last run -->"
LIBRARIES = ("pgqueuer", "pgqueuer-batch-10", "procrastinate", "celery", "taskiq")
TASKDRIVER_PER_S = 10
"""What the published TaskDriver server does at best with a thousand tasks."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    figure: str
    beside: str
    target: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each pair, interleaved (default %(default)s)")
    parser.add_argument(
        "--only", default="http,depth,drain,seen,rest,runs,devices", help="which parts, by comma (default all)"
    )
    parser.add_argument("--quick", action="store_true", help="one round, and 100,000 tasks where else a million")
    parser.add_argument("--json", action="store_true", help="the medians as JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    asked = parser.parse_args()
    count = 1 if asked.quick else asked.rounds
    most = 100_000 if asked.quick else 1_000_000
    parts: dict[str, Callable[[int, int], list[Row]]] = {
        "http": http, "depth": depth, "drain": drain, "seen": seen, "rest": rest,
        "runs": running, "devices": connected,
    }  # fmt: skip
    table: list[Row] = []
    for name in asked.only.split(","):
        say(f"{name} …")
        table += parts[name](count, most)
    if asked.json:
        print(json.dumps([row.__dict__ for row in table], indent=2))
    else:
        print(text := as_table(table))
        if asked.write:
            write(text)
    return 0


def http(count: int, most: int) -> list[Row]:
    """Over HTTP, beside the minimal server that does nothing else, in turn."""
    mine, limit = in_turn(count, lambda: ours.over_http(8000, 8000), lambda: rounds.run("baseline", 8000))
    return [
        Row("claim + complete over HTTP, 16 workers, cycles/s", f"{mine['cycles_per_s']:,.0f}",
            f"minimal server {compare(mine['cycles_per_s'], limit.get('drain_per_s'))}; "
            f"{mine['cycles_per_s'] / TASKDRIVER_PER_S:,.0f} x the published TaskDriver at its best",
            "≥ 2,500; ≥ 100 x"),
        Row("… p99, ms", f"{mine['cycle_p99_ms']:.1f}", "", ""),
        Row("create over HTTP, 16 clients, tasks/s", f"{mine['create_per_s']:,.0f}",
            f"minimal server {compare(mine['create_per_s'], limit.get('enqueue_per_s'))}", "≥ 5,000"),
        Row("bulk create of 1,000 tasks, ms", f"{mine['bulk_1000_ms']:.0f}", "", "≤ 50"),
    ]  # fmt: skip


def depth(count: int, most: int) -> list[Row]:
    """The same cycles with ever more queued."""
    depths = [10_000, 100_000, most] if most > 100_000 else [10_000, most]
    found: dict[int, list[float]] = {size: [] for size in depths}
    homes = {size: ours.filled(size) for size in depths}
    paths = {size: home.__enter__() for size, home in homes.items()}
    try:
        for _ in range(count):
            for size in depths:
                found[size].append(ours.at_depth(paths[size], 5000)["cycles_per_s"])
    finally:
        for home in homes.values():
            home.__exit__(None, None, None)
    medians = {size: statistics.median(values) for size, values in found.items()}
    shallow = medians[depths[0]]
    return [
        Row(f"… with {size:,} queued, cycles/s", f"{medians[size]:,.0f}",
            f"cost {shallow / medians[size]:.2f} x that at {depths[0]:,}", "≤ 1.3 x")
        for size in depths
    ]  # fmt: skip


def drain(count: int, most: int) -> list[Row]:
    """One worker process against one server, beside one worker process of each library, in turn."""
    tasks = 10_000
    found = in_turn(count, lambda: ours.drain(tasks), *(pick(name, tasks) for name in LIBRARIES))
    mine = found[0]["drain_per_s"]
    targets = {
        "pgqueuer": "≥ 1.5 x (of 5,100/s)", "procrastinate": "≥ 10 x", "celery": "≥ 2 x", "taskiq": "≥ 2 x",
    }  # fmt: skip
    rows = [Row("drain by one SDK worker, tasks/s", f"{mine:,.0f}", "", "≥ 7,650")]
    for name, theirs in zip(LIBRARIES, found[1:], strict=True):
        how = "" if theirs.get("durable", True) else " (not durable per task)"
        rows.append(Row(f"… beside {name}{how}", "", compare(mine, theirs.get("drain_per_s")), targets.get(name, "")))
    return rows


def seen(count: int, most: int) -> list[Row]:
    """How soon the waiting hear."""
    (mine,) = in_turn(count, lambda: ours.seen(200))
    return [
        Row("result visible to a waiting caller, p95 ms", f"{mine['result_p95_ms']:.1f}", "", "≤ 20"),
        Row("new task in the hands of a waiting worker, p95 ms", f"{mine['pickup_p95_ms']:.1f}", "", ""),
    ]


def rest(count: int, most: int) -> list[Row]:
    """An idle server, fresh and with a past."""
    with ours.filled(0, finished=most) as home:
        fresh, old = in_turn(count, ours.at_rest, lambda: ours.at_rest(home))
    return [
        Row("idle server, MB resident", f"{fresh['idle_mb']:.0f}",
            f"with {most:,} finished: {old['idle_mb']:.0f}", "≤ 90"),
        Row("idle server, % of a core", f"{fresh['idle_cpu_percent']:.2f}", f"{old['idle_cpu_percent']:.2f}", "≤ 0.5"),
        Row("start to ready, s", f"{fresh['ready_s']:.2f}",
            f"with {most:,} finished: {old['ready_s']:.2f}", "≤ 1.5; ≤ 2"),
    ]  # fmt: skip


def running(count: int, most: int) -> list[Row]:
    """What runs print, and how soon they speak."""
    one, many, flood, huge, speaks = in_turn(
        count, lambda: runs.lines(1), lambda: runs.lines(200), lambda: runs.flood(100),
        lambda: runs.flood(1024), lambda: runs.speaks(10),
    )  # fmt: skip
    return [
        Row("line of a run to its one subscriber, p50 and p99 ms",
            f"{one['p50_ms']:.1f}; {one['p99_ms']:.1f}", "", "p99 ≤ 10"),
        Row("… to each of 200 subscribers", f"{many['p50_ms']:.1f}; {many['p99_ms']:.1f}", "", "p99 ≤ 10"),
        Row("100 MiB of output to a follower, MB/s", f"{flood['mb_per_s']:.0f}", "", "≥ 50"),
        Row("server while 1 GiB passes, MB resident",
            f"{huge['most_mb']:.0f}", f"before: {huge['before_mb']:.0f}", "flat"),
        Row("request for a run to its first byte, ms", f"{speaks['native_ms']:.0f}",
            f"Console's execute: {speaks['console_ms']:.0f}", ""),
        Row("`treadle run -- echo hi`, s", f"{speaks['cli_ms'] / 1000:.2f}", "", "≤ 0.4"),
    ]  # fmt: skip


def connected(count: int, most: int) -> list[Row]:
    """Devices that are connected, and what they are asked."""
    idle, paced, soon = in_turn(
        count, lambda: devices.idle(500), lambda: devices.paced(1000, 200, 5.0), lambda: devices.latency(200)
    )
    return [
        Row("500 idle devices: health, requests/s and p99 ms",
            f"{idle['health_per_s']:,.0f}; {idle['health_p99_ms']:.1f}", "", ""),
        Row("… dispatches/s; whole sessions/s",
            f"{idle['dispatch_per_s']:,.0f}; {idle['sessions_per_s']:,.0f}", "", ""),
        Row("… memory of one, kB", f"{idle['kb_per_device']:.0f}", "", "≤ 60"),
        Row("1,000 devices, 200 dispatches/s: health p99; longest, ms",
            f"{paced['health_p99_ms']:.0f}; {paced['health_max_ms']:.0f}", "", "≤ 50"),
        Row("dispatch to result, p50; p99 ms", f"{soon['p50_ms']:.1f}; {soon['p99_ms']:.1f}", "", ""),
    ]  # fmt: skip


def in_turn(count: int, *measures: Callable[[], Figures]) -> list[Figures]:
    """Each measure `count` times, interleaved; the median of each figure. A peer that was skipped gives none."""
    found: list[list[Figures]] = [[] for _ in measures]
    for _ in range(count):
        for taken, measure in zip(found, measures, strict=True):
            figures = measure()
            if "skipped" in figures:
                say(f"  {figures['name']} skipped: {figures['skipped']}")
            taken.append(figures)
    return [medians(taken) for taken in found]


def medians(taken: list[Figures]) -> Figures:
    names = [name for name, value in taken[0].items() if isinstance(value, int | float)]
    return {name: statistics.median(figures[name] for figures in taken if name in figures) for name in names}


def pick(name: str, jobs: int) -> Callable[[], Figures]:
    return lambda: rounds.run(name, jobs)


def compare(mine: float, theirs: float | None) -> str:
    return "skipped" if theirs is None else f"{theirs:,.0f} ({mine / theirs:.2f} x)"


def as_table(rows: list[Row]) -> str:
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    lines = [
        f"Run on {date.today()} at {revision.stdout.strip() or 'no revision'}: {os.cpu_count()} cores, "
        f"Linux {platform.release()}, CPython {platform.python_version()}; "
        f'`make bench ARGS="{" ".join(sys.argv[1:])}"`.',
        "",
        "| what | Treadle | beside it, in the same run | target |",
        "|---|---|---|---|",
        *(f"| {row.what} | {row.figure} | {row.beside} | {row.target} |" for row in rows),
    ]
    return "\n".join(lines)


def write(text: str) -> None:
    head, _, _ = README.read_text().partition(MARK)
    README.write_text(f"{head}{MARK}\n\n{text}\n")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
