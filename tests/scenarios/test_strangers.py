"""Whoever shows no key may look at runs on this machine and do nothing to them, through whichever door they come."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faces.mcp.asking import over_http
from tests.scenarios.fleet import Caller, end_all
from tests.scenarios.serving import Running, server, until

SHELL = {"shell": "id"}
AS_A_RUN = {"kind": "run", "queue": "node/any", "variables": {"command": SHELL}}


@dataclass
class Guarded:
    """A server with one run that goes on, one that waits for a node, and one that has failed."""

    up: Running
    caller: Caller
    running: str
    queued: str
    failed: str
    node: str


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home = tmp_path_factory.mktemp("strangers") / "home"
    with server(home, TREADLE_NODE_SLOTS="1") as up:
        caller = Caller(up, home)
        failed = caller.start("false")
        assert caller.ended(failed)["code"] == 1
        running = caller.start(shell="echo ready; read line; echo $line", stdin=True, pty={})
        caller.prints(running, b"ready")
        (node,) = caller.nodes()
        yield Guarded(up, caller, running, caller.start("true"), failed, node)
        end_all(home)


def state(guarded: Guarded) -> Any:
    """All there is to the runs, but for what the node does to keep its lease."""
    call = guarded.caller
    tasks = [call.must(f"/api/queue/tasks/{id}") for id in (guarded.running, guarded.queued, guarded.failed)]
    for task in tasks:
        task.pop("updated", None)
        task.pop("lease", None)
        for attempt in task["attempts"]:
            attempt.pop("lease_until", None)
    total = call.must("/api/runs")["total"]
    return tasks, total, call.raw(guarded.running), call.must("/api/queue/projects/runs")["state"]


def asked(guarded: Guarded, face: str, method: str, path: str, body: Any, token: str = "") -> int:
    """The status of a request without a key; the token of a login that took none is no key."""
    path = path.format(running=guarded.running, queued=guarded.queued, failed=guarded.failed, node=guarded.node)
    text = json.dumps(body).replace("{running}", guarded.running).replace("{queued}", guarded.queued)
    text = text.replace("{failed}", guarded.failed).replace("{node}", guarded.node)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(guarded.up.urls[face] + path, text.encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            said = json.loads(answer.read() or b"{}")
            results = said.get("results", []) if isinstance(said, dict) else []
            refused = any(result.get("error") for result in results) if results else said.get("success") is False
            return 403 if refused else int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


REFUSED = (400, 401, 403, 404, 409, 422)
NATIVE = [
    ("POST", "/api/runs", SHELL),
    ("POST", "/api/runs/{running}/input", {"text": "x\n"}),
    ("POST", "/api/runs/{running}/resize", {"columns": 9, "rows": 9}),
    ("POST", "/api/runs/{running}/signal", {"signal": "KILL"}),
    ("POST", "/api/runs/{queued}/signal", {"signal": "TERM"}),
    ("POST", "/api/tasks/{running}/output?fence=1&at=0&stream=stdout", "x"),
    ("POST", "/api/tasks/{running}/output?fence=1&at=100&stream=stdout", "x"),
    ("POST", "/api/queue/tasks/{running}/cancel", {}),
    ("POST", "/api/queue/tasks/{queued}/cancel", {}),
    ("POST", "/api/queue/tasks/{failed}/requeue", {}),
    ("PATCH", "/api/queue/tasks/{queued}", {"variables": {"command": SHELL}}),
    ("DELETE", "/api/queue/tasks/{queued}", {}),
    ("DELETE", "/api/queue/tasks/{failed}", {}),
    ("POST", "/api/queue/submit", {"project": "runs", "tasks": [AS_A_RUN]}),
    ("POST", "/api/queue/submit", {"project": "default", "tasks": [AS_A_RUN]}),
    ("POST", "/api/queue/submit", {"project": "runs", "tasks": [{**AS_A_RUN, "kind": "work"}]}),
    ("POST", "/api/queue/claim", {"project": "runs", "worker": "w", "queue": "node/any"}),
    ("POST", "/api/queue/claim", {"project": "runs", "worker": "node/{node}", "resume": True}),
    ("POST", "/api/queue/extend", {"tasks": [{"id": "{running}", "fence": 1}], "seconds": 9}),
    ("POST", "/api/queue/finish", {"tasks": [{"id": "{running}", "fence": 1, "ok": True}]}),
    ("POST", "/api/queue/release", {"tasks": [{"id": "{running}", "fence": 1}]}),
    ("DELETE", "/api/queue/nodes/{node}", {}),
    ("PATCH", "/api/queue/projects/runs", {"state": "closed"}),
    ("DELETE", "/api/queue/projects/runs", {}),
]
TASKDRIVER = [
    ("POST", "/api/auth/login", {"agentName": "node/{node}", "projectId": "runs"}),
    ("POST", "/api/agents/node%2F{node}/next-task", {"projectId": "runs"}),
    ("POST", "/api/agents/w/next-task", {"projectId": "runs"}),
    ("POST", "/api/tasks/{running}/complete", {"result": "x"}),
    ("POST", "/api/tasks/{running}/complete", {"result": "x", "agentName": "node/{node}"}),
    ("POST", "/api/tasks/{running}/fail", {"error": "x", "agentName": "node/{node}"}),
    ("POST", "/api/tasks/{running}/extend-lease", {"extensionMinutes": 5}),
    ("PUT", "/api/projects/runs/tasks/{queued}", {"instructions": "x"}),
    ("DELETE", "/api/projects/runs/tasks/{queued}", {}),
    ("PUT", "/api/projects/runs", {"status": "closed"}),
    ("DELETE", "/api/projects/runs", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), NATIVE)
def test_the_native_api(guarded: Guarded, method: str, path: str, body: Any) -> None:
    before = state(guarded)
    assert asked(guarded, "fabric", method, path, body) in REFUSED
    assert state(guarded) == before


@pytest.mark.parametrize(("method", "path", "body"), TASKDRIVER)
def test_the_taskdriver_api(guarded: Guarded, method: str, path: str, body: Any) -> None:
    before = state(guarded)
    for token in ("", guarded.up.login("w", "runs")):
        assert asked(guarded, "taskdriver", method, path, body, token) in REFUSED
    assert state(guarded) == before


async def test_the_tools(guarded: Guarded) -> None:
    before = state(guarded)
    async with over_http(guarded.up) as tools:
        for name, arguments in {
            "complete_task": {"projectId": "runs", "taskId": guarded.running, "result": "x"},
            "fail_task": {"projectId": "runs", "taskId": guarded.running, "error": "x"},
        }.items():
            for agent in (f"node/{guarded.node}", guarded.node):
                await tools.refused(name, agentName=agent, **arguments)
        await tools.refused("get_next_task", agentName=f"node/{guarded.node}", projectId="runs")
        await tools.refused("extend_lease", taskId=guarded.running, extensionMinutes=5)
        await tools.refused("update_project", projectId="runs", status="closed")
    assert state(guarded) == before


def test_with_the_key_all_of_it_goes_on(guarded: Guarded) -> None:
    guarded.caller.must(f"/api/runs/{guarded.running}/input", {"text": "mine\n"})
    assert guarded.caller.ended(guarded.running)["code"] == 0
    assert guarded.caller.ended(guarded.queued)["code"] == 0
    until(lambda: guarded.caller.raw(guarded.running).endswith(b"mine\r\n"), "what it printed")
