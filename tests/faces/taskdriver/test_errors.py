"""How errors are told: a row for each core error, the envelope, nothing that names this machine (contract 2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.faces.taskdriver.serving import Api, Server
from treadle.core import errors
from treadle.core.errors import FabricError, Fault, Invalid
from treadle.faces.taskdriver.errors import TABLE, row_of, words_of
from treadle.web import refusals

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def family(kind: type[FabricError]) -> Iterator[type[FabricError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_every_core_error_has_a_row() -> None:
    core = {kind for kind in family(FabricError) if kind.__module__ == errors.__name__}
    assert core == set(TABLE)


STATUSES = {
    400: ["Malformed"], 401: ["Unauthenticated"], 403: ["Denied"], 404: ["NotFound"],
    409: ["Conflict", "Duplicate", "WrongState", "LeaseLost", "ProjectClosed"], 422: ["Invalid"], 429: ["TooMany"],
    500: ["FabricError"],
    503: ["Unreachable",
          "StoreUnavailable", "StoreFull", "StoreReadOnly", "StoreCorrupt", "StoreTooNew", "StoreLocked"],
    504: ["Unanswered"],
}  # fmt: skip


def test_the_statuses_are_the_documents() -> None:
    assert {kind.__name__: row[0] for kind, row in TABLE.items()} == {
        name: status for status, names in STATUSES.items() for name in names
    }


def test_what_nobody_foresaw_is_a_500_without_details() -> None:
    error = ValueError("the secret is 42")
    assert row_of(error)[0] == 500
    assert words_of(error) == "Internal server error"


def test_a_later_class_goes_by_its_parents_row() -> None:
    class Stuck(errors.WrongState):
        """It is stuck."""

    assert row_of(Stuck()) == TABLE[errors.WrongState]
    assert row_of(refusals.NoRoute("/x"))[0] == 404


def test_the_words_of_a_broken_store_name_no_path() -> None:
    assert "/home" not in words_of(errors.StoreReadOnly("The store /home/ann/treadle.db cannot be written to"))
    assert "cannot be written to" in words_of(errors.StoreReadOnly("x"))
    assert "disk" in words_of(errors.StoreFull("/home"))


def test_validation_names_every_pair() -> None:
    error = Invalid(Fault("a", "is bad", 1), Fault("b.c", "is worse"))
    assert words_of(error) == "Validation failed: a: is bad, b.c: is worse"


def test_a_success_has_its_time(api: Api) -> None:
    told = api.ask("GET", "/api/projects").json()
    assert list(told) == ["success", "data", "timestamp"]
    assert INSTANT.fullmatch(told["timestamp"])


def test_an_error_has_time_and_correlation(api: Api) -> None:
    answer = api.ask("GET", "/api/nope", headers={"x-correlation-id": "req-123-456"})
    told = answer.json()
    assert list(told) == ["success", "error", "timestamp", "correlationId"]
    assert INSTANT.fullmatch(told["timestamp"])
    assert told["correlationId"] == answer.headers["x-correlation-id"] == "req-123-456"


def test_the_log_has_the_correlation_too(api: Api) -> None:
    api.ask("GET", "/api/projects", headers={"x-correlation-id": "find-me"})
    (line,) = [line for line in api.server.log() if line.get("correlationId") == "find-me"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/projects", 200)
    assert api.session["token"] not in str(api.server.log())


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"content-type": "text/plain"}, b"{}", 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, b"{}", 415),
        ({"content-type": "application/json"}, b"[" * 100 + b"]" * 100, 400),
        ({"content-type": "application/json"}, b'{"name": "\\ud800"}', 400),
        ({"content-type": "application/json"}, b'{"name":"a\\u0000b","description":"d"}', 422),
    ],
)
def test_bodies_that_cannot_be_read(api: Api, headers: dict[str, str], content: bytes, status: int) -> None:
    api.refused(status, "POST", "/api/projects", headers=headers, content=content)


def test_a_body_has_a_size(api: Api) -> None:
    body = {"agentName": "w1", "result": "x" * (10 * 1024 * 1024)}
    api.refused(413, "POST", "/api/tasks/x/complete", body)


def test_forms_are_read_where_they_can_hold_the_body(server: Server) -> None:
    answer = server.http.post("/api/auth/login", data={"agentName": "form", "projectId": "default"})
    assert answer.status_code == 200
    headers = {"authorization": f"Bearer {answer.json()['data']['token']}"}
    made = server.http.post("/api/projects", data={"name": "by-form", "description": "d"}, headers=headers)
    assert made.status_code == 201


@pytest.mark.parametrize("path", ["/api/projects/%00", "/api/tasks/%FF", "/api/agents/a%00b/next-task"])
def test_addresses_that_cannot_be_read(api: Api, path: str) -> None:
    method = "POST" if path.endswith("next-task") else "GET"
    answer = api.ask(method, path)
    assert 400 <= answer.status_code < 500
    assert answer.json()["success"] is False


def test_a_broken_store_is_a_503_in_the_envelope(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any, **__: Any) -> Any:
        raise errors.StoreFull("no space left in /home/ann")

    monkeypatch.setattr(api.server.fabric.projects, "page", full)
    told = api.refused(503, "GET", "/api/projects")
    assert told["error"] == errors.StoreFull().message
    assert any("/home/ann" in str(line.get("error")) for line in api.server.log())


def test_an_unforeseen_error_is_a_500_in_the_envelope(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(api.server.fabric.projects, "page", broken)
    told = api.refused(500, "GET", "/api/projects")
    assert told["error"] == "Internal server error"
    assert any("the secret is 42" in str(line.get("error")) for line in api.server.log())


def test_head_is_get_without_a_body(api: Api) -> None:
    answer = api.ask("HEAD", "/api/projects")
    assert answer.status_code == 200
    assert answer.content == b""
    assert httpx2.head(f"{api.server.url}/health").status_code == 200
