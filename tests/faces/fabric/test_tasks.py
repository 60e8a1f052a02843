"""Tasks as people handle them, over the native API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.faces.fabric.conftest import Api, held


def test_a_task_says_everything(api: Api, project: str) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    asked = {
        "name": "t-1", "kind": "print", "queue": "slow", "description": "one", "instructions": "do it",
        "variables": {"n": 1, "list": [1, None]}, "batch": "b", "priority": -3, "max_retries": 9,
        "not_before": later.astimezone().isoformat(), "on_lost": "fail",
    }  # fmt: skip
    [task] = api.submit(project, asked)
    for name, value in asked.items():
        if name != "not_before":
            assert task[name] == value
    assert datetime.fromisoformat(task["not_before"]) == later
    assert (task["state"], task["retries"], task["fence"], task["worker"], task["result"]) == (
        "queued",
        0,
        0,
        None,
        None,
    )
    assert task["submitter"] == "anonymous@fabric"
    assert api.claim(project, queue="slow") == []
    assert "attempts" not in task
    assert api.get(f"/api/queue/tasks/{task['id']}") == {**task, "attempts": []}


def test_a_thousand_tasks_keep_their_order(api: Api, project: str) -> None:
    made = api.submit(project, *({"variables": {"n": n}} for n in range(1000)))
    assert [task["variables"]["n"] for task in made] == list(range(1000))
    page = api.get("/api/queue/tasks", project=project, limit=3, offset=500)
    assert page["total"] == 1000
    assert [task["id"] for task in page["tasks"]] == [task["id"] for task in made[500:503]]


def test_the_list_is_narrowed(api: Api, project: str) -> None:
    api.post(f"/api/queue/projects/{project}/types", {"name": "t"}, 201)
    first, second, third = api.submit(project, {"batch": "b"}, {"type": "t"}, {})
    api.claim(project, worker="ann")

    def ids(**query: Any) -> list[str]:
        return [task["id"] for task in api.get("/api/queue/tasks", project=project, **query)["tasks"]]

    assert ids(batch="b") == [first["id"]]
    assert ids(type="t") == [second["id"]]
    assert ids(worker="ann") == [first["id"]]
    assert ids(state="queued") == [second["id"], third["id"]]
    assert ids(state=["queued", "running"]) == [first["id"], second["id"], third["id"]]
    api.get("/api/queue/tasks", 404, project=project, type="nope")
    api.get("/api/queue/tasks", 400)


def test_one_fault_refuses_all_unless_asked_otherwise(api: Api, project: str) -> None:
    api.post(f"/api/queue/projects/{project}/types", {"name": "t", "template": "{{a}}"}, 201)
    tasks = [{"type": "t", "variables": {"a": 1}}, {"type": "t"}, {"type": "t", "variables": {"b": 1}}]
    refusal = api.post("/api/queue/submit", {"project": project, "tasks": tasks}, 400)
    assert [fault["field"] for fault in refusal["faults"]] == ["tasks.1.variables", "tasks.2.variables"]
    assert api.get("/api/queue/tasks", project=project)["total"] == 0
    results = api.post("/api/queue/submit", {"project": project, "tasks": tasks, "atomic": False})["results"]
    assert [sorted(result) for result in results] == [["task"], ["error"], ["error"]]
    assert results[1]["error"]["code"] == "invalid"
    assert api.get("/api/queue/tasks", project=project)["total"] == 1


def test_an_idempotency_key_makes_things_once(api: Api, project: str) -> None:
    body = {"project": project, "tasks": [{}, {}]}
    key = {"headers": {"Idempotency-Key": "once"}}
    assert api.post("/api/queue/submit", body, **key) == api.post("/api/queue/submit", body, **key)
    assert api.get("/api/queue/tasks", project=project)["total"] == 2
    other = {"project": project, "tasks": [{"priority": 1}]}
    assert api.post("/api/queue/submit", other, 409, **key)["code"] == "conflict"
    long = {"headers": {"Idempotency-Key": "x" * 201}}
    assert api.post("/api/queue/submit", body, 400, **long)["faults"][0]["field"] == "Idempotency-Key"


def test_a_queued_task_is_edited_and_a_running_one_is_not(api: Api, project: str) -> None:
    [task] = api.submit(project, {"instructions": "a", "batch": "b"})
    edited = api.ask("PATCH", f"/api/queue/tasks/{task['id']}", {"instructions": "c", "batch": None})
    assert (edited["instructions"], edited["batch"]) == ("c", None)
    api.claim(project)
    refusal = api.ask("PATCH", f"/api/queue/tasks/{task['id']}", {"instructions": "d"}, 409)
    assert refusal["code"] == "wrong_state"


def test_cancel_requeue_delete(api: Api, project: str) -> None:
    [task] = api.submit(project, {})
    [running] = api.claim(project)
    address = f"/api/queue/tasks/{task['id']}"
    assert api.ask("DELETE", address, status=409)["code"] == "wrong_state"
    cancelled = api.post(f"{address}/cancel", {"reason": "not needed"})
    assert (cancelled["state"], cancelled["result"]["error"], cancelled["result"]["reason"]) == (
        "cancelled", "not needed", "cancelled",
    )  # fmt: skip
    assert [attempt["state"] for attempt in cancelled["attempts"]] == ["cancelled"]
    assert api.word("finish", held(running))[0]["error"]["code"] == "wrong_state"
    assert api.post(f"{address}/cancel", status=409)["code"] == "wrong_state"
    assert api.post(f"{address}/requeue")["state"] == "queued"
    api.ask("DELETE", address, status=204)
    assert api.get(address, 404)["error"] == f"Task {task['id']} not found"


def test_a_caller_waits_for_the_end(api: Api, project: str) -> None:
    [task] = api.submit(project, {})
    [running] = api.claim(project)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(api.get, f"/api/queue/tasks/{task['id']}", wait=20)
        api.word("finish", held(running, output=42))
        assert waiting.result()["result"]["output"] == 42
    assert api.get(f"/api/queue/tasks/{task['id']}", wait=20)["state"] == "succeeded"


@pytest.mark.parametrize("field", ["colour", "state", "id"])
def test_an_unknown_field_is_refused(api: Api, project: str, field: str) -> None:
    refusal = api.post("/api/queue/submit", {"project": project, "tasks": [{field: "x"}]}, 400)
    assert refusal["faults"][0]["field"] == f"tasks.0.{field}"


def test_an_instant_needs_an_offset(api: Api, project: str) -> None:
    task = {"not_before": "2030-01-01T00:00:00"}
    refusal = api.post("/api/queue/submit", {"project": project, "tasks": [task]}, 400)
    assert refusal["faults"][0]["field"] == "tasks.0.not_before"
