"""Every program that the document prints, in its order, run as it is printed; only its host and port are ours.

Waiting is made short from outside the programs: `sleep` and `setTimeout` are, not what the programs say.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faces.ufo.serving import Server, served, until
from tests.faces.ufo.stock import Device, device

SAMPLES = Path(__file__).resolve().parents[2] / "seeds" / "ufo.txt"
DEVICE = "device_windows_001"  # the name in all programs
GREETING = "import time\n_sleep = time.sleep\ntime.sleep = lambda seconds: _sleep(min(seconds, 0.05))\n"
ROUNDS = """import time
_rounds = [0]
def _sleep(seconds):
    _rounds[0] += 1
    if _rounds[0] == 3:
        raise SystemExit(0)
time.sleep = _sleep
"""
RUNNER = """
const text = require('fs').readFileSync(0, 'utf8');
const AsyncFunction = (async () => {}).constructor;  // the program awaits at its top level
const soon = (work, ms) => setTimeout(work, Math.min(ms, 50));  // its own waits only: fetch has timers, too
new AsyncFunction('setTimeout', text)(soon).catch((error) => { console.error(error); process.exit(1); });
"""


def carried_out(request: str) -> dict[str, Any]:
    """What the device of the document answers."""
    return {"action": f"Did: {request}", "screenshot": "aGk=", "control_label": "Address bar", "control_text": "x"}


def samples() -> dict[str, str]:
    found = {}
    for part in SAMPLES.read_text("utf-8").split("#### ")[1:]:
        name, _, text = part.partition("\n")
        found[name] = text
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("seeds")) as running:
        yield running


@pytest.fixture(scope="module")
def windows(server: Server) -> Iterator[Device]:
    with device(server.socket, DEVICE, platform="windows", itself=carried_out) as connected:
        server.online(DEVICE)
        yield connected


def text_of(name: str, server: Server) -> str:
    return samples()[name].replace("localhost:5000", f"127.0.0.1:{server.port}")


def ran(command: list[str], text: str) -> str:
    """What a program printed that ended well."""
    quiet = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment = quiet | {"PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, input=text, env=environment, capture_output=True, text=True, timeout=50, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def python(server: Server, name: str, before: str = "", after: str = "") -> str:
    return ran([sys.executable, "-"], f"{GREETING}{before}\n{text_of(name, server)}\n{after}\n")


def test_the_document_is_all_here() -> None:
    assert len(samples()) == 18


def test_check_device_availability(server: Server, windows: Device) -> None:
    assert f"{DEVICE} is online" in python(server, "availability.py")


def test_filter_by_client_type(server: Server, windows: Device) -> None:
    before = text_of("availability.py", server)
    assert "Devices online: 1\nConstellations online: 0" in python(server, "by_type.py", before)


def test_monitor_client_count(server: Server, windows: Device) -> None:
    told = python(server, "client_count.py", f"{ROUNDS}\nimport requests")
    assert told.count("] Clients online: 1") == 3


def test_the_recommended_polling(server: Server, windows: Device) -> None:
    server.dispatch(DEVICE, "Open Chrome and navigate to github.com", "github_navigation_task")
    told = python(server, "polling.py")
    assert "Task completed in" in told
    assert "Result: {" in told
    assert "'action': 'Did: Open Chrome and navigate to github.com'" in told
    assert "'control_label': 'Address bar'" in told


def test_the_polling_helper_gives_up_on_what_is_unknown(server: Server) -> None:
    asked = text_of("polling.py", server).partition("# Usage")[0]
    after = 'try:\n    wait_for_result("nobody_asked_for_this", timeout=0.2, interval=0.05)\n' \
            'except TimeoutError as e:\n    print(e)'  # fmt: skip
    assert "did not complete within 0.2s" in ran([sys.executable, "-"], f"{GREETING}\n{asked}\n{after}\n")


def test_the_health_monitor(server: Server, windows: Device) -> None:
    told = python(server, "health_monitor.py", ROUNDS, "monitor_server_health()")
    assert told.count("Server healthy - 1 clients connected") == 3


def test_the_complete_workflow(server: Server, windows: Device) -> None:
    told = python(server, "workflow.py")
    assert "Task dispatched: notepad_hello_world (session: " in told
    assert "Task completed!" in told
    assert "Result: {'status': 'completed'" in told


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_commands(server: Server, windows: Device) -> None:
    def curl(name: str) -> str:
        return ran(["/bin/sh", "-s"], text_of(name, server))

    assert '{"status":"dispatched","task_name":"open_calculator","client_id":"device_windows_001"' in curl(
        "dispatch.sh"
    )
    assert f'{{"online_clients":["{DEVICE}"]}}' in curl("clients.sh")
    server.result("open_calculator")
    assert '{"status":"done","result":{' in curl("result.sh")
    assert '"action":"Did: Open Calculator"' in curl("result.sh")
    assert f'{{"status":"healthy","online_clients":["{DEVICE}"]}}' in curl("health.sh")


@pytest.mark.needs("node")
def test_the_javascript_program(server: Server, windows: Device) -> None:
    # the document has lost the first half of one string: a sign and its closing quote
    text = text_of("dispatch_and_wait.js", server).replace("console.error(', error", "console.error('', error")
    told = ran(["node", "-e", RUNNER], text)
    assert "Dispatched: chrome_google (session: " in told
    assert "Task completed!" in told
    assert "action: 'Did: Open Chrome and go to google.com'" in told


def test_robust_error_handling(server: Server, windows: Device) -> None:
    assert "Dispatched successfully: " in python(server, "safe.py")
    after = """
dispatch_task_safe("", "Open Notepad")
dispatch_task_safe("device_windows_001", "")
dispatch_task_safe("device_windows_404", "Open Notepad")
dispatch_task_safe("device_windows_001", ["Open Notepad"])
"""
    told = python(server, "safe.py", "", after)
    assert "Bad request: Empty client ID\n   Ensure 'client_id' is provided and not empty" in told
    assert "Bad request: Empty task content\n   Ensure 'request' is provided and not empty" in told
    assert "Client 'device_windows_404' is not online\n   Check /api/clients for available devices" in told
    assert "Invalid request format\n   Verify JSON structure matches API schema" in told


def test_is_client_online(server: Server, windows: Device) -> None:
    after = 'print(is_client_online("device_windows_001"), is_client_online("somebody"))'
    told = python(server, "is_online.py", "import requests", after)
    assert told == "True False\n"


def test_exponential_backoff(server: Server, windows: Device) -> None:
    server.dispatch(DEVICE, "anything", "with_backoff")
    after = 'print(poll_with_backoff("with_backoff")["action"])'
    assert python(server, "backoff.py", "import requests", after) == "Did: anything\n"


def test_check_server_health(server: Server, windows: Device) -> None:
    after = "logging.getLogger().setLevel(logging.INFO)\nprint(check_server_health())"
    told = python(server, "check_health.py", "", after)
    assert told.startswith("True\n")
    assert "Server healthy - 1 clients" in told


def test_dispatch_with_timeout(server: Server, windows: Device) -> None:
    after = 'print(dispatch_with_timeout("device_windows_001", "anything", "timed")["status"])'
    assert python(server, "with_timeout.py", "import requests", after) == "completed\n"


def test_log_all_interactions(server: Server, windows: Device) -> None:
    after = """
dispatch_with_logging("device_windows_001", "anything", "logged")
try:
    dispatch_with_logging("nobody", "anything", "logged")
except requests.HTTPError:
    pass
"""
    told = python(server, "with_logging.py", "", after)
    assert "Task dispatched successfully: session_id=" in told
    assert "Dispatch failed: 404 - Client not online" in told


def test_cache_the_client_list(server: Server, windows: Device) -> None:
    before = """import requests
tasks = [{"client_id": "device_windows_001"}, {"client_id": "nobody"}, {"client_id": "device_windows_001"}]
def dispatch_task(task):
    body = {"client_id": task["client_id"], "request": "anything"}
    print(requests.post("http://localhost:5000/api/dispatch", json=body).json()["status"])
""".replace("localhost:5000", f"127.0.0.1:{server.port}")
    assert python(server, "client_cache.py", before) == "dispatched\ndispatched\n"


def test_a_task_that_the_device_cannot_carry_out_is_done_too(server: Server) -> None:
    """A stock device, and no model configured: the program of the document ends, and its result says what to do."""
    with device(server.socket, "device_plain"):
        until(lambda: "device_plain" in server.http.get("/api/clients").json()["online_clients"], "the device")
        after = 'print(dispatch_with_timeout("device_plain", "Open Notepad", "plain"))'
        told = python(server, "with_timeout.py", "import requests", after)
    assert "'status': 'failed'" in told
    assert "[ufo.llm]" in told
