"""Requests, replies and events between text and structs, with any text a client may send (spec 3, 3.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.faces.architect.frames import (
    DEPTH,
    OUTBOUND,
    Outcome,
    Request,
    Unreadable,
    decode,
    event,
    failure,
    reply,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"action":"ping"}', Request("ping")),
        ('{"action":"ping","parameters":null,"idempotence":null}', Request("ping")),
        ('{"action":"a","parameters":{"x":1},"idempotence":"t 1~"}', Request("a", {"x": 1}, "t 1~")),
        ("nothing", "invalid_json"),
        ("", "invalid_json"),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "invalid_json"),
        ("[]", "invalid_frame"),
        ("1", "invalid_frame"),
        ('"text"', "invalid_frame"),
        ("{}", "invalid_frame"),
        ('{"action":1}', "invalid_frame"),
        ('{"action":""}', "invalid_frame"),
        ('{"action":"a","parameters":[]}', "invalid_frame"),
        ('{"action":"a","idempotence":""}', "invalid_frame"),
        ('{"action":"a","idempotence":7}', "invalid_frame"),
        ('{"action":"a","idempotence":"é"}', "invalid_frame"),
        (json.dumps({"action": "a", "idempotence": "x" * 129}), "invalid_frame"),
        ("\ud800", "invalid_json"),
    ],
)
def test_decoding(text: str, wanted: Request | str) -> None:
    got = decode(text)
    if isinstance(wanted, str):
        assert isinstance(got, Unreadable)
        assert got.code == wanted
    else:
        assert got == wanted


def test_a_mistake_keeps_its_token() -> None:
    assert decode('{"idempotence":"t"}').token == "t"
    assert decode('{"idempotence":"t","action":"a","parameters":7}').token == "t"


@given(st.text() | values.map(json.dumps))
def test_any_text_is_a_request_or_a_mistake(text: str) -> None:
    got = decode(text)
    assert isinstance(got, Request | Unreadable)
    frame = json.loads(reply(got, failure("x", "y")))
    assert frame["parameters"]["error"] == "x"
    assert ("idempotence" in frame) == (got.token is not None)


def test_replies() -> None:
    assert json.loads(reply(Request("a", token="t"), Outcome({"x": 1}))) == {
        "idempotence": "t",
        "status": "ok",
        "action": "a",
        "parameters": {"x": 1},
    }
    assert json.loads(reply(Request("a"), failure("not_found", "no", server="s"))) == {
        "status": "error",
        "action": "a",
        "parameters": {"error": "not_found", "message": "no", "details": {"server": "s"}},
    }
    assert json.loads(reply(Request("a", token="t"), Outcome({}, replayed=True)))["replayed"] is True


def test_nothing_is_larger_than_half_the_limit_of_clients() -> None:
    large: dict[str, Any] = {"data": "x" * OUTBOUND}
    told = json.loads(reply(Request("a", token="t"), Outcome(large)))
    assert (told["idempotence"], told["parameters"]["error"]) == ("t", "too_large")
    assert len(event("a.b", 1, large)) < OUTBOUND


def test_events_have_no_token() -> None:
    assert json.loads(event("server.stopped", 7, {"server": "a"}, 3)) == {
        "event": "server.stopped",
        "date": 7,
        "parameters": {"server": "a"},
        "cursor": 3,
    }
    assert "cursor" not in json.loads(event("server.stopped", 7, {}))
