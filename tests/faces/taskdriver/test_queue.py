"""What agents do with the queue: claim, resume, complete, fail, extend, lose, and who works (contract 5.4, 7)."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import httpx2
import pytest

from tests.faces.taskdriver.serving import ROOT, Api, Server, served
from treadle.core.ids import new_id
from treadle.core.leases import Claim, Release
from treadle.core.tasks import Hold

MINUTE = 60


def seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


class TestClaim:
    def test_the_oldest_task_and_everything_about_it(self, api: Api) -> None:
        first = api.task(batchId="b")
        api.task()
        data = api.data("POST", "/api/agents/w1/next-task", {"projectId": api.project})
        assert list(data) == ["task", "agentName", "id"]
        task = data["task"]
        assert data["id"] == task["id"] == first["id"]
        assert task["status"] == "running"
        assert task["assignedTo"] == data["agentName"] == "w1"
        assert seconds(task["assignedAt"], task["leaseExpiresAt"]) == 10 * MINUTE
        (attempt,) = task["attempts"]
        assert attempt == {
            "id": attempt["id"], "agentName": "w1", "startedAt": task["assignedAt"], "status": "running",
            "leaseExpiresAt": task["leaseExpiresAt"],
        }  # fmt: skip
        assert {"completedAt", "failedAt", "result"} & set(task) == set()

    def test_without_a_project_it_is_the_sessions(self, api: Api) -> None:
        task = api.task()
        for body in ({}, {"projectId": None}):
            assert api.data("POST", "/api/agents/w1/next-task", body)["id"] == task["id"]

    def test_without_a_body_too(self, api: Api) -> None:
        task = api.task()
        assert api.data("POST", "/api/agents/w1/next-task")["id"] == task["id"]

    def test_an_agent_gets_its_task_again_unchanged(self, api: Api) -> None:
        api.task()
        api.task()
        first = api.next()["task"]
        api.server.clock.advance(30)
        assert api.next()["task"] == first
        assert api.next("w2")["id"] != first["id"]

    def test_the_name_in_the_address_need_not_be_the_sessions(self, api: Api) -> None:
        api.task()
        assert api.next("somebody")["task"]["assignedTo"] == "somebody"

    @pytest.mark.parametrize("name", ["a%20b", "a%0A", "x" * 51, "%C3%A4", "a.b"])
    def test_an_agent_name_keeps_its_rule(self, api: Api, name: str) -> None:
        (row,) = api.refused(422, "POST", f"/api/agents/{name}/next-task", {})["validationDetails"]
        assert row["field"] == "agentName"

    def test_the_address_may_hold_what_the_rule_allows(self, api: Api) -> None:
        api.task()
        assert api.next("A-b_9" + "z" * 45)["agentName"] == "A-b_9" + "z" * 45

    def test_nobody_gets_a_task_twice(self, api: Api) -> None:
        kind = api.type()
        items = [{"typeId": kind, "variables": {"a": str(number)}} for number in range(40)]
        api.data("POST", "/api/projects/{P}/tasks/bulk", {"tasks": items})
        got: list[str] = []
        headers = {"authorization": f"Bearer {api.session['token']}"}

        def work(agent: str) -> None:
            with httpx2.Client(base_url=api.server.url, headers=headers) as http:
                while True:
                    data = http.post(f"/api/agents/{agent}/next-task", json={}).json()["data"]
                    if data["task"] is None:
                        return
                    got.append(data["id"])
                    done = http.post(f"/api/tasks/{data['id']}/complete", json={"agentName": agent, "result": "r"})
                    assert done.status_code == 200

        workers = [threading.Thread(target=work, args=(f"agent-{number}",)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(got) == len(set(got)) == 40


class TestWaiting:
    """`?wait=SECONDS`, an addition to the document."""

    def test_work_that_comes_is_handed_over(self, api: Api) -> None:
        kind = api.type()
        answers: list[Any] = []
        waiting = threading.Thread(target=lambda: answers.append(api.next(params={"wait": "20"})))
        waiting.start()
        made = api.task(kind)
        waiting.join(10)
        assert answers[0]["id"] == made["id"]

    def test_nothing_comes(self, api: Api) -> None:
        answer = api.ask("POST", "/api/agents/w1/next-task?wait=0.05", {})
        assert answer.status_code == 200
        assert answer.json()["data"] == {"task": None, "agentName": "w1"}

    def test_a_server_that_stops_says_so(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        answers: list[httpx2.Response] = []
        with served(tmp_path_factory.mktemp("stopping")) as server:
            api = Api(server)
            asking = lambda: answers.append(api.ask("POST", "/api/agents/w1/next-task?wait=30", {}))  # noqa: E731
            waiting = threading.Thread(target=asking)
            waiting.start()
            while server.app.meter.in_flight == 0:
                threading.Event().wait(0.01)
        waiting.join(10)
        assert answers[0].status_code == 503
        assert "stopping" in answers[0].json()["error"]
        assert all(line["level"] == "info" or line.get("status") == 503 for line in server.lines())

    @pytest.mark.parametrize("wait", ["-1", "61", "x", ""])
    def test_it_has_bounds(self, api: Api, wait: str) -> None:
        (row,) = api.refused(422, "POST", f"/api/agents/w1/next-task?wait={wait}", {})["validationDetails"]
        assert row["field"] == "wait"

    def test_who_has_left_gets_nothing(self, api: Api) -> None:
        kind = api.type()
        with pytest.raises(httpx2.ReadTimeout):
            api.next("gone", params={"wait": "30"}, timeout=0.2)
        for _ in range(200):  # until the server has seen that the client is gone
            lines = [line for line in api.server.log() if line.get("path", "").endswith("/gone/next-task")]
            if lines:
                break
            threading.Event().wait(0.01)
        assert lines[0]["status"] == 499
        made = api.task(kind)
        assert api.next("w2")["id"] == made["id"]


class TestComplete:
    def test_the_whole_task_comes_back(self, api: Api) -> None:
        id = api.task()["id"]
        claimed = api.next()["task"]
        api.server.clock.advance(2)
        done = api.data(
            "POST", f"/api/tasks/{id}/complete", {"agentName": "w1", "result": "fine", "outputs": {"n": [1, None]}}
        )
        result = {"success": True, "output": "fine", "metadata": {"n": [1, None]}}
        assert (done["status"], done["result"], done["retryCount"]) == ("completed", result, 0)
        assert {"assignedTo", "leaseExpiresAt", "failedAt"} & set(done) == set()
        assert done["assignedAt"] == claimed["assignedAt"]
        assert seconds(done["assignedAt"], done["completedAt"]) == pytest.approx(2, abs=1)
        (attempt,) = done["attempts"]
        assert (attempt["status"], attempt["result"], attempt["completedAt"]) == (
            "completed", result, done["completedAt"],
        )  # fmt: skip
        assert "failureReason" not in attempt
        assert api.data("GET", f"/api/tasks/{id}") == done

    def test_outputs_are_optional(self, api: Api) -> None:
        id = api.task()["id"]
        api.next()
        done = api.data("POST", f"/api/tasks/{id}/complete", {"result": "", "outputs": None})
        assert done["result"] == {"success": True, "output": ""}

    def test_without_an_agent_it_is_the_sessions(self, api: Api) -> None:
        id = api.task()["id"]
        api.next("w2")
        api.refused(409, "POST", f"/api/tasks/{id}/complete", {"result": "r"})
        api.data("POST", f"/api/tasks/{id}/complete", {"agentName": "w2", "result": "r"})

    def test_another_session_of_the_same_agent_may_finish(self, api: Api) -> None:
        id = api.task()["id"]
        api.next()
        other = Api(api.server, "w1", api.project, allowMultipleSessions=True)
        assert other.data("POST", f"/api/tasks/{id}/complete", {"result": "r"})["status"] == "completed"

    def test_but_not_one_from_which_the_lease_has_passed_on(self, api: Api) -> None:
        id = api.task()["id"]
        lease = api.next()["task"]
        twin = Api(api.server, "w1", api.project, allowMultipleSessions=True)
        resumed = twin.next()["task"]
        assert (resumed["id"], resumed["leaseExpiresAt"]) == (id, lease["leaseExpiresAt"])
        assert len(resumed["attempts"]) == 1
        for path, body in (
            ("complete", {"result": "r"}),
            ("fail", {"error": "e"}),
            ("extend-lease", {"extensionMinutes": 1}),
        ):
            told = api.refused(409, "POST", f"/api/tasks/{id}/{path}", body)
            assert "passed to another holder" in told["error"]
        twin.data("POST", f"/api/tasks/{id}/extend-lease", {"extensionMinutes": 1})
        twin.data("POST", f"/api/tasks/{id}/complete", {"result": "r"})

    def test_finishing_twice_or_what_nobody_holds_is_409(self, api: Api) -> None:
        id = api.task()["id"]
        body = {"agentName": "w1", "result": "r"}
        api.refused(409, "POST", f"/api/tasks/{id}/complete", body)
        api.next()
        api.refused(409, "POST", f"/api/tasks/{id}/complete", {**body, "agentName": "w2"})
        api.data("POST", f"/api/tasks/{id}/complete", body)
        api.refused(409, "POST", f"/api/tasks/{id}/complete", body)
        api.refused(409, "POST", f"/api/tasks/{id}/fail", {"agentName": "w1", "error": "e"})

    def test_a_late_result_counts_until_the_lease_is_given_on(self, api: Api) -> None:
        id = api.task()["id"]
        api.next()
        api.server.clock.advance(11 * MINUTE)
        assert api.data("GET", f"/api/tasks/{id}")["status"] == "running"
        assert api.data("POST", f"/api/tasks/{id}/complete", {"result": "late"})["status"] == "completed"

    @pytest.mark.parametrize(
        ("body", "field"),
        [({}, "result"), ({"result": 7}, "result"), ({"result": "r", "outputs": []}, "outputs"),
         ({"result": "r", "agentName": 7}, "agentName")],
    )  # fmt: skip
    def test_a_result_is_text_and_outputs_an_object(self, api: Api, body: dict[str, Any], field: str) -> None:
        (row,) = api.refused(422, "POST", f"/api/tasks/{new_id()}/complete", body)["validationDetails"]
        assert row["field"] == field


class TestFail:
    def test_it_is_queued_again_while_retries_are_left(self, api: Api) -> None:
        kind = api.type(maxRetries=1)
        id = api.task(kind)["id"]
        later = api.task(kind)["id"]
        api.next()
        back = api.data("POST", f"/api/tasks/{id}/fail", {"error": "first", "canRetry": True})
        assert (back["status"], back["retryCount"]) == ("queued", 1)
        assert {"assignedTo", "assignedAt", "leaseExpiresAt", "result", "failedAt", "completedAt"} & set(back) == set()
        (attempt,) = back["attempts"]
        assert attempt["status"] == "failed"
        assert attempt["failureReason"] == "agent_reported"
        assert attempt["result"] == {"success": False, "error": "first", "canRetry": True}
        again = api.next("w2")["task"]
        assert again["id"] == id != later  # it kept its place
        end = api.data("POST", f"/api/tasks/{id}/fail", {"agentName": "w2", "error": "second"})
        assert (end["status"], end["retryCount"]) == ("failed", 2)
        assert end["result"] == {"success": False, "error": "second", "canRetry": True}
        assert "failedAt" in end
        assert {"assignedTo", "assignedAt", "leaseExpiresAt"} & set(end) == set()
        assert [each["status"] for each in end["attempts"]] == ["failed", "failed"]
        assert end["attempts"][1]["result"] == end["result"]

    def test_at_once_when_no_retry_makes_sense(self, api: Api) -> None:
        id = api.task(api.type(maxRetries=5))["id"]
        api.next()
        end = api.data("POST", f"/api/tasks/{id}/fail", {"error": "e", "canRetry": False})
        assert (end["status"], end["retryCount"], end["result"]["canRetry"]) == ("failed", 1, False)
        assert api.next()["task"] is None

    def test_a_task_runs_once_more_than_its_retries(self, api: Api) -> None:
        id = api.task(api.type(maxRetries=2))["id"]
        runs = 0
        while api.next()["task"]:
            runs += 1
            api.data("POST", f"/api/tasks/{id}/fail", {"error": "e"})
        assert runs == 3

    def test_what_is_refused(self, api: Api) -> None:
        assert api.refused(422, "POST", f"/api/tasks/{new_id()}/fail", {})["validationDetails"][0]["field"] == "error"
        api.refused(422, "POST", f"/api/tasks/{new_id()}/fail", {"error": "e", "canRetry": "no"})
        id = api.task()["id"]
        api.refused(409, "POST", f"/api/tasks/{id}/fail", {"error": "e"})
        api.next("w2")
        api.refused(409, "POST", f"/api/tasks/{id}/fail", {"error": "e"})


class TestLeases:
    def test_extending_adds_to_the_present_end(self, api: Api) -> None:
        id = api.task()["id"]
        api.refused(409, "POST", f"/api/tasks/{id}/extend-lease", {"extensionMinutes": 5})
        before = api.next()["task"]["leaseExpiresAt"]
        api.server.clock.advance(60)
        task = api.data("POST", f"/api/tasks/{id}/extend-lease", {"extensionMinutes": 30})
        assert seconds(before, task["leaseExpiresAt"]) == 30 * MINUTE
        assert task["attempts"][0]["leaseExpiresAt"] == task["leaseExpiresAt"]
        api.server.clock.advance(35 * MINUTE)
        assert api.data("POST", "/api/projects/{P}/cleanup-leases")["reclaimedTasks"] == 0

    @pytest.mark.parametrize("minutes", [0, -1, 1441, "5", None])
    def test_the_extension_has_bounds(self, api: Api, minutes: Any) -> None:
        body = {"extensionMinutes": minutes}
        (row,) = api.refused(422, "POST", f"/api/tasks/{new_id()}/extend-lease", body)["validationDetails"]
        assert row["field"] == "extensionMinutes"

    def test_cleanup_counts_tasks_and_distinct_agents(self, api: Api) -> None:
        kind = api.type()
        ids = [api.task(kind)["id"] for _ in range(3)]
        api.next()

        async def two(fabric: Any) -> None:
            await fabric.tasks.claim(Claim(project=api.project, worker="many", count=2))

        api.server.do(two)
        api.server.clock.advance(11 * MINUTE)
        assert api.data("POST", "/api/projects/{P}/cleanup-leases") == {"reclaimedTasks": 3, "cleanedAgents": 2}
        assert api.data("POST", "/api/projects/{P}/cleanup-leases") == {"reclaimedTasks": 0, "cleanedAgents": 0}
        task = api.data("GET", f"/api/tasks/{ids[0]}")
        assert (task["status"], task["retryCount"]) == ("queued", 1)
        (attempt,) = task["attempts"]
        assert (attempt["status"], attempt["failureReason"]) == ("timeout", "timeout")
        assert "completedAt" in attempt

    def test_a_lost_lease_always_counts_and_a_poisonous_task_ends(self, api: Api) -> None:
        id = api.task(api.type(maxRetries=1))["id"]
        starts = []
        for agent in ("w1", "w2"):
            starts.append(api.next(agent)["task"]["assignedAt"])
            api.server.clock.advance(11 * MINUTE)
        assert api.next("w3")["task"] is None  # the claim swept, and no retry was left
        task = api.data("GET", f"/api/tasks/{id}")
        assert (task["status"], task["retryCount"]) == ("failed", 2)
        result = task["result"]
        assert result["success"] is False
        assert "lease" in result["error"]
        assert result["canRetry"] is True
        assert result["metadata"] == {
            "reclaimedAt": task["failedAt"], "originalAssignedTo": "w2", "originalAssignedAt": starts[1],
        }  # fmt: skip
        assert [each["status"] for each in task["attempts"]] == ["timeout", "timeout"]
        assert task["attempts"][1]["result"] == result

    def test_an_expired_lease_is_claimable_at_once(self, api: Api) -> None:
        id = api.task()["id"]
        api.next()
        assert api.data("GET", "/api/projects/{P}/peek-next-task")["tasksAvailable"] == 0
        api.server.clock.advance(11 * MINUTE)
        assert api.data("GET", "/api/projects/{P}/peek-next-task")["tasksAvailable"] == 1
        assert api.next("w2")["id"] == id
        api.refused(409, "POST", f"/api/tasks/{id}/complete", {"result": "too late"})

    def test_a_task_given_back_untouched_says_so(self, api: Api) -> None:
        id = api.task()["id"]
        api.next()
        api.server.do(lambda fabric: fabric.tasks.release(Release(task=id, by=Hold())))
        task = api.data("GET", f"/api/tasks/{id}")
        assert (task["status"], task["retryCount"]) == ("queued", 0)
        assert task["attempts"][0]["status"] == "failed"
        assert "failureReason" not in task["attempts"][0]
        assert "does not count" in task["attempts"][0]["explanation"]


class TestPeek:
    def test_it_counts_and_assigns_nothing(self, api: Api) -> None:
        for count in range(3):
            assert api.data("GET", "/api/projects/{P}/peek-next-task") == {
                "projectId": api.project, "tasksAvailable": count,
            }  # fmt: skip
            api.task()
        api.next()
        assert api.data("GET", "/api/projects/{P}/peek-next-task")["tasksAvailable"] == 2


class TestAgents:
    def test_who_works_oldest_assignment_first_one_row_each(self, api: Api, server: Server) -> None:
        assert api.data("GET", "/api/projects/{P}/agents") == []
        kind = api.type()
        ids = [api.task(kind)["id"] for _ in range(4)]
        api.next("b")
        server.clock.advance(1)
        api.next("a")
        server.clock.advance(1)
        server.do(lambda fabric: fabric.tasks.claim(Claim(project=api.project, worker="a")))
        rows = api.data("GET", "/api/projects/{P}/agents")
        assert [(row["agentName"], row["taskId"]) for row in rows] == [("b", ids[0]), ("a", ids[1])]
        assert rows[0] == {
            "agentName": "b", "taskId": ids[0], "assignedAt": rows[0]["assignedAt"],
            "leaseExpiresAt": rows[0]["leaseExpiresAt"], "status": "running",
            "name": "b", "projectId": api.project, "currentTaskId": ids[0],
        }  # fmt: skip
        api.data("POST", f"/api/tasks/{ids[0]}/complete", {"agentName": "b", "result": "r"})
        assert [row["agentName"] for row in api.data("GET", "/api/projects/{P}/agents")] == ["a"]
        server.clock.advance(11 * MINUTE)
        assert api.data("GET", "/api/projects/{P}/agents") == []

    def test_one_agent_by_name(self, api: Api) -> None:
        api.refused(404, "GET", "/api/agents/w1")
        id = api.task()["id"]
        api.next()
        assert api.data("GET", "/api/agents/w1")["taskId"] == id
        assert api.data("GET", f"/api/agents/w1?projectId={api.project}")["taskId"] == id
        api.refused(404, "GET", "/api/agents/w1?projectId=default")
        api.refused(404, "GET", "/api/agents/w2")
        api.refused(404, "GET", f"/api/agents/w1?projectId={new_id()}")
        api.refused(422, "GET", "/api/agents/no%20name")

    @pytest.mark.parametrize(
        ("method", "path"),
        [("POST", "/api/projects/{P}/agents"), ("PUT", "/api/agents/w1"), ("DELETE", "/api/agents/w1")],
    )
    def test_agents_are_not_registered(self, api: Api, method: str, path: str) -> None:
        assert "not registered" in api.refused(410, method, path)["error"]


def test_a_cancelled_running_task_refuses_its_holder(api: Api) -> None:
    id = api.task()["id"]
    api.next()
    api.server.do(lambda fabric: fabric.tasks.cancel(id, ROOT))
    api.refused(409, "POST", f"/api/tasks/{id}/complete", {"result": "r"})
    task = api.data("GET", f"/api/tasks/{id}")
    assert task["attempts"][0]["status"] == "failed"
    assert task["attempts"][0]["failureReason"] == "server_error"


def test_finishing_waits_until_a_closed_project_is_opened_again(api: Api) -> None:
    id = api.task()["id"]
    api.next()
    api.data("PUT", "/api/projects/{P}", {"status": "closed"})
    for way, body in (("complete", {"result": "r"}), ("fail", {"error": "e"})):
        assert "reopen it" in api.refused(409, "POST", f"/api/tasks/{id}/{way}", body)["error"]
    api.data("PUT", "/api/projects/{P}", {"status": "active"})
    assert api.data("POST", f"/api/tasks/{id}/complete", {"result": "r"})["status"] == "completed"
