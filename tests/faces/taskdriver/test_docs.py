"""The OpenAPI document and the page that shows it (contract 1, design 4)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.faces.taskdriver.serving import Api, Server

CONTRACT = {
    "/api/auth/login": "POST",
    "/api/auth/logout": "POST",
    "/api/auth/session": "GET PUT",
    "/api/projects": "GET POST",
    "/api/projects/{projectId}": "GET PUT DELETE",
    "/api/projects/{projectId}/stats": "GET",
    "/api/projects/{projectId}/task-types": "GET POST",
    "/api/task-types/{typeId}": "GET PUT DELETE",
    "/api/projects/{projectId}/tasks": "GET POST",
    "/api/projects/{projectId}/tasks/bulk": "POST",
    "/api/tasks/{taskId}": "GET PUT DELETE",
    "/api/projects/{projectId}/agents": "GET POST",
    "/api/projects/{projectId}/peek-next-task": "GET",
    "/api/agents/{agentName}/next-task": "POST",
    "/api/tasks/{taskId}/complete": "POST",
    "/api/tasks/{taskId}/fail": "POST",
    "/api/tasks/{taskId}/extend-lease": "POST",
    "/api/projects/{projectId}/cleanup-leases": "POST",
    "/api/agents/{agentName}": "GET PUT DELETE",
    "/health": "GET",
    "/metrics": "GET",
    "/metrics/json": "GET",
}
"""Contract section 5, with the routes left over from older versions."""


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    told: dict[str, Any] = server.http.get("/openapi.json").json()
    return told


def test_the_document_lists_the_contracts_routes_and_no_other(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    listed = {path: {method.upper() for method in methods} for path, methods in document["paths"].items()}
    assert listed == {path: set(methods.split()) for path, methods in CONTRACT.items()}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = str(document)
    for name in re.findall(r"#/components/schemas/([^'\"]+)", text):
        assert name in document["components"]["schemas"]
    assert "#/$defs" not in text


def test_created_statuses_bodies_and_queries_are_documented(document: dict[str, Any]) -> None:
    create = document["paths"]["/api/projects/{projectId}/tasks"]["post"]
    assert "201" in create["responses"]
    assert {"400", "401", "404", "409", "422"} <= set(create["responses"])
    listed = document["paths"]["/api/projects/{projectId}/tasks"]["get"]["parameters"]
    assert {"status", "assignedTo", "batchId", "typeId", "limit", "offset"} <= {row["name"] for row in listed}
    assert document["paths"]["/api/auth/login"]["post"]["security"] == []
    item = document["components"]["schemas"]["BulkCreate"]["properties"]["tasks"]["items"]
    assert {"typeId", "type", "variables", "vars"} <= set(item["properties"])


def test_the_page_needs_no_other_server(server: Server) -> None:
    page = server.http.get("/api/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert re.findall(r"https?://", page.text) == []
    for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert server.http.get(path).status_code == 200, path


def test_answers_keep_the_schema_they_promise(api: Api, document: dict[str, Any]) -> None:
    """The answers of a working session, held against the document by a JSON Schema validator."""
    import jsonschema

    def check(method: str, path: str, pattern: str, body: Any = None) -> Any:
        answer = api.ask(method, path, body)
        responses = document["paths"][pattern][method.lower()]["responses"]
        schema = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
        whole = {**schema, "components": document["components"]}
        jsonschema.Draft202012Validator(whole).validate(answer.json())
        return answer.json().get("data")

    projects, types = "/api/projects/{projectId}", "/api/projects/{projectId}/task-types"
    kind = check("POST", "/api/projects/{P}/task-types", types, {"name": "t", "template": "{{a}}", "maxRetries": 1})
    tasks = "/api/projects/{projectId}/tasks"
    made = check("POST", "/api/projects/{P}/tasks", tasks, {"typeId": kind["id"], "variables": {"a": "x"}})
    check("POST", "/api/projects/{P}/tasks", tasks, {"typeId": kind["id"]})
    check("POST", "/api/projects/{P}/tasks/bulk", f"{tasks}/bulk", {"tasks": [{"type": "t"}, {"type": "t"}]})
    following = "/api/agents/{agentName}/next-task"
    check("POST", "/api/agents/w1/next-task", following, {})
    check("POST", "/api/agents/w2/next-task", following, {})
    check("GET", "/api/projects/{P}/agents", f"{projects}/agents")
    check("GET", "/api/agents/w1", "/api/agents/{agentName}")
    check("DELETE", "/api/agents/w1", "/api/agents/{agentName}")
    check("POST", f"/api/tasks/{made['id']}/extend-lease", "/api/tasks/{taskId}/extend-lease", {"extensionMinutes": 2})
    check("POST", f"/api/tasks/{made['id']}/fail", "/api/tasks/{taskId}/fail", {"error": "e"})
    check("POST", "/api/agents/w1/next-task", following, {})
    check("POST", f"/api/tasks/{made['id']}/complete", "/api/tasks/{taskId}/complete", {"result": "r", "outputs": {}})
    check("GET", "/api/projects/{P}/tasks", tasks)
    check("GET", "/api/projects/{P}/stats", f"{projects}/stats")
    check("GET", "/api/projects?status=all", "/api/projects")
    check("GET", "/api/auth/session", "/api/auth/session")
    check("GET", "/health", "/health")
    check("GET", "/metrics/json", "/metrics/json")
    check("GET", "/api/tasks/none", "/api/tasks/{taskId}")
