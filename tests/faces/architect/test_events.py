"""Which facts are told, under which name, and to whom (spec 8)."""

from __future__ import annotations

from typing import Any

import pytest

from treadle.core.clock import SECOND
from treadle.core.events import Event
from treadle.faces.architect.events import AREAS, Area, Told, by_prefix, fact, told
from treadle.faces.architect.roles import Rights

SERVER = Area(prefix="server", subject="server", scope="server:list")
JOB = Area(prefix="job", subject="job", scope="job:list", topic="jobs", own=True)
ALL = by_prefix((*AREAS, SERVER, JOB))


def news(kind: str, subject: str, **data: Any) -> Told:
    found = told(fact(kind, subject, 7 * SECOND, **data), ALL)
    assert found is not None
    return found


def test_a_fact_as_an_event() -> None:
    seen = news("server.stopped", "alpha", reason="requested", code=0)
    assert (seen.name, seen.date, seen.server) == ("server.stopped", 7, "alpha")
    assert seen.parameters == {"server": "alpha", "reason": "requested", "code": 0}


def test_other_facts_are_nobodys_business() -> None:
    assert told(Event("task.submitted", "t", 1, "p"), ALL) is None


@pytest.mark.parametrize(
    ("rights", "heard"),
    [
        (Rights(("*",)), {"server", "other", "user", "agent", "job"}),
        (Rights(("server:list",)), {"server", "other", "agent"}),
        (Rights((), {"alpha": ("server:list",)}), {"server", "agent"}),
        (Rights((), {"beta": ("server:list", "user:list", "job:list")}), {"other", "agent", "job"}),
        (Rights(("user:*",)), {"user", "agent"}),
        (Rights(), {"agent"}),
    ],
)
def test_who_hears(rights: Rights, heard: set[str]) -> None:
    all_news = {
        "server": news("server.started", "alpha"),
        "other": news("server.started", "beta"),
        "user": news("user.created", "eve"),
        "agent": news("agent.ready", "1"),
        "job": news("job.started", "j1", by="bob", server="beta"),
    }
    assert {name for name, each in all_news.items() if each.audible("eve", rights)} == heard
    assert all_news["job"].audible("bob", Rights())  # who started it


def test_only_where_an_area_says_so_is_it_somebodys_own() -> None:
    assert news("user.created", "eve", by="bob").owner is None


def test_two_areas_of_one_prefix_are_refused() -> None:
    with pytest.raises(ValueError, match=r"server\.\*"):
        by_prefix([SERVER, Area(prefix="server", subject="id", scope="x:y")])
