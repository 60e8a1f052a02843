"""Who gets in: keys over HTTP and in a socket's address, pages of other sites, names that are not ours."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.faces.ufo.serving import Server, served
from tests.faces.ufo.stock import device
from treadle.core.access import PUBLIC
from treadle.faces.ufo.gate import SCOPES

KEY = "a-key-of-ours"
LOCAL, OTHER, NARROW = "the-local-key", "a-taskdriver-session", "only-reads"
MISSING = {"detail": "An API key is needed here: send it in the header X-API-Key"}
WRONG = {"detail": "Invalid API key"}
ROUTES = [
    ("POST", "/api/dispatch"),
    ("GET", "/api/clients"),
    ("GET", "/api/task_result/x"),
    ("GET", "/api/tasks/x/events"),
    ("GET", "/api/health"),
]


def grant(server: Server, face: str, secret: str, scopes: tuple[str, ...], project: str | None = None) -> None:
    server.do(
        lambda fabric: fabric.grants.open(
            kind="key", principal="local", face=face, scopes=scopes, secret=secret, project=project
        )
    )


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("locked"), api_key=KEY) as running:
        grant(running, "fabric", LOCAL, ("*",))
        grant(running, "fabric", NARROW, ("devices:read",))
        grant(running, "fabric", "one-project", ("*",), "p")
        grant(running, "taskdriver", OTHER, ("*",))
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("open")) as running:
        yield running


class TestKeys:
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_without_one(self, locked: Server, method: str, path: str) -> None:
        answer = locked.http.request(method, path)
        assert (answer.status_code, answer.json()) == (401, MISSING)

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    @pytest.mark.parametrize("key", ["no", KEY[:-1], KEY + "x", OTHER, "one-project", "ü"])
    def test_with_a_wrong_one(self, locked: Server, method: str, path: str, key: str) -> None:
        answer = locked.http.request(method, path, headers={"x-api-key": key.encode()})
        assert (answer.status_code, answer.json()) == (401, WRONG)

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    @pytest.mark.parametrize("headers", [{"x-api-key": KEY}, {"x-api-key": LOCAL}, {"authorization": f"Bearer {KEY}"}])
    def test_with_a_right_one(self, locked: Server, method: str, path: str, headers: dict[str, str]) -> None:
        assert locked.http.request(method, path, headers=headers).status_code in (200, 404, 422)

    def test_a_key_opens_what_it_opens(self, locked: Server) -> None:
        headers = {"x-api-key": NARROW}
        assert locked.http.get("/api/clients", headers=headers).status_code == 200
        assert locked.http.post("/api/dispatch", headers=headers).status_code == 403

    def test_an_address_holds_no_key(self, locked: Server) -> None:
        assert locked.http.get(f"/api/clients?token={KEY}").status_code == 401

    @pytest.mark.parametrize("query", ["", "?token=no", "?token=", f"?token={OTHER}"])
    def test_a_socket_without_it_is_refused(self, locked: Server, query: str) -> None:
        assert refusal(f"{locked.socket}{query}") == 403

    @pytest.mark.parametrize("key", [KEY, LOCAL])
    def test_a_socket_shows_it_in_its_address(self, locked: Server, key: str) -> None:
        headers = {"x-api-key": KEY}
        with device(f"{locked.socket}?token={key}", "d1"):
            body = {"client_id": "d1", "request": "run: echo in", "task_name": "in", "when_online": True}
            assert locked.http.post("/api/dispatch", headers=headers, json=body).status_code == 200
            told = locked.http.get("/api/task_result/in?wait=10", headers=headers).json()
            assert told["result"]["output"] == "in"

    def test_no_key_is_ever_logged(self, locked: Server) -> None:
        with device(f"{locked.socket}?token={KEY}", "d2"):
            locked.http.get("/api/clients", headers={"x-api-key": KEY})
        locked.lines()
        assert KEY.encode() not in b"".join(locked.log_lines)

    def test_health_may_be_open(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        with served(tmp_path_factory.mktemp("probed"), api_key=KEY, health_open=True) as running:
            assert running.http.get("/api/health").status_code == 200
            assert running.http.get("/api/clients").status_code == 401

    def test_auth_required_asks_for_the_local_key(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        with served(tmp_path_factory.mktemp("required"), auth="required") as running:
            grant(running, "fabric", LOCAL, ("*",))
            assert running.http.get("/api/clients").status_code == 401
            assert running.http.get("/api/clients", headers={"x-api-key": ""}).status_code == 401
            assert running.http.get("/api/clients", headers={"x-api-key": LOCAL}).status_code == 200
            assert refusal(running.socket) == 403

    def test_without_a_key_set_none_is_looked_at(self, server: Server) -> None:
        assert server.http.get("/api/clients", headers={"x-api-key": "whatever"}).status_code == 200
        with device(f"{server.socket}?token=whatever", "d1"):
            server.online("d1")

    def test_every_route_has_a_scope_that_somebody_holds(self, server: Server) -> None:
        scopes = {row.scope for row in (*server.app.declared, *server.app.sockets)} - {PUBLIC}
        assert all(scope.startswith(SCOPES[0].removesuffix("*")) for scope in scopes)
        assert [row.path for row in server.app.declared if row.scope == PUBLIC] == ["/api/health"]


class TestPagesOfOtherSites:
    def test_may_change_nothing(self, server: Server) -> None:
        answer = server.http.post("/api/dispatch", json={}, headers={"origin": "https://evil.example"})
        assert answer.status_code == 403
        assert list(answer.json()) == ["detail"]

    def test_may_open_no_socket(self, server: Server) -> None:
        assert refusal(server.socket, origin="https://evil.example") == 403

    def test_our_own_may(self, server: Server) -> None:
        answer = server.http.post("/api/dispatch", json={}, headers={"origin": server.url})
        assert answer.status_code == 400
        with connect(server.socket, origin=server.url, proxy=None):  # type: ignore[arg-type]
            pass

    def test_listed_ones_may(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        home = tmp_path_factory.mktemp("listed")
        with served(home, cors_origins=("https://good.example",)) as running:
            answer = running.http.post("/api/dispatch", json={}, headers={"origin": "https://good.example"})
            assert answer.status_code == 400
            assert answer.headers["access-control-allow-origin"] == "https://good.example"

    def test_a_name_that_is_not_ours(self, server: Server) -> None:
        answer = server.http.get("/api/clients", headers={"host": "evil.example"})
        assert (answer.status_code, list(answer.json())) == (403, ["detail"])
        upgrade = {
            "host": "evil.example", "connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
            "sec-websocket-key": base64.b64encode(secrets.token_bytes(16)).decode(),
        }  # fmt: skip
        assert httpx2.get(f"{server.url}/ws", headers=upgrade, trust_env=False).status_code == 403

    def test_a_name_that_is_allowed(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        with served(tmp_path_factory.mktemp("named"), hosts=("devices.example",)) as running:
            assert running.http.get("/api/clients", headers={"host": "devices.example"}).status_code == 200


def refusal(url: str, **more: Any) -> int:
    """The status with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused, connect(url, proxy=None, **more):
        pass
    assert b"detail" in (refused.value.response.body or b"")
    return refused.value.response.status_code
