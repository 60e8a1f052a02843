"""Health and metrics (contract 10)."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faces.taskdriver.serving import Api, Server, served
from treadle import __version__
from treadle.core.errors import StoreUnavailable
from treadle.faces.taskdriver.metrics import BUCKETS, Histogram, Meter


def metrics(server: Server) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Every sample by name and labels, read by Prometheus' own parser."""
    answer = server.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        for sample in family.samples:
            series = found.setdefault(sample.name, {})
            key = tuple(sorted(sample.labels.items()))
            assert key not in series, f"{sample.name} {key} twice"
            series[key] = sample.value
    return found


def test_health_is_both_shapes_at_once(server: Server) -> None:
    server.clock.advance(3)
    told = server.http.get("/health").json()
    assert told["success"] is True
    data = told["data"]
    assert set(data) == {"status", "timestamp", "uptime", "storage"}
    assert data["status"] == told["status"] == "healthy"
    assert data["storage"] == told["storage"]
    assert (data["storage"]["healthy"], data["storage"]["provider"]) == (True, "sqlite")
    assert told["storage"]["message"]
    assert told["version"] == __version__
    assert data["uptime"] >= 3
    assert told["timestamp"] == data["timestamp"]


def test_a_store_that_does_not_answer_is_a_503(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> int:
        raise StoreUnavailable("the disk under /home/ann is gone")

    monkeypatch.setattr(server.fabric.events, "last", broken)
    answer = server.http.get("/health")
    assert answer.status_code == 503
    told = answer.json()
    assert told["success"] is False
    assert told["status"] == told["data"]["status"] == "unhealthy"
    assert told["data"]["storage"]["healthy"] is False
    assert told["error"] == StoreUnavailable().message
    assert "/home" not in answer.text


def test_the_names_are_those_of_the_published_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(tmp_path_factory.mktemp("names")) as server:
        found = metrics(server)
        for name in (
            "http_requests_in_flight", "sessions_active", "sessions_created_total", "server_started", "projects_active",
            "tasks_total", "tasks_queued", "tasks_running", "tasks_completed_total", "tasks_failed_total",
            "agents_connected", "leases_active", "task_duration_seconds_count", "session_duration_seconds_count",
        ):  # fmt: skip
            assert set(found[f"taskdriver_{name}"]) == {()}, name
        again = metrics(server)  # a histogram needs a request to show
        series = ("method", "GET"), ("path", "/metrics")
        assert again["taskdriver_http_requests_total"][series] == 1
        assert again["taskdriver_http_request_duration_seconds_count"][(*series, ("status", "200"))] == 1


def test_requests_are_counted_by_pattern(api: Api) -> None:
    def of(name: str, **labels: str) -> float:
        series = metrics(api.server).get(f"taskdriver_{name}", {})
        return sum(value for key, value in series.items() if labels.items() <= dict(key).items())

    path = "/api/tasks/{taskId}"
    before = of("http_requests_total", method="GET", path=path)
    for ref in ("a", "b", "c"):
        api.ask("GET", f"/api/tasks/{ref}")
    assert of("http_requests_total", method="GET", path=path) == before + 3
    assert of("http_request_duration_seconds_count", path=path, status="404") >= 3
    assert of("http_errors_total", path=path, error_type="not_found") >= 3
    unmatched = of("http_requests_total", path="unmatched")
    api.ask("GET", "/api/no/such/address")
    api.ask("PROPFIND", "/api/projects")
    assert of("http_requests_total", path="unmatched") == unmatched + 2
    assert of("http_requests_total", method="OTHER") == 1


def test_what_the_store_holds_is_told_as_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(tmp_path_factory.mktemp("standing")) as server:
        api = Api(server)
        server.http.post("/api/auth/login", json={"agentName": "w2", "projectId": "nobody"})
        server.http.post("/api/auth/login", json={})
        kind = api.type(maxRetries=0)
        for _ in range(4):
            api.task(kind)
        api.data("POST", f"/api/tasks/{api.next()['id']}/complete", {"result": "r"})
        api.data("POST", f"/api/tasks/{api.next()['id']}/fail", {"error": "e"})
        api.next()
        operations = metrics(server)["taskdriver_agent_operations_total"]
        assert operations == {
            (("operation", "next-task"),): 3, (("operation", "complete"),): 1, (("operation", "fail"),): 1,
        }  # fmt: skip
        found = {name: series.get((), None) for name, series in metrics(server).items()}
        told = {
            "sessions_active": 1, "sessions_created_total": 1, "projects_active": 1, "tasks_total": 4,
            "tasks_queued": 1, "tasks_running": 1, "tasks_completed_total": 1, "tasks_failed_total": 1,
            "agents_connected": 1, "leases_active": 1, "task_duration_seconds_count": 2, "http_requests_in_flight": 1,
        }  # fmt: skip
        assert {name: found[f"taskdriver_{name}"] for name in told} == told
        assert metrics(server)["taskdriver_login_errors_total"] == {(("error_type", "malformed"),): 2}
        api.data("POST", "/api/auth/logout")
        after = metrics(server)
        assert after["taskdriver_sessions_active"] == {(): 0}
        assert after["taskdriver_session_duration_seconds_count"] == {(): 1}


def test_json_metrics_have_the_flat_numbers_and_the_registry(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(tmp_path_factory.mktemp("json")) as server:
        api = Api(server)
        api.ask("GET", "/api/projects")
        api.ask("GET", "/api/nope")
        server.clock.advance(2)
        told = server.http.get("/metrics/json").json()
        assert told["success"] is True
        data: dict[str, Any] = told["data"]
        assert (data["requests_total"], data["requests_success"], data["requests_error"]) == (3, 2, 1)
        assert 0 < data["response_time_avg"] < 5000
        assert data["active_sessions"] == 1
        system = data["system"]
        assert 0 < system["memory_usage"] < 100
        assert system["cpu_usage"] >= 0
        assert system["uptime"] >= 2
        assert data["uptime"] >= 2000
        assert data["gauges"]["taskdriver_sessions_active"] == 1
        assert data["counters"]['taskdriver_http_requests_total{method="GET",path="/api/projects"}'] == 1
        rows = data["histograms"][
            'taskdriver_http_request_duration_seconds{method="GET",path="/api/projects",status="200"}'
        ]
        assert rows["count"] == rows["+Inf"] == 1


def test_a_histogram_puts_each_duration_under_its_bounds() -> None:
    histogram = Histogram()
    for seconds in (0.001, 0.005, 0.006, 9, 11):
        histogram.observe(seconds)
    assert histogram.count == 5
    rows = dict(histogram.buckets())
    assert [rows[str(bound)] for bound in BUCKETS] == [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]
    assert rows["+Inf"] == 5


def test_a_new_meter_has_no_mean() -> None:
    assert Meter().totals() == (0, 0, 0.0)


def test_many_who_ask_at_once_share_one_look_at_the_store(server: Server) -> None:
    import asyncio

    async def asked(fabric: Any) -> int:
        looks = 0
        page = fabric.projects.page

        async def counted(*args: Any, **more: Any) -> Any:
            nonlocal looks
            looks += 1
            return await page(*args, **more)

        fabric.projects.page = counted
        try:
            handler = next(route.handler for route in server.app.routes if route.path == "/metrics")
            await asyncio.gather(*(handler(None) for _ in range(20)))
        finally:
            del fabric.projects.page
        return looks

    assert server.do(asked) == 1
