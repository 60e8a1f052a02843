"""The lists of addresses and the access log's routes (contract 1, 3.2, 7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.console.gate.browsing import KEY, REMOTE, Browser, Console
from treadle.faces.console.gate.addresses import AddressLists, parsed


@pytest.fixture
async def browser(console: Console) -> Browser:
    browser = console.browser()
    await browser.log_in()
    return browser


async def reach(console: Console, client: str) -> list[int]:
    browser = console.browser(client)
    paths = ("/api/browse", "/api/csrf_token", "/login", "/logout", "/api/nope")
    answers = [await browser.ask("GET", path, authorization=f"Bearer {KEY}") for path in paths]
    assert (await browser.ask("GET", "/api/health")).status == 200
    assert all(answer.json()["code"] == "address" for answer in answers if answer.status == 403)
    return [answer.status for answer in answers]


IN, OUT = [200, 200, 200, 302, 404], [403] * 5


async def test_the_deny_list_wins_over_every_credential(console: Console, browser: Browser) -> None:
    assert await reach(console, REMOTE) == IN
    told = await browser.manage("POST", "/api/ip_control", {"blacklist": [REMOTE, " 198.51.100.9/24 ", REMOTE]})
    assert (told["whitelist"], told["blacklist"]) == ([], [REMOTE, "198.51.100.0/24"])
    assert told["your_address"] == "127.0.0.1"
    assert [await reach(console, client) for client in (REMOTE, "198.51.100.77", f"::ffff:{REMOTE}")] == [OUT] * 3
    assert await reach(console, "203.0.113.5") == IN
    await browser.manage("POST", "/api/ip_control", {"blacklist": []})
    assert await reach(console, REMOTE) == IN


async def test_the_allow_list_keeps_out_all_others(console: Console, browser: Browser) -> None:
    lists = {"whitelist": ["127.0.0.1", "2001:db8::/32"], "blacklist": ["2001:db8:bad::/48"]}
    await browser.manage("POST", "/api/ip_control", lists)
    assert await reach(console, "2001:db8::5") == IN
    assert await reach(console, "2001:db8:bad::5") == OUT
    assert await reach(console, REMOTE) == OUT
    told = await browser.manage("POST", "/api/ip_control", {"blacklist": []})
    assert told["whitelist"] == ["127.0.0.1", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("lists", "status"),
    [
        ({"blacklist": ["127.0.0.0/8"]}, 409),
        ({"whitelist": [REMOTE]}, 409),
        ({"whitelist": ["nowhere"]}, 400),
        ({"blacklist": ["1.2.3.4/99"]}, 400),
        ({"blacklist": "127.0.0.1"}, 400),
        ({"blacklist": ["1.1.1.1"] * 1001}, 400),
    ],
)
async def test_lists_that_will_not_do(browser: Browser, lists: dict[str, Any], status: int) -> None:
    await browser.manage("POST", "/api/ip_control", lists, status)
    told = (await browser.ask("GET", "/api/ip_control")).json()
    assert (told["whitelist"], told["blacklist"]) == ([], [])


async def test_who_is_banned_is_shown(console: Console, browser: Browser) -> None:
    for _ in range(5):
        await console.browser(REMOTE).ask("GET", "/api/browse", authorization="Bearer wrong")
    told = (await browser.ask("GET", "/api/ip_control")).json()
    assert told["banned"] == [{"address": REMOTE, "until": console.hands.now // 1_000_000 + 60}]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("[2001:db8::1]:8080", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix", "None"),
        ("", "None"),
    ],
)
def test_addresses_as_they_are_spelled(text: str, address: str) -> None:
    assert str(parsed(text)) == address


def test_an_address_that_cannot_be_read_comes_only_where_there_are_no_lists() -> None:
    assert AddressLists().admits(None)
    assert not AddressLists(deny=("192.0.2.1",)).admits(None)


async def test_the_level_of_the_access_log(browser: Browser) -> None:
    assert (await browser.ask("GET", "/api/access_log/level")).json() == {"success": True, "level": "access_denied"}
    told = await browser.manage("POST", "/api/access_log/level", {"level": "access"})
    assert told == {"success": True, "level": "access"}
    assert (await browser.ask("GET", "/api/access_log/level")).json()["level"] == "access"
    await browser.manage("POST", "/api/access_log/level", {"level": "everything"}, 400)


@pytest.mark.parametrize(
    ("query", "status", "count"), [("", 200, 2), ("?n=1", 200, 1), ("?n=201", 400, 0), ("?n=x", 400, 0)]
)
async def test_the_entries_of_the_access_log(browser: Browser, query: str, status: int, count: int) -> None:
    answer = await browser.ask("GET", f"/api/access_log/entries{query}")
    assert (answer.status, len(answer.json().get("entries", []))) == (status, count)
