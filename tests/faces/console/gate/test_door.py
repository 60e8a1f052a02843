"""Who gets in: the table of contract 3.2, row by row, and the CSRF table of 3.4."""

from __future__ import annotations

import base64
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.faces.console.gate.browsing import HOST, KEY, PASSWORD, REMOTE, USER, Console
from tests.faces.console.gate.conftest import Make
from treadle.core.fabric import Fabric
from treadle.faces.console.gate import ADMIN, ANONYMOUS, USE

TOKEN = "a-token-from-the-settings-of-a-test"


def basic(name: str = USER, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


OPEN: dict[str, Any] = {}
WITH_USER: dict[str, Any] = {"username": USER, "password": PASSWORD}
WITH_TOKEN: dict[str, Any] = {"token": TOKEN}
REQUIRED: dict[str, Any] = {"auth": "required"}
TEST_TOKEN: dict[str, Any] = {"test_token": TOKEN}

# options, Authorization, client, status of GET /api/browse, name of the principal or the code
ROWS: list[tuple[dict[str, Any], str | None, str, int, str]] = [
    (OPEN, None, "127.0.0.1", 200, ANONYMOUS.name),
    (OPEN, None, "::1", 200, ANONYMOUS.name),
    (OPEN, None, REMOTE, 401, "auth"),
    (OPEN, f"Bearer {KEY}", "127.0.0.1", 200, "local"),
    (OPEN, f"Bearer {KEY}", REMOTE, 200, "local"),
    (OPEN, f"bearer {KEY}", REMOTE, 200, "local"),
    (OPEN, "Bearer wrong", "127.0.0.1", 401, "auth"),
    (OPEN, basic(), "127.0.0.1", 401, "auth"),
    (OPEN, "Digest x", "127.0.0.1", 401, "auth"),
    (OPEN, "Bearer", "127.0.0.1", 401, "auth"),
    (OPEN, "", "127.0.0.1", 401, "auth"),
    (OPEN, "Basic !!!", "127.0.0.1", 401, "auth"),
    (REQUIRED, None, "127.0.0.1", 401, "auth"),
    (REQUIRED, f"Bearer {KEY}", "127.0.0.1", 200, "local"),
    (WITH_USER, None, "127.0.0.1", 401, "auth"),
    (WITH_USER, basic(), REMOTE, 200, USER),
    (WITH_USER, basic(password="no"), "127.0.0.1", 401, "auth"),
    (WITH_USER, basic(name="no"), "127.0.0.1", 401, "auth"),
    (WITH_USER, f"Bearer {KEY}", "127.0.0.1", 200, "local"),
    (WITH_TOKEN, None, "127.0.0.1", 401, "auth"),
    (WITH_TOKEN, f"Bearer {TOKEN}", REMOTE, 200, "token"),
    (WITH_TOKEN, f"Bearer {KEY}", "127.0.0.1", 401, "auth"),
    (WITH_TOKEN, basic(), "127.0.0.1", 401, "auth"),
    (WITH_TOKEN | WITH_USER, f"Bearer {TOKEN}", "127.0.0.1", 200, USER),
    (WITH_TOKEN | WITH_USER, basic(), "127.0.0.1", 200, USER),
    (TEST_TOKEN, f"Bearer {TOKEN}", "127.0.0.1", 200, "token"),
    (TEST_TOKEN, f"Bearer {KEY}", "127.0.0.1", 200, "local"),
    (TEST_TOKEN, None, "127.0.0.1", 401, "auth"),
    ({"token": "x" * 40, "test_token": TOKEN}, f"Bearer {TOKEN}", "127.0.0.1", 401, "auth"),
]


@pytest.mark.parametrize(("options", "authorization", "client", "status", "told"), ROWS)
async def test_the_order_of_credentials(
    make: Make, options: dict[str, Any], authorization: str | None, client: str, status: int, told: str
) -> None:
    headers: dict[str, Any] = {} if authorization is None else {"authorization": authorization}
    answer = await make(**options).browser(client).ask("GET", "/api/browse", **headers)
    assert answer.status == status
    if status == 200:
        assert (answer.json()["name"], answer.json()["scopes"]) == (told, [USE])
    else:
        assert (answer.json()["success"], answer.json()["code"]) == (False, told)
        assert answer.header("www-authenticate") == "Bearer"


async def test_health_is_let_through_whatever_is_shown(console: Console) -> None:
    answer = await console.browser(REMOTE).ask("GET", "/api/health", authorization="Bearer wrong")
    assert answer.status == 200


async def test_a_wrong_token_does_not_fall_back_to_a_cookie(console: Console) -> None:
    browser = console.browser()
    await browser.log_in()
    assert (await browser.ask("GET", "/api/browse")).json()["scopes"] == [USE, ADMIN]
    assert (await browser.ask("GET", "/api/browse", authorization="Bearer wrong")).status == 401
    assert (await browser.ask("GET", "/api/browse", authorization=basic(password="no"))).status == 401
    assert (await browser.ask("GET", "/api/browse")).status == 200


async def test_a_cookie_that_is_not_known_opens_nothing_and_breaks_nothing(make: Make) -> None:
    closed, opened = make(username=USER, password=PASSWORD).browser(), make().browser()
    for browser in (closed, opened):
        browser.cookies = {"session": "x" * 43, "ua_remember": "y" * 43}
    assert (await closed.ask("GET", "/api/browse")).status == 401
    assert (await opened.ask("GET", "/api/browse")).json()["name"] == ANONYMOUS.name


async def test_a_remembered_browser_comes_in_and_gets_a_session(console: Console) -> None:
    browser = console.browser()
    await browser.log_in(remember="1")
    del browser.cookies["session"]
    assert (await browser.ask("GET", "/api/browse")).json()["name"] == USER
    token = await browser.csrf()
    assert "session" in browser.cookies
    del browser.cookies["ua_remember"]
    assert (await browser.ask("POST", "/api/execute", csrf=token)).status == 200


async def test_a_proxy_in_front_is_not_this_machine(make: Make) -> None:
    """An unlisted proxy on loopback makes nobody local."""
    answer = await make().browser().ask("GET", "/api/browse", x_forwarded_for=REMOTE)
    assert answer.status == 401


async def test_pages_lead_to_the_login_and_back(console: Console) -> None:
    browser = console.browser()
    for target in ("/", "/config?tab=a%20b"):
        answer = await browser.ask("GET", target)
        assert answer.status == 302
        await browser.log_in()
        location = answer.header("location") or ""
        landed = await browser.ask("GET", location)
        assert (landed.status, landed.header("location")) == (302, target)
        browser.cookies.clear()
    typed = await browser.ask("GET", "/api/browse", accept="text/html,*/*")
    assert (typed.status, typed.header("location")) == (302, "/login?next=%2Fapi%2Fbrowse")
    assert (await browser.ask("GET", "/", authorization="Bearer wrong")).status == 401


async def test_unknown_addresses_and_methods_keep_their_answer(make: Make) -> None:
    browser = make().browser()
    unknown, wrong = await browser.ask("POST", "/api/nope"), await browser.ask("DELETE", "/api/execute")
    assert (unknown.status, unknown.json()["code"]) == (404, "not_found")
    assert (wrong.status, wrong.json()["code"], wrong.header("allow")) == (405, "wrong_method", "OPTIONS, POST")


# who posts, with or without the header, and the status
CSRF = [
    ("open", False, 401), ("open", True, 200),
    ("cookie", False, 401), ("cookie", True, 200),
    ("basic", False, 401), ("basic", True, 200),
    ("bearer", False, 200), ("bearer", True, 200),
]  # fmt: skip


@pytest.mark.parametrize(("who", "with_token", "status"), CSRF)
async def test_who_needs_the_csrf_token(make: Make, who: str, with_token: bool, status: int) -> None:
    browser = make(**(OPEN if who == "open" else WITH_USER)).browser()
    if who == "cookie":
        await browser.log_in()
    token = await browser.csrf()
    authorization = {"basic": basic(), "bearer": f"Bearer {KEY}"}.get(who)
    headers: dict[str, Any] = {"authorization": authorization} if authorization else {}
    assert (await browser.ask("GET", "/api/browse", **headers)).status == 200
    answer = await browser.ask("POST", "/api/execute", csrf=token if with_token else None, **headers)
    assert answer.status == status
    if status == 401:
        assert (answer.json()["code"], answer.header("www-authenticate")) == ("csrf", "Bearer")


async def test_a_csrf_token_is_good_for_its_session_alone(make: Make) -> None:
    console = make()
    mine, other = console.browser(), console.browser()
    token, theirs = await mine.csrf(), await other.csrf()
    assert token != theirs
    assert len(token) >= 43
    assert await mine.csrf() == token
    assert (await mine.ask("POST", "/api/execute", csrf=theirs)).status == 401
    forged = console.browser()
    forged.cookies["session"] = mine.cookies["session"][:-1] + ("A" if mine.cookies["session"][-1] != "A" else "B")
    assert (await forged.ask("POST", "/api/execute", csrf=token)).status == 401
    without = console.browser()
    assert (await without.ask("POST", "/api/execute", csrf=token)).status == 401
    refetched = await without.csrf()  # what the page does after a 401, once
    assert (await without.ask("POST", "/api/execute", csrf=refetched)).status == 200


async def test_the_csrf_token_changes_with_login_and_logout(console: Console) -> None:
    browser = console.browser()
    tokens = [await browser.csrf()]
    await browser.log_in()
    tokens.append(await browser.csrf())
    await browser.ask("POST", "/logout", form={}, csrf=tokens[-1])
    tokens.append(await browser.csrf())
    await browser.log_in()
    tokens.append(await browser.csrf())
    assert len(set(tokens)) == 4


async def test_asking_for_csrf_tokens_stores_nothing(make: Make, fabric: Fabric) -> None:
    console = make()
    await console.browser().csrf()
    before = await fabric.events.last(), await _documents(fabric)
    for _ in range(50):
        answer = await console.browser().ask("GET", "/api/csrf_token")
        assert answer.header("cache-control") == "no-store"
    assert (await fabric.events.last(), await _documents(fabric)) == before


async def _documents(fabric: Fabric) -> list[str]:
    names = ("grant", "holder", "console_secret", "console_user")
    return [
        found.key
        for name in names
        for found in await fabric.store.read(lambda tx, name=name: tx.list_documents(name, None, "", 1000))  # type: ignore[misc]
    ]


async def test_tokens_outlive_a_restart(make: Make) -> None:
    browser = make().browser()
    token = await browser.csrf()
    browser.console = make()
    assert (await browser.ask("POST", "/api/execute", csrf=token)).status == 200


async def test_a_given_secret_signs_instead(make: Make) -> None:
    browser = make(session_secret=b"s" * 32).browser()
    token = await browser.csrf()
    browser.console = make(session_secret=b"s" * 32)
    assert (await browser.ask("POST", "/api/execute", csrf=token)).status == 200
    browser.console = make(session_secret=b"t" * 32)
    assert (await browser.ask("POST", "/api/execute", csrf=token)).status == 401


async def test_a_store_that_cannot_answer_gives_an_empty_csrf_token(make: Make, fabric: Fabric) -> None:
    console = make()
    await fabric.store.close()
    answer = await console.browser().ask("GET", "/api/csrf_token")
    assert (answer.status, answer.json()) == (500, {"success": False, "csrf_token": ""})


# the headers of a change to what only a page of our own may change
PAGES = [
    ({"origin": f"http://{HOST}"}, 200),
    ({"referer": f"http://{HOST}/config"}, 200),
    ({"sec_fetch_site": "same-origin"}, 200),
    ({}, 403),
    ({"sec_fetch_site": "cross-site"}, 403),
    ({"referer": "http://evil.example/"}, 403),
    ({"referer": "http://[half"}, 403),
    ({"origin": "null"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), PAGES)
async def test_managing_needs_a_page_of_our_own(console: Console, headers: dict[str, Any], status: int) -> None:
    browser = console.browser()
    await browser.log_in()
    answer = await browser.ask("PUT", "/api/config", csrf=await browser.csrf(), **headers)
    assert answer.status == status


async def test_an_origin_that_may_read_may_not_manage(make: Make) -> None:
    browser = make(cors_origins=("https://friend.example",), **WITH_USER).browser()
    await browser.log_in()
    token = await browser.csrf()
    origin: dict[str, Any] = {"origin": "https://friend.example"}
    assert (await browser.ask("POST", "/api/execute", csrf=token, **origin)).status == 200
    assert (await browser.ask("PUT", "/api/config", csrf=token, **origin)).status == 403
    assert (await browser.ask("GET", "/api/tokens", **origin)).status == 403
    assert (await browser.ask("GET", "/config", sec_fetch_site="cross-site")).status == 200  # a link leads anywhere


@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", basic()])
async def test_only_a_login_manages(console: Console, authorization: str) -> None:
    for method, path in [("GET", "/api/tokens"), ("GET", "/api/2fa/status"), ("GET", "/api/ip_control"),
                         ("GET", "/api/access_log/level"), ("GET", "/api/access_log/entries")]:  # fmt: skip
        answer = await console.browser().ask(method, path, authorization=authorization)
        assert (answer.status, answer.json()["code"]) == (403, "denied"), path


async def test_nobody_manages_an_open_server(make: Make) -> None:
    browser = make().browser()
    assert (await browser.ask("GET", "/api/tokens")).status == 401
    assert (await browser.ask("GET", "/config")).status == 302


TEXT = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=60)
AUTHORIZATION = TEXT | TEXT.map(lambda text: f"Basic {text}") | TEXT.map(lambda text: f"Bearer {text}") | st.binary(
    max_size=40
).map(lambda raw: "Basic " + base64.b64encode(raw).decode())  # fmt: skip
COOKIE = TEXT | TEXT.map(lambda text: f"session={text}") | TEXT.map(lambda text: f"ua_remember=a; session=anon.{text}")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(authorization=st.none() | AUTHORIZATION, cookie=COOKIE, token=TEXT)
async def test_no_header_breaks_the_door(console: Console, authorization: str | None, cookie: str, token: str) -> None:
    console.hands.on(7200)  # or those of the examples before would be banned already
    headers: dict[str, Any] = {"cookie": cookie, "x_csrf_token": token}
    if authorization is not None:
        headers["authorization"] = authorization
    for method, path in (("GET", "/api/browse"), ("POST", "/api/execute"), ("GET", "/api/csrf_token"),
                         ("GET", "/login")):  # fmt: skip
        assert (await console.browser().ask(method, path, **headers)).status in (200, 302, 401)
