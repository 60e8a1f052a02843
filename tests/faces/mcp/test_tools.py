"""The tools against a real server over streamable HTTP, by the official SDK's client."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.faces.mcp.asking import Tools, over_http, text_of
from tests.faces.mcp.contract import TOOLS
from tests.scenarios.serving import Running

MADE_UP = re.compile(r"agent-\d{13}-[0-9a-z]{6}")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_tools_are_those_of_the_contract(up: Running, mode: str) -> None:
    async with over_http(up, mode) as tools:
        assert tools.client.server_info is not None
        assert tools.client.server_info.name == "taskdriver-mcp"
        assert "get_next_task" in (tools.client.instructions or "")
        listed = (await tools.client.list_tools()).tools
        shown = {
            tool.name: (set(tool.input_schema["required"]), set(tool.input_schema["properties"])) for tool in listed
        }
        assert shown == {name: (needs, needs | may | {"format"}) for name, (needs, may) in TOOLS.items()}
        assert list(shown) == list(TOOLS)
        for tool in listed:
            assert tool.description
            assert tool.input_schema["additionalProperties"] is False
            assert tool.input_schema["properties"]["format"]["enum"] == ["json", "human"]
            assert tool.input_schema["properties"]["format"]["default"] == "human"


async def test_every_tool_refuses_what_it_does_not_know_and_asks_for_what_it_needs(tools: Tools) -> None:
    for name, (needs, _) in TOOLS.items():
        error = await tools.refused(name, nonsense=1)
        assert error.startswith("Validation failed: "), name
        assert 'nonsense: "nonsense" is not allowed' in error, name
        assert {need for need in needs if f'"{need}" is required' in error} == needs, name
        assert "must be one of [json, human]" in await tools.refused(name, format="xml"), name


async def test_every_tool_once(tools: Tools, project: str) -> None:
    """A walk through all of them; the answers' shapes are the contract's."""
    used: set[str] = set()

    async def use(name: str, /, **arguments: Any) -> Any:
        used.add(name)
        return await tools(name, **arguments)

    named = f"{project}-b"
    made = await use("create_project", name=named, description="d", instructions="i", maxRetries=2, leaseDuration=1.5)
    assert made["config"]["defaultMaxRetries"] == 2
    assert made["config"]["defaultLeaseDurationMinutes"] == 1.5
    assert named in [each["name"] for each in await use("list_projects", limit=2)]
    assert (await use("get_project", projectId=named, verbose=True))["id"] == made["id"]
    closed = await use("update_project", projectId=made["id"], description="e", status="closed")
    assert (closed["description"], closed["instructions"], closed["status"]) == ("e", "i", "closed")
    assert named not in [each["name"] for each in await use("list_projects")]
    assert named in [each["name"] for each in await use("list_projects", includeClosed=True)]

    type = await use(
        "create_task_type", projectId=project, name="wave", template="Wave at {{whom}}", duplicateHandling="fail",
        leaseDurationMinutes=2,
    )  # fmt: skip
    assert (type["variables"], type["duplicateHandling"], type["leaseDurationMinutes"]) == (["whom"], "fail", 2)
    assert [each["name"] for each in await use("list_task_types", projectId=project)] == ["wave", "greet"]
    changed = await use("update_task_type", projectId=project, taskType="wave", maxRetries=0)
    assert changed["maxRetries"] == 0
    assert await use("get_task_type", taskTypeId=type["id"]) == changed

    task = await use("create_task", projectId=project, id="one", variables='{"whom": "Ada"}', description="first")
    assert (task["id"], task["typeId"], task["status"], task["description"]) == ("one", type["id"], "queued", "first")
    bulk = await use(
        "create_tasks_bulk",
        projectId=project,
        tasks=json.dumps([{"type": "greet", "vars": {"who": "Bob"}}, {"type": "greet"}, 7]),
    )
    assert bulk["tasksCreated"] == len(bulk["createdTasks"]) == 1
    assert bulk["errors"] == ["Task 1: Missing required template variables: who", "Task 2: must be a JSON object"]
    assert [each["id"] for each in await use("list_tasks", projectId=project)] == ["one", bulk["createdTasks"][0]["id"]]
    assert (await use("get_task", taskId="one"))["instructions"] == "Wave at Ada"
    counted = await use("peek_next_task", projectId=project)
    assert counted == {"projectId": task["projectId"], "availableTasks": 2}

    got = await use("get_next_task", projectId=project, agentName="w1")
    assert (got["id"], got["assignedTo"], got["instructions"]) == ("one", "w1", "Wave at Ada")
    assert [(each["agentName"], each["taskId"]) for each in await use("list_active_agents", projectId=project)] == [
        ("w1", "one")
    ]
    more = await use("extend_lease", taskId="one", minutes=5)
    longer = await use("extend_task_lease", taskId="one", extensionMinutes=5)
    assert longer.keys() == {"taskId", "extensionMinutes", "newExpiresAt"}
    assert got["leaseExpiresAt"] < more["leaseExpiresAt"] < longer["newExpiresAt"]
    leases = await use("get_lease_stats", projectId=project)
    assert leases == {
        "projectId": task["projectId"],
        "projectName": project,
        "stats": {
            "totalRunningTasks": 1,
            "expiredTasks": 0,
            "tasksByStatus": {"queued": 1, "running": 1, "completed": 0, "failed": 0},
        },
    }
    failed = await use("fail_task", agentName="w1", projectId=project, taskId="one", error="no arm")
    assert (failed["status"], failed["retryCount"], failed["result"]["error"]) == ("failed", 1, "no arm")
    other = await use("get_next_task", projectId=project, agentName="w1")
    done = await use(
        "complete_task",
        agentName="w1",
        projectId=task["projectId"],
        taskId=other["id"],
        result="hi",
        outputs='{"n": 1}',
    )
    assert done["status"] == "completed"
    assert done["result"] == {"success": True, "output": "hi", "metadata": {"n": 1}}
    stats = await use("get_project_stats", projectId=project)
    assert stats.keys() == {"projectId", "projectName", "stats"}
    assert stats["stats"]["project"]["stats"] == {
        "totalTasks": 2, "completedTasks": 1, "failedTasks": 1, "queuedTasks": 0, "runningTasks": 0,
    }  # fmt: skip
    swept = await use("cleanup_expired_leases", projectId=project)
    assert swept == {
        "projectId": task["projectId"], "projectName": project, "reclaimedTasks": 0, "cleanedAgents": 0,
    }  # fmt: skip
    health = await use("health_check")
    assert (health["status"], health["storage"]["healthy"]) == ("healthy", True)
    assert used == set(TOOLS)


async def test_a_task_from_its_creation_to_its_end(tools: Tools, project: str) -> None:
    await tools("create_task", projectId=project, type="greet", variables={"who": "Ada"}, id="ada")
    first = await tools.told("get_next_task", projectId=project)
    name = first["agentName"]
    assert MADE_UP.fullmatch(name)
    assert first["data"]["status"] == "running"
    again = await tools.told("get_next_task", projectId=project)
    assert (again["agentName"], again["data"]["leaseExpiresAt"]) == (name, first["data"]["leaseExpiresAt"])
    failed = await tools(
        "fail_task", agentName=name, projectId=project, taskId="ada", error="not now", canRetry=True
    )  # fmt: skip
    assert (failed["status"], failed["retryCount"]) == ("queued", 1)
    second = await tools("get_next_task", projectId=project)
    assert [attempt["status"] for attempt in second["attempts"]] == ["failed", "running"]
    await tools("complete_task", agentName=name, projectId=project, taskId="ada", result="done")
    nothing = await tools.told("get_next_task", projectId=project)
    assert nothing == {
        "success": False, "data": None, "agentName": name, "error": "No tasks available for assignment",
    }  # fmt: skip
    empty = await tools.told("peek_next_task", projectId=project)
    assert empty["success"] is False
    assert empty["data"]["availableTasks"] == 0


async def test_an_agent_that_comes_back_gets_its_task_and_its_twin_is_refused(up: Running, project: str) -> None:
    async with over_http(up) as before, over_http(up) as after:
        await before("create_task", projectId=project, id="held", variables='{"who": "Ada"}')
        await before("get_next_task", projectId=project, agentName="ada")
        assert (await after("get_next_task", projectId=project, agentName="ada"))["id"] == "held"
        handing_in = {"agentName": "ada", "projectId": project, "taskId": "held"}
        assert "has passed to another holder" in await before.refused("complete_task", **handing_in, result="late")
        assert "has passed to another holder" in await before.refused("extend_lease", taskId="held", minutes=1)
        assert "is held by ada, not by eve" in await after.refused(
            "complete_task", **{**handing_in, "agentName": "eve"}, result="stolen"
        )
        assert (await after("complete_task", **handing_in, result="done"))["result"]["output"] == "done"


async def test_an_agent_without_a_session_holds_by_its_name(up: Running, project: str) -> None:
    async with over_http(up, "auto") as tools:
        assert tools.client.protocol_version >= "2026"
        await tools("create_task", projectId=project, id="held", variables='{"who": "Ada"}')
        name = (await tools.told("get_next_task", projectId=project))["agentName"]
        assert (await tools("get_next_task", projectId=project, agentName=name))["id"] == "held"
        done = await tools("complete_task", agentName=name, projectId=project, taskId="held", result="done")
        assert done["status"] == "completed"


async def test_the_last_name_that_was_used_is_remembered(tools: Tools, up: Running, project: str) -> None:
    assert (await tools.told("get_next_task", projectId=project, agentName="ada"))["agentName"] == "ada"
    assert (await tools.told("get_next_task", projectId=project))["agentName"] == "ada"
    async with over_http(up) as other:
        assert MADE_UP.fullmatch((await other.told("get_next_task", projectId=project))["agentName"])


async def test_completed_tasks_are_listed_when_asked_for_and_lists_come_in_pages(tools: Tools, project: str) -> None:
    made = [{"id": f"t{place}", "vars": {"who": "x"}} for place in range(4)]
    await tools("create_tasks_bulk", projectId=project, tasks=made)
    await tools("get_next_task", projectId=project, agentName="w1")
    await tools("complete_task", agentName="w1", projectId=project, taskId="t0", result="done")
    await tools("get_next_task", projectId=project, agentName="w1")

    async def listed(**which: Any) -> tuple[list[str], dict[str, Any]]:
        told = await tools.told("list_tasks", projectId=project, **which)
        return [task["id"] for task in told["data"]], told["pagination"]

    def pages(total: int, offset: int, limit: int, start: int, end: int, more: bool) -> dict[str, Any]:
        return {
            "total": total, "offset": offset, "limit": limit, "rangeStart": start, "rangeEnd": end, "hasMore": more,
        }  # fmt: skip

    assert await listed() == (["t1", "t2", "t3"], pages(3, 0, 50, 1, 3, False))
    assert await listed(includeCompleted=True, limit=2) == (["t0", "t1"], pages(4, 0, 2, 1, 2, True))
    assert await listed(status="all", limit=2, offset=2) == (["t2", "t3"], pages(4, 2, 2, 3, 4, False))
    assert await listed(status="completed", limit=0) == (["t0"], pages(1, 0, 0, 1, 1, False))
    assert await listed(status="failed") == ([], pages(0, 0, 50, 0, 0, False))
    assert await listed(assignedTo="w1") == (["t1"], pages(1, 0, 50, 1, 1, False))
    assert (await listed(type="greet", limit=0, offset=1))[0] == ["t2", "t3"]
    assert "Task type wave not found" in await tools.refused("list_tasks", projectId=project, type="wave")


async def test_what_was_made_looks_the_same_over_the_http_api(tools: Tools, up: Running, project: str) -> None:
    shown = await tools("create_task", projectId=project, id="mine", variables='{"who": "Ada"}')
    status, answer = up.ask("taskdriver", "/api/tasks/mine", token=up.login(project=project))
    assert status == 200
    assert answer["data"] == shown


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("get_project", {"projectId": "nowhere"}, "Project nowhere not found"),
        ("get_project_stats", {"projectId": "nowhere"}, "Project nowhere not found"),
        ("get_next_task", {"projectId": "nowhere"}, "Project nowhere not found"),
        ("get_task", {"taskId": "nothing"}, "Task nothing not found"),
        ("get_task_type", {"taskTypeId": "nothing"}, "Task type nothing not found"),
        ("extend_lease", {"taskId": "nothing", "minutes": 1}, "Task nothing not found"),
        ("create_project", {"name": "default", "description": "d"}, "A project named default exists already"),
        (
            "create_project",
            {"name": "two words", "description": "", "maxRetries": 11},
            "Validation failed: name: Project name can only contain letters, numbers, hyphens, and underscores, "
            'description: "description" is not allowed to be empty, '
            'maxRetries: "maxRetries" must be less than or equal to 10',
        ),
        (
            "create_task", {"projectId": "default"},
            "Validation failed: type: Project default has no task types; create one first",
        ),
        (
            "create_task", {"projectId": "default", "variables": "[]"},
            'Validation failed: variables: "variables" must be a JSON object',
        ),
        (
            "create_task", {"projectId": "default", "variables": "{"},
            'Validation failed: variables: "variables" must be JSON',
        ),
        (
            "create_tasks_bulk", {"projectId": "default", "tasks": "[]"},
            'Validation failed: tasks: "tasks" must be a JSON array of 1 to 1000 tasks',
        ),
        (
            "list_tasks", {"projectId": "default", "limit": 1001},
            'Validation failed: limit: "limit" must be less than or equal to 1000',
        ),
        ("no_such_tool", {}, "Tool no_such_tool not found"),
    ],
)  # fmt: skip
async def test_refusals(tools: Tools, name: str, arguments: dict[str, Any], error: str) -> None:
    assert await tools.refused(name, **arguments) == error


async def test_a_task_is_handed_in_where_it_belongs(tools: Tools, project: str) -> None:
    task = await tools("create_task", projectId=project, variables='{"who": "Ada"}')
    handing_in = {"agentName": "w1", "taskId": task["id"], "result": "done"}
    assert "not found" in await tools.refused("complete_task", projectId="default", **handing_in)
    assert "is queued; it must be running" in await tools.refused("complete_task", projectId=project, **handing_in)
    await tools("get_next_task", projectId=project, agentName="w1")
    assert '"outputs" must be a JSON object' in await tools.refused(
        "complete_task", projectId=project, **handing_in, outputs="7"
    )
    await tools("complete_task", projectId=project, **handing_in, outputs="")
    assert "is succeeded; it must be running" in await tools.refused("complete_task", projectId=project, **handing_in)


async def test_duplicates_and_closed_projects(tools: Tools, project: str) -> None:
    await tools("update_task_type", projectId=project, taskType="greet", duplicateHandling="ignore")
    made = [await tools("create_task", projectId=project, variables={"who": "Ada"}) for _ in range(2)]
    assert made[0]["id"] == made[1]["id"]
    await tools("update_task_type", projectId=project, taskType="greet", duplicateHandling="fail")
    assert "exists already" in await tools.refused("create_task", projectId=project, variables={"who": "Ada"})
    assert "exists already" in await tools.refused(
        "create_tasks_bulk", projectId=project, tasks=[{"vars": {"who": "Ada"}}]
    )
    await tools("update_project", projectId=project, status="closed")
    assert "is closed" in await tools.refused("get_next_task", projectId=project)
    assert (await tools("get_project", projectId=project))["status"] == "closed"


async def test_for_a_person(tools: Tools, project: str) -> None:
    result = await tools.client.call_tool("get_project", {"projectId": project, "format": "human"})
    lines = text_of(result).splitlines()
    assert lines[0] == "Done"
    assert f"name: {project}" in lines
    assert "  totalTasks: 0" in lines
    refused = await tools.client.call_tool("get_project", {"projectId": "nowhere", "format": "human"})
    assert text_of(refused) == "Not done: Project nowhere not found"
    assert refused.is_error


async def test_without_a_type_a_bulk_takes_the_newest(tools: Tools, project: str) -> None:
    await tools("create_task_type", projectId=project, name="plain")
    told = await tools.told("create_tasks_bulk", projectId=project, tasks=[{"instructions": "Sit"}, {"type": "greet"}])
    assert told["message"] == "1 of 2 tasks created"
    assert told["data"]["createdTasks"][0]["instructions"] == "Sit"
    assert "Task type wave not found" in await tools.refused(
        "create_tasks_bulk", projectId=project, tasks=[{"instructions": "Sit"}, {"type": "wave"}]
    )
