"""`treadle work`: a command as a worker, its environment, its end, and what it never does."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.calling import Terminal
from tests.faces.fabric.serving import KEY, Served, served
from treadle.cli.running import LONGEST_VALUE, Kept, Runs, environment
from treadle.client import Fail, NewTask, SyncClient, Task


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("work")) as running:
        running.announce()
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[SyncClient]:
    with SyncClient(server.url, KEY) as client:
        yield client


@pytest.fixture
def project(client: SyncClient, request: pytest.FixtureRequest) -> str:
    return client.create_project(request.node.name[:100].replace("[", "-").replace("]", "")).name


@pytest.fixture
def treadle(server: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.setenv("TREADLE_HOME", str(server.home))
    return Terminal(monkeypatch, capsys)


def results(client: SyncClient, project: str) -> list[Any]:
    return [task.result for task in client.tasks(project).tasks]


def test_each_task_is_one_run_of_the_command(treadle: Terminal, client: SyncClient, project: str) -> None:
    client.create_type(project, "greet", template="Greet {{who}}")
    tasks = client.submit(project, *(NewTask(type="greet", variables={"who": who}) for who in ("Ann", "Bob", "Cy")))
    script = 'printf "%s %s " "$TREADLE_VAR_WHO" "$TREADLE_TASK_ID"; cat; echo note >&2'
    said = treadle("work", "-p", project, "--jobs", "2", "--drain", "--json", "--", "sh", "-c", script)
    assert {line["task"] for line in said.lines} == {task.id for task in tasks}
    assert {line["state"] for line in said.lines} == {"succeeded"}
    for task, result in zip(tasks, results(client, project), strict=True):
        who, id, on_stdin = result.output.split(" ", 2)
        assert (who, id) == (task.variables["who"], task.id)
        handed = json.loads(on_stdin)
        assert (handed["instructions"], handed["state"]) == (f"Greet {who}", "running")
        assert result.outputs == {"exit_code": 0, "stderr": "note\n"}


def test_a_command_that_fails_fails_its_task(treadle: Terminal, client: SyncClient, project: str) -> None:
    client.submit(project, NewTask(max_retries=0))
    said = treadle("work", "-p", project, "--drain", "sh", "-c", "echo out; echo it broke >&2; exit 7", code=1)
    assert said.err.splitlines()[-1] == "treadle: 1 of 1 tasks failed"
    [result] = results(client, project)
    assert (result.ok, result.error, result.outputs) == (False, "it broke", {"exit_code": 7, "stdout": "out\n"})


def test_once_is_one_task(treadle: Terminal, client: SyncClient, project: str) -> None:
    client.submit(project, NewTask(), NewTask())
    treadle("work", "-p", project, "--once", "--name", "me", "true")
    first, second = client.tasks(project).tasks
    assert (first.state, second.state) == ("succeeded", "queued")
    assert client.task(first.id).attempts[0].worker == "me"


def test_no_shell_reads_the_arguments(treadle: Terminal, client: SyncClient, project: str, tmp_path: Path) -> None:
    client.submit(project, NewTask(variables={"x": "$(touch /nope); `id`"}))
    treadle(
        "work", "-p", project, "--drain", "--", sys.executable, "-c", "import sys; print(sys.argv[1:])", "$HOME;", "*"
    )
    [result] = results(client, project)
    assert result.output == "['$HOME;', '*']\n"


def worker(server: Served, project: str, *command: str) -> subprocess.Popen[str]:
    """A worker as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "treadle", "work", "-p", project, "--", *command],
        env={**os.environ, "TREADLE_HOME": str(server.home)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


STUBBORN = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
signal.pause()
"""


def begun(pids: Path) -> list[int]:
    deadline = time.monotonic() + 20
    while not pids.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [int(pid) for pid in pids.read_text().split()]


def await_end(pids: list[int]) -> None:
    """Waits until none of these runs; a kill takes effect in its own time."""
    deadline = time.monotonic() + 20
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_worker_ends_its_runs_and_gives_their_tasks_back(
    server: Served, client: SyncClient, project: str, tmp_path: Path, number: signal.Signals
) -> None:
    [task] = client.submit(project, NewTask())
    with worker(server, project, sys.executable, "-c", STUBBORN, str(tmp_path / "pids")) as working:
        pids = begun(tmp_path / "pids")
        working.send_signal(number)
        assert working.wait(20) == 0, working.stderr
        assert working.stderr is not None
        assert working.stderr.read().startswith(f"gave back  {task.id}")
    await_end(pids)
    after = client.task(task.id)
    assert (after.state, after.retries, [attempt.state for attempt in after.attempts]) == ("queued", 0, ["released"])


def test_a_task_called_off_ends_its_whole_process_group(
    server: Served, client: SyncClient, project: str, tmp_path: Path
) -> None:
    [task] = client.submit(project, NewTask())
    with worker(server, project, sys.executable, "-c", STUBBORN, str(tmp_path / "pids")) as working:
        pids = begun(tmp_path / "pids")
        client.cancel(task.id)
        await_end(pids)
        working.terminate()
        assert working.wait(20) == 0
    assert client.task(task.id).state == "cancelled"


TASK = Task(id="t-1", project="p", state="running", created=None, updated=None)  # type: ignore[arg-type]


def run(*command: str) -> Any:
    return asyncio.run(Runs(command)(TASK))


def test_what_a_run_leaves_behind_ends_with_it() -> None:
    done = run("sh", "-c", "sleep 1000 & echo $!")
    await_end([int(done.output)])


def test_a_run_need_not_read_its_task() -> None:
    big = Task(
        **{**{name: getattr(TASK, name) for name in TASK.__struct_fields__}, "variables": {"x": "y" * 1_000_000}}
    )
    assert asyncio.run(Runs(("true",))(big)).outputs == {"exit_code": 0}


def test_a_run_ended_by_a_signal_says_which() -> None:
    with pytest.raises(Fail) as failed:
        run("sh", "-c", "kill -9 $$")
    assert failed.value.message == "The command was ended by SIGKILL"
    assert failed.value.outputs == {"exit_code": 137, "stdout": ""}


def test_output_is_kept_within_bounds_and_can_always_be_sent() -> None:
    kept = Kept(10)
    for chunk in (b"abc", b"defgh", b"i" * 1000, b"\xff\0xyz"):
        kept.add(chunk)
    assert kept.text() == "abcde\n[1003 bytes left out]\n\ufffd\ufffdxyz"
    done = run(sys.executable, "-c", "print('x' * 3_000_000)")
    assert 1_000_000 < len(done.output) < 1_000_100
    assert "[2000001 bytes left out]" in done.output


def test_variables_in_the_environment_cannot_harm_it() -> None:
    names = {"who": "Ann", "PATH": "/evil", "a": {"b": 1}, "big": "x" * (LONGEST_VALUE + 1), "Ünï": "u"}
    task = Task(**{**{name: getattr(TASK, name) for name in TASK.__struct_fields__}, "variables": names})
    made = environment(task, {"PATH": "/bin"})
    assert made["PATH"] == "/bin"
    assert {name: made[name] for name in made if name.startswith("TREADLE_VAR_")} == {
        "TREADLE_VAR_WHO": "Ann", "TREADLE_VAR_PATH": "/evil", "TREADLE_VAR_A": '{"b":1}', "TREADLE_VAR__N_": "u",
    }  # fmt: skip
    assert made["TREADLE_TASK_ID"] == "t-1"
