"""Projects (contract 4.1, 5.1)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.taskdriver.serving import Api, Server, served
from treadle.core.clock import MINUTE
from treadle.core.ids import new_id
from treadle.core.projects import Policy

NO_TASKS = {"totalTasks": 0, "completedTasks": 0, "failedTasks": 0, "queuedTasks": 0, "runningTasks": 0}


def body(**more: Any) -> dict[str, Any]:
    return {"name": f"n-{new_id()}", "description": "d", **more}


def test_defaults(api: Api) -> None:
    made = api.data("POST", "/api/projects", body())
    assert made["status"] == "active"
    assert made["config"] == {
        "defaultMaxRetries": 3, "defaultLeaseDurationMinutes": 10, "reaperIntervalMinutes": 1,
    }  # fmt: skip
    assert made["stats"] == NO_TASKS
    assert "instructions" not in made
    assert made["createdAt"] == made["updatedAt"]


def test_a_server_may_have_other_defaults(tmp_path_factory: pytest.TempPathFactory) -> None:
    policy = Policy(max_retries=7, lease=2 * MINUTE, sweep_every=5 * MINUTE)
    with served(tmp_path_factory.mktemp("defaults"), policy=policy) as server:
        made = Api(server).data("POST", "/api/projects", body(config={"defaultMaxRetries": 0}))
        assert made["config"] == {
            "defaultMaxRetries": 0, "defaultLeaseDurationMinutes": 2, "reaperIntervalMinutes": 5,
        }  # fmt: skip


def fine(**more: Any) -> dict[str, Any]:
    """A body for the table, whose rows must have the same names in every test process."""
    return {"name": "fine", "description": "d", **more}


BAD = [
    ({"name": "x"}, "description", '"description" is required'),
    ({"description": "d"}, "name", '"name" is required'),
    (fine(name="two words"), "name",
     "Project name can only contain letters, numbers, hyphens, and underscores"),
    (fine(name=""), "name", '"name" is not allowed to be empty'),
    (fine(name="x" * 101), "name", '"name" length must be less than or equal to 100 characters long'),
    (fine(name=7), "name", '"name" must be a string'),
    (fine(name="line\n"), "name", "Project name can only contain letters, numbers, hyphens, and underscores"),
    (fine(description=""), "description", '"description" is not allowed to be empty'),
    (fine(description="x" * 501), "description",
     '"description" length must be less than or equal to 500 characters long'),
    (fine(instructions=""), "instructions", '"instructions" is not allowed to be empty'),
    (fine(instructions="x" * 10_001), "instructions",
     '"instructions" length must be less than or equal to 10000 characters long'),
    (fine(config={"defaultMaxRetries": 11}), "config.defaultMaxRetries",
     '"config.defaultMaxRetries" must be less than or equal to 10'),
    (fine(config={"defaultMaxRetries": -1}), "config.defaultMaxRetries",
     '"config.defaultMaxRetries" must be greater than or equal to 0'),
    (fine(config={"defaultLeaseDurationMinutes": 1.5}), "config.defaultLeaseDurationMinutes",
     '"config.defaultLeaseDurationMinutes" must be an integer'),
    (fine(config={"defaultLeaseDurationMinutes": 1441}), "config.defaultLeaseDurationMinutes",
     '"config.defaultLeaseDurationMinutes" must be less than or equal to 1440'),
    (fine(config={"reaperIntervalMinutes": 0}), "config.reaperIntervalMinutes",
     '"config.reaperIntervalMinutes" must be greater than or equal to 1'),
    (fine(config={"reaperIntervalMinutes": 61}), "config.reaperIntervalMinutes",
     '"config.reaperIntervalMinutes" must be less than or equal to 60'),
    (fine(config={"other": 1}), "config.other", '"config.other" is not allowed'),
    (fine(config=[]), "config", '"config" must be of type object'),
    (fine(id="x"), "id", '"id" is not allowed'),
    (fine(status="closed"), "status", '"status" is not allowed'),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "field", "rule"), BAD, ids=lambda value: str(value)[:40])
def test_what_is_refused_on_create(api: Api, sent: dict[str, Any], field: str, rule: str) -> None:
    told = api.refused(422, "POST", "/api/projects", sent)
    assert (field, rule) in [(row["field"], row["message"]) for row in told["validationDetails"]]
    assert f"{field}: {rule}" in told["error"]


def test_all_broken_rules_are_listed(api: Api) -> None:
    sent = {"name": "two words", "config": {"defaultMaxRetries": 11}, "extra": None}
    told = api.refused(422, "POST", "/api/projects", sent)
    rows = {row["field"]: row for row in told["validationDetails"]}
    assert set(rows) == {"name", "description", "config.defaultMaxRetries", "extra"}
    assert rows["name"]["value"] == "two words"
    assert rows["config.defaultMaxRetries"]["value"] == 11
    assert rows["extra"]["value"] is None
    assert "value" not in rows["description"]
    pairs = ", ".join(f"{row['field']}: {row['message']}" for row in told["validationDetails"])
    assert told["error"] == f"Validation failed: {pairs}"


def test_a_name_is_taken_once_closed_ones_included(api: Api) -> None:
    made = api.data("POST", "/api/projects", body())
    api.refused(409, "POST", "/api/projects", body(name=made["name"]))
    api.data("PUT", f"/api/projects/{made['id']}", {"status": "closed"})
    assert made["name"] in api.refused(409, "POST", "/api/projects", body(name=made["name"]))["error"]
    api.data("POST", "/api/projects", body(name=made["name"].upper()))  # names are case-sensitive
    other = api.data("POST", "/api/projects", body())
    api.refused(409, "PUT", f"/api/projects/{other['id']}", {"name": made["name"]})
    assert api.data("PUT", f"/api/projects/{made['id']}", {"name": made["name"]})["name"] == made["name"]


def test_reading_changes_nothing_and_updating_does(api: Api) -> None:
    before = api.data("GET", "/api/projects/{P}")
    api.server.clock.advance(1)
    assert api.data("GET", "/api/projects/{P}") == before
    after = api.data("PUT", "/api/projects/{P}", {"description": "new"})
    assert after["updatedAt"] > before["updatedAt"]
    assert after["createdAt"] == before["createdAt"]


def test_an_update_merges_the_config_and_null_takes_instructions_away(api: Api) -> None:
    api.data("PUT", "/api/projects/{P}", {"instructions": "i", "config": {"reaperIntervalMinutes": 7}})
    found = api.data("PUT", "/api/projects/{P}", {"config": {"defaultMaxRetries": 0}})
    assert found["config"] == {
        "defaultMaxRetries": 0, "defaultLeaseDurationMinutes": 10, "reaperIntervalMinutes": 7,
    }  # fmt: skip
    assert found["instructions"] == "i"
    assert "instructions" not in api.data("PUT", "/api/projects/{P}", {"instructions": None})


@pytest.mark.parametrize(
    "sent",
    [
        {"name": "two words"},
        {"description": ""},
        {"status": "open"},
        {"config": {"defaultMaxRetries": 11}},
        {"id": "x"},
        {"createdAt": "2020-01-01T00:00:00Z"},
    ],
)
def test_an_update_is_validated_as_a_create(api: Api, sent: dict[str, Any]) -> None:
    api.refused(422, "PUT", "/api/projects/{P}", sent)


def test_an_unknown_project_is_404_on_every_verb(api: Api) -> None:
    for method, path, sent in [
        ("GET", "", None),
        ("PUT", "", {}),
        ("DELETE", "", None),
        ("GET", "/stats", None),
        ("GET", "/task-types", None),
        ("POST", "/task-types", {"name": "t"}),
        ("GET", "/tasks", None),
        ("POST", "/tasks", {"typeId": new_id()}),
        ("POST", "/tasks/bulk", {"tasks": [{"type": "t"}]}),
        ("GET", "/agents", None),
        ("GET", "/peek-next-task", None),
        ("POST", "/cleanup-leases", None),
    ]:
        for ref in (new_id(), "nobody"):
            assert ref in api.refused(404, method, f"/api/projects/{ref}{path}", sent)["error"]


def test_a_name_works_wherever_an_id_does(api: Api) -> None:
    name = api.data("GET", "/api/projects/{P}")["name"]
    kind = api.data("POST", f"/api/projects/{name}/task-types", {"name": "t"})["id"]
    made = api.data("POST", f"/api/projects/{name}/tasks", {"typeId": kind, "instructions": "i"})
    assert made["projectId"] == api.project
    assert api.data("POST", f"/api/projects/{name}/tasks/bulk", {"tasks": [{"type": "t"}]})["tasksCreated"] == 1
    assert len(api.data("GET", f"/api/projects/{name}/tasks")) == 2
    assert api.data("GET", f"/api/projects/{name}/peek-next-task") == {"projectId": api.project, "tasksAvailable": 2}
    claimed = api.data("POST", "/api/agents/w1/next-task?wait=0.1", {"projectId": name})
    assert claimed["id"] == made["id"]
    assert len(api.data("GET", f"/api/projects/{name}/agents")) == 1
    assert api.data("GET", f"/api/projects/{name}/stats")["activeAgents"] == 1
    assert api.data("POST", f"/api/projects/{name}/cleanup-leases")["reclaimedTasks"] == 0
    assert api.data("PUT", f"/api/projects/{name}", {"description": "x"})["id"] == api.project


def test_the_list_is_newest_first_and_narrowed(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(tmp_path_factory.mktemp("list")) as server:
        api = Api(server)
        for name in ("a", "b", "c"):
            api.data("POST", "/api/projects", body(name=name))
        api.data("PUT", "/api/projects/b", {"status": "closed"})

        def names(query: str = "") -> list[str]:
            return [each["name"] for each in api.data("GET", f"/api/projects{query}")]

        assert names() == names("?status=active") == ["c", "a", "default"]
        assert names("?status=closed") == ["b"]
        assert names("?status=all") == names("?includeClosed=true") == ["c", "b", "a", "default"]
        assert names("?includeClosed=false") == ["c", "a", "default"]
        assert names("?status=all&limit=2&offset=1") == ["b", "a"]
        assert names("?offset=9") == []
        for query in ("limit=0", "limit=101", "limit=x", "offset=-1", "status=open", "offset=99999999999999999999"):
            told = api.refused(422, "GET", f"/api/projects?{query}")
            assert told["validationDetails"][0]["field"] == query.partition("=")[0]


def test_stats_count_every_state_and_the_last_hour(api: Api) -> None:
    kind = api.type(maxRetries=0)
    for letter in "abcde":
        api.task(kind, variables={"a": letter})
    first = api.next()["id"]
    api.server.clock.advance(12)
    api.data("POST", f"/api/tasks/{first}/complete", {"result": "r"})
    second = api.next()["id"]
    api.data("POST", f"/api/tasks/{second}/fail", {"error": "e"})
    api.next()
    api.next("w2")
    told = api.data("GET", "/api/projects/{P}/stats")
    counts = {"totalTasks": 5, "completedTasks": 1, "failedTasks": 1, "queuedTasks": 1, "runningTasks": 2}
    assert told["project"]["stats"] == counts == api.data("GET", "/api/projects/{P}")["stats"]
    assert (told["queueDepth"], told["activeAgents"]) == (1, 2)
    assert told["project"]["name"]
    recent = told["recentActivity"]
    assert (recent["tasksCompletedLastHour"], recent["tasksFailedLastHour"]) == (1, 1)
    assert recent["averageTaskDuration"] == pytest.approx(12, abs=1)
    api.server.clock.advance(601)  # both leases end
    assert api.data("GET", "/api/projects/{P}/stats")["activeAgents"] == 0
    api.data("PUT", "/api/auth/session", {"extendBy": 7200})
    api.server.clock.advance(3600)
    later = api.data("GET", "/api/projects/{P}/stats")["recentActivity"]
    assert later == {"tasksCompletedLastHour": 0, "tasksFailedLastHour": 0, "averageTaskDuration": 0}


def test_a_cancelled_task_counts_and_shows_as_failed(api: Api) -> None:
    from tests.faces.taskdriver.serving import ROOT

    id = api.task()["id"]
    api.server.do(lambda fabric: fabric.tasks.cancel(id, ROOT, "no longer wanted"))
    shown = api.data("GET", f"/api/tasks/{id}")
    assert shown["status"] == "failed"
    assert shown["result"] == {"success": False, "error": "no longer wanted", "canRetry": False}
    assert "failedAt" in shown
    assert [each["id"] for each in api.data("GET", "/api/projects/{P}/tasks?status=failed")] == [id]
    assert api.data("GET", "/api/projects/{P}")["stats"]["failedTasks"] == 1


def test_a_closed_project_is_read_and_not_written(api: Api) -> None:
    kind = api.type()
    task = api.task(kind)["id"]
    api.data("PUT", "/api/projects/{P}", {"status": "closed"})
    for method, path, sent in [
        ("POST", "/api/projects/{P}/task-types", {"name": "more"}),
        ("PUT", f"/api/task-types/{kind}", {"maxRetries": 1}),
        ("POST", "/api/projects/{P}/tasks", {"typeId": kind, "variables": {"a": "b"}}),
        ("POST", "/api/projects/{P}/tasks/bulk", {"tasks": [{"typeId": kind, "variables": {"a": "b"}}]}),
        ("POST", "/api/agents/w1/next-task", {"projectId": api.project}),
        ("POST", "/api/agents/w1/next-task?wait=1", {"projectId": api.project}),
    ]:
        assert "closed" in api.refused(409, method, path, sent)["error"]
    for path in ("", "/stats", "/task-types", "/tasks", "/agents", "/peek-next-task"):
        api.data("GET", f"/api/projects/{{P}}{path}")
    api.data("GET", f"/api/tasks/{task}")
    api.data("POST", "/api/projects/{P}/cleanup-leases")
    api.data("PUT", "/api/projects/{P}", {"status": "active"})
    assert api.next()["id"] == task


def test_deleting_takes_everything_along(api: Api, server: Server) -> None:
    kind = api.type()
    api.task(kind)
    running = api.next()["id"]
    boss = Api(server, "boss", "default", allowMultipleSessions=True)
    assert "message" in boss.data("DELETE", f"/api/projects/{api.project}")
    boss.refused(404, "GET", f"/api/task-types/{kind}")
    boss.refused(404, "GET", f"/api/tasks/{running}")
    boss.refused(404, "POST", f"/api/tasks/{running}/complete", {"agentName": "w1", "result": "r"})
    boss.refused(404, "DELETE", f"/api/projects/{api.project}")
