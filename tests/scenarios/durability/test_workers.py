"""Workers over HTTP against a real server: however many ask at once no two share a task, and a paused one is fenced."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.serving import Running, environment, server
from treadle.client import Client, NewTask

PAUSING = Path(__file__).with_name("pausing.py")
WORKERS, TASKS = 16, 160


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Running]:
    with server(tmp_path / "home") as running:
        yield running


class Pausing:
    """A worker in a process of its own that can be stopped in mid-work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> str:
        """Wake it and let it hand in its result; how that was taken."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.process.send_signal(signal.SIGCONT)
        return self.said()


@contextmanager
def worker(up: Running, name: str, lease: float) -> Iterator[Pausing]:
    command = [sys.executable, str(PAUSING), up.urls["fabric"], "default", name, str(lease)]
    with subprocess.Popen(
        command, env=environment(Path(up.said["home"])), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Pausing(process)
        finally:
            process.kill()


async def test_a_paused_worker_finds_its_task_given_on(up: Running) -> None:
    async with Client(up.urls["fabric"], home=up.said["home"]) as client:
        (task,) = await client.submit("default", NewTask())
        with worker(up, "slow", lease=0.5) as slow:
            assert slow.said() == f"taken {task.id}"
            slow.process.send_signal(signal.SIGSTOP)
            with worker(up, "quick", lease=60) as quick:
                assert quick.said() == f"taken {task.id}"  # as soon as the lease has run out
                assert slow.go_on() == "LeaseLost"
                assert quick.go_on() == "counted"
        ended = await client.task(task.id)
    assert ended.state == "succeeded"
    assert ended.result is not None
    assert ended.result.output == "made by quick"
    tries = [(attempt.worker, attempt.state) for attempt in ended.attempts]
    assert tries == [("slow", "lost"), ("quick", "succeeded")]


def test_sixteen_workers_never_share_a_task(up: Running) -> None:
    token = up.login("maker")

    def ask(path: str, body: object) -> Any:
        status, answer = up.ask("taskdriver", path, body, token=token)
        assert status in (200, 201), answer
        return answer["data"]

    kind = ask("/api/projects/default/task-types", {"name": "weave"})["id"]
    made = ask("/api/projects/default/tasks/bulk", {"tasks": [{"typeId": kind}] * TASKS})
    assert made["tasksCreated"] == TASKS
    project = made["createdTasks"][0]["projectId"]

    def work(name: str) -> list[str]:
        done: list[str] = []
        while (task := ask(f"/api/agents/{name}/next-task", {"projectId": project})["task"]) is not None:
            assert task["assignedTo"] == name
            ask(f"/api/tasks/{task['id']}/complete", {"agentName": name, "result": f"made by {name}"})
            done.append(task["id"])
        return done

    with ThreadPoolExecutor(WORKERS) as threads:
        shares = list(threads.map(work, [f"w{number}" for number in range(WORKERS)]))
    assert Counter(chain.from_iterable(shares)) == Counter({task["id"]: 1 for task in made["createdTasks"]})
    stats = up.ask("taskdriver", "/api/projects/default/stats", token=token)[1]["data"]
    assert stats["project"]["stats"]["completedTasks"] == stats["recentActivity"]["tasksCompletedLastHour"] == TASKS
