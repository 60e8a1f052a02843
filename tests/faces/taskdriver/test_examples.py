"""The document's own story, step by step, and the smoke sequence of the contract (section 16)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faces.taskdriver.serving import Api


@dataclass
class Step:
    """One request; `P`, `T` and `K` stand for the project, the type and the task. `has` lies in the answer's data."""

    method: str
    path: str
    body: Any
    status: int
    has: dict[str, Any] = field(default_factory=dict)


SMOKE = [
    Step("POST", "/api/projects/P/task-types", {"name": "t", "template": "Do {{a}}", "maxRetries": 1}, 201,
         {"variables": ["a"]}),
    Step("POST", "/api/projects/P/tasks", {"typeId": "T", "variables": {"a": "x"}, "batchId": "b1"}, 201,
         {"status": "queued"}),
    Step("POST", "/api/projects/P/tasks", {"typeId": "T", "variables": {}}, 422),
    Step("GET", "/api/projects/P/peek-next-task", None, 200, {"tasksAvailable": 1}),
    Step("POST", "/api/agents/w1/next-task", {"projectId": "P"}, 200,
         {"agentName": "w1", "task.status": "running", "task.instructions": "Do x", "task.assignedTo": "w1"}),
    Step("POST", "/api/agents/w1/next-task", {"projectId": "P"}, 200, {"attempts": 1, "same": True}),
    Step("POST", "/api/agents/w2/next-task", {"projectId": "P"}, 200, {"task": None, "agentName": "w2"}),
    Step("POST", "/api/tasks/K/complete", {"agentName": "w2", "result": "?"}, 409),
    Step("POST", "/api/tasks/K/fail", {"agentName": "w1", "error": "e", "canRetry": True}, 200,
         {"status": "queued", "retryCount": 1}),
    Step("POST", "/api/agents/w2/next-task", {"projectId": "P"}, 200, {"attempts": 2}),
    Step("POST", "/api/tasks/K/fail", {"agentName": "w2", "error": "e"}, 200, {"status": "failed", "retryCount": 2}),
    Step("GET", "/api/projects/P/tasks?batchId=b1&status=failed", None, 200, {"rows": 1}),
]  # fmt: skip


def test_the_smoke_sequence(api: Api) -> None:
    known = {"P": api.project}
    lease: str | None = None

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        return known.get(value, value) if isinstance(value, str) else value

    for number, step in enumerate(SMOKE, 1):
        path = "/".join(known.get(part.partition("?")[0], part) for part in step.path.split("/"))
        answer = api.ask(step.method, path, filled(step.body))
        where = f"step {number}: {step.method} {path}: {answer.text}"
        assert answer.status_code == step.status, where
        data = answer.json().get("data")
        for name, wanted in step.has.items():
            if name == "rows":
                assert len(data) == wanted, where
            elif name == "attempts":
                assert len(data["task"]["attempts"]) == wanted, where
            elif name == "same":
                assert (data["task"]["id"], data["task"]["leaseExpiresAt"]) == (known["K"], lease), where
            else:
                found: Any = data
                for part in name.split("."):
                    found = found[part]
                assert found == wanted, where
        if step.path.endswith("task-types"):
            known["T"] = data["id"]
        if step.path.endswith("/tasks") and step.status == 201:
            known["K"] = data["id"]
        if step.path.endswith("/next-task") and data["task"]:
            lease = data["task"]["leaseExpiresAt"]


def test_the_document_told_as_a_story(api: Api) -> None:
    """Every example body of the document, in its order, with what its text and examples say of the answer."""
    name = f"ai-analysis-{api.project}"
    created = api.data("POST", "/api/projects", {
        "name": name,
        "description": "AI-powered code analysis project",
        "instructions": "Follow security best practices when analyzing code...",
        "config": {"defaultMaxRetries": 3, "defaultLeaseDurationMinutes": 15, "reaperIntervalMinutes": 2},
    })  # fmt: skip
    assert list(created) == [
        "id", "name", "description", "instructions", "status", "createdAt", "updatedAt", "config", "stats",
    ]  # fmt: skip
    assert created["config"] == {
        "defaultMaxRetries": 3, "defaultLeaseDurationMinutes": 15, "reaperIntervalMinutes": 2,
    }  # fmt: skip
    assert created["stats"] == {
        "totalTasks": 0, "completedTasks": 0, "failedTasks": 0, "queuedTasks": 0, "runningTasks": 0,
    }  # fmt: skip
    project = created["id"]
    changed = api.data("PUT", f"/api/projects/{project}", {
        "description": "Updated description", "instructions": "Updated instructions...", "status": "active",
        "config": {"defaultMaxRetries": 5},
    })  # fmt: skip
    assert changed["config"] == {**created["config"], "defaultMaxRetries": 5}
    assert (changed["description"], changed["instructions"]) == ("Updated description", "Updated instructions...")

    kind = api.data("POST", f"/api/projects/{project}/task-types", {
        "name": "code-security-analysis",
        "template": "Analyze {{repository_url}} for security vulnerabilities focusing on {{security_aspects}}",
        "variables": ["repository_url", "security_aspects"],
        "duplicateHandling": "ignore", "maxRetries": 3, "leaseDurationMinutes": 30,
    })  # fmt: skip
    kind = api.data("PUT", f"/api/task-types/{kind['id']}", {"template": "Updated template...", "maxRetries": 5})
    assert (kind["template"], kind["maxRetries"], kind["variables"]) == ("Updated template...", 5, [])

    variables = {
        "repository_url": "https://github.com/company/webapp",
        "security_aspects": "authentication,authorization,input-validation",
    }
    words = "Analyze security vulnerabilities in authentication system"
    task = api.data("POST", f"/api/projects/{project}/tasks", {
        "typeId": kind["id"], "instructions": words, "variables": variables, "batchId": "batch-security-audit-2024",
    })  # fmt: skip
    assert (task["instructions"], task["variables"], task["batchId"]) == (
        words, variables, "batch-security-audit-2024",
    )  # fmt: skip
    items = [
        {"typeId": kind["id"], "instructions": f"Analyze module {letter}", "variables": {"module": module}}
        for letter, module in (("A", "authentication"), ("B", "authorization"))
    ]
    bulk = api.data("POST", f"/api/projects/{project}/tasks/bulk", {
        "tasks": items, "batchId": "batch-security-audit-2024",
    })  # fmt: skip
    assert (bulk["tasksCreated"], bulk["errors"]) == (2, [])
    second = bulk["createdTasks"][1]["id"]
    updated = api.data("PUT", f"/api/tasks/{second}", {
        "instructions": "Updated instructions...", "variables": {"updated_variable": "new_value"},
    })  # fmt: skip
    assert updated["instructions"] == "Updated instructions..."
    assert updated["variables"] == {"updated_variable": "new_value"}

    agent = "security-analysis-agent"
    given = api.data("POST", f"/api/agents/{agent}/next-task", {"projectId": project})
    assert given["agentName"] == agent
    assert given["id"] == given["task"]["id"] == task["id"]
    assert {
        "id", "projectId", "typeId", "instructions", "variables", "status", "assignedTo", "assignedAt",
        "leaseExpiresAt", "createdAt",
    } <= set(given["task"])  # fmt: skip
    (active,) = api.data("GET", f"/api/projects/{project}/agents")
    assert active["agentName"] == agent
    assert active["taskId"] == task["id"]
    assert active["status"] == "running"
    longer = api.data("POST", f"/api/tasks/{task['id']}/extend-lease", {"extensionMinutes": 30})
    assert longer["leaseExpiresAt"] > active["leaseExpiresAt"]
    outputs = {
        "vulnerabilities_found": 8, "critical_count": 3, "high_count": 0, "medium_count": 5,
        "report_url": "https://reports.example.com/security-123",
    }  # fmt: skip
    told = "Security analysis completed successfully. Found 3 critical vulnerabilities."
    done = api.data(
        "POST", f"/api/tasks/{task['id']}/complete", {"agentName": agent, "result": told, "outputs": outputs}
    )
    assert done["status"] == "completed"
    assert done["result"] == {"success": True, "output": told, "metadata": outputs}
    next_one = api.data("POST", f"/api/agents/{agent}/next-task", {"projectId": project})["id"]
    back = api.data("POST", f"/api/tasks/{next_one}/fail", {
        "agentName": agent, "error": "Repository access denied. Authentication failed.", "canRetry": True,
    })  # fmt: skip
    assert (back["status"], back["retryCount"]) == ("queued", 1)
    assert api.data("POST", f"/api/projects/{project}/cleanup-leases") == {"reclaimedTasks": 0, "cleanedAgents": 0}
    stats = api.data("GET", f"/api/projects/{project}/stats")
    assert stats["queueDepth"] == 2
    assert stats["recentActivity"]["tasksCompletedLastHour"] == 1
    api.data("DELETE", f"/api/tasks/{second}")
    api.refused(404, "GET", f"/api/tasks/{second}")
    api.refused(409, "DELETE", f"/api/task-types/{kind['id']}")
    assert "message" in api.data("DELETE", f"/api/projects/{project}")
    api.refused(404, "GET", f"/api/projects/{project}")


def test_nothing_to_do_is_no_success_and_still_200(api: Api) -> None:
    answer = api.ask("POST", "/api/agents/w1/next-task", {"projectId": api.project})
    assert answer.status_code == 200
    told = answer.json()
    assert told["success"] is False
    assert told["error"] == "No tasks available for assignment"
    assert told["data"] == {"task": None, "agentName": "w1"}
    assert told["correlationId"] == answer.headers["x-correlation-id"]


@pytest.mark.parametrize("name", ["invalid name!", "two words"])
def test_the_documents_validation_error(api: Api, name: str) -> None:
    rule = "Project name can only contain letters, numbers, hyphens, and underscores"
    told = api.refused(422, "POST", "/api/projects", {"name": name, "description": "d"})
    assert told["error"] == f"Validation failed: name: {rule}"
    assert told["validationDetails"] == [{"field": "name", "message": rule, "value": name}]
