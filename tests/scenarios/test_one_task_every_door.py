"""One task is one task: asked for at one door, taken at a second, finished at a third, the same wherever it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.faces.mcp.asking import over_http
from tests.scenarios.serving import server
from treadle.client import Client, NewTask


async def test_each_door_shows_what_happened_at_the_others(tmp_path: Path) -> None:
    with server(tmp_path / "home") as up:
        key = (tmp_path / "home" / "secrets" / "local.key").read_text().strip()
        async with Client(up.urls["fabric"], key) as native, over_http(up, "auto") as tools:
            token = up.login("ann")

            def taskdriver(path: str, body: Any = None) -> Any:
                status, answer = up.ask("taskdriver", path, body, token=token)
                assert status == 200, answer
                return answer["data"]

            await native.create_type("default", "greet", template="Greet {{name}}")
            (asked,) = await native.submit("default", NewTask(type="greet", variables={"name": "Ada"}))
            taken = taskdriver("/api/agents/ann/next-task", {"projectId": "default"})["task"]
            assert (taken["id"], taken["instructions"], taken["status"]) == (asked.id, "Greet Ada", "running")
            shown = await native.task(asked.id)
            assert (shown.state, shown.worker) == ("running", "ann")

            await tools("complete_task", agentName="ann", projectId="default", taskId=asked.id, result="Hello Ada")

            over_taskdriver = taskdriver(f"/api/tasks/{asked.id}")
            over_native = await native.task(asked.id)
            over_mcp = await tools("get_task", taskId=asked.id)
            assert over_mcp == over_taskdriver
            assert over_taskdriver["status"] == "completed"
            assert over_taskdriver["result"]["output"] == over_native.result.output == "Hello Ada"
            assert [attempt["agentName"] for attempt in over_taskdriver["attempts"]] == ["ann"]
            assert [attempt.worker for attempt in over_native.attempts] == ["ann"]
            stats = taskdriver("/api/projects/default")["stats"]
            assert stats["completedTasks"] == (await native.project("default")).tally.succeeded == 1
