"""Every error of the core is spelled by this face, in one shape (contract 1.1)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import msgspec
import pytest

from treadle.core import errors as core
from treadle.core.errors import FabricError
from treadle.faces.console import errors
from treadle.faces.console.errors import ERRORS, row_of, spell
from treadle.web import refusals
from treadle.web.call import Call


def classes(module: object) -> Iterator[type[FabricError]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, FabricError) and found.__module__ == module.__name__:  # type: ignore[attr-defined]
            yield found


def asked(method: str = "GET", path: bytes = b"/api/browse", query: bytes = b"", **headers: str) -> Call:
    call = Call.__new__(Call)
    call.correlation, call.method, call.raw_path, call.query_string, call.route = "abc", method, path, query, None
    call.headers = {name.encode(): value.encode() for name, value in headers.items()}
    return call


@pytest.mark.parametrize("kind", [*classes(core), *classes(errors)], ids=lambda kind: kind.__name__)
def test_every_error_has_a_row(kind: type[FabricError]) -> None:
    assert kind in ERRORS


@pytest.mark.parametrize("kind", list(classes(refusals)), ids=lambda kind: kind.__name__)
def test_every_refusal_of_the_http_layer_has_a_row_with_its_status(kind: type[FabricError]) -> None:
    assert ERRORS[kind][0] == kind.status  # type: ignore[attr-defined]


def test_a_class_without_a_row_is_spelled_as_its_parent() -> None:
    class Odd(core.LeaseLost):
        """Something new."""

    assert row_of(Odd()) == ERRORS[core.LeaseLost]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (core.Invalid(core.Fault("path", '"path" is required')), 400, "bad_request"),
        (core.Malformed("no JSON"), 400, "bad_request"),
        (core.Unauthenticated(), 401, "auth"),
        (errors.NoCsrf(), 401, "csrf"),
        (core.Denied(), 403, "denied"),
        (errors.OutsideRoots(), 403, "outside_roots"),
        (core.NotFound("Session", "s1"), 404, "not_found"),
        (refusals.NoRoute("/x"), 404, "not_found"),
        (errors.SessionExists(), 409, "session_exists"),
        (errors.Busy(retry_after=1), 429, "busy"),
        (core.FabricError(), 500, "internal"),
    ],
)
def test_one_shape(error: FabricError, status: int, code: str) -> None:
    reply = spell(error, asked())
    told = msgspec.json.decode(reply.body)
    assert (reply.status, told["success"], told["code"], set(told)) == (
        status,
        False,
        code,
        {"success", "error", "code"},
    )
    assert told["error"]


@pytest.mark.parametrize("error", [RuntimeError("/home/ada: 12345"), core.StoreReadOnly("/home/ada: 12345")])
def test_nothing_of_this_machine_is_told(error: Exception) -> None:
    assert b"12345" not in spell(error, asked()).body


@pytest.mark.parametrize(
    ("call", "redirected"),
    [
        (asked(accept="text/html,application/xhtml+xml"), True),
        (asked("HEAD", accept="text/html"), True),
        (asked(), False),
        (asked(accept="*/*"), False),
        (asked("POST", accept="text/html"), False),
        (asked(accept="text/html", authorization="Bearer x"), False),
    ],
)
def test_a_person_is_led_to_the_login_a_program_is_told(call: Call, redirected: bool) -> None:
    assert (spell(core.Unauthenticated(), call).status == 302) is redirected
    assert spell(core.Denied(), call).status == 403


def test_the_way_back_is_one_parameter() -> None:
    reply = spell(core.Unauthenticated(), asked(path=b"/a", query=b"b=c&d=e", accept="text/html"))
    assert reply.headers == ((b"location", b"/login?next=%2Fa%3Fb%3Dc%26d%3De"),)
