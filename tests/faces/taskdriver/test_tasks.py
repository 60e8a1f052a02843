"""Tasks: what is made, shown, changed and removed (contract 4.3, 5.3, 6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.taskdriver.serving import Api
from treadle.core.ids import new_id

TASKS = "/api/projects/{P}/tasks"


def test_a_new_task_has_every_field_and_no_null(api: Api) -> None:
    kind = api.data("POST", "/api/projects/{P}/task-types", {"name": "t", "template": "Do {{a}}", "maxRetries": 4})
    made = api.data("POST", TASKS, {"typeId": kind["id"], "variables": {"a": "x"}, "batchId": "b"})
    assert made == {
        "id": made["id"], "projectId": api.project, "typeId": kind["id"], "description": "Task of type t",
        "instructions": "Do x", "variables": {"a": "x"}, "batchId": "b", "status": "queued", "retryCount": 0,
        "maxRetries": 4, "createdAt": made["createdAt"], "updatedAt": made["createdAt"], "attempts": [],
    }  # fmt: skip
    assert api.data("GET", f"/api/tasks/{made['id']}") == made
    assert made["createdAt"].endswith("Z")
    assert len(made["createdAt"]) == len("2026-01-05T08:00:00.000Z")


def test_only_lists_say_the_types_name(api: Api) -> None:
    made = api.task()
    (listed,) = api.data("GET", TASKS)
    name = listed.pop("typeName")
    assert listed == made
    assert name == api.data("GET", f"/api/task-types/{made['typeId']}")["name"]


INSTRUCTIONS = [
    ({"variables": {"a": "x", "b": "y"}}, "x, y, x"),
    ({"variables": {"a": "{{b}}", "b": "{{a}} $& \\1"}}, "{{b}}, {{a}} $& \\1, {{b}}"),  # values are never rescanned
    ({"variables": {"a": "x", "b": "y"}, "instructions": "by hand"}, "by hand"),
    ({"variables": {"a": "x", "b": "y"}, "instructions": ""}, "x, y, x"),
    ({"variables": {"a": "x", "b": "y", "more": "z"}}, "x, y, x"),
]


@pytest.mark.parametrize(("sent", "shown"), INSTRUCTIONS)
def test_instructions_are_the_creators_or_the_rendered_template(api: Api, sent: dict[str, Any], shown: str) -> None:
    kind = api.type(template="{{a}}, {{b}}, {{a}}")
    made = api.data("POST", TASKS, {"typeId": kind, **sent})
    assert made["instructions"] == shown
    assert made["variables"] == sent["variables"]
    assert api.next()["task"]["instructions"] == shown


def test_a_type_without_template_takes_tasks_without_instructions(api: Api) -> None:
    kind = api.data("POST", "/api/projects/{P}/task-types", {"name": "bare"})["id"]
    assert "instructions" not in api.data("POST", TASKS, {"typeId": kind})
    assert api.data("POST", TASKS, {"typeId": kind, "instructions": "i"})["instructions"] == "i"


def test_missing_variables_are_named_alphabetically(api: Api) -> None:
    kind = api.type(template="{{c}}{{a}}{{b}}")
    told = api.refused(422, "POST", TASKS, {"typeId": kind, "variables": {"a": "x"}})
    assert "Missing required template variables: b, c" in told["error"]
    assert told["validationDetails"][0]["field"] == "variables"
    assert api.data("GET", TASKS) == []


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"typeId": None}, "typeId", ""),
    ({"typeId": "t"}, "typeId", '"typeId" must be a valid GUID'),
    ({"variables": {"a": ""}}, "variables.a", '"variables.a" is not allowed to be empty'),
    ({"variables": {"a": "x" * 1001}}, "variables.a",
     '"variables.a" length must be less than or equal to 1000 characters long'),
    ({"variables": {"a": 1}}, "variables.a", '"variables.a" must be a string'),
    ({"variables": {"a": "x", "1b": "y"}}, "variables.1b", '"variables.1b" is not allowed'),
    ({"variables": {f"v{n}": "x" for n in range(51)}}, "variables",
     '"variables" must contain less than or equal to 50 keys'),
    ({"variables": []}, "variables", '"variables" must be of type object'),
    ({"instructions": "x" * 10_001}, "instructions",
     '"instructions" length must be less than or equal to 10000 characters long'),
    ({"instructions": 7}, "instructions", '"instructions" must be a string'),
    ({"description": "x" * 501}, "description",
     '"description" length must be less than or equal to 500 characters long'),
    ({"id": "two words"}, "id", "Task id can only contain letters, numbers, hyphens, and underscores"),
    ({"id": "x" * 101}, "id", '"id" length must be less than or equal to 100 characters long'),
    ({"batchId": ""}, "batchId", '"batchId" is not allowed to be empty'),
    ({"status": "completed"}, "status", '"status" is not allowed'),
    ({"type": "t"}, "type", '"type" is not allowed'),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "field", "rule"), BAD, ids=lambda value: str(value)[:40])
def test_what_is_refused(api: Api, sent: dict[str, Any], field: str, rule: str) -> None:
    body = {"typeId": new_id(), "variables": {"a": "x"}, **sent}
    told = api.refused(422, "POST", TASKS, body)
    assert any(row["field"] == field and rule in row["message"] for row in told["validationDetails"]), told


def test_a_missing_type_is_422_and_an_unknown_one_404(api: Api) -> None:
    (row,) = api.refused(422, "POST", TASKS, {})["validationDetails"]
    assert row == {"field": "typeId", "message": '"typeId" is required'}
    api.refused(404, "POST", TASKS, {"typeId": new_id()})
    elsewhere = Api(api.server, "w1", "default", allowMultipleSessions=True).type()
    api.refused(404, "POST", TASKS, {"typeId": elsewhere, "variables": {"a": "x"}})


@pytest.mark.parametrize("sent", ["{", "[1", '"x', "nul", "[]", '"text"', "7", "\xff"])
def test_what_is_not_a_json_object_is_400(api: Api, sent: str) -> None:
    headers = {"content-type": "application/json"}
    told = api.refused(400, "POST", TASKS, headers=headers, content=sent.encode("latin-1"))
    assert "validationDetails" not in told


class TestOwnIds:
    """A client may choose the task's id, unique in its project (contract 4.3)."""

    def test_it_is_what_everybody_sees(self, api: Api) -> None:
        kind = api.type()
        made = api.task(kind, id="task-1")
        assert made["id"] == "task-1"
        assert api.data("GET", "/api/tasks/task-1") == made
        claimed = api.next()
        assert claimed["id"] == claimed["task"]["id"] == "task-1"
        assert api.data("GET", "/api/projects/{P}/agents")[0]["taskId"] == "task-1"
        assert api.data("POST", "/api/tasks/task-1/extend-lease", {"extensionMinutes": 1})["id"] == "task-1"
        assert api.data("POST", "/api/tasks/task-1/complete", {"result": "r"})["status"] == "completed"
        api.data("DELETE", "/api/tasks/task-1")
        api.refused(404, "GET", "/api/tasks/task-1")
        assert api.task(kind, id="task-1")["status"] == "queued"  # free again

    def test_it_is_taken_once(self, api: Api) -> None:
        kind = api.type()
        api.task(kind, id="mine")
        assert "mine" in api.refused(
            409, "POST", TASKS, {"typeId": kind, "variables": {"a": "y"}, "id": "mine"}
        )["error"]  # fmt: skip
        bulk = [{"typeId": kind, "variables": {"a": "z"}, "id": name} for name in ("new", "new", "mine")]
        told = api.data("POST", f"{TASKS}/bulk", {"tasks": bulk})
        assert [made["id"] for made in told["createdTasks"]] == ["new"]
        assert [error.partition(":")[0] for error in told["errors"]] == ["Task 1", "Task 2"]

    def test_the_sessions_project_comes_first_then_the_newest(self, api: Api) -> None:
        other = Api(api.server, "w1", "default", allowMultipleSessions=True)
        name = f"same-{new_id()}"
        here = api.task(id=name)
        there = other.task(id=name)
        assert api.data("GET", f"/api/tasks/{name}")["projectId"] == here["projectId"]
        assert other.data("GET", f"/api/tasks/{name}")["projectId"] == there["projectId"]
        api.data("DELETE", f"/api/tasks/{name}")
        assert api.data("GET", f"/api/tasks/{name}")["projectId"] == there["projectId"]

    def test_a_body_may_say_the_project(self, api: Api) -> None:
        other = Api(api.server, "w1", "default", allowMultipleSessions=True)
        name = f"both-{new_id()}"
        api.task(id=name)
        there = other.task(id=name)
        body = {"projectId": there["projectId"]}
        while other.next("w8")["id"] != name:
            other.data("POST", f"/api/tasks/{other.next('w8')['id']}/complete", {"agentName": "w8", "result": "r"})
        done = api.data("POST", f"/api/tasks/{name}/complete", {**body, "agentName": "w8", "result": "r"})
        assert done["projectId"] == there["projectId"]
        api.refused(409, "POST", f"/api/tasks/{name}/complete", {"agentName": "w8", "result": "r"})  # its own: queued

    def test_it_may_look_like_one_of_ours(self, api: Api) -> None:
        name = new_id()
        made = api.task(id=name)
        assert made["id"] == name
        api.next()
        assert api.data("POST", f"/api/tasks/{name}/complete", {"result": "r"})["id"] == name

    def test_a_name_from_another_face_is_not_shown(self, api: Api) -> None:
        from tests.faces.taskdriver.serving import ROOT
        from treadle.core.submitting import NewTask, Submit

        submit = Submit(project=api.project, tasks=(NewTask(name="theirs", variables={"n": 1}),), by=ROOT)
        (task,) = api.server.do(lambda fabric: fabric.tasks.submit(submit))
        (listed,) = api.data("GET", TASKS)
        assert listed["id"] == task.id  # type: ignore[union-attr]
        assert listed["variables"] == {"n": "1"}
        assert "typeId" not in listed
        assert api.data("GET", f"/api/tasks/{listed['id']}")["id"] == listed["id"]
        api.refused(404, "GET", "/api/tasks/theirs")


class TestDuplicates:
    """What a type does with work it has already (contract 6)."""

    def test_allow(self, api: Api) -> None:
        kind = api.type()
        assert api.task(kind)["id"] != api.task(kind)["id"]

    def test_ignore_answers_the_existing_task_as_created(self, api: Api) -> None:
        kind = api.type(duplicateHandling="ignore")
        first = api.task(kind, variables={"a": "x", "b": "y"})
        again = api.ask("POST", TASKS, {"typeId": kind, "variables": {"b": "y", "a": "x"}, "instructions": "other"})
        assert again.status_code == 201
        assert again.json()["data"] == first
        assert len(api.data("GET", TASKS)) == 1
        bulk = api.data("POST", f"{TASKS}/bulk", {"tasks": [{"typeId": kind, "vars": {"a": "x", "b": "y"}}]})
        assert (bulk["tasksCreated"], [made["id"] for made in bulk["createdTasks"]]) == (1, [first["id"]])

    def test_fail_names_the_type_and_the_variables(self, api: Api) -> None:
        kind = api.data("POST", "/api/projects/{P}/task-types", {"name": "once", "duplicateHandling": "fail"})["id"]
        api.data("POST", TASKS, {"typeId": kind, "variables": {"b": "y", "a": "x"}})
        told = api.refused(409, "POST", TASKS, {"typeId": kind, "variables": {"a": "x", "b": "y"}})
        assert "once" in told["error"]
        assert '{"a":"x","b":"y"}' in told["error"]
        api.data("POST", TASKS, {"typeId": kind})  # other variables: none

    def test_every_state_but_failed_counts(self, api: Api) -> None:
        kind = api.type(duplicateHandling="fail", maxRetries=0)
        body = {"typeId": kind, "variables": {"a": "x"}}
        api.data("POST", TASKS, body)
        api.refused(409, "POST", TASKS, body)
        claimed = api.next()["id"]
        api.refused(409, "POST", TASKS, body)
        api.data("POST", f"/api/tasks/{claimed}/fail", {"error": "e"})
        api.data("POST", TASKS, body)
        api.data("POST", f"/api/tasks/{api.next()['id']}/complete", {"result": "r"})
        api.refused(409, "POST", TASKS, body)


class TestBulk:
    """Many tasks at once (contract 5.3)."""

    def test_both_spellings_of_the_keys_and_types_by_name(self, api: Api) -> None:
        kind = api.data("POST", "/api/projects/{P}/task-types", {"name": "t", "template": "Do {{a}}"})["id"]
        items = [
            {"typeId": kind, "variables": {"a": "1"}},
            {"type": kind, "vars": {"a": "2"}, "id": "second", "description": "d"},
            {"type": "t", "vars": {"a": "3"}, "instructions": "by hand"},
            {"typeId": "t", "variables": {"a": "4"}},
        ]
        answer = api.ask("POST", f"{TASKS}/bulk", {"tasks": items, "batchId": "all"})
        assert answer.status_code == 201
        told = answer.json()["data"]
        assert (told["tasksCreated"], told["errors"]) == (4, [])
        made = told["createdTasks"]
        assert [each["instructions"] for each in made] == ["Do 1", "Do 2", "by hand", "Do 4"]
        assert {each["batchId"] for each in made} == {"all"}
        assert (made[1]["id"], made[1]["description"]) == ("second", "d")
        assert [each["id"] for each in api.data("GET", f"{TASKS}?batchId=all")] == [each["id"] for each in made]

    def test_a_bad_item_is_named_and_the_others_are_made(self, api: Api) -> None:
        kind = api.type(template="{{a}}{{b}}")
        good = {"typeId": kind, "variables": {"a": "x", "b": "y"}}
        items = [
            good,
            {"typeId": kind, "variables": {"a": "x"}},
            {"typeId": kind, "variables": {"a": 7, "b": ""}},
            {"variables": {}},
            {**good, "other": 1},
            "text",
            good,
        ]
        told = api.data("POST", f"{TASKS}/bulk", {"tasks": items})
        assert told["tasksCreated"] == len(told["createdTasks"]) == 2
        assert told["errors"][0] == "Task 1: Missing required template variables: b"
        assert told["errors"][1].startswith('Task 2: "variables.a" must be a string, "variables.b" is not allowed')
        assert told["errors"][2] == 'Task 3: "typeId" is required'
        assert told["errors"][3] == 'Task 4: "other" is not allowed'
        assert told["errors"][4].startswith("Task 5: ")
        assert len(told["errors"]) == 5
        only_bad = api.data("POST", f"{TASKS}/bulk", {"tasks": items[1:2]})
        assert (only_bad["tasksCreated"], len(only_bad["errors"])) == (0, 1)

    def test_an_unknown_type_refuses_all(self, api: Api) -> None:
        good = {"typeId": api.type(), "variables": {"a": "x"}}
        for unknown in ({"typeId": new_id()}, {"type": "nobody"}):
            api.refused(404, "POST", f"{TASKS}/bulk", {"tasks": [good, unknown]})
        assert api.data("GET", TASKS) == []

    @pytest.mark.parametrize(
        "tasks", [[], [{}] * 1001, {}, "x", None], ids=["empty", "too-many", "object", "text", "null"]
    )
    def test_the_list_has_1_to_1000_items(self, api: Api, tasks: Any) -> None:
        (row,) = api.refused(422, "POST", f"{TASKS}/bulk", {"tasks": tasks})["validationDetails"]
        assert row["field"] == "tasks"

    def test_a_thousand_are_made_in_order(self, api: Api) -> None:
        kind = api.type()
        items = [{"typeId": kind, "variables": {"a": str(number)}} for number in range(1000)]
        assert api.data("POST", f"{TASKS}/bulk", {"tasks": items})["tasksCreated"] == 1000
        listed = api.data("GET", f"{TASKS}?limit=1000")
        assert [each["variables"]["a"] for each in listed] == [str(number) for number in range(1000)]


class TestIdempotency:
    """A request with the same Idempotency-Key makes nothing twice."""

    def test_one_task(self, api: Api) -> None:
        kind, headers = api.type(), {"Idempotency-Key": new_id()}
        body = {"typeId": kind, "variables": {"a": "x"}}
        first = api.ask("POST", TASKS, body, headers=headers)
        again = api.ask("POST", TASKS, body, headers=headers)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json()["data"] == again.json()["data"]
        assert len(api.data("GET", TASKS)) == 1
        api.refused(409, "POST", TASKS, {"typeId": kind, "variables": {"a": "y"}}, headers=headers)
        api.data("DELETE", f"/api/tasks/{first.json()['data']['id']}")
        api.refused(404, "POST", TASKS, body, headers=headers)  # it was made, and it is gone

    def test_many(self, api: Api) -> None:
        kind, headers = api.type(), {"Idempotency-Key": new_id()}
        body = {"tasks": [{"typeId": kind, "variables": {"a": "x"}}, {"typeId": kind}, {"typeId": kind, "id": "!"}]}
        first = api.data("POST", f"{TASKS}/bulk", body, headers=headers)
        assert first["tasksCreated"] == 1
        again = api.data("POST", f"{TASKS}/bulk", body, headers=headers)
        assert again["createdTasks"] == first["createdTasks"]
        assert [error.partition(":")[0] for error in again["errors"]] == ["Task 1", "Task 2"]
        assert len(api.data("GET", TASKS)) == 1

    def test_a_refused_request_may_be_repeated(self, api: Api) -> None:
        kind, headers = api.type(), {"Idempotency-Key": new_id()}
        api.refused(422, "POST", TASKS, {"typeId": kind}, headers=headers)
        assert api.ask("POST", TASKS, {"typeId": kind, "variables": {"a": "x"}}, headers=headers).status_code == 201

    def test_a_key_has_an_end(self, api: Api) -> None:
        api.refused(400, "POST", TASKS, {"typeId": new_id()}, headers={"Idempotency-Key": "k" * 256})


class TestLists:
    """Filters and pages (contract 5.3)."""

    def test_oldest_first_in_pages(self, api: Api) -> None:
        kind = api.type()
        ids = [api.task(kind)["id"] for _ in range(5)]
        assert [each["id"] for each in api.data("GET", TASKS)] == ids
        assert [each["id"] for each in api.data("GET", f"{TASKS}?limit=2&offset=1")] == ids[1:3]
        assert api.data("GET", f"{TASKS}?offset=5") == []

    def test_each_filter_and_all_together(self, api: Api) -> None:
        kinds = api.type(maxRetries=0), api.type(maxRetries=0)
        done = api.task(kinds[0], batchId="b1")["id"]
        failed = api.task(kinds[0], batchId="b2")["id"]
        running = api.task(kinds[1], batchId="b1")["id"]
        queued = api.task(kinds[1])["id"]
        api.data("POST", f"/api/tasks/{api.next()['id']}/complete", {"result": "r"})
        api.data("POST", f"/api/tasks/{api.next()['id']}/fail", {"error": "e"})
        api.next("w2")

        def ids(query: str) -> list[str]:
            return [each["id"] for each in api.data("GET", f"{TASKS}?{query}")]

        assert ids("status=completed") == [done]
        assert ids("status=failed") == [failed]
        assert ids("status=running") == ids("assignedTo=w2") == [running]
        assert ids("status=queued") == [queued]
        assert ids("assignedTo=w1") == []
        assert ids("batchId=b1") == [done, running]
        assert ids(f"typeId={kinds[0]}") == [done, failed]
        assert ids(f"status=running&batchId=b1&typeId={kinds[1]}&assignedTo=w2&limit=1") == [running]
        assert ids(f"typeId={new_id()}") == ids("batchId=none") == ids("unknown=1&offset=4") == []

    @pytest.mark.parametrize(
        "query", ["status=done", "status=", "limit=0", "limit=1001", "limit=ten", "offset=-1", "assignedTo=a%20b",
                  "typeId=t", "batchId=", "limit=1&limit=2"]
    )  # fmt: skip
    def test_what_is_out_of_range_is_422(self, api: Api, query: str) -> None:
        told = api.refused(422, "GET", f"{TASKS}?{query}")
        assert told["validationDetails"][0]["field"] == query.partition("=")[0]

    def test_a_hundred_without_a_limit(self, api: Api) -> None:
        kind = api.type()
        items = [{"typeId": kind, "variables": {"a": "x"}}] * 101
        api.data("POST", f"{TASKS}/bulk", {"tasks": items})
        assert len(api.data("GET", TASKS)) == 100


class TestChanges:
    """PUT and DELETE (contract 5.3)."""

    def test_a_queued_task_takes_new_words(self, api: Api) -> None:
        made = api.task(batchId="b1")
        api.server.clock.advance(1)
        one = f"/api/tasks/{made['id']}"
        changed = api.data("PUT", one, {"variables": {"a": "y", "z": "z"}, "batchId": "b2", "description": "new"})
        assert changed["instructions"] == "Do y"
        assert (changed["batchId"], changed["description"]) == ("b2", "new")
        assert changed["updatedAt"] > made["updatedAt"]
        assert api.data("PUT", one, {"instructions": "by hand"})["instructions"] == "by hand"
        assert api.data("PUT", one, {"instructions": ""})["instructions"] == "Do y"
        assert "batchId" not in api.data("PUT", one, {"batchId": None})
        assert api.data("PUT", one, {})["variables"] == {"a": "y", "z": "z"}
        told = api.refused(422, "PUT", one, {"variables": {"z": "z"}})
        assert "Missing required template variables: a" in told["error"]

    @pytest.mark.parametrize("key", ["status", "assignedTo", "leaseExpiresAt", "typeId", "id", "retryCount", "result"])
    def test_nothing_else_can_be_written(self, api: Api, key: str) -> None:
        (row,) = api.refused(422, "PUT", f"/api/tasks/{new_id()}", {key: "x"})["validationDetails"]
        assert row["message"] == f'"{key}" is not allowed'

    def test_only_a_queued_task_changes_and_a_running_one_stays(self, api: Api) -> None:
        id = api.task()["id"]
        api.next()
        api.refused(409, "PUT", f"/api/tasks/{id}", {"instructions": "x"})
        api.refused(409, "DELETE", f"/api/tasks/{id}")
        api.data("POST", f"/api/tasks/{id}/complete", {"result": "r"})
        api.refused(409, "PUT", f"/api/tasks/{id}", {"instructions": "x"})
        assert "message" in api.data("DELETE", f"/api/tasks/{id}")
        assert api.data("GET", "/api/projects/{P}")["stats"]["totalTasks"] == 0

    def test_an_unknown_task_is_404_on_every_verb(self, api: Api) -> None:
        for ref in (new_id(), "task-404"):
            for method, path, sent in [
                ("GET", "", None),
                ("PUT", "", {}),
                ("DELETE", "", None),
                ("POST", "/complete", {"result": "r"}),
                ("POST", "/fail", {"error": "e"}),
                ("POST", "/extend-lease", {"extensionMinutes": 1}),
            ]:
                assert ref in api.refused(404, method, f"/api/tasks/{ref}{path}", sent)["error"]
