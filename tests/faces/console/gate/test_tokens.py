"""Bearer tokens that are made, stored, listed and ended in the pages (contract 3.3)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.console.gate.browsing import KEY, PASSWORD, USER, Browser, Console
from tests.faces.console.gate.conftest import Make


@pytest.fixture
async def browser(console: Console) -> Browser:
    browser = console.browser()
    await browser.log_in()
    return browser


async def opens(console: Console, token: str) -> bool:
    answer = await console.browser("192.0.2.50").ask("GET", "/api/browse", authorization=f"Bearer {token}")
    console.hands.on(301)  # so that the wrong ones are no ban
    return answer.status == 200


async def test_from_made_to_ended(console: Console, browser: Browser) -> None:
    made = await browser.manage("POST", "/api/tokens", {"action": "generate", "label": "ci", "persist": True})
    assert (made["success"], made["persisted"]) == (True, True)
    assert await opens(console, made["token"])
    listed = await browser.ask("GET", "/api/tokens")
    told = listed.json()
    (row,) = told["tokens"]
    assert (told["success"], told["read_only"]) == (True, False)
    assert {key: row[key] for key in ("user", "label", "expiry")} == {"user": USER, "label": "ci", "expiry": None}
    assert set(row) == {"id", "user", "label", "created", "expiry"}
    assert made["token"].encode() not in listed.body
    assert row["id"] not in made["token"]
    assert await browser.manage("DELETE", "/api/tokens", {"id": row["id"]}) == {"success": True}
    assert not await opens(console, made["token"])
    assert (await browser.manage("DELETE", "/api/tokens", {"id": row["id"]}, 404))["code"] == "not_found"


async def test_neither_keys_nor_sessions_are_listed_or_ended_here(console: Console, browser: Browser) -> None:
    assert (await browser.ask("GET", "/api/tokens")).json()["tokens"] == []
    key = await console.fabric.grants.check(KEY)
    assert key is not None
    await browser.manage("DELETE", "/api/tokens", {"id": key.id}, 404)
    assert await opens(console, KEY)


async def test_one_that_was_not_kept_opens_once_it_is_stored(console: Console, browser: Browser) -> None:
    made = await browser.manage("POST", "/api/tokens", {"action": "generate", "persist": False})
    assert made["persisted"] is False
    assert not await opens(console, made["token"])
    body = {"action": "store", "token": made["token"], "label": "later"}
    assert await browser.manage("POST", "/api/tokens", body) == {"success": True, "token": None, "persisted": True}
    assert await opens(console, made["token"])
    assert (await browser.manage("POST", "/api/tokens", body, 409))["code"] == "duplicate"


async def test_the_servers_own_key_cannot_be_taken_over(browser: Browser) -> None:
    await browser.manage("POST", "/api/tokens", {"action": "store", "token": KEY + "x" * 20})
    long_key = "k" * 40
    await browser.console.fabric.grants.open(
        kind="key", principal="other", face="fabric", scopes=("*",), secret=long_key
    )
    await browser.manage("POST", "/api/tokens", {"action": "store", "token": long_key}, 409)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "burn"},
        {"action": "store"},
        {"action": "store", "token": "weak"},
        {"action": "store", "token": "spaces are not for tokens, and this is long enough"},
        {"action": "generate", "label": "x" * 101},
        {"action": "generate", "expires_in": 0},
        {"action": "generate", "persist": "yes"},
    ],
)
async def test_what_will_not_do(browser: Browser, body: dict[str, Any]) -> None:
    assert (await browser.manage("POST", "/api/tokens", body, 400))["code"] == "bad_request"


async def test_one_that_ends_by_itself(console: Console, browser: Browser) -> None:
    made = await browser.manage("POST", "/api/tokens", {"action": "generate", "expires_in": 3600})
    (row,) = (await browser.ask("GET", "/api/tokens")).json()["tokens"]
    assert row["expiry"] == row["created"] + 3600
    assert await opens(console, made["token"])
    console.hands.on(3600)
    assert not await opens(console, made["token"])
    assert (await browser.ask("GET", "/api/tokens")).json()["tokens"] == []


async def test_a_fixed_token_is_the_only_one_and_the_list_cannot_be_changed(make: Make, console: Console) -> None:
    browser = console.browser()
    await browser.log_in()
    stored = (await browser.manage("POST", "/api/tokens", {"action": "generate"}))["token"]
    fixed = make(token="the-one-token", username=USER, password=PASSWORD)
    browser.console = fixed
    assert (await browser.ask("GET", "/api/tokens")).json() == {"success": True, "tokens": [], "read_only": True}
    for method, body in (
        ("POST", {"action": "generate"}),
        ("POST", {"action": "store", "token": "t" * 40}),
        ("DELETE", {"id": "x"}),
    ):
        assert (await browser.manage(method, "/api/tokens", body, 403))["code"] == "read_only"
    assert [await opens(fixed, token) for token in (stored, KEY, "the-one-token")] == [False, False, True]
    assert await opens(console, stored)  # nothing was lost


async def test_a_token_of_tests_is_never_stored(make: Make) -> None:
    planted = make(test_token="only-for-tests", username=USER, password=PASSWORD)
    browser = planted.browser()
    await browser.log_in()
    assert await opens(planted, "only-for-tests")
    assert (await browser.ask("GET", "/api/tokens")).json()["tokens"] == []
    assert not await opens(make(username=USER, password=PASSWORD), "only-for-tests")


async def test_a_token_of_this_face_opens_no_other(console: Console, browser: Browser) -> None:
    made = await browser.manage("POST", "/api/tokens", {"action": "generate"})
    grant = await console.fabric.grants.check(made["token"])
    assert grant is not None
    assert (grant.face, grant.scopes) == ("console", ("console:use",))
