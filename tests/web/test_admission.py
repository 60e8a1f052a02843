"""Hosts, origins and CORS, as tables."""

from __future__ import annotations

import pytest

from tests.web.asking import app_of, ask, things
from treadle.web.admission import Admission, host_name

PAGE = "https://page.example"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("localhost:3000", True),
        ("LOCALHOST:3000", True),
        ("localhost.:3000", True),
        ("127.0.0.1:3000", True),
        ("[::1]:3000", True),
        ("[::1]", True),
        ("192.168.1.5:3000", True),  # rebinding needs a name
        ("[fe80::1]:3000", True),
        ("loom.example", True),
        ("Loom.Example:443", True),
        ("evil.example", False),
        ("evil.example:3000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("loom.example.evil.example", False),
        ("evil.example#localhost", False),
        ("evil@localhost", False),
        ("", False),
        (":3000", False),
    ],
)
async def test_hosts(host: str, allowed: bool) -> None:
    app = app_of(things(), admission=Admission(hosts=["loom.example"]))
    for _ in range(2):  # the second time the answer is remembered
        assert (await ask(app, "GET", "/health", headers={"host": host})).status == (200 if allowed else 403)


def test_host_names() -> None:
    assert [host_name(host) for host in ("A:1", "[::1]:1", "a.b.", "[2001:DB8::1]")] == [
        "a",
        "::1",
        "a.b",
        "2001:db8::1",
    ]


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ([], None, True),
        ([], "http://localhost:3000", True),
        ([], "HTTP://LocalHost:3000", True),
        ([], "http://localhost:3001", False),
        ([], "https://localhost:3000", False),
        ([], "http://127.0.0.1:3000", False),
        ([], "null", False),
        ([], PAGE, False),
        ([PAGE], PAGE, True),
        ([PAGE + "/"], PAGE, True),
        ([PAGE], PAGE + ".evil.example", False),
        ([PAGE], "http://page.example", False),
        (["*"], PAGE, True),
        (["*"], "null", True),
    ],
)
async def test_only_trusted_origins_change_things(origins: list[str], origin: str | None, allowed: bool) -> None:
    app = app_of(things(), admission=Admission(origins=origins))
    headers = {} if origin is None else {"origin": origin}
    for method, target, body in (("POST", "/api/things", {"name": "a"}), ("DELETE", "/api/things/1", None)):
        answer = await ask(app, method, target, body, headers, key="all")
        assert answer.status == (200 if allowed else 403)
    assert (await ask(app, "GET", "/api/things", headers=headers, key="all")).status == 200


@pytest.mark.parametrize(
    ("origins", "origin", "allow_origin", "vary"),
    [
        ([], PAGE, None, None),
        ([], None, None, None),
        ([PAGE], PAGE, PAGE, "Origin"),
        ([PAGE], "https://other.example", None, "Origin"),
        ([PAGE], None, None, "Origin"),
        (["*"], PAGE, "*", None),
        (["*"], None, "*", None),
    ],
)
async def test_who_may_read_the_answer(
    origins: list[str], origin: str | None, allow_origin: str | None, vary: str | None
) -> None:
    app = app_of(things(), admission=Admission(origins=origins))
    headers = {} if origin is None else {"origin": origin}
    for target in ("/health", "/nowhere", "/api/things"):  # the page must be able to read refusals too
        answer = await ask(app, "GET", target, headers=headers)
        assert answer.header("access-control-allow-origin") == allow_origin
        assert answer.header("vary") == vary
        assert answer.header("access-control-allow-credentials") == ("true" if allow_origin else None)
        assert ("X-RateLimit-Remaining" in (answer.header("access-control-expose-headers") or "")) == bool(allow_origin)


@pytest.mark.parametrize(
    ("origins", "allowed"), [([], False), ([PAGE], True), (["*"], True), (["https://b.example"], False)]
)
@pytest.mark.parametrize("target", ["/api/things", "/nowhere"])
async def test_a_preflight_is_answered_here(origins: list[str], allowed: bool, target: str) -> None:
    asked = {
        "origin": PAGE,
        "access-control-request-method": "PUT",
        "access-control-request-headers": "authorization,x-a",
    }
    answer = await ask(app_of(things(), admission=Admission(origins=origins)), "OPTIONS", target, headers=asked)
    assert (answer.status, answer.body) == (204, b"")
    methods, headers = (answer.header(f"access-control-allow-{name}") for name in ("methods", "headers"))
    if allowed:
        assert (methods, headers) == ("GET,HEAD,PUT,PATCH,POST,DELETE", "authorization,x-a")
        assert answer.header("access-control-allow-origin") in ("*", PAGE)
    else:
        assert (methods, headers, answer.header("access-control-allow-origin")) == (None, None, None)
