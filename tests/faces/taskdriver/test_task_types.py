"""Task types (contract 4.2, 5.2, 6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.taskdriver.serving import Api
from treadle.core.ids import new_id

TYPES = "/api/projects/{P}/task-types"


def test_the_whole_object_with_the_projects_defaults(api: Api) -> None:
    api.data("PUT", "/api/projects/{P}", {"config": {"defaultMaxRetries": 7, "defaultLeaseDurationMinutes": 25}})
    made = api.data("POST", TYPES, {"name": "t", "template": "{{b}} and {{a}}, {{b}}"})
    assert made == {
        "id": made["id"], "projectId": api.project, "name": "t", "template": "{{b}} and {{a}}, {{b}}",
        "variables": ["a", "b"], "duplicateHandling": "allow", "maxRetries": 7, "leaseDurationMinutes": 25,
        "createdAt": made["createdAt"], "updatedAt": made["createdAt"],
    }  # fmt: skip
    assert api.data("GET", f"/api/task-types/{made['id']}") == made
    api.data("PUT", "/api/projects/{P}", {"config": {"defaultMaxRetries": 1}})
    assert api.data("GET", f"/api/task-types/{made['id']}")["maxRetries"] == 7  # its value at creation


def test_a_template_is_optional(api: Api) -> None:
    made = api.data("POST", TYPES, {"name": "bare"})
    assert "template" not in made
    assert made["variables"] == []


@pytest.mark.parametrize(
    ("template", "variables"),
    [
        ("{{a}}{{_no}}{{ b }}{{c c}}{{{d}}}{e}", ["a", "d"]),
        ("{{A1_b}}", ["A1_b"]),
        ("{{1a}}", []),
        ("nothing", []),
    ],
)
def test_which_braces_are_placeholders(api: Api, template: str, variables: list[str]) -> None:
    assert api.data("POST", TYPES, {"name": "t", "template": template})["variables"] == variables


def test_given_variables_cover_the_template_and_may_be_more(api: Api) -> None:
    made = api.data("POST", TYPES, {"name": "t", "template": "{{a}}", "variables": ["z", "a"]})
    assert made["variables"] == ["z", "a"]
    told = api.refused(422, "POST", TYPES, {"name": "u", "template": "{{a}}{{b}}{{c}}", "variables": ["b"]})
    (row,) = told["validationDetails"]
    assert row["field"] == "variables"
    assert "a, c" in row["message"]


@pytest.mark.parametrize("minutes", [0.1, 0.5, 1.5, 10, 1440])
def test_leases_may_be_fractions_of_a_minute(api: Api, minutes: float) -> None:
    made = api.data("POST", TYPES, {"name": "t", "template": "{{a}}", "leaseDurationMinutes": minutes})
    assert made["leaseDurationMinutes"] == minutes
    api.task(made["id"])
    task = api.next()["task"]
    from datetime import datetime

    length = datetime.fromisoformat(task["leaseExpiresAt"]) - datetime.fromisoformat(task["assignedAt"])
    assert length.total_seconds() == pytest.approx(minutes * 60, abs=0.01)


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "name", '"name" is required'),
    ({"name": "two words"}, "name", "Task type name can only contain letters, numbers, hyphens, and underscores"),
    ({"name": "x" * 101}, "name", '"name" length must be less than or equal to 100 characters long'),
    ({"name": "t", "template": ""}, "template", '"template" is not allowed to be empty'),
    ({"name": "t", "template": "x" * 10_001}, "template",
     '"template" length must be less than or equal to 10000 characters long'),
    ({"name": "t", "variables": ["1a"]}, "variables.0", ""),
    ({"name": "t", "variables": [f"v{n}" for n in range(21)]}, "variables",
     '"variables" must contain less than or equal to 20 items'),
    ({"name": "t", "variables": "a"}, "variables", '"variables" must be an array'),
    ({"name": "t", "duplicateHandling": "skip"}, "duplicateHandling",
     '"duplicateHandling" must be one of ['),
    ({"name": "t", "maxRetries": 11}, "maxRetries", '"maxRetries" must be less than or equal to 10'),
    ({"name": "t", "maxRetries": 1.5}, "maxRetries", '"maxRetries" must be an integer'),
    ({"name": "t", "leaseDurationMinutes": 0.05}, "leaseDurationMinutes",
     '"leaseDurationMinutes" must be greater than or equal to 0.1'),
    ({"name": "t", "leaseDurationMinutes": 1441}, "leaseDurationMinutes",
     '"leaseDurationMinutes" must be less than or equal to 1440'),
    ({"name": "t", "other": 1}, "other", '"other" is not allowed'),
]  # fmt: skip


def _rule_is_told(told: dict[str, Any], field: str, rule: str) -> bool:
    return any(row["field"] == field and rule in row["message"] for row in told["validationDetails"])


@pytest.mark.parametrize(("sent", "field", "rule"), BAD, ids=lambda value: str(value)[:40])
def test_what_is_refused(api: Api, sent: dict[str, Any], field: str, rule: str) -> None:
    assert _rule_is_told(api.refused(422, "POST", TYPES, sent), field, rule)
    if "name" in sent and (rest := {**sent}):
        id = api.type()
        assert _rule_is_told(api.refused(422, "PUT", f"/api/task-types/{id}", rest), field, rule)


def test_a_name_is_taken_once_in_a_project(api: Api) -> None:
    first = api.data("POST", TYPES, {"name": "same"})
    assert "same" in api.refused(409, "POST", TYPES, {"name": "same"})["error"]
    other = api.data("POST", TYPES, {"name": "other"})
    api.refused(409, "PUT", f"/api/task-types/{other['id']}", {"name": "same"})
    api.data("PUT", f"/api/task-types/{first['id']}", {"name": "same"})
    elsewhere = Api(api.server, "w1", "default", allowMultipleSessions=True)
    name = f"only-{new_id()}"
    api.data("POST", TYPES, {"name": name})
    elsewhere.data("POST", TYPES, {"name": name})


def test_the_list_is_newest_first(api: Api) -> None:
    for name in ("a", "b", "c"):
        api.data("POST", TYPES, {"name": name})
    assert [each["name"] for each in api.data("GET", TYPES)] == ["c", "b", "a"]
    assert [each["name"] for each in api.data("GET", f"{TYPES}?limit=1&offset=1")] == ["b"]


def test_an_update_recomputes_variables_and_keeps_what_it_does_not_name(api: Api) -> None:
    made = api.data("POST", TYPES, {"name": "t", "template": "{{a}}", "maxRetries": 2, "leaseDurationMinutes": 1.5})
    api.server.clock.advance(1)
    changed = api.data("PUT", f"/api/task-types/{made['id']}", {"template": "{{c}}{{b}}"})
    assert changed["variables"] == ["b", "c"]
    assert (changed["maxRetries"], changed["leaseDurationMinutes"]) == (2, 1.5)
    assert changed["updatedAt"] > made["updatedAt"]
    assert changed["createdAt"] == made["createdAt"]
    api.refused(422, "PUT", f"/api/task-types/{made['id']}", {"variables": ["b"]})
    bare = api.data("PUT", f"/api/task-types/{made['id']}", {"template": None})
    assert "template" not in bare
    for key in ("id", "projectId", "createdAt"):
        api.refused(422, "PUT", f"/api/task-types/{made['id']}", {key: made[key]})


def test_later_edits_leave_retries_of_old_tasks_and_change_lease_and_template(api: Api) -> None:
    id = api.type(maxRetries=2, leaseDurationMinutes=10)
    api.task(id)
    api.data("PUT", f"/api/task-types/{id}", {"maxRetries": 5, "leaseDurationMinutes": 1, "template": "Now {{a}}"})
    task = api.next()["task"]
    assert task["maxRetries"] == 2
    assert task["instructions"] == "Now x"
    api.server.clock.advance(61)
    assert api.data("POST", "/api/projects/{P}/cleanup-leases")["reclaimedTasks"] == 1


def test_a_type_with_tasks_is_not_deleted(api: Api) -> None:
    id = api.type()
    task = api.task(id)["id"]
    api.refused(409, "DELETE", f"/api/task-types/{id}")
    api.data("POST", f"/api/tasks/{api.next()['id']}/complete", {"result": "r"})
    api.refused(409, "DELETE", f"/api/task-types/{id}")  # whatever its state
    api.data("DELETE", f"/api/tasks/{task}")
    assert "message" in api.data("DELETE", f"/api/task-types/{id}")
    for method in ("GET", "DELETE"):
        api.refused(404, method, f"/api/task-types/{id}")
    api.refused(404, "PUT", f"/api/task-types/{id}", {})
