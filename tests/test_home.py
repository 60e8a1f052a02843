"""The home: closed to others, held by one process, and its files are seen whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from treadle.home import Home, Unusable


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_it_is_made_with_its_secrets_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "home"
    home = Home(path)
    key = home.local_key()
    home.announce({"pid": 1})
    assert len(key) == 43
    assert mode(path) == mode(path / "secrets") == 0o700
    assert {mode(path / name) for name in ("lock", "server.json", "secrets/local.key")} == {0o600}


def test_the_key_is_made_once(tmp_path: Path) -> None:
    first = Home(tmp_path)
    key = first.local_key()
    assert first.local_key() == key
    first.close()
    assert Home(tmp_path).local_key() == key


def test_a_key_left_open_to_others_is_closed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.local_key()
    home.key_file.chmod(0o644)
    home.local_key()
    assert mode(home.key_file) == 0o600


def test_an_empty_key_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.local_key()
    home.key_file.write_text("")
    with pytest.raises(Unusable, match="is empty"):
        home.local_key()


@pytest.mark.parametrize("inside", [None, "treadle.toml"])
def test_an_own_folder_open_to_others_is_closed(inside: str | None, tmp_path: Path) -> None:
    path = tmp_path / "home"
    path.mkdir(mode=0o755)
    if inside:
        (path / inside).touch()
    Home(path)
    assert mode(path) == 0o700


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "projects"
    path.mkdir(mode=0o755)
    (path / "thesis.tex").touch()
    with pytest.raises(Unusable, match="holds other things"):
        Home(path)
    assert mode(path) == 0o755
    assert os.listdir(path) == ["thesis.tex"]


def test_another_process_is_refused_while_it_is_held_and_let_in_after(tmp_path: Path) -> None:
    home = Home(tmp_path)
    code = "import sys; from pathlib import Path; from treadle.home import Home; Home(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"another server (process {os.getpid()}) holds {tmp_path}" in refused.stderr
    home.close()
    home.close()
    assert subprocess.run(command, check=False).returncode == 0


def test_the_announcement_is_the_same_in_both_files_and_replaces_an_older_one(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text("older, and longer than what comes now")
    home = Home(tmp_path / "home")
    home.announce({"pid": 7}, ready)
    assert json.loads(ready.read_bytes()) == {"pid": 7}
    assert ready.read_bytes() == (home.path / "server.json").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"home", "ready.json"}
    home.withdraw()
    home.withdraw()
    assert {path.name for path in home.path.iterdir()} == {"lock"}
    assert ready.exists()
    home.withdraw(ready)
    assert not ready.exists()


def test_a_ready_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"nowhere/ready.json cannot be written: no such file or directory"):
        Home(tmp_path).announce({}, tmp_path / "nowhere" / "ready.json")


def test_a_ready_file_that_cannot_be_removed_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="cannot be removed: is a directory"):
        Home(tmp_path / "home").withdraw(tmp_path)


def test_a_home_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(Unusable, match="cannot be used: file exists; name another with --home"):
        Home(tmp_path / "home")
