"""Who guesses is kept out for a while; who is on this machine and right never is (contract 3.5)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.console.gate.browsing import KEY, PASSWORD, REMOTE, USER, Console, Hands
from treadle.core.errors import TooMany
from treadle.faces.console.gate.strikes import FAILURES, REMEMBERED, Strikes

WRONG, RIGHT = "Bearer wrong", f"Bearer {KEY}"


async def statuses(console: Console, client: str, count: int) -> list[int]:
    browser = console.browser(client)
    return [(await browser.ask("GET", "/api/browse", authorization=WRONG)).status for _ in range(count)]


async def test_five_failures_are_a_ban_of_a_minute(console: Console) -> None:
    assert await statuses(console, REMOTE, FAILURES) == [401] * FAILURES
    browser = console.browser(REMOTE)
    shown: list[dict[str, Any]] = [{"authorization": RIGHT}, {"authorization": WRONG}, {}]
    for headers in shown:
        for path in ("/api/browse", "/api/csrf_token", "/login"):
            refused = await browser.ask("GET", path, **headers)
            assert (refused.status, refused.header("retry-after")) == (429, "60")
    assert (await browser.ask("GET", "/api/health")).status == 200
    assert (await console.browser("192.0.2.8").ask("GET", "/api/browse", authorization=RIGHT)).status == 200
    console.hands.on(59)
    assert (await browser.ask("GET", "/api/browse", authorization=RIGHT)).header("retry-after") == "1"
    console.hands.on(1)
    assert (await browser.ask("GET", "/api/browse", authorization=RIGHT)).status == 200


async def test_this_machine_is_kept_out_only_when_wrong(console: Console) -> None:
    assert await statuses(console, "127.0.0.1", FAILURES + 1) == [401] * FAILURES + [429]
    browser = console.browser()
    assert (await browser.ask("GET", "/api/browse", authorization=RIGHT)).status == 200
    assert await statuses(console, "127.0.0.1", FAILURES + 1) == [401] * FAILURES + [429]
    assert (await browser.log_in(password="no")).status == 429
    assert (await browser.log_in()).status == 302


async def test_slow_failures_are_no_ban(console: Console) -> None:
    for _ in range(FAILURES * 2):
        assert await statuses(console, REMOTE, 1) == [401]
        console.hands.on(80)


async def test_showing_nothing_or_an_old_cookie_or_a_stale_csrf_token_is_no_failure(console: Console) -> None:
    browser = console.browser(REMOTE)
    await browser.log_in()
    for _ in range(FAILURES * 2):
        stale = await browser.ask("POST", "/api/execute", csrf="stale")
        stranger = console.browser(REMOTE)
        stranger.cookies["session"] = "x" * 43
        assert (stale.status, (await stranger.ask("GET", "/api/browse")).status) == (401, 401)
    assert (await browser.ask("POST", "/api/execute", csrf=await browser.csrf())).status == 200


async def test_failed_logins_count(console: Console) -> None:
    browser = console.browser(REMOTE)
    for _ in range(FAILURES):
        assert (await browser.log_in(password="no")).status == 200
    assert (await browser.ask("GET", "/login")).status == 429


async def test_a_neighbour_in_the_same_ipv6_network_is_the_same_guesser(console: Console) -> None:
    assert await statuses(console, "2001:db8::1", FAILURES) == [401] * FAILURES
    assert await statuses(console, "2001:db8::2", 1) == [429]
    assert await statuses(console, "2001:db8:0:1::2", 1) == [401]


async def test_the_address_that_a_believed_proxy_names_is_banned_not_the_proxy(console: Console) -> None:
    believed = Console(console.fabric, console.hands, username=USER, password=PASSWORD, proxies=("10.0.0.0/8",))
    proxy = believed.browser("10.0.0.1")
    for _ in range(FAILURES):
        # what the client itself put before the address that the proxy saw counts for nothing
        await proxy.ask("GET", "/api/browse", authorization=WRONG, x_forwarded_for=f"203.0.113.9, {REMOTE}, 10.0.0.2")
    assert (await proxy.ask("GET", "/api/browse", authorization=RIGHT, x_forwarded_for=REMOTE)).status == 429
    fine = await proxy.ask("GET", "/api/browse", authorization=RIGHT, x_forwarded_for="203.0.113.9")
    assert (fine.status, fine.json()["client"]) == (200, "203.0.113.9")


@pytest.mark.parametrize("named", ["127.0.0.1", "::1", "nonsense, 127.0.0.1"])
async def test_from_anybody_else_the_header_changes_nothing(console: Console, named: str) -> None:
    browser = console.browser(REMOTE)
    for _ in range(FAILURES):
        assert (await browser.ask("GET", "/api/browse", authorization=WRONG, x_forwarded_for=named)).status == 401
    assert (await browser.ask("GET", "/api/browse", authorization=RIGHT, x_forwarded_for="::1")).status == 429


def test_each_ban_is_twice_as_long_up_to_an_hour(hands: Hands) -> None:
    strikes = Strikes(hands)
    lengths = []
    for _ in range(9):
        for _ in range(FAILURES):
            assert strikes.left("a") == 0
            strikes.failed("a")
        lengths.append(strikes.left("a"))
        with pytest.raises(TooMany) as refused:
            strikes.refuse("a")
        assert refused.value.retry_after == lengths[-1]
        hands.on(lengths[-1])
    assert lengths == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    hands.on(86401)
    for _ in range(FAILURES):
        strikes.failed("a")
    assert strikes.left("a") == 60


def test_who_is_right_in_between_starts_anew(hands: Hands) -> None:
    strikes = Strikes(hands)
    for _ in range(4 * FAILURES):
        for _ in range(FAILURES - 1):
            strikes.failed("a")
        strikes.passed("a")
    assert strikes.left("a") == 0


def test_the_memory_is_bounded(hands: Hands) -> None:
    strikes = Strikes(hands)
    for number in range(REMEMBERED + 100):
        strikes.failed(str(number))
    assert len(strikes._records) == REMEMBERED
