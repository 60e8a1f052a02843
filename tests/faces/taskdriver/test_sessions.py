"""Login, logout and the session that asks (contract 3)."""

from __future__ import annotations

import httpx2
import pytest

from tests.faces.taskdriver.serving import ROOT, Api, Server, served
from treadle.core.ids import new_id


def login(server: Server, **body: object) -> httpx2.Response:
    return httpx2.post(f"{server.url}/api/auth/login", json=body, timeout=20)


def test_a_login_answers_both_families_of_clients(api: Api) -> None:
    session = api.session
    assert set(session) == {"sessionId", "token", "expiresAt", "sessionToken", "resumed", "session"}
    assert session["token"] == session["sessionToken"]
    assert session["resumed"] is False
    inner = session["session"]
    assert set(inner) == {
        "id", "agentId", "agentName", "projectId", "createdAt", "lastAccessedAt", "expiresAt", "data",
    }  # fmt: skip
    assert inner["id"] == session["sessionId"]
    assert inner["agentId"] == inner["agentName"] == "w1"
    assert inner["data"] == {}


def test_a_login_lasts_an_hour_however_much_it_is_used(api: Api) -> None:
    before = api.data("GET", "/api/auth/session")
    api.server.clock.advance(3500)
    after = api.data("GET", "/api/auth/session")
    assert after["expiresAt"] == before["expiresAt"] == api.session["expiresAt"]
    assert after["lastActivity"] > before["lastActivity"]
    assert after["lastActivity"] == after["session"]["lastAccessedAt"]
    api.server.clock.advance(120)
    api.refused(401, "GET", "/api/auth/session")


def test_a_project_is_named_by_id_or_name(api: Api) -> None:
    name = api.data("GET", "/api/projects/{P}")["name"]
    by_name = login(api.server, agentName="w9", projectId=name).json()["data"]
    assert by_name["session"]["projectId"] == api.project


@pytest.mark.parametrize("body", [{}, {"agentName": "w1"}, {"projectId": "default"}])
def test_missing_names_are_one_400_that_names_both(server: Server, body: dict[str, str]) -> None:
    answer = login(server, **body)
    assert answer.status_code == 400
    assert "agentName" in answer.json()["error"]
    assert "projectId" in answer.json()["error"]
    assert "validationDetails" not in answer.json()


def test_an_unknown_project_is_a_400_that_names_it(server: Server) -> None:
    unknown = new_id()
    answer = login(server, agentName="w1", projectId=unknown)
    assert answer.status_code == 400
    assert unknown in answer.json()["error"]


@pytest.mark.parametrize("name", ["bad name!", "a\n", "x" * 51, "ä"])
def test_an_agent_name_keeps_its_rule(server: Server, name: str) -> None:
    answer = login(server, agentName=name, projectId="default")
    assert answer.status_code == 422
    (row,) = answer.json()["validationDetails"]
    assert (row["field"], row["value"]) == ("agentName", name)


def test_a_second_login_ends_the_first(api: Api) -> None:
    again = Api(api.server, "w1", api.project)
    api.refused(401, "GET", "/api/auth/session")
    again.data("GET", "/api/auth/session")


def test_unless_several_are_allowed(api: Api) -> None:
    again = Api(api.server, "w1", api.project, allowMultipleSessions=True)
    api.data("GET", "/api/auth/session")
    assert again.session["sessionId"] != api.session["sessionId"]


def test_other_agents_and_projects_keep_their_sessions(api: Api) -> None:
    other = Api(api.server, "w2", api.project)
    elsewhere = Api(api.server, "w1", "default", allowMultipleSessions=True)
    Api(api.server, "w1", api.project)
    other.data("GET", "/api/auth/session")
    elsewhere.data("GET", "/api/auth/session")


def test_a_session_is_resumed_with_a_fresh_token(api: Api) -> None:
    api.server.clock.advance(600)
    again = Api(api.server, "w1", api.project, resumeExisting=True)
    assert again.session["resumed"] is True
    assert again.session["sessionId"] == api.session["sessionId"]
    assert again.session["token"] != api.session["token"]
    assert again.session["expiresAt"] > api.session["expiresAt"]
    api.data("GET", "/api/auth/session")  # the old token stays valid
    again.data("POST", "/api/auth/logout")
    api.refused(401, "GET", "/api/auth/session")  # it was one session


def test_the_most_recently_used_session_is_resumed(api: Api) -> None:
    second = Api(api.server, "w1", api.project, allowMultipleSessions=True)
    api.server.clock.advance(30)
    api.data("GET", "/api/auth/session")
    resumed = Api(api.server, "w1", api.project, resumeExisting=True)
    assert resumed.session["sessionId"] == api.session["sessionId"]
    second.data("GET", "/api/auth/session")


def test_with_nothing_to_resume_it_is_a_normal_login(api: Api) -> None:
    first = Api(api.server, "w7", api.project, resumeExisting=True)
    assert first.session["resumed"] is False
    first.data("POST", "/api/auth/logout")
    second = Api(api.server, "w7", api.project, resumeExisting=True)
    assert second.session["resumed"] is False


def test_logout_ends_this_session_only(api: Api) -> None:
    other = Api(api.server, "w1", api.project, allowMultipleSessions=True)
    assert "message" in api.data("POST", "/api/auth/logout")
    api.refused(401, "GET", "/api/auth/session")
    api.refused(401, "POST", "/api/auth/logout")
    other.data("GET", "/api/auth/session")


def test_session_info_has_the_flat_fields_and_the_objects(api: Api) -> None:
    info = api.data("GET", "/api/auth/session")
    assert {"sessionId", "agentName", "projectId", "createdAt", "expiresAt", "lastActivity"} <= set(info)
    assert info["sessionId"] == info["session"]["id"] == api.session["sessionId"]
    assert info["project"]["id"] == info["projectId"] == api.project
    assert info["agent"] == {"name": "w1"}


def test_extending_adds_to_the_present_end(api: Api) -> None:
    info = api.data("PUT", "/api/auth/session", {"extendBy": 86_400})
    assert info["expiresAt"] > api.session["expiresAt"]
    api.server.clock.advance(86_400 + 3_500)
    api.data("GET", "/api/auth/session")
    api.server.clock.advance(200)
    api.refused(401, "GET", "/api/auth/session")


@pytest.mark.parametrize("by", [0, -1, 86_401, "60", 1.5, None])
def test_the_extension_has_bounds(api: Api, by: object) -> None:
    (row,) = api.refused(422, "PUT", "/api/auth/session", {"extendBy": by})["validationDetails"]
    assert row["field"] == "extendBy"


def test_data_is_replaced_and_never_wiped_by_silence(api: Api) -> None:
    assert api.data("PUT", "/api/auth/session", {"data": {"a": 1, "b": [2]}})["session"]["data"] == {"a": 1, "b": [2]}
    assert api.data("PUT", "/api/auth/session", {"data": {"c": 3}})["data"] == {"c": 3}
    assert api.data("PUT", "/api/auth/session", {"extendBy": 60})["session"]["data"] == {"c": 3}
    assert api.data("PUT", "/api/auth/session", {})["session"]["data"] == {"c": 3}
    again = Api(api.server, "w1", api.project, resumeExisting=True)
    assert again.session["session"]["data"] == {"c": 3}
    api.refused(422, "PUT", "/api/auth/session", {"data": {"much": "x" * 70_000}})


def test_a_session_may_work_in_another_project(api: Api) -> None:
    other = api.server.do(lambda fabric: fabric.projects.create(f"other-{new_id()}", ROOT)).project.id
    kind = api.data("POST", f"/api/projects/{other}/task-types", {"name": "t"})["id"]
    task = api.data("POST", f"/api/projects/{other}/tasks", {"typeId": kind, "instructions": "x"})
    assert api.data("POST", "/api/agents/w1/next-task", {"projectId": other})["id"] == task["id"]


def test_a_closed_project_keeps_its_sessions_and_a_deleted_one_does_not(api: Api) -> None:
    api.data("PUT", "/api/projects/{P}", {"status": "closed"})
    api.data("GET", "/api/auth/session")
    after = Api(api.server, "w2", api.project)
    after.data("GET", "/api/projects/{P}")
    after.data("DELETE", "/api/projects/{P}")
    api.refused(401, "GET", "/api/auth/session")
    after.refused(401, "GET", "/api/projects")


def test_a_session_lives_through_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("restart")
    with served(home) as before:
        token = Api(before).session["token"]
    with served(home) as after:
        headers = {"authorization": f"Bearer {token}"}
        assert httpx2.get(f"{after.url}/api/auth/session", headers=headers).status_code == 200


def test_the_lifetime_can_be_set(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(tmp_path_factory.mktemp("short"), session_timeout=1500) as server:
        api = Api(server)
        server.clock.advance(1.4)
        api.data("GET", "/api/auth/session")
        server.clock.advance(0.2)
        api.refused(401, "GET", "/api/auth/session")
