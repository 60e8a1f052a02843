"""Projects and task types over the native API."""

from __future__ import annotations

import re

from tests.faces.fabric.conftest import Api

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_a_project_from_its_making_to_its_end(api: Api) -> None:
    asked = {"name": "looms", "description": "all of them", "policy": {"lease": 1.5, "max_retries": 0}}
    made = api.post("/api/queue/projects", asked, 201)
    assert made["policy"] == {"max_retries": 0, "lease": 1.5, "sweep_every": 60.0}
    assert made["tally"] == {"queued": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "total": 0}
    assert INSTANT.fullmatch(made["created"])
    assert api.get("/api/queue/projects/looms") == api.get(f"/api/queue/projects/{made['id']}") == made

    edit = {"state": "closed", "policy": {"sweep_every": 5}, "instructions": "mind the shuttle"}
    closed = api.ask("PATCH", "/api/queue/projects/looms", edit)
    assert closed["policy"] == {"max_retries": 0, "lease": 1.5, "sweep_every": 5.0}
    assert (closed["state"], closed["instructions"], closed["description"]) == (
        "closed",
        edit["instructions"],
        "all of them",
    )
    names = {state: [each["name"] for each in api.get("/api/queue/projects", state=state)["projects"]]
             for state in ("active", "closed", "all")}  # fmt: skip
    assert "looms" not in names["active"]
    assert "looms" in names["closed"]
    assert "looms" in names["all"]
    refusal = api.post("/api/queue/submit", {"project": "looms", "tasks": [{}]}, 409)
    assert refusal["code"] == "project_closed"

    api.ask("DELETE", "/api/queue/projects/looms", status=204)
    assert api.get("/api/queue/projects/looms", 404)["code"] == "not_found"


def test_a_name_is_taken_once(api: Api, project: str) -> None:
    assert api.post("/api/queue/projects", {"name": project}, 409)["code"] == "duplicate"


def test_every_broken_rule_is_named(api: Api) -> None:
    body = {"name": "no spaces", "colour": "red", "policy": {"lease": 0, "max_retries": 11}}
    refusal = api.post("/api/queue/projects", body, 400)
    assert refusal["success"] is False
    assert refusal["code"] == "invalid"
    assert [fault["field"] for fault in refusal["faults"]] == ["name", "policy.max_retries", "policy.lease", "colour"]


def test_the_stats_follow_the_work(api: Api, project: str) -> None:
    api.submit(project, {}, {}, {})
    done, _ = api.claim(project, 2)
    api.word("finish", {"id": done["id"], "fence": done["fence"]})
    stats = api.get(f"/api/queue/projects/{project}/stats")
    assert stats["tally"] == {"queued": 1, "running": 1, "succeeded": 1, "failed": 0, "cancelled": 0, "total": 3}
    assert (stats["claimable"], stats["workers"], stats["succeeded_last_hour"]) == (1, 1, 1)
    assert stats["mean_seconds_last_hour"] > 0


def test_a_type_from_its_making_to_its_end(api: Api, project: str) -> None:
    types = f"/api/queue/projects/{project}/types"
    made = api.post(types, {"name": "greet", "template": "Greet {{who}}", "lease": 30}, 201)
    assert (made["variables"], made["lease"], made["max_retries"], made["duplicates"]) == (["who"], 30.0, 3, "allow")
    assert api.get(f"{types}/greet") == api.get(f"{types}/{made['id']}") == made
    assert api.get(types)["types"] == [made]
    assert api.post(types, {"name": "greet"}, 409)["code"] == "duplicate"

    changed = api.ask("PATCH", f"{types}/greet", {"template": "Greet {{who}} in {{where}}", "duplicates": "fail"})
    assert (changed["variables"], changed["duplicates"]) == (["where", "who"], "fail")

    [task] = api.submit(project, {"type": "greet", "variables": {"who": "Ann", "where": "Ulm"}})
    assert (task["instructions"], task["type_name"], task["type"]) == ("Greet Ann in Ulm", "greet", made["id"])
    assert api.ask("DELETE", f"{types}/greet", status=409)["code"] == "conflict"
    api.ask("DELETE", f"/api/queue/tasks/{task['id']}", status=204)
    api.ask("DELETE", f"{types}/greet", status=204)
    assert api.get(f"{types}/greet", 404)["error"] == "Task type greet not found"
