"""Cookies, both ways."""

from __future__ import annotations

import pytest

from tests.web.asking import app_of, ask, route
from treadle.web.call import Call, Reply, json_reply
from treadle.web.cookies import read_cookies, set_cookie


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        (None, {}),
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1; b=2;c=3", {"a": "1", "b": "2", "c": "3"}),
        (b'a="x y"; b="', {"a": "x y", "b": '"'}),
        (b"a=1; a=2", {"a": "1"}),
        (b"a=b=c; nothing; =x", {"a": "b=c", "": "x"}),
        (b"a=\xe9", {"a": "é"}),
    ],
)
def test_reading(header: bytes | None, cookies: dict[str, str]) -> None:
    assert read_cookies(header) == cookies


def test_writing() -> None:
    assert set_cookie("session", "abc")[1] == b"session=abc; Path=/; SameSite=Lax; HttpOnly"
    assert set_cookie("a", "1", seconds=60, path="/x", secure=True, same_site="Strict", scripts=True) == (
        b"set-cookie", b"a=1; Path=/x; SameSite=Strict; Max-Age=60; Secure",
    )  # fmt: skip
    assert b"Max-Age=0" in set_cookie("a", "", seconds=0)[1]


@pytest.mark.parametrize(
    ("name", "value"), [("a b", "x"), ("a", "x;y"), ("a", "x\r\ny"), ("", "x"), ("a", 'x"'), ("a=", "")]
)
def test_what_no_cookie_can_hold(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="holds what a cookie cannot"):
        set_cookie(name, value)


async def test_a_call_has_cookies_and_a_reply_sets_several() -> None:
    async def login(call: Call) -> Reply:
        return json_reply(call.cookies, headers=(set_cookie("a", "1"), set_cookie("b", "2")))

    answer = await ask(app_of([route("GET", "/", login)]), "GET", "/", headers={"cookie": "x=y"})
    assert answer.json() == {"x": "y"}
    assert [value.partition(";")[0] for value in answer.headers["set-cookie"]] == ["a=1", "b=2"]
