"""Browsing and searching over HTTP, and the bounds of both."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import httpx2
import pytest

from tests.faces.console.serving import Browser, Server, served
from treadle.faces.console import browsing, searching
from treadle.faces.console.browsing import wanted
from treadle.faces.console.paths import Roots
from treadle.faces.console.searching import search


@pytest.fixture
def media(root: Path, tmp_path: Path) -> Path:
    """Films and texts, a hidden folder, links inward and outward, and something that is neither file nor folder."""
    for name in ("shows", "Films", ".hidden"):
        (root / name).mkdir()
    for name in ("b.MKV", "a.mkv", "notes.txt", ".secret.mkv", "Tom & Jerry!.mp4"):
        (root / name).write_text("x" * 7)
    os.utime(root / "a.mkv", (1763700000, 1763700000.9))
    (root / "shows/a sea.ts").write_text("")
    (root / "in").symlink_to(root / "shows")
    (root / "out").symlink_to("/etc")
    (root / "gone").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"bad-\xff")).write_text("")
    return root


def test_a_folder_is_listed(browser: Browser, media: Path) -> None:
    found = browser.get("/api/browse", path=str(media))
    assert (found["success"], found["path"], found["count"]) == (True, str(media), 7)
    assert [item["name"] for item in found["items"]] == [
        "Films", "in", "shows", "a.mkv", "b.MKV", "notes.txt", "Tom & Jerry!.mp4"
    ]  # fmt: skip
    assert found["items"][0] == {"name": "Films", "path": f"{media}/Films", "type": "folder", "children": []}
    assert found["items"][3] == {
        "name": "a.mkv", "path": f"{media}/a.mkv", "type": "file", "size": 7, "mtime": 1763700000
    }  # fmt: skip
    assert "truncated" not in found


@pytest.mark.parametrize(
    ("kind", "names"), [("video", {"a.mkv", "b.MKV", "Tom & Jerry!.mp4"}), ("desc", {"notes.txt"})]
)
def test_a_filter_is_for_files(browser: Browser, media: Path, kind: str, names: set[str]) -> None:
    items = browser.get("/api/browse", path=str(media), filter=kind)["items"]
    assert {item["name"] for item in items if item["type"] == "file"} == names
    assert sum(item["type"] == "folder" for item in items) == 3


def test_a_link_inward_gives_the_real_path(browser: Browser, media: Path) -> None:
    assert browser.get("/api/browse", path=f"{media}/in")["path"] == f"{media}/shows"


def test_what_cannot_be_listed_is_refused(browser: Browser, media: Path) -> None:
    for status, code, path in [
        (400, "bad_request", ""),
        (400, "bad_request", "relative"),
        (400, "not_a_directory", f"{media}/a.mkv"),
        (403, "outside_roots", f"{media}/../../../.."),
        (403, "outside_roots", f"{media}/out"),
        (403, "outside_roots", "/etc"),
        (404, "not_found", f"{media}/none"),
    ]:
        told = browser.refused(status, code, "GET", "/api/browse", params={"path": path})
        assert "Traceback" not in told["error"]
    browser.refused(400, "bad_request", "GET", "/api/browse")
    browser.refused(400, "bad_request", "GET", "/api/browse", params={"path": str(media), "filter": "music"})


def test_an_encoded_path_is_decoded_once(browser: Browser, media: Path) -> None:
    answer = browser.http.get(f"/api/browse?path={media}/%2e%2e/%2e%2e/%2e%2e")
    assert (answer.status_code, answer.json()["code"]) == (403, "outside_roots")
    answer = browser.http.get(f"/api/browse?path={media}/%252e%252e")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_folder_is_403(browser: Browser, root: Path) -> None:
    (root / "closed").mkdir(mode=0o300)
    browser.refused(403, "denied", "GET", "/api/browse", params={"path": f"{root}/closed"})


def test_a_listing_has_a_bound(browser: Browser, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert browsing.MOST == 10_000
    monkeypatch.setattr(browsing, "MOST", 5)
    for number in range(6):
        (root / f"f{number}").write_text("")
    found = browser.get("/api/browse", path=str(root))
    assert (found["count"], found["truncated"]) == (5, True)
    (root / "f0").unlink()
    assert "truncated" not in browser.get("/api/browse", path=str(root))


def test_the_roots_tell_themselves_apart(tmp_path: Path) -> None:
    roots = [tmp_path / "a/media", tmp_path / "b/media", tmp_path / "gone"]
    for root in roots[:2]:
        root.mkdir(parents=True)
    with served(tmp_path, with_node=False, roots=tuple(map(str, roots))) as server:
        found = Browser(server).get("/api/browse_roots")
    assert (found["success"], found["count"]) == (True, 3)
    assert found["items"] == [
        {"name": "media", "path": str(roots[0]), "type": "folder", "children": [], "subtitle": str(tmp_path / "a")},
        {"name": "media", "path": str(roots[1]), "type": "folder", "children": [], "subtitle": str(tmp_path / "b")},
        {"name": "gone", "path": str(roots[2]), "type": "folder", "children": [], "available": False},
    ]


def test_without_roots_nothing_can_be_seen_or_run(tmp_path: Path) -> None:
    with served(tmp_path, with_node=False) as server:
        browser = Browser(server)
        assert browser.get("/api/browse_roots")["items"] == []
        browser.refused(403, "outside_roots", "GET", "/api/browse", params={"path": "/"})
        browser.refused(403, "outside_roots", "POST", "/api/execute", {"path": "/bin/true"})
        assert browser.get("/api/browse_search", q="a")["items"] == []


def test_a_search_looks_at_names(browser: Browser, media: Path) -> None:
    """Hidden things and what links lead to are passed over; the nearest come first."""

    def names(**query: object) -> list[str]:
        found = browser.get("/api/browse_search", **query)
        assert (found["success"], found["count"], found["query"]) == (True, len(found["items"]), query["q"])
        return [
            item["path"].removeprefix(f"{media}/") for item in found["items"] if item["path"].startswith(str(media))
        ]

    assert sorted(names(q="A", max_results=1000)) == sorted(["a.mkv", "shows/a sea.ts"])
    assert names(q="SEA", filter="video") == ["shows/a sea.ts"]
    assert names(q="sea", filter="desc") == []
    assert names(q="shows") == ["shows"]
    assert names(q="secret") == names(q="zebra") == []
    assert browser.get("/api/browse_search", q="a", max_results=1)["truncated"] is True
    browser.refused(400, "bad_request", "GET", "/api/browse_search", params={"q": ""})


def test_a_search_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(600):
        (tmp_path / f"f{number}").write_text("")
    roots = Roots([str(tmp_path)])

    def looked(stopped: bool = False, slow: float = 0.0) -> tuple[int, bool]:
        now = iter(slow * step for step in range(10_000))
        found, more = search(
            roots, "f", wanted(None), most=1000, stopped=lambda: stopped, now=lambda: next(now)
        )  # fmt: skip
        return len(found), more

    assert looked() == (600, False)
    assert looked(stopped=True) == (0, True)
    assert looked(slow=searching.MOST_SECONDS + 1) == (255, True)
    monkeypatch.setattr(searching, "MOST_ENTRIES", 100)
    assert looked() == (100, True)


def test_a_search_ends_with_its_client(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk is told to stop when the connection closes, long before its own bounds."""
    begun, ended = threading.Event(), threading.Event()

    def endless(*_: object, stopped: object, **__: object) -> tuple[list[object], bool]:
        begun.set()
        while not stopped():  # type: ignore[operator]
            time.sleep(0.001)
        ended.set()
        return [], True

    monkeypatch.setattr(browsing, "search", endless)
    asking = threading.Thread(target=_hangs, args=(server,))
    asking.start()
    assert begun.wait(10)
    assert ended.wait(10)
    asking.join()


def _hangs(server: Server) -> None:
    try:
        with httpx2.Client(base_url=server.url, timeout=0.3, trust_env=False) as http:
            http.get("/api/browse_search", params={"q": "x"})
    except httpx2.TimeoutException:
        return
    raise AssertionError("it was answered")
