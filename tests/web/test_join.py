"""Two faces on one socket: who answers what."""

from __future__ import annotations

from tests.web.asking import app_of, ask, echo, route
from treadle.web.call import Call, Reply, json_reply
from treadle.web.join import Joined
from treadle.web.routes import Route


def named(name: str, paths: list[str]) -> list[Route]:
    async def answer(_: Call) -> Reply:
        return json_reply(name)

    return [route("GET", path, answer) for path in paths]


async def test_the_first_that_knows_an_address_answers() -> None:
    first = app_of(named("first", ["/a", "/both", "/x/{id}"]), name="first")
    second = app_of(named("second", ["/b", "/both", "/x/literal"]), name="second")
    joined = Joined([first, second], named("merged", ["/api/health"]))
    answers = {
        path: (await ask(joined, "GET", path)).json() for path in ("/a", "/b", "/both", "/x/literal", "/api/health")
    }
    assert answers == {
        "/a": "first", "/b": "second", "/both": "first", "/x/literal": "first", "/api/health": "merged",
    }  # fmt: skip
    assert (await ask(joined, "DELETE", "/b")).header("allow") == "GET, HEAD, OPTIONS"


async def test_an_unknown_address_is_answered_in_both_shapes() -> None:
    joined = Joined([app_of([route("GET", "/a", echo)]), app_of([route("GET", "/b", echo)])])
    for path in ("/nowhere", "/api/nowhere", "/"):
        answer = await ask(joined, "GET", path)
        assert answer.status == 404
        assert answer.body == b'{"success":false,"error":"Not Found","code":"not_found","detail":"Not Found"}'
        assert answer.header("x-correlation-id")
        assert answer.header("x-frame-options") == "DENY"
    refused = await ask(joined, "GET", "/nowhere", headers={"host": "evil.example"})
    assert (refused.status, set(refused.json())) == (403, {"success", "error", "code", "detail"})
    assert (await ask(joined, "GET", "/%ff")).status == 400


async def test_each_face_keeps_its_own_rules() -> None:
    first = app_of([route("GET", "/a", echo, "scope")], name="first", spell=lambda error, call: json_reply("1", 500))
    second = app_of([route("GET", "/b", echo, "scope")], name="second", spell=lambda error, call: json_reply("2", 500))
    joined = Joined([first, second])
    assert [(await ask(joined, "GET", path)).json() for path in ("/a", "/b")] == ["1", "2"]


async def test_stopping_stops_both() -> None:
    first, second = app_of([route("GET", "/a", echo)]), app_of([route("GET", "/b", echo)])
    Joined([first, second]).stop()
    assert first.stopping.is_set()
    assert second.stopping.is_set()
