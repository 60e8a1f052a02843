"""Scopes: which one includes which, and what a principal holds."""

from __future__ import annotations

import hashlib

import pytest

from treadle.core.access import PUBLIC, Grant, Principal, covers, digest


@pytest.mark.parametrize(
    ("held", "asked", "covered"),
    [
        ("queue:claim", "queue:claim", True),
        ("queue:claim", "queue:claims", False),
        ("queue:claim", "queue", False),
        ("queue", "queue:claim", False),
        ("queue:*", "queue:claim", True),
        ("queue:*", "queue:claim:own", True),
        ("queue:*", "queue", False),
        ("queue:*", "queues:claim", False),
        ("queue*", "queue:claim", False),
        ("*", "queue:claim", True),
        ("*", "*", True),
        ("queue:*", "*", False),
        ("queue:claim", "queue:*", False),
        ("", "queue", False),
        ("Queue:*", "queue:claim", False),
    ],
)
def test_which_scope_covers_which(held: str, asked: str, covered: bool) -> None:
    assert covers(held, asked) is covered


def test_what_a_principal_holds() -> None:
    nobody = Principal("nobody", "native")
    worker = Principal("w", "native", ("queue:*", "events:read"))
    assert nobody.holds(PUBLIC)
    assert not nobody.holds("queue:claim")
    assert worker.holds("queue:claim")
    assert worker.holds("events:read")
    assert not worker.holds("events:write")


def test_a_grant_is_live_until_its_end_and_says_who_it_stands_for() -> None:
    grant = Grant(
        id="g", digest="d", kind="session", principal="w", face="taskdriver", project="p", scopes=("a",), created=0,
        used=0, expires=100,
    )  # fmt: skip
    assert grant.live(99)
    assert not grant.live(100)
    assert grant.opens_for() == Principal("w", "taskdriver", ("a",), "g", "p")


def test_a_secret_is_kept_as_its_hash() -> None:
    assert digest("tok") == hashlib.sha256(b"tok").hexdigest()
