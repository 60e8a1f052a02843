"""Who gets in: every route without a token, wrong tokens, keys, and a server with logins switched off (contract 3)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest

from tests.faces.taskdriver.serving import Api, Server, served
from treadle.core.access import PUBLIC
from treadle.core.fabric import Fabric
from treadle.faces.taskdriver import Options, make
from treadle.faces.taskdriver.sessions import SCOPES
from treadle.web.log import Log
from treadle.web.routes import Route, access_matrix

PUBLIC_PATHS = {
    "/api/auth/login", "/health", "/metrics", "/metrics/json", "/openapi.json", "/api/docs", "/api/docs/{file}",
}  # fmt: skip


def test_the_matrix_names_a_known_scope_for_every_route(server: Server) -> None:
    for method, path, scope in access_matrix(server.app.routes):
        assert (scope == PUBLIC) == (path in PUBLIC_PATHS), f"{method} {path}"
        assert scope == PUBLIC or scope in SCOPES, f"{method} {path}"


def _address(route: Route) -> str:
    return re.sub(r"\{[^}]*}", "default", route.path)


def test_every_route_without_a_token_is_401_but_the_public_ones(server: Server) -> None:
    with httpx2.Client(base_url=server.url) as http:
        for route in server.app.routes:
            answer = http.request(route.method, _address(route), json={} if route.body is not None else None)
            if route.path in PUBLIC_PATHS:
                assert answer.status_code != 401, route.path
                continue
            assert answer.status_code == 401, f"{route.method} {route.path}"
            assert answer.json()["success"] is False
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nope", 401),
        ("POST", "/api/", 401),
        ("PATCH", "/api/projects", 401),
        ("GET", "/nope", 404),
        ("GET", "/", 404),
        ("POST", "/health", 405),
    ],
)
def test_an_unknown_address_asks_for_a_token_first(server: Server, method: str, path: str, status: int) -> None:
    answer = httpx2.request(method, f"{server.url}{path}")
    assert answer.status_code == status
    assert answer.json()["success"] is False


def test_an_unknown_address_with_a_token_is_404_or_405(api: Api) -> None:
    api.refused(404, "GET", "/api/nope")
    assert "PUT" in api.ask("PATCH", "/api/projects/{P}", {}).headers["allow"]
    api.refused(405, "PATCH", "/api/projects/{P}", {})


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", "Basic dzE6dzE=", "bearer {token}", "{token}", "Bearer {token}x"]
)
def test_a_token_is_shown_as_the_document_says(api: Api, header: str) -> None:
    sent = {"authorization": header.replace("{token}", api.session["token"])}
    answer = httpx2.get(f"{api.server.url}/api/auth/session", headers=sent)
    assert answer.status_code == 401


def test_what_other_doors_open_does_not_open_this_one(server: Server) -> None:
    async def opened(fabric: Fabric) -> tuple[str, str]:
        key = await fabric.grants.open(kind="key", principal="k", face="native", scopes=("*",))
        session = await fabric.grants.open(kind="session", principal="s", face="console", scopes=("*",))
        return key[1], session[1]

    for token in server.do(opened):
        answer = httpx2.get(f"{server.url}/api/projects", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 401


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("guarded"), auth="required") as running:
        yield running


def key_of(server: Server, *scopes: str, project: str | None = None) -> str:
    async def opened(fabric: Fabric) -> str:
        grant = await fabric.grants.open(kind="key", principal="k", face="native", scopes=scopes, project=project)
        return grant[1]

    return server.do(opened)


def with_key(server: Server, key: str | None, agent: str = "w1") -> httpx2.Response:
    headers = {} if key is None else {"x-api-key": key}
    body = {"agentName": agent, "projectId": "default"}
    return httpx2.post(f"{server.url}/api/auth/login", json=body, headers=headers)


def test_a_login_may_need_a_key(guarded: Server) -> None:
    assert with_key(guarded, None).status_code == 401
    assert with_key(guarded, "wrong").status_code == 401
    assert with_key(guarded, key_of(guarded, "nodes:*")).status_code == 403
    token = with_key(guarded, key_of(guarded, "*")).json()["data"]["token"]
    assert with_key(guarded, token).status_code == 401  # a session is no key
    headers = {"authorization": f"Bearer {token}"}
    assert httpx2.get(f"{guarded.url}/api/projects", headers=headers).status_code == 200


def test_a_session_opens_no_more_than_its_key(guarded: Server) -> None:
    token = with_key(guarded, key_of(guarded, "queue:read", "queue:claim"), "w2").json()["data"]["token"]
    with httpx2.Client(base_url=guarded.url, headers={"authorization": f"Bearer {token}"}) as http:
        assert http.get("/api/projects").status_code == 200
        assert http.post("/api/agents/w2/next-task", json={}).status_code == 200
        refused = http.post("/api/projects", json={"name": "p", "description": "d"})
        assert refused.status_code == 403
        assert refused.json()["success"] is False
        assert http.get("/api/auth/session").status_code == 200


def test_resuming_with_a_smaller_key_does_not_widen_it(guarded: Server) -> None:
    wide = with_key(guarded, key_of(guarded, "*"), "w3").json()["data"]
    body = {"agentName": "w3", "projectId": "default", "resumeExisting": True}
    headers = {"x-api-key": key_of(guarded, "queue:read")}
    narrow = httpx2.post(f"{guarded.url}/api/auth/login", json=body, headers=headers).json()["data"]
    assert narrow["resumed"] is False
    assert narrow["sessionId"] != wide["sessionId"]


def test_a_key_for_one_project_opens_no_session(guarded: Server) -> None:
    """A session may work in every project, so such a key would open more than it should."""
    project = guarded.do(lambda fabric: fabric.projects.get("default")).project.id
    assert with_key(guarded, key_of(guarded, "*", project=project)).status_code == 403


def test_logins_can_be_switched_off(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        served(tmp_path_factory.mktemp("open"), enable_auth=False) as server,
        httpx2.Client(base_url=server.url) as http,
    ):
        kind = http.post("/api/projects/default/task-types", json={"name": "t"}).json()["data"]["id"]
        made = http.post("/api/projects/default/tasks", json={"typeId": kind, "instructions": "x"})
        assert made.status_code == 201
        claimed = http.post("/api/agents/w1/next-task", json={"projectId": "default"}).json()["data"]
        assert claimed["task"]["assignedTo"] == "w1"
        done = http.post(f"/api/tasks/{claimed['id']}/complete", json={"agentName": "w1", "result": "r"})
        assert done.json()["data"]["status"] == "completed"
        assert http.post("/api/agents/w1/next-task", json={}).status_code == 422  # no session, so no project either
        assert http.get("/api/auth/session").status_code == 401
        assert http.post("/api/auth/logout").status_code == 200
        assert http.get("/api/projects", headers={"authorization": "Bearer wrong"}).status_code == 401
        api = Api(server)  # and logging in still works
        assert api.data("GET", "/api/auth/session")["agentName"] == "w1"


def test_contradicting_options_are_refused(server: Server) -> None:
    with pytest.raises(ValueError, match="required and switched off"):
        make(server.fabric, Options(auth="required", enable_auth=False), Log(lambda _: None))
