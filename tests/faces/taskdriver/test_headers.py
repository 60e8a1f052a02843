"""Correlation, rate limit, security and CORS headers (contract 9, design 4 and 5)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.faces.taskdriver.serving import Api, Server, served

LISTED, OTHER = "https://dash.example", "https://evil.example"
LIMIT = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("cors"), cors_origins=(LISTED,), hosts=("queue.example",)) as running:
        yield running


def test_a_correlation_id_is_kept_or_made(server: Server) -> None:
    kept = server.http.get("/health", headers={"x-correlation-id": "a.B:9_-"})
    assert kept.headers["x-correlation-id"] == "a.B:9_-"
    ids = {server.http.get("/api/projects").headers["x-correlation-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(len(id) == 36 for id in ids)


@pytest.mark.parametrize("sent", ["x" * 129, "two words", "<script>", ""])
def test_one_that_is_not_sound_is_replaced(server: Server, sent: str) -> None:
    assert server.http.get("/health", headers={"x-correlation-id": sent}).headers["x-correlation-id"] != sent


@pytest.mark.parametrize("path", ["/health", "/api/projects", "/api/docs", "/nope", "/metrics"])
def test_security_headers_are_on_every_answer(server: Server, path: str) -> None:
    headers = server.http.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-xss-protection"] == "1; mode=block"
    assert headers["referrer-policy"] == "no-referrer"
    assert "content-security-policy" in headers
    assert "strict-transport-security" not in headers  # HTTPS only
    assert "x-powered-by" not in headers
    assert "server" not in headers


def test_a_listed_origin_reads_and_writes(server: Server) -> None:
    body = {"agentName": "page", "projectId": "default"}
    answer = server.http.post("/api/auth/login", json=body, headers={"origin": LISTED})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == LISTED
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "X-RateLimit-Remaining" in answer.headers["access-control-expose-headers"]


def test_an_unlisted_origin_is_refused_on_changes(server: Server) -> None:
    body = {"agentName": "page", "projectId": "default"}
    answer = server.http.post("/api/auth/login", json=body, headers={"origin": OTHER})
    assert answer.status_code == 403
    assert answer.json()["success"] is False
    assert "access-control-allow-origin" not in server.http.get("/health", headers={"origin": OTHER}).headers


def test_our_own_origin_may(server: Server) -> None:
    body = {"agentName": "page", "projectId": "default"}
    assert server.http.post("/api/auth/login", json=body, headers={"origin": server.url}).status_code == 200


def test_a_preflight_is_answered_for_listed_origins_only(server: Server) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    yes = server.http.options("/api/projects", headers={"origin": LISTED, **asked})
    assert yes.status_code == 204
    assert yes.headers["access-control-allow-origin"] == LISTED
    assert yes.headers["access-control-allow-methods"] == "GET,HEAD,PUT,PATCH,POST,DELETE"
    assert yes.headers["access-control-allow-headers"] == "authorization"
    no = server.http.options("/api/projects", headers={"origin": OTHER, **asked})
    assert "access-control-allow-methods" not in no.headers


def test_any_origin_may_where_all_are_listed(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(tmp_path_factory.mktemp("any"), cors_origins=("*",)) as server:
        body = {"agentName": "page", "projectId": "default"}
        answer = server.http.post("/api/auth/login", json=body, headers={"origin": OTHER})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] in ("*", OTHER)


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:3000", 200), ("queue.example", 200), ("evil.example:3000", 403), ("127.0.0.1", 200)],
)
def test_only_known_hosts_are_answered(server: Server, host: str, status: int) -> None:
    assert server.http.get("/health", headers={"host": host}).status_code == status


class TestRateLimit:
    @pytest.fixture
    def limited(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        with served(tmp_path_factory.mktemp("limited"), rate_limit=LIMIT) as running:
            yield running

    def test_the_default_is_a_hundred(self) -> None:
        from treadle.faces.taskdriver import Options

        assert Options().rate_limit == 100

    def test_the_headers_are_on_every_api_answer(self, limited: Server) -> None:
        before = time.time()
        refused = limited.http.get("/api/projects")
        assert refused.status_code == 401
        assert refused.headers["x-ratelimit-limit"] == str(LIMIT)
        assert refused.headers["x-ratelimit-remaining"] == str(LIMIT - 1)
        reset = int(refused.headers["x-ratelimit-reset"])
        assert before + 899 <= reset <= time.time() + 901
        page = limited.http.get("/api/docs")
        assert page.headers["x-ratelimit-remaining"] == str(LIMIT - 1)  # it does not count
        assert "x-ratelimit-limit" not in limited.http.get("/health").headers

    def test_beyond_it_is_429_in_the_envelope(self, limited: Server) -> None:
        api = Api(limited)
        for left in range(LIMIT - 2, -1, -1):
            assert api.ask("GET", "/api/projects").headers["x-ratelimit-remaining"] == str(left)
        told = api.refused(429, "GET", "/api/projects")
        assert told["error"]
        answer = api.ask("GET", "/api/projects")
        assert 0 < int(answer.headers["retry-after"]) <= 900
        assert answer.headers["x-ratelimit-remaining"] == "0"
        assert limited.http.post("/api/auth/login", json={}).status_code == 429
        assert limited.http.get("/health").status_code == 200
        assert limited.http.get("/metrics").status_code == 200

    def test_queue_operations_of_a_worker_do_not_count(self, limited: Server) -> None:
        api = Api(limited)
        kind = api.type()
        api.task(kind)
        left = str(LIMIT - 3)
        for _ in range(2 * LIMIT):
            answer = api.ask("POST", "/api/agents/w1/next-task", {})
            assert answer.headers["x-ratelimit-remaining"] == left
        id = answer.json()["data"]["id"]
        for method, path, body in [
            ("GET", "/api/projects/{P}/peek-next-task", None),
            ("POST", f"/api/tasks/{id}/extend-lease", {"extensionMinutes": 1}),
            ("POST", f"/api/tasks/{id}/fail", {"error": "e"}),
            ("POST", f"/api/tasks/{id}/complete", {"result": "r"}),
        ]:
            assert api.ask(method, path, body).headers["x-ratelimit-remaining"] == left

    def test_without_a_live_token_they_do(self, limited: Server) -> None:
        for _ in range(LIMIT):
            answer = limited.http.post("/api/agents/w1/next-task", json={}, headers={"authorization": "Bearer guess"})
            assert answer.status_code == 401
        assert limited.http.post("/api/agents/w1/next-task", json={}).status_code == 429

    def test_nor_do_those_of_nobody_in_particular_escape(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        with served(tmp_path_factory.mktemp("open"), rate_limit=2, enable_auth=False) as server:
            codes = [
                httpx2.post(f"{server.url}/api/agents/w1/next-task", json={"projectId": "default"}).status_code
                for _ in range(3)
            ]
            assert codes == [200, 200, 429]

    def test_zero_is_off(self, server: Server) -> None:
        api = Api(server)
        for _ in range(120):
            answer = api.ask("GET", "/api/nope")
        assert answer.status_code == 404
        assert "x-ratelimit-limit" not in answer.headers
