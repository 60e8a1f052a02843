"""`treadle up` from start to stop, as a person and a supervisor see it: real processes, real ports, real signals."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import sqlite3
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.scenarios.serving import ANYWHERE, command, environment, refused, server, until
from treadle import __version__
from treadle.settings import FACES

HEALTH = dict.fromkeys(("console", "ufo"), "/api/health")
BUILT = {face for face, default in FACES.items() if default}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_it_says_where_it_is_reached_in_three_places(home: Path) -> None:
    with server(home) as up:
        assert up.said == {
            "pid": up.process.pid,
            "home": str(home),
            "version": __version__,
            "listeners": {face: f"http://127.0.0.1:{url.rpartition(':')[2]}" for face, url in up.urls.items()},
        }
        assert set(up.urls) == BUILT
        assert json.loads((home / "server.json").read_bytes()) == up.said
        assert up.printed.splitlines()[: len(BUILT)] == [f"{face} {url}" for face, url in up.urls.items()]
        for face in up.urls:
            assert up.ask(face, HEALTH.get(face, "/health"))[0] == 200
        assert up.stop() == 0
    assert not (home / "server.json").exists()


def test_the_home_is_closed_to_others(home: Path) -> None:
    with server(home):
        assert mode(home) == mode(home / "secrets") == 0o700
        assert mode(home / "server.json") == mode(home / "secrets" / "local.key") == 0o600
        assert (home / "treadle.db").exists()


def test_the_local_key_opens_the_native_api_and_another_does_not(home: Path) -> None:
    with server(home, "--auth", "required") as up:
        key = (home / "secrets" / "local.key").read_text().strip()
        assert up.ask("fabric", "/api/queue/projects", token=key)[0] == 200
        assert up.ask("fabric", "/api/queue/projects", token=f"{key}x")[0] == 401
        assert up.ask("fabric", "/api/queue/projects")[0] == 401


def test_the_first_project_and_those_asked_for_are_there_and_stay_one_each(home: Path) -> None:
    asked = ("--project", "one", "--project", "two", "--project", "one")
    for _ in range(2):
        with server(home, *asked) as up:
            _, answer = up.ask("taskdriver", "/api/projects", token=up.login())
            assert sorted(project["name"] for project in answer["data"]) == ["default", "one", "two"]
            assert up.stop() == 0


def test_a_deleted_first_project_does_not_come_back_while_there_is_another(home: Path) -> None:
    with server(home, "--project", "mine") as up:
        token = up.login(project="mine")
        assert up.ask("taskdriver", "/api/projects/default", token=token, method="DELETE")[0] == 200
        assert up.stop() == 0
    with server(home) as up:
        _, answer = up.ask("taskdriver", "/api/projects", token=up.login(project="mine"))
        assert [project["name"] for project in answer["data"]] == ["mine"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(number: signal.Signals, home: Path) -> None:
    with server(home) as up:
        up.signal(number)
        assert up.ended() == 0
        said = [json.loads(line)["message"] for line in up.log.splitlines()]
        assert said == ["ready", "stopping", "stopped"]
        assert not (home / "server.json").exists()


def test_a_second_signal_stops_it_at_once(home: Path) -> None:
    with server(home) as up, socket.create_connection(("127.0.0.1", int(up.urls["fabric"].rpartition(":")[2]))) as slow:
        slow.sendall(b"POST /api/queue/projects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
        assert up.ask("fabric", "/health")[0] == 200  # by now the slow request has arrived as well
        up.signal(signal.SIGTERM)
        up.logged("stopping")
        up.signal(signal.SIGTERM)
        assert up.ended() == 128 + signal.SIGTERM
        assert not (home / "server.json").exists()


def test_a_hangup_without_a_terminal_is_nothing(home: Path) -> None:
    with server(home) as up:
        up.signal(signal.SIGHUP)
        assert up.ask("fabric", "/health")[0] == 200
        assert up.stop() == 0


def test_what_was_acknowledged_is_there_after_a_kill(home: Path) -> None:
    with server(home) as up:
        token = up.login()
        _, made = up.ask("taskdriver", "/api/projects/default/task-types", {"name": "greet"}, token=token)
        asked = {"typeId": made["data"]["id"], "instructions": "Say hello"}
        status, task = up.ask("taskdriver", "/api/projects/default/tasks", asked, token=token)
        assert status == 201
        up.signal(signal.SIGKILL)
        assert up.ended() == -signal.SIGKILL
        assert (home / "server.json").exists()
    with server(home) as up:
        status, found = up.ask("taskdriver", f"/api/tasks/{task['data']['id']}", token=token)  # the login lasts, too
        assert (status, found["data"]["instructions"]) == (200, "Say hello")
        assert json.loads((home / "server.json").read_bytes()) == up.said


def test_a_second_server_in_one_home_is_one_line_with_the_first_ones_pid(home: Path) -> None:
    with server(home) as up:
        second = refused(home, *ANYWHERE)
        assert second.code == 1
        holder = f"another server (process {up.process.pid}) holds {home}"
        assert second.line == f"treadle: {holder}; stop it, or name another home with --home"
        assert json.loads((home / "server.json").read_bytes()) == up.said
        assert up.ask("fabric", "/health")[0] == 200


def test_a_taken_port_is_one_line_naming_face_and_flag(home: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text("from an earlier server")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        second = refused(home, "--listen", f"taskdriver={address}", "--listen", "fabric=off", "--ready-file", ready)
    assert second.code == 1
    assert second.line.startswith(f"treadle: taskdriver cannot listen on {address}: something else listens there")
    assert "--listen taskdriver=HOST:PORT" in second.line
    assert second.stdout == ""
    assert not ready.exists()
    assert not (home / "server.json").exists()


@pytest.mark.parametrize("face", ["taskdriver", "fabric", "ufo", "console", "architect"])
def test_each_of_the_five_faces_can_be_off(face: str, home: Path) -> None:
    with server(home, *ANYWHERE, "--listen", f"{face}=off") as up:
        assert set(up.urls) == BUILT - {face}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "architect=127.0.0.1:8090"), "--listen architect: the architect face is not built yet"),
        (("--listen", "galaxy=127.0.0.1:5000"), "the faces are taskdriver, fabric, ufo, console, architect"),
        (("--listen", "taskdriver"), "say FACE=HOST:PORT or FACE=off"),
        (("--listen", "taskdriver=3000"), "--listen taskdriver: '3000' must be HOST:PORT"),
        (("--auth", "none"), "--auth: 'none' must be one of open, required"),
        (("--project", "not a name"), "--project: "),
        (("--config", "/no/such.toml"), "--config: there is no file /no/such.toml"),
    ],
)
def test_what_was_asked_wrongly_is_one_line_and_exit_code_2(arguments: tuple[str, ...], words: str, home: Path) -> None:
    wrong = refused(home, *arguments)
    assert wrong.code == 2
    assert wrong.line.startswith("treadle: ")
    assert words in wrong.line
    assert not home.exists()


def test_a_password_on_the_command_line_is_refused(home: Path) -> None:
    wrong = refused(home, "--store", "postgresql://u:hidden@localhost/n")
    assert wrong.code == 2
    assert "TREADLE_STORE" in wrong.line
    assert "hidden" not in wrong.stderr + wrong.stdout


def test_an_address_that_others_reach_is_refused_without_a_key(home: Path) -> None:
    wrong = refused(home, "--listen", "taskdriver=0.0.0.0:0", "--listen", "fabric=off")
    assert wrong.code == 1
    assert "--auth required" in wrong.line
    assert str(home / "secrets" / "local.key") in wrong.line


def test_with_a_key_required_a_login_needs_it(home: Path) -> None:
    with server(home, "--auth", "required", "--listen", "taskdriver=0.0.0.0:0", "--listen", "fabric=off") as up:
        key = (home / "secrets" / "local.key").read_text().strip()
        login = {"agentName": "w1", "projectId": "default"}
        assert up.ask("taskdriver", "/api/auth/login", login)[0] == 401
        assert up.ask("taskdriver", "/api/auth/login", login, key=key)[0] == 200


def test_auth_cannot_be_required_and_switched_off(home: Path) -> None:
    wrong = refused(home, "--auth", "required", TASKDRIVER_ENABLE_AUTH="false")
    assert wrong.code == 1
    assert "take one of them away" in wrong.line


def test_taskdrivers_own_variables_are_heard(home: Path) -> None:
    own = {"TASKDRIVER_PORT": "0", "TASKDRIVER_HOST": "localhost", "TASKDRIVER_ENABLE_AUTH": "false"}
    with server(home, "--listen", "fabric=off", **own, TASKDRIVER_DEFAULT_MAX_RETRIES="7") as up:
        assert up.urls["taskdriver"].startswith("http://localhost:")
        status, answer = up.ask("taskdriver", "/api/projects/default")
        assert (status, answer["data"]["config"]["defaultMaxRetries"]) == (200, 7)


@pytest.mark.parametrize("auth", ["open", "required"])
def test_the_two_commands_it_prints_submit_a_task_and_work_on_it_with_curl_alone(auth: str, home: Path) -> None:
    with server(home, "--auth", auth) as up:
        submit, work = [line for line in up.printed.splitlines() if " tasks submit " in line or "curl" in line][-2:]
        for _ in range(2):  # pasting them again is no different
            subprocess.run(["bash", "-euc", submit], check=True, capture_output=True, timeout=20)
            shown = subprocess.run(["bash", "-ec", work], check=True, capture_output=True, timeout=20).stdout
            task = json.loads(shown)["data"]
            assert task["status"] == "completed"
            assert (task["instructions"], task["result"]["output"]) == ("Say hello", "Hello")


def test_a_warning_is_logged_and_the_start_goes_on(home: Path) -> None:
    with server(home, TREADLE_TASKDRIVER_RATE_LIMT="1") as up:
        up.logged("TREADLE_TASKDRIVER_RATE_LIMT is not a setting")


def spoil(database: Path) -> None:
    database.write_bytes(b"this is no database. " * 500)


def from_the_future(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()


def in_the_way(database: Path) -> None:
    database.mkdir()


@pytest.mark.parametrize(
    ("harm", "words"),
    [(spoil, "is damaged"), (from_the_future, "newer Treadle"), (in_the_way, "cannot be written to")],
)
def test_a_store_that_cannot_be_opened_is_one_line(harm: object, words: str, home: Path) -> None:
    home.mkdir(mode=0o700)
    assert callable(harm)
    harm(home / "treadle.db")
    wrong = refused(home, *ANYWHERE)
    assert wrong.code == 1
    assert words in wrong.line
    assert not (home / "server.json").exists()


def test_a_store_that_cannot_be_reached_is_one_line(home: Path) -> None:
    wrong = refused(home, *ANYWHERE, TREADLE_STORE="postgresql://u:hidden@127.0.0.1:1/n")
    assert wrong.code == 1
    assert "127.0.0.1:1" in wrong.line
    assert "hidden" not in wrong.stderr


def test_a_replica_is_the_same_server(home: Path) -> None:
    with server(home, verb="serve") as up:
        assert up.ask("fabric", "/health")[0] == 200
        assert up.stop() == 0


def test_a_reader_that_left_does_not_stop_it(home: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        command("up", *ANYWHERE, "--ready-file", ready), env=environment(home), stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    try:
        until(ready.exists, "the ready file")
        url = json.loads(ready.read_bytes())["listeners"]["fabric"]
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            assert answer.status == 200
    finally:
        process.terminate()
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"Traceback" not in log


def test_on_a_terminal_the_addresses_are_a_table_and_the_log_is_for_eyes(home: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("up", *ANYWHERE, "--ready-file", ready),
        env=environment(home),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while b"Ctrl-C" not in shown or b"ready" not in shown:
            shown += os.read(ours, 65536)
        process.send_signal(signal.SIGHUP)  # what a terminal that is closed sends
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = shown.decode()
    assert "address" in text
    assert "http://127.0.0.1:" in text
    assert '"message"' not in text


def test_a_start_imports_nothing_heavy() -> None:
    heavy = "mcp httpx2 rich typer psycopg apsw opentelemetry pydantic"
    code = f"import sys, treadle.compose; print([each for each in {heavy.split()} if each in sys.modules])"
    done = subprocess.run([*command()[:1], "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
