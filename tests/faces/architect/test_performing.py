"""Who may make a call, and what of its answer they see (spec 5); answers as replies (spec 3)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from tests.faces.architect.offered import World
from treadle.core.actions import Answer
from treadle.faces.architect.performing import allowed, limited, outcome_of
from treadle.faces.architect.roles import Rights

ROWS = {row.name: row for row in World().rows()}
SCOPED = Rights(("agent:info",), {"alpha": ("server:*",)})


@pytest.mark.parametrize(
    ("action", "parameters", "may", "only"),
    [
        ("server", {"server": "alpha"}, True, None),
        ("server", {"server": "beta"}, False, None),
        ("server", {"server": ["alpha"]}, True, {"alpha"}),  # no server is named: its lists are limited, if it has any
        ("servers", {}, True, {"alpha"}),
        ("servers", {"server": "beta"}, False, None),
        ("servers_start", {}, False, None),
        ("servers_start", {"servers": []}, False, None),
        ("servers_start", {"servers": ["alpha"]}, True, None),
        ("servers_start", {"servers": ["alpha", "beta"]}, False, None),
        ("servers_start", {"servers": ["alpha"], "server": "beta"}, False, None),
        ("slow_change", {}, False, None),
        ("slow_look", {}, True, {"alpha"}),
    ],
)
def test_calls_with_rights_on_one_server(
    action: str, parameters: dict[str, Any], may: bool, only: set[str] | None
) -> None:
    scopes, narrowed = allowed(ROWS[action], parameters, SCOPED)
    assert (scopes is not None) is may
    assert narrowed == only


def test_only_rows_of_these_servers() -> None:
    answer = {
        "servers": [{"id": "alpha"}, {"id": "beta"}, {"id": "x", "server": "alpha"}],
        "jobs": [{"id": "alpha", "server": "beta"}, {"id": "j", "server": "alpha"}, "text"],
        "ids": [{"id": "alpha"}],
        "total": 7,
        "note": "secret",
        "cursor": "c",
        "message": "secret",
    }
    assert limited(answer, frozenset({"alpha"})) == {
        "servers": [{"id": "alpha"}, {"id": "x", "server": "alpha"}],
        "jobs": [{"id": "j", "server": "alpha"}],
        "ids": [],
        "cursor": "c",
    }


class Record(Struct):
    """A typed result."""

    id: str


@pytest.mark.parametrize(
    ("answer", "parameters"),
    [
        (Answer(), {}),
        (Answer(data=Record("x")), {"id": "x"}),
        (Answer(data=[1, 2]), {"result": [1, 2]}),
        (Answer(data=None), {"result": None}),
        (
            Answer(data={"a": 1}, beside={"b": Record("x")}, message="said"),
            {"a": 1, "b": {"id": "x"}, "message": "said"},
        ),
        (Answer(data={"message": "own"}, message="said"), {"message": "own"}),
    ],
)
def test_answers(answer: Answer, parameters: dict[str, Any]) -> None:
    outcome = outcome_of(answer)
    assert (outcome.ok, outcome.parameters) == (True, parameters)


def test_a_refusal_is_an_error() -> None:
    outcome = outcome_of(Answer(refusal="nothing to do"))
    assert (outcome.ok, outcome.parameters) == (False, {"error": "conflict", "message": "nothing to do"})
