"""Who gets in, with which rights, and how often."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from tests.faces.fabric.conftest import Api
from tests.faces.fabric.serving import KEY, Served, served
from treadle.core.access import PUBLIC
from treadle.core.fabric import Fabric
from treadle.faces.fabric.face import is_loopback


def opened(server: Served, *scopes: str, face: str = "fabric", project: str | None = None) -> dict[str, str]:
    """The header of a new key."""

    async def verb(fabric: Fabric) -> str:
        _, secret = await fabric.grants.open(
            kind="key", principal="somebody", face=face, scopes=scopes, project=project
        )  # fmt: skip
        return secret

    return {"authorization": f"Bearer {server.do(verb)}"}


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_a_key_may_be_shown_in_two_ways(api: Api, project: str, name: str) -> None:
    header = {name: f"Bearer {KEY}" if name == "authorization" else KEY}
    answer = api.post("/api/queue/submit", {"project": project, "tasks": [{}]}, headers=header)
    assert answer["results"][0]["task"]["submitter"] == "local"


def test_a_wrong_key_is_not_nobody(api: Api) -> None:
    for header in ({"authorization": "Bearer nope"}, {"x-api-key": "nope"}, {"authorization": "Basic Og=="}):
        refusal = api.ask("GET", "/api/queue/projects", status=401, headers=header)
        assert refusal["code"] == "unauthenticated"


def test_a_key_opens_what_it_was_made_for(api: Api, project: str, server: Served) -> None:
    reader = opened(server, "queue:read")
    api.ask("GET", "/api/queue/projects", headers=reader)
    refusal = api.post("/api/queue/submit", {"project": project, "tasks": [{}]}, 403, headers=reader)
    assert refusal["code"] == "denied"


def test_the_session_of_another_face_opens_nothing_here(api: Api, server: Served) -> None:
    api.ask("GET", "/api/queue/projects", status=401, headers=opened(server, "*", face="taskdriver"))


def test_a_key_for_one_project_does_not_open_all(api: Api, server: Served) -> None:
    api.ask("GET", "/api/queue/projects", status=403, headers=opened(server, "*", project="some-project"))


def test_every_address_is_closed_where_a_key_is_required(tmp_path: Path) -> None:
    with served(tmp_path, auth="required") as server:
        routes = server.app.routes
        api = Api(server.url)
        with api.http:
            closed = 0
            for route in routes:
                path = route.path.replace("{", "").replace("}", "")
                status = api.http.request(route.method, path).status_code
                if route.scope == PUBLIC:
                    assert status != 401, route.path
                else:
                    assert status == 401, route.path
                    closed += 1
            assert closed > 20
            assert {route.path for route in routes if route.scope == PUBLIC} == {
                "/", "/health", "/openapi.json", "/docs", "/docs/{file}",
            }  # fmt: skip
            api.ask("GET", "/api/queue/projects", headers={"x-api-key": KEY})


def test_the_limit_counts_anonymous_callers_and_not_the_owner(tmp_path: Path) -> None:
    with served(tmp_path, rate_limit=2) as server, httpx2.Client(base_url=server.url, trust_env=False) as http:
        for _ in range(5):
            owner = http.get("/api/queue/projects", headers={"x-api-key": KEY})
            assert owner.status_code == 200
            assert http.get("/health").status_code == 200
        assert [http.get("/api/queue/projects").status_code for _ in range(3)] == [200, 200, 429]
        refused = http.get("/api/queue/projects")
        assert refused.json()["code"] == "too_many"
        assert int(refused.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("address", "is_so"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::ffff:127.0.0.1", True),
     ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("", False), ("nonsense", False)],
)  # fmt: skip
def test_only_loopback_comes_without_a_key(address: str, is_so: bool) -> None:
    assert is_loopback(address) is is_so


def test_no_key_is_logged(server: Served, api: Api) -> None:
    for _ in range(2):  # a request is in the log by the time the next one on its connection is answered
        api.ask("GET", "/api/queue/projects", headers={"x-api-key": KEY})
    server.log.flush()
    assert b"/api/queue/projects" in b"".join(server.log_lines)
    assert KEY.encode() not in b"".join(server.log_lines)
