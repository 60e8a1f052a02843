"""The start page: strict policy, no other origin, and the whole way through it in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faces.console.conftest import Script
from tests.faces.console.serving import Browser, Server, served
from treadle.faces.console.pages import FOLDER

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def test_the_page_and_its_files_come_with_a_strict_policy(browser: Browser) -> None:
    page = browser.http.get("/")
    policy = page.headers["content-security-policy"]
    again = browser.http.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.headers["content-security-policy"]) == (304, policy)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    for name in re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text):
        answer = browser.http.get(name)
        assert answer.status_code == 200, name
        again = browser.http.get(name, headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
    for path in ("/static/none.js", "/static/../face.py", "/static/%2e%2e/face.py"):
        assert browser.http.get(path).status_code == 404


def test_the_page_asks_no_other_origin() -> None:
    for file in FOLDER.iterdir():
        found = [url for url in re.findall(r"https?://[\w.]+", file.read_text("utf-8")) if "www.w3.org" not in url]
        assert found == [], file


def test_arguments_to_pick_from(tmp_path: Path) -> None:
    file = tmp_path / "arguments.json"
    file.write_text('[{"title": "All", "args": [{"label": "--dry-run", "description": "Only say it"}]}]')
    with served(tmp_path, with_node=False, arguments=file) as server:
        found = Browser(server).get("/api/arguments")
    assert found["groups"][0]["args"] == [{"label": "--dry-run", "placeholder": "", "description": "Only say it"}]
    file.write_text('[{"title": 1}]')
    server = Server(tmp_path, with_node=False, arguments=file)
    with pytest.raises(ValueError, match="groups of arguments"):
        server.start()


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    """A page of a real browser; errors on it fail the test."""
    from playwright.sync_api import sync_playwright

    program = next(path for name in CHROMIUM if (path := shutil.which(name)))
    problems: list[str] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = chromium.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.goto(server.url)
        yield page
        chromium.close()
    assert problems == []


@pytest.mark.needs("chromium")
def test_a_person_chooses_runs_types_and_ends(script: Script, root: Path, page: Page) -> None:
    from playwright.sync_api import expect

    script(
        'printf "\\033[31mred\\033[0m <b>&amp; \\033]8;;javascript:alert(1)\\007x\\033]8;;\\007 name? ";'
        'read n; echo "hello $n"; read m',
        "go.sh",
    )
    output, state = page.locator("#output"), page.locator("#state")
    page.get_by_role("button", name=root.name, exact=True).click()
    page.get_by_role("button", name="go.sh").click()
    expect(page.locator("#path")).to_have_value(f"{root}/go.sh")
    page.get_by_role("button", name="Execute").click()
    expect(output).to_contain_text("red <b>&amp; x name?")
    assert (
        output.locator("span", has_text="red").evaluate("element => getComputedStyle(element).color")
        != "rgb(212, 215, 220)"
    )
    assert output.locator("a, b, script").count() == 0
    expect(state).to_have_text("◐ running")
    page.locator("#line").fill("Ada")
    page.locator("#line").press("Enter")
    expect(output).to_contain_text("hello Ada")
    page.reload()  # the run goes on, and the page comes back to it
    expect(output).to_contain_text("hello Ada")
    expect(state).to_have_text("◐ running")
    page.get_by_role("button", name="Kill").click()
    expect(state).to_contain_text("ended by SIGTERM (killed)")
    expect(page.get_by_role("button", name="Kill")).to_be_disabled()


@pytest.mark.needs("chromium")
def test_what_a_search_finds_is_shown(root: Path, page: Page) -> None:
    from playwright.sync_api import expect

    (root / "needle in the hay.txt").write_text("")
    page.locator("#search").fill("needle in")
    page.get_by_role("button", name="needle in the hay.txt").click()
    expect(page.locator("#path")).to_have_value(f"{root}/needle in the hay.txt")
    page.locator("#search").fill("no file is called so")
    expect(page.locator("#tree-note")).to_have_text("Nothing has that in its name")


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("size", [(1280, 800), (360, 740)])
def test_it_fits_a_screen_and_a_phone(root: Path, size: tuple[int, int], page: Page) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    (root / ("long " * 40 + ".txt")).write_text("")
    page.get_by_role("button", name=root.name, exact=True).click()
    page.get_by_role("button", name="long").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.needs("chromium")
def test_the_documents_reader_runs_in_a_browser(page: Page, script: Script, name: str) -> None:
    """As it is printed, with what it leaves open filled in: what apiFetch is, and what is done with a message."""
    seed = (Path(__file__).resolve().parents[2] / "seeds/console.js.txt").read_text("utf-8")
    blank = "// process obj.type ..."
    assert blank in seed
    program = f"""async ([path, args, session_id]) => {{
        const token = (await (await fetch("/api/csrf_token")).json()).csrf_token;
        const more = (headers) => ({{ ...headers, "X-CSRF-Token": token }});
        const apiFetch = (address, options) => fetch(address, {{ ...options, headers: more(options.headers) }});
        const seen = [];
        {seed.replace(blank, "seen.push(obj);")}
        return seen;
    }}"""
    path = script('for i in 1 2 3; do echo "line $i é $*"; sleep 0.05; done; exit 2')
    seen = page.evaluate(program, [str(path), '--some-flag "and more"', name])
    assert seen[0]["type"] == "system"
    assert seen[-1] == {"type": "exit", "code": 2, "reason": "exited"}
    assert "line 3 é --some-flag and more" in "".join(message["data"] for message in seen[1:-1])
