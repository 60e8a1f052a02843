"""Every error of the core is spelled by this face, in one shape."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import msgspec
import pytest

from tests.faces.fabric.conftest import Api
from treadle.core import errors as core
from treadle.core.errors import FabricError
from treadle.faces.fabric.errors import ERRORS, row_of, spell
from treadle.web import refusals
from treadle.web.call import Call


def classes(module: object) -> Iterator[type[FabricError]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, FabricError) and found.__module__ == module.__name__:  # type: ignore[attr-defined]
            yield found


@pytest.mark.parametrize("kind", list(classes(core)), ids=lambda kind: kind.__name__)
def test_every_error_of_the_core_has_a_row(kind: type[FabricError]) -> None:
    assert kind in ERRORS


@pytest.mark.parametrize("kind", list(classes(refusals)), ids=lambda kind: kind.__name__)
def test_every_refusal_of_the_http_layer_has_a_row_with_its_status(kind: type[FabricError]) -> None:
    assert ERRORS[kind][0] == kind.status  # type: ignore[attr-defined]


def test_a_class_without_a_row_is_spelled_as_its_parent() -> None:
    class Odd(core.LeaseLost):
        """Something new."""

    assert row_of(Odd()) == ERRORS[core.LeaseLost]


def test_codes_tell_errors_apart() -> None:
    rows = [row for kind, row in ERRORS.items() if kind is not refusals.NoRoute]
    assert len({code for _, code in rows}) == len(rows)


def test_what_is_none_of_ours_says_nothing_of_itself() -> None:
    call = Call.__new__(Call)
    call.correlation = "abc"
    reply = spell(RuntimeError("the password is 12345"), call)
    told = msgspec.json.decode(reply.body)
    assert (reply.status, told["code"], told["success"]) == (500, "internal", False)
    assert "12345" not in told["error"]
    assert "abc" in told["error"]


REFUSED = [
    ("GET", "/nope", None, 404, "not_found"),
    ("PUT", "/api/queue/projects", None, 405, "wrong_method"),
    ("POST", "/api/queue/projects", b"{", 400, "malformed"),
    ("POST", "/api/queue/projects", b"[]", 400, "malformed"),
    ("POST", "/api/queue/claim", b'{"project":"nope","worker":"w"}', 404, "not_found"),
    ("POST", "/api/queue/claim", b'{"project":"nope","worker":"w","count":1001}', 400, "invalid"),
    ("POST", "/api/queue/finish", b'{"tasks":[]}', 400, "invalid"),
    ("POST", "/api/queue/finish", b'{"tasks":[{"id":"x"}]}', 400, "invalid"),
    ("GET", "/api/queue/tasks/x?wait=301", None, 400, "invalid"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), REFUSED)
def test_every_refusal_has_one_shape(
    api: Api, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    answer = api.http.request(method, path, content=body)
    told = answer.json()
    assert (answer.status_code, told["success"], told["code"]) == (status, False, code)
    assert told["error"]
    assert set(told) <= {"success", "error", "code", "faults"}


def test_wrong_media_is_refused(api: Api) -> None:
    answer = api.http.post("/api/queue/projects", content=b"name=x", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "wrong_media")
