"""Paths: the table of the contract's section 4, and somebody who swaps links while we look."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from treadle.core.errors import Denied, FabricError, Malformed, NotFound
from treadle.faces.console.errors import OutsideRoots
from treadle.faces.console.paths import LONGEST, Roots


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """`media` with something in it, `media2` and `secret` beside it."""
    for name in ("media/shows", "media2", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "media/a.mkv").write_text("film")
    (tmp_path / "secret/key").write_text("do not show")
    return tmp_path


def opened(roots: Roots, path: str | Path) -> str:
    with roots.open(str(path)) as place:
        assert os.path.samestat(os.stat(place.path), place.facts)
        return place.path


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_lies_under_a_root_opens(top: Path) -> None:
    roots, media = Roots([f"{top}/media/"]), top / "media"
    for path in (media, media / "shows", media / "a.mkv", f"{media}/./shows/../shows//", f"/{media}"):
        assert opened(roots, path).startswith(str(media))


@pytest.mark.parametrize("path", ["media2", "secret", "secret/key", "media/../secret", "media/../../../etc", "absent"])
def test_what_does_not_is_refused_whether_it_is_there_or_not(top: Path, path: str) -> None:
    with pytest.raises(OutsideRoots):
        opened(Roots([str(top / "media")]), f"{top}/{path}")


def test_links_lead_where_they_lead(top: Path) -> None:
    media = top / "media"
    (media / "inner").symlink_to(media / "shows")
    (media / "relative").symlink_to("shows")
    (media / "outer").symlink_to(top / "secret")
    (media / "climbing").symlink_to("../secret/key")
    (media / "dangling").symlink_to("nowhere")
    (media / "circle").symlink_to("circle")
    roots = Roots([str(media)])
    assert opened(roots, media / "inner") == opened(roots, media / "relative") == str(media / "shows")
    for path in ("outer", "outer/key", "climbing", "outer/not-there"):
        with pytest.raises(OutsideRoots):
            opened(roots, media / path)
    with pytest.raises(NotFound):
        opened(roots, media / "dangling")
    with pytest.raises(Denied):
        opened(roots, media / "circle")


def test_a_root_that_is_a_link_has_two_spellings(top: Path) -> None:
    (top / "library").symlink_to(top / "media")
    roots = Roots([str(top / "library")])
    assert opened(roots, top / "library/shows") == opened(roots, top / "media/shows") == str(top / "media/shows")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "media",
        "~/media",
        "$HOME",
        "/a\0b",
        "/a\nb",
        "/a\rb",
        "/" + "a" * LONGEST,
        "/" + "é" * (LONGEST // 2),
        "/\ud800",
    ],
)
def test_what_is_no_absolute_path_is_malformed(top: Path, path: str) -> None:
    with pytest.raises(Malformed):
        opened(Roots(["/"]), path)


def test_what_is_not_there_is_said(top: Path) -> None:
    roots = Roots([str(top / "media"), str(top / "later")])
    for path in ("media/none", "media/a.mkv/inside", "media/" + "x" * 300):
        with pytest.raises(NotFound):
            opened(roots, top / path)
    assert [root.available for root in roots.listed()] == [True, False]
    (top / "later").mkdir()
    assert opened(roots, top / "later") == str(top / "later")


def test_without_roots_everything_is_outside() -> None:
    with pytest.raises(OutsideRoots):
        opened(Roots([]), "/")
    with pytest.raises(ValueError, match="absolute"):
        Roots(["media"])


def test_nothing_stays_open(top: Path) -> None:
    roots, before = Roots([str(top / "media")]), descriptors()
    for path in ("media/a.mkv", "media/none", "secret", "media/a.mkv/x"):
        try:
            opened(roots, top / path)
        except FabricError:
            continue
    assert descriptors() == before


@pytest.mark.parametrize("swapped", ["door", "door/key"])
def test_a_racing_swapper_never_gets_us_out(top: Path, swapped: str) -> None:
    """Somebody turns a folder into a link to the outside and back, as fast as he can; we only ever see the inside."""
    media, stop = top / "media", threading.Event()
    (media / "door").mkdir()
    (media / "door/key").write_text("shown")
    (media / "link").symlink_to(top / "secret")
    outside = {os.stat(top / "secret").st_ino, os.stat(top / "secret/key").st_ino}

    def swap() -> None:
        while not stop.is_set():
            os.rename(media / "door", media / "spare")
            os.rename(media / "link", media / "door")
            os.rename(media / "door", media / "link")
            os.rename(media / "spare", media / "door")

    roots, seen, refused = Roots([str(media)]), 0, 0
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        while seen + refused < 4000 or not (seen and refused):
            try:
                with roots.open(str(media / swapped)) as place:
                    assert place.facts.st_ino not in outside
                    seen += 1
            except (OutsideRoots, NotFound, Denied):
                refused += 1
    finally:
        stop.set()
        swapper.join()
