"""Logging in and out, the first user, the pages and their cookies (contract 3.5)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from base64 import b64encode
from http.cookies import SimpleCookie
from typing import Any

import pytest

from tests.faces.console.gate.browsing import HOST, KEY, PASSWORD, REMOTE, USER, Console, hidden
from tests.faces.console.gate.conftest import Make
from tests.web.asking import Answer
from treadle.faces.console.gate import ADMIN, USE

WRONG = b"is not right"


def flags(answer: Answer, name: str) -> dict[str, str]:
    """What the browser is told of a cookie."""
    (line,) = [line for line in answer.headers["set-cookie"] if line.startswith(f"{name}=")]
    morsel = SimpleCookie(line)[name]
    return {key: str(morsel[key]) for key in ("path", "httponly", "samesite", "secure", "max-age")}


async def test_a_login_opens_a_session(console: Console) -> None:
    browser = console.browser()
    page = await browser.ask("GET", "/login")
    form = {"username": USER, "password": PASSWORD, "csrf_token": hidden(page.body, "csrf_token")}
    answer = await browser.ask("POST", "/login", form=form, origin=f"http://{HOST}")
    assert (answer.status, answer.header("location")) == (302, "/")
    told = (await browser.ask("GET", "/api/browse")).json()
    assert (told["name"], told["scopes"]) == (USER, [USE, ADMIN])


async def test_it_ends_by_itself(console: Console) -> None:
    browser = console.browser()
    await browser.log_in()
    console.hands.on(11 * 3600)
    assert (await browser.ask("GET", "/api/browse")).status == 200
    console.hands.on(2 * 3600)
    assert (await browser.ask("GET", "/api/browse")).status == 401


async def test_being_remembered_ends_after_thirty_days(console: Console) -> None:
    browser = console.browser()
    await browser.log_in(remember="1")
    console.hands.on(29 * 86400)
    assert (await browser.ask("GET", "/api/browse")).status == 200
    console.hands.on(2 * 86400)
    assert (await browser.ask("GET", "/api/browse")).status == 401


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_flags_of_the_cookies(console: Console, scheme: str) -> None:
    browser = console.browser(scheme=scheme)
    first = await browser.ask("GET", "/api/csrf_token")
    answer = await browser.log_in(remember="1")
    plain = {"path": "/", "httponly": "True", "samesite": "Lax", "secure": "True" if scheme == "https" else ""}
    assert flags(first, "session") == {**plain, "max-age": ""}
    assert flags(answer, "session") == {**plain, "max-age": ""}
    assert flags(answer, "ua_remember") == {**plain, "max-age": str(30 * 86400)}


async def test_a_proxy_that_is_believed_says_whether_the_browser_spoke_tls(make: Make) -> None:
    believed = make(proxies=("127.0.0.1",), hosts=("console.example",)).browser()
    forwarded: dict[str, Any] = {
        "x_forwarded_for": REMOTE,
        "x_forwarded_proto": "https",
        "x_forwarded_host": "console.example",
    }
    assert flags(await believed.ask("GET", "/api/csrf_token", **forwarded), "session")["secure"] == "True"
    other = make().browser()
    assert flags(await other.ask("GET", "/api/csrf_token", **forwarded), "session")["secure"] == ""


async def test_logging_out_ends_the_session_on_the_server(console: Console) -> None:
    browser = console.browser()
    await browser.log_in(remember="1")
    kept = dict(browser.cookies)
    assert (await browser.ask("POST", "/logout", form={})).status == 401
    assert (await browser.ask("GET", "/logout", sec_fetch_site="cross-site")).header("location") == "/"
    assert (await browser.ask("GET", "/api/browse")).status == 200
    answer = await browser.ask("POST", "/logout", form={"csrf_token": await browser.csrf()})
    assert (answer.status, answer.header("location"), browser.cookies) == (302, "/login", {})
    browser.cookies = kept
    assert (await browser.ask("GET", "/api/browse")).status == 401


async def test_a_link_logs_out_too(console: Console) -> None:
    browser = console.browser()
    await browser.log_in()
    kept = dict(browser.cookies)
    assert (await browser.ask("GET", "/logout")).header("location") == "/login"
    browser.cookies = kept
    assert (await browser.ask("GET", "/api/browse")).status == 401


async def test_a_login_ends_the_session_before_it(console: Console) -> None:
    browser = console.browser()
    await browser.log_in()
    before = dict(browser.cookies)
    await browser.log_in()
    browser.cookies = before
    assert (await browser.ask("GET", "/api/browse")).status == 401


async def test_another_password_ends_the_logins(make: Make, console: Console) -> None:
    browser = console.browser()
    await browser.log_in(remember="1")
    browser.console = make(username=USER, password="another one")
    assert (await browser.ask("GET", "/api/browse")).status == 401
    browser.console = make(username="grace", password=PASSWORD)
    assert (await browser.ask("GET", "/api/browse")).status == 401
    browser.console = make(username=USER, password=PASSWORD)
    assert (await browser.ask("GET", "/api/browse")).status == 200


@pytest.mark.parametrize(("name", "password"), [(USER, "no"), ("no", PASSWORD), ("", "")])
async def test_a_failure_does_not_say_what_was_wrong(console: Console, name: str, password: str) -> None:
    answer = await console.browser().log_in(name, password)
    assert (answer.status, WRONG in answer.body) == (200, True)
    assert b"The user name, the password or the code is not right." in answer.body
    assert "session" not in str(answer.headers.get("set-cookie"))


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_the_form_needs_its_csrf_token(console: Console, token: str) -> None:
    browser = console.browser()
    form = {"username": USER, "password": PASSWORD, "csrf_token": token}
    answer = await browser.ask("POST", "/login", form=form)
    assert (answer.status, answer.header("www-authenticate")) == (401, "Bearer")
    again = await browser.ask("POST", "/login", form={**form, "csrf_token": hidden(answer.body, "csrf_token")})
    assert again.status == 302


@pytest.mark.parametrize(
    ("wanted", "led"),
    [
        ("/config?tab=a%20b", "/config?tab=a%20b"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
        ("/\u00e4", "/"),
        ("", "/"),
    ],
)
async def test_the_way_after_the_login_stays_here(console: Console, wanted: str, led: str) -> None:
    assert (await console.browser().log_in(next=wanted)).header("location") == led


async def test_ten_attempts_a_minute(console: Console) -> None:
    browser = console.browser()
    assert [(await browser.log_in()).status for _ in range(10)] == [302] * 10
    refused = await browser.log_in()
    assert (refused.status, refused.json()["code"]) == (429, "too_many")
    assert 1 <= int(refused.header("retry-after") or "") <= 60
    console.hands.on(61)
    assert (await browser.log_in()).status == 302


async def test_what_was_typed_is_escaped(make: Make, console: Console) -> None:
    evil = "\"><script>alert('x')</script>"
    for path in ("/login", "/login/recovery"):
        browser = console.browser()
        form = {"username": evil, "password": evil, "next": evil, "csrf_token": await browser.csrf()}
        answer = await browser.ask("POST", path, form=form)
        assert answer.status == 200
        assert answer.body.count(b"<script>") == 1  # our own
        assert b"&quot;&gt;&lt;script&gt;" in answer.body
    first = make().browser()
    answer = await first.log_in(evil, evil)
    assert (answer.status, answer.body.count(b"<script>")) == (200, 1)
    query = (await console.browser().ask("GET", "/login?next=%22%3E%3Cscript%3E")).body
    assert query.count(b"<script>") == 1


async def test_the_pages_run_under_a_strict_policy_in_both_themes(console: Console) -> None:
    for path in ("/login", "/login/recovery"):
        answer = await console.browser().ask("GET", path)
        policy, text = answer.header("content-security-policy") or "", answer.body.decode()
        assert policy.startswith("default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
        assert "unsafe" not in policy
        for tag in ("style", "script"):
            (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            assert f"{tag}-src 'sha256-{b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'" in policy
        assert "color-scheme: light dark" in text
        assert re.search(r'(src|href)="(?!/)', text) is None
        assert " style=" not in text
        assert answer.header("referrer-policy") == "same-origin"  # else a browser sends the form with `Origin: null`
        assert answer.header("cache-control") == "no-store"


async def test_who_is_logged_in_goes_on(console: Console) -> None:
    browser = console.browser()
    await browser.log_in()
    answer = await browser.ask("GET", "/login?next=/config")
    assert (answer.status, answer.header("location")) == (302, "/config")


async def test_nothing_secret_is_logged(console: Console) -> None:
    browser = console.browser()
    await browser.log_in(remember="1")
    await browser.log_in(password="a-wrong-password")
    made = await browser.manage("POST", "/api/tokens", {"action": "generate", "label": "ci"})
    set_up = await browser.manage("POST", "/api/2fa/setup")
    console.gate._door._strikes.banned()
    log = console.lines.text.decode()
    assert "console login" in log
    secrets = [PASSWORD, "a-wrong-password", made["token"], set_up["secret"], *set_up["recovery_codes"]]
    secrets += [*browser.cookies.values(), await browser.csrf()]
    assert [secret for secret in secrets if secret in log] == []


# --- the first user

STRONG = "Analytical engine, 1837"


async def test_the_first_visitor_makes_the_user_and_the_server_is_closed(make: Make) -> None:
    browser, other = make().browser(), make().browser()
    assert b"This server has no user yet" in (await browser.ask("GET", "/login")).body
    assert (await browser.log_in("ada", STRONG)).status == 302
    assert (await browser.ask("GET", "/api/tokens")).status == 200
    other.console = browser.console
    assert (await other.ask("GET", "/api/browse")).status == 401
    assert WRONG in (await other.log_in("eve", "Difference engine, 1822")).body
    assert (await other.log_in("ada", STRONG)).status == 302


async def test_a_made_user_takes_basic(make: Make) -> None:
    browser = make().browser()
    await browser.log_in("ada", STRONG)
    for secret, status in ((STRONG, 200), (STRONG, 200), ("no", 401), (STRONG, 200)):
        authorization = "Basic " + b64encode(f"ada:{secret}".encode()).decode()
        answer = await browser.console.browser().ask("GET", "/api/browse", authorization=authorization)
        assert answer.status == status


@pytest.mark.parametrize(
    "password", ["", "short", "aaaaaaaaaaaaaaaaaaaaaaaa", "12345678901234567890", "ada-ada-ada-ada"]
)
async def test_a_password_that_is_easy_to_guess_is_refused(make: Make, password: str) -> None:
    browser = make().browser()
    answer = await browser.log_in("ada", password)
    assert (answer.status, b"too easy to guess" in answer.body) == (200, True)
    assert (await browser.ask("GET", "/api/browse")).status == 200  # still open


@pytest.mark.parametrize("name", ["", "a b", "local", "token", "anonymous@console", "x" * 65, "a:b"])
async def test_a_name_that_will_not_do_is_refused(make: Make, name: str) -> None:
    answer = await make().browser().log_in(name, STRONG)
    assert (answer.status, b"A user name is" in answer.body) == (200, True)


async def test_from_elsewhere_only_with_the_set_up_code(make: Make) -> None:
    console = make(setup_code="the-code-printed-at-start")
    browser = console.browser(REMOTE)
    assert b"Set-up code" in (await browser.ask("GET", "/login")).body
    for code in ("", "wrong"):
        answer = await browser.log_in("eve", STRONG, setup_code=code)
        assert (answer.status, b"set-up code is not right" in answer.body) == (200, True)
    assert (await browser.log_in("ada", STRONG, setup_code="the-code-printed-at-start")).status == 302
    assert (await browser.ask("GET", "/api/browse")).json()["name"] == "ada"


async def test_without_a_set_up_code_nobody_from_elsewhere_makes_the_user(make: Make) -> None:
    answer = await make().browser(REMOTE).log_in("eve", STRONG, setup_code="")
    assert b"set-up code is not right" in answer.body


async def test_on_a_closed_server_the_owner_makes_the_user_with_the_key(make: Make) -> None:
    browser = make(auth="required").browser()
    assert b"set-up code is not right" in (await browser.log_in("eve", STRONG)).body
    assert (await browser.log_in("ada", STRONG, setup_code=KEY)).status == 302


async def test_two_first_visitors_make_one_user(make: Make) -> None:
    console = make()
    browsers = [console.browser() for _ in range(3)]
    answers = await asyncio.gather(*(each.log_in(f"user{n}", STRONG) for n, each in enumerate(browsers)))
    assert sorted(answer.status for answer in answers) == [200, 200, 302]


async def test_the_access_log_can_tell_a_failed_form(console: Console) -> None:
    heard: list[tuple[str, bool | None]] = []
    gate = console.gate
    console.app.on_done = lambda call, status, _: heard.append((call.principal.name, gate.turned_away(call, status)))
    browser = console.browser()
    await browser.log_in(password="no")
    await browser.log_in()
    assert heard == [("", None), ("", True), ("", None), (USER, None)]
