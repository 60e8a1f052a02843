"""Pages, redirects and the files that pages need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web.asking import app_of, ask, route
from treadle.core.access import PUBLIC
from treadle.web.call import Call, Reply
from treadle.web.pages import html_reply, page_policy, redirect
from treadle.web.routes import Route
from treadle.web.static import Files


async def test_a_page_may_load_its_own_files_and_nothing_else() -> None:
    async def page(_: Call) -> Reply:
        return html_reply("<p>é</p>", 401)

    answer = await ask(app_of([route("GET", "/", page)]), "GET", "/")
    assert (answer.status, answer.body.decode()) == (401, "<p>é</p>")
    assert answer.header("content-type") == "text/html; charset=utf-8"
    policy = (answer.header("content-security-policy") or "").split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"} <= set(policy)
    assert not any("unsafe" in rule for rule in policy)
    own = html_reply("", headers=(page_policy(style="'self' 'unsafe-inline'"),))
    assert [name for name, _ in own.headers] == [b"content-security-policy"]


async def test_a_redirect_stays_here() -> None:
    async def go(call: Call) -> Reply:
        return redirect("/login?next=%2F")

    answer = await ask(app_of([route("POST", "/", go)]), "POST", "/")
    assert (answer.status, answer.header("location")) == (303, "/login?next=%2F")


@pytest.mark.parametrize(
    "location", ["", "login", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/é"]
)
def test_a_redirect_that_leads_elsewhere_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match="leads to a path of this listener"):
        redirect(location)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    public = tmp_path / "public"
    (public / "assets").mkdir(parents=True)
    (public / "index.html").write_text("<!doctype html>")
    (public / "assets" / "a b.js").write_text("1")
    (public / "data.xyz").write_bytes(b"\0")
    (tmp_path / "secret.txt").write_text("secret")
    (public / "link.txt").symlink_to(tmp_path / "secret.txt")
    (public / "up").symlink_to(tmp_path)
    return public


def below_ui(folder: Path, *, start: str = "") -> Route:
    """The folder's files at /ui; `start` is what /ui itself shows."""
    files = Files(folder)

    async def show(call: Call) -> Reply:
        return await files.reply(call, call.params["file"] or start)

    return Route(method="GET", path="/ui/{file*}", handler=show, scope=PUBLIC, summary="A file", documented=False)


@pytest.mark.parametrize(
    ("target", "media"),
    [
        ("/ui/index.html", "text/html; charset=utf-8"),
        ("/ui", "text/html; charset=utf-8"),
        ("/ui/", "text/html; charset=utf-8"),
        ("/ui/assets/a%20b.js", "text/javascript; charset=utf-8"),
        ("/ui/data.xyz", "application/octet-stream"),
    ],
)
async def test_files_are_served_once(folder: Path, target: str, media: str) -> None:
    app = app_of([below_ui(folder, start="index.html")])
    answer = await ask(app, "GET", target)
    assert (answer.status, answer.header("content-type"), answer.header("cache-control")) == (200, media, "no-cache")
    assert ("script-src 'self'" in (answer.header("content-security-policy") or "")) == media.startswith("text/html")
    again = await ask(app, "GET", target, headers={"if-none-match": answer.header("etag") or ""})
    assert (again.status, again.body) == (304, b"")
    stale = await ask(app, "GET", target, headers={"if-none-match": '"other"'})
    assert (stale.status, stale.body) == (200, answer.body)


@pytest.mark.parametrize(
    "name",
    [
        "none",
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2Fsecret.txt",
        "link.txt",
        "up/secret.txt",
        "assets",
        "/etc/passwd",
        "",
    ],
)
async def test_no_address_leads_out_of_the_folder(folder: Path, name: str) -> None:
    assert (await ask(app_of([below_ui(folder)]), "GET", f"/ui/{name}")).status == 404
