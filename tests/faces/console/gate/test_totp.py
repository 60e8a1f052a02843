"""The second factor: set up, switched on, used once a code, lost and taken away (contract 3.5)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pyotp
import pytest

from tests.faces.console.gate.browsing import PASSWORD, REMOTE, USER, Browser, Console
from treadle.core.clock import SECOND


@pytest.fixture
async def browser(console: Console) -> Browser:
    browser = console.browser()
    await browser.log_in()
    return browser


def code(console: Console, secret: str, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(console.hands.now // SECOND, counter_offset=steps)


async def enabled(browser: Browser) -> dict[str, Any]:
    """A second factor that is on; what the set-up told."""
    set_up: dict[str, Any] = await browser.manage("POST", "/api/2fa/setup")
    await browser.manage("POST", "/api/2fa/enable", {"code": code(browser.console, set_up["secret"])})
    browser.console.hands.on(30)
    return set_up


async def status(browser: Browser) -> tuple[bool, int]:
    told = (await browser.ask("GET", "/api/2fa/status")).json()
    return told["enabled"], told["recovery_codes_left"]


async def test_set_up_and_switched_on(console: Console, browser: Browser) -> None:
    assert await status(browser) == (False, 0)
    set_up = await browser.manage("POST", "/api/2fa/setup")
    assert set_up["uri"].startswith("otpauth://totp/Treadle:ada?secret=" + set_up["secret"])
    assert (len(set_up["recovery_codes"]), {len(each) for each in set_up["recovery_codes"]}) == (10, {10})
    assert await status(browser) == (False, 0)
    assert (await console.browser().log_in()).status == 302  # it does not count yet
    refused = await browser.manage("POST", "/api/2fa/enable", {"code": "000000"}, 400)
    assert refused["code"] == "wrong_code"
    right = {"code": code(console, set_up["secret"])}
    assert (await browser.manage("POST", "/api/2fa/enable", right))["recovery_codes"] == set_up["recovery_codes"]
    assert await status(browser) == (True, 10)
    assert (await browser.manage("POST", "/api/2fa/setup", status=409))["code"] == "wrong_state"
    assert (await browser.manage("POST", "/api/2fa/enable", right, 409))["code"] == "wrong_state"


async def test_a_set_up_waits_for_a_quarter_of_an_hour(console: Console, browser: Browser) -> None:
    set_up = await browser.manage("POST", "/api/2fa/setup")
    console.hands.on(901)
    await browser.manage("POST", "/api/2fa/enable", {"code": code(console, set_up["secret"])}, 409)


async def test_a_login_needs_a_code_and_each_code_opens_once(console: Console, browser: Browser) -> None:
    secret = (await enabled(browser))["secret"]
    other = console.browser()
    assert (await other.log_in()).status == 200
    assert (await other.log_in(totp_code="123456" if code(console, secret) != "123456" else "654321")).status == 200
    assert (await other.log_in(password="no", totp_code=code(console, secret))).status == 200
    now = code(console, secret)
    assert (await other.log_in(totp_code=now)).status == 302
    assert (await other.log_in(totp_code=now)).status == 200
    assert (await other.log_in(totp_code=code(console, secret, -1))).status == 200  # it is older than the last one
    assert (await other.log_in(totp_code=code(console, secret, 1))).status == 302
    console.hands.on(120)
    assert (await other.log_in(totp_code=code(console, secret, -2))).status == 200


async def test_the_code_that_switched_it_on_is_used_up(console: Console, browser: Browser) -> None:
    set_up = await browser.manage("POST", "/api/2fa/setup")
    first = code(console, set_up["secret"])
    await browser.manage("POST", "/api/2fa/enable", {"code": first})
    assert (await console.browser().log_in(totp_code=first)).status == 200


async def test_one_code_shown_many_times_at_once_opens_once(console: Console, browser: Browser) -> None:
    secret = (await enabled(browser))["secret"]
    now = code(console, secret)
    answers = await asyncio.gather(*(console.browser().log_in(totp_code=now) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 302]


async def test_a_recovery_code_opens_once(console: Console, browser: Browser) -> None:
    first, second, *_ = (await enabled(browser))["recovery_codes"]

    async def recovered(given: str) -> int:
        other = console.browser()
        form = {"username": USER, "password": PASSWORD, "totp_code": given, "csrf_token": await other.csrf()}
        return (await other.ask("POST", "/login/recovery", form=form)).status

    assert [await recovered(first), await recovered(first)] == [302, 200]
    assert await recovered(f" {second[:5].lower()}-{second[5:]} ") == 302
    assert await status(browser) == (True, 8)
    assert [await recovered(""), await recovered("no")] == [200, 200]


async def test_nobody_recovers_who_has_no_second_factor(console: Console) -> None:
    other = console.browser()
    form = {"username": USER, "password": PASSWORD, "csrf_token": await other.csrf()}
    assert (await other.ask("POST", "/login/recovery", form=form)).status == 200


async def test_a_password_alone_opens_nothing_any_more(console: Console, browser: Browser) -> None:
    await enabled(browser)
    authorization = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    answer = await console.browser().ask("GET", "/api/browse", authorization=authorization)
    assert (answer.status, "second factor" in answer.json()["error"]) == (401, True)


async def test_guessing_codes_from_many_addresses_is_a_ban_for_the_user(console: Console, browser: Browser) -> None:
    secret = (await enabled(browser))["secret"]
    wrong = "000000" if code(console, secret) != "000000" else "111111"
    for number in range(5):
        assert (await console.browser(f"192.0.2.{number}").log_in(totp_code=wrong)).status == 200
    assert (await console.browser(REMOTE).log_in(totp_code=code(console, secret))).status == 429
    assert (await console.browser().log_in(totp_code=code(console, secret))).status == 302  # this machine, and right
    banned = (await browser.ask("GET", "/api/ip_control")).json()["banned"]
    assert banned == []


async def test_taken_away_after_a_fresh_login_or_with_a_proof(console: Console, browser: Browser) -> None:
    set_up = await enabled(browser)
    console.hands.on(601)
    assert (await browser.manage("POST", "/api/2fa/disable", {}, 403))["code"] == "denied"
    assert (await browser.manage("POST", "/api/2fa/disable", {"code": "x"}, 400))["code"] == "wrong_code"
    assert (await browser.manage("POST", "/api/2fa/disable", {"password": "no"}, 400))["code"] == "wrong_code"
    assert await status(browser) == (True, 10)
    await browser.manage("POST", "/api/2fa/disable", {"code": set_up["recovery_codes"][0]})
    assert await status(browser) == (False, 0)
    await browser.log_in()
    await enabled(browser)
    await browser.manage("POST", "/api/2fa/disable")
    assert await status(browser) == (False, 0)
    await enabled(browser)
    console.hands.on(601)
    await browser.manage("POST", "/api/2fa/disable", {"password": PASSWORD})
    assert (await console.browser().log_in()).status == 302
