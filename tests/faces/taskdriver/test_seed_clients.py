"""The client programs that the document prints, run as they are printed.

They speak to http://localhost:3000. A test may not take that port, so the programs are told by the environment to reach
it through a proxy, as both their HTTP libraries understand; the proxy is the server under test itself.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faces.taskdriver.serving import ROOT, Api, Server, served

SEEDS = Path(__file__).resolve().parents[2] / "seeds"
AGENT, PROJECT = "my-agent", "project-id"  # the names in both programs
RUNNER = """
const text = require('fs').readFileSync(process.argv[1], 'utf8');
const AsyncFunction = (async () => {}).constructor;  // the program awaits at its top level
new AsyncFunction('require', text)(require).catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("seeds")) as running:
        running.do(lambda fabric: fabric.projects.create(PROJECT, ROOT))
        yield running


def run(command: list[str], server: Server, **more: str) -> None:
    """Run a program whose requests go to the server under test; it must end well."""
    kept = {name: value for name, value in os.environ.items() if name.lower() not in ("no_proxy", "http_proxy")}
    environment = {**kept, "HTTP_PROXY": server.url, "http_proxy": server.url, **more}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def completed_by(server: Server, program: list[str], **more: str) -> None:
    api = Api(server, "boss", PROJECT, allowMultipleSessions=True)
    task = api.task()
    run(program, server, **more)
    shown = api.data("GET", f"/api/tasks/{task['id']}")
    assert shown["status"] == "completed"
    assert shown["result"]["output"] == "Task completed successfully"
    assert [attempt["agentName"] for attempt in shown["attempts"]] == [AGENT]


def test_the_python_client(server: Server) -> None:
    completed_by(server, [sys.executable, str(SEEDS / "taskdriver.py.txt")])


@pytest.mark.needs("node")
def test_the_javascript_client(server: Server, request: pytest.FixtureRequest) -> None:
    modules = axios(request)
    completed_by(server, ["node", "-e", RUNNER, str(SEEDS / "taskdriver.js.txt")], NODE_PATH=str(modules))


def axios(request: pytest.FixtureRequest) -> Path:
    """A node_modules with what the lock file says; kept between runs."""
    lock = SEEDS / "package-lock.json"
    cache = request.config.cache
    npm = shutil.which("npm")
    if cache is None or npm is None:
        return missing("npm")
    folder = cache.mkdir(f"axios-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}")
    modules = folder / "node_modules"
    if not (modules / "axios").is_dir():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SEEDS / name, folder / name)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)
        if done.returncode != 0:
            return missing("the npm registry", done.stderr)
    return modules


def missing(what: str, why: str = "") -> Path:
    if "node" in os.environ.get("TREADLE_TEST_REQUIRE", "").split(","):
        pytest.fail(f"{what} is missing and TREADLE_TEST_REQUIRE asks for node\n{why}")
    pytest.skip(f"needs {what}")
