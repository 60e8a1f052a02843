"""Confinement: whatever a path says, and whoever moves things meanwhile, nothing outside the roots is reached."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from treadle.device.tools.files import Files, ListDirectory, ReadFile, WriteFile
from treadle.device.tools.roots import Outside, Roots

SECRET = "the secret outside"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A root with a few things in it, and a secret beside it."""
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "file").write_text("inside")
    (root / "sub" / "file").write_text("inside sub")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "root-beside").mkdir()
    (tmp_path / "root-beside" / "file").write_text(SECRET)
    (tmp_path / "alias").symlink_to(root)
    (root / "to-file").symlink_to("sub/file")
    (root / "to-sub").symlink_to("sub")
    (root / "sub" / "back").symlink_to("../file")
    (root / "chain").symlink_to("to-sub/back")
    (root / "out").symlink_to("../secret")
    (root / "out-absolute").symlink_to(tmp_path / "secret")
    (root / "out-folder").symlink_to("..")
    (root / "sub" / "far-out").symlink_to("../../secret")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nothing")
    (root / "escape-dangling").symlink_to("../made")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture
def roots(place: Path) -> Iterator[Roots]:
    opened = Roots([place])
    yield opened
    opened.close()


INSIDE = {
    "file": "inside",
    "./file": "inside",
    "sub/../file": "inside",
    "sub//file": "inside sub",
    "to-file": "inside sub",
    "to-sub/file": "inside sub",
    "to-sub/../file": "inside",
    "sub/back": "inside",
    "chain": "inside",
    "{root}/file": "inside",
    "{root}/sub/../file": "inside",
    "{alias}/file": "inside",
}
OUTSIDE = (
    "../secret", "sub/../../secret", "out", "out-absolute", "out-folder/secret", "sub/far-out", "to-sub/../../secret",
    "{root}/../secret", "{beside}/file", "/etc/passwd", "/", "..", "{root}/..",
    "sub/deep/../../../secret", "out-folder",
    "/proc/self/root/etc/passwd", "file\0", "loop",
)  # fmt: skip
NOTHING = ("", ".", "sub", "nothing", "file/x", "dangling", "pipe", "x" * 300, "sub/nothing/file", "escape-dangling")


def spelled(path: str, place: Path) -> str:
    return path.format(root=place, beside=f"{place}-beside", alias=place.parent / "alias")


@pytest.mark.parametrize("path", INSIDE)
def test_what_is_inside_can_be_read(place: Path, path: str) -> None:
    roots = Roots([place.parent / "alias"]) if "alias" in path else Roots([place])
    read = Files(roots).read(ReadFile(spelled(path, place)))
    roots.close()
    assert read["success"], read
    assert read["content"] == INSIDE[path]


@pytest.mark.parametrize("path", [*OUTSIDE, *NOTHING])
def test_nothing_else_can_be_read(roots: Roots, place: Path, path: str) -> None:
    said = Files(roots).read(ReadFile(spelled(path, place)))
    assert said["success"] is False
    assert said["error"]
    assert SECRET not in str(said)


@pytest.mark.parametrize("path", [*OUTSIDE, "pipe", ".", "sub", "nothing/file", "escape-dangling/x", "x" * 300])
def test_nothing_is_written_elsewhere(roots: Roots, place: Path, path: str) -> None:
    before = snapshot(place.parent)
    said = Files(roots).write(WriteFile(spelled(path, place), "overwritten"))
    assert said["success"] is False, said
    assert snapshot(place.parent) == before


def test_a_link_that_leads_to_nothing_outside_makes_nothing_there(roots: Roots, place: Path) -> None:
    said = Files(roots).write(WriteFile("escape-dangling", "x"))
    assert said["success"] is False
    assert not (place.parent / "made").exists()


def snapshot(folder: Path) -> dict[str, object]:
    """Every name below, and what it holds."""
    return {
        str(path): path.read_text() if path.is_file() and not path.is_symlink() else path.is_symlink()
        for path in sorted(folder.rglob("*"))
    }


def test_written_files_are_where_the_links_lead(roots: Roots, place: Path) -> None:
    files = Files(roots)
    for path, real in (("to-file", "sub/file"), ("to-sub/new", "sub/new"), ("dangling", "nothing")):
        assert files.write(WriteFile(path, path))["success"] is True
        assert (place / real).read_text() == path
        assert not (place / real).is_symlink()
    assert (place / "to-file").is_symlink()


def test_writing_replaces_the_whole_file_and_keeps_its_mode(roots: Roots, place: Path) -> None:
    (place / "file").chmod(0o640)
    with (place / "file").open() as old:
        assert Files(roots).write(WriteFile("file", "AAE=", "base64")) == {"success": True, "path": "file", "size": 2}
        assert old.read() == "inside"  # whoever had it open has the old one
    assert (place / "file").read_bytes() == b"\x00\x01"
    assert (place / "file").stat().st_mode & 0o777 == 0o640
    assert [name for name in os.listdir(place) if name.startswith(".treadle")] == []


def test_a_write_that_fails_leaves_nothing(roots: Roots, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = sorted(os.listdir(place))
    said = Files(roots).write(WriteFile("file", "half"))
    assert said == {"success": False, "error": "file: No space left on device"}
    assert (place / "file").read_text() == "inside"
    assert sorted(os.listdir(place)) == before


def test_a_listing_tells_links_as_links(roots: Roots, place: Path) -> None:
    os.mkdir(os.fsencode(place / "sub") + b"/\xff")
    said = Files(roots).list(ListDirectory("sub"))
    found = {entry["name"]: entry["type"] for entry in said["entries"]}
    assert found == {"deep": "directory", "file": "file", "back": "link", "far-out": "link", "\\xff": "directory"}
    assert said["truncated"] is False
    assert Files(roots).list(ListDirectory())["success"] is True


@pytest.mark.parametrize("path", ["out-folder", "..", "/", "file", "nothing", "pipe"])
def test_other_folders_are_not_listed(roots: Roots, path: str) -> None:
    assert Files(roots).list(ListDirectory(path))["success"] is False


def test_pieces_of_a_file(roots: Roots, place: Path) -> None:
    (place / "file").write_bytes("0123456789é".encode())
    files = Files(roots)
    piece = files.read(ReadFile("file", offset=2, length=3))
    assert (piece["content"], piece["size"], piece["length"], piece["truncated"]) == ("234", 12, 3, True)
    assert files.read(ReadFile("file", offset=10))["truncated"] is False
    assert files.read(ReadFile("file", offset=99))["content"] == ""
    assert files.read(ReadFile("file", offset=11))["content"] == "�"
    assert files.read(ReadFile("file", length=2, encoding="base64"))["content"] == "MDE="


def test_without_roots_there_is_nothing(place: Path) -> None:
    with pytest.raises(Outside), Roots([]).opened("file"):
        pass


def test_a_root_is_a_folder(place: Path) -> None:
    for path in (place / "file", place / "nothing"):
        with pytest.raises(OSError, match=r"No such|Not a directory"):
            Roots([path])


def test_a_root_stays_that_folder_when_its_name_is_given_to_another(roots: Roots, place: Path) -> None:
    place.rename(place.parent / "moved")
    place.symlink_to(place.parent / "root-beside")
    assert Files(roots).read(ReadFile("file"))["content"] == "inside"


@pytest.mark.parametrize("folder", ["sub", "file"])
def test_somebody_who_swaps_names_all_the_time_shows_nothing(roots: Roots, place: Path, folder: str) -> None:
    """A thread exchanges a name with a link to the outside as fast as it can, while we read and write through it."""
    outside = place.parent / "root-beside"
    aside, link = place / "aside", place / "link"
    stop, swaps = threading.Event(), [0]

    def swap() -> None:
        while not stop.is_set():
            link.symlink_to(outside if folder == "sub" else outside / "file")
            (place / folder).rename(aside)
            link.rename(place / folder)
            (place / folder).unlink()
            aside.rename(place / folder)
            swaps[0] += 1

    path = "sub/file" if folder == "sub" else "file"
    files = Files(roots)
    answers = {True: 0, False: 0}
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        while swaps[0] < 1500:
            said = files.read(ReadFile(path))
            answers[said["success"]] += 1
            assert SECRET not in str(said)
            if folder == "sub":
                files.write(WriteFile(path, "inside sub"))
            said = files.list(ListDirectory(folder))
            assert "root-beside" not in str(said)
    finally:
        stop.set()
        swapper.join()
    assert (outside / "file").read_text() == SECRET
    assert os.listdir(outside) == ["file"]
    assert all(answers.values()), answers  # the race was there: sometimes it was the folder, sometimes not
    assert swaps[0] >= 1500
