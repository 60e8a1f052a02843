"""Where the client finds its server and its key; and to whom it never sends the home's key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from treadle.client import NoServer
from treadle.client.finding import Finder, home_folder

URL = "http://127.0.0.1:4892"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "local.key").write_text("the-key\n")
    (tmp_path / "server.json").write_text(json.dumps({"pid": 1, "listeners": {"fabric": URL + "/"}}))
    return tmp_path


def test_a_running_server_is_found_in_its_home(home: Path) -> None:
    assert Finder(home=home).find() == (URL, "the-key")


def test_the_environment_names_home_server_and_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREADLE_HOME", str(home))
    assert home_folder() == home
    assert Finder().find() == (URL, "the-key")
    monkeypatch.setenv("TREADLE_KEY", "mine")
    assert Finder().find() == (URL, "mine")
    monkeypatch.setenv("TREADLE_SERVER", "http://elsewhere:1/")
    assert Finder().find() == ("http://elsewhere:1", "mine")
    assert Finder("http://here:2", "yours").find() == ("http://here:2", "yours")


def test_the_key_of_the_home_goes_to_its_own_server_only(home: Path) -> None:
    assert Finder("http://elsewhere:1", home=home).find().key is None
    assert Finder(URL, home=home).find().key == "the-key"


def test_without_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoServer, match=f"no server runs in {tmp_path}; start `treadle up`"):
        Finder(home=tmp_path).find()
    (tmp_path / "server.json").write_text("{")
    with pytest.raises(NoServer):
        Finder(home=tmp_path).find()
    with pytest.raises(NoServer, match="write http://HOST:PORT"):
        Finder("localhost:4892", home=tmp_path).find()


def test_importing_the_client_is_cheap() -> None:
    probe = "import sys, treadle.client; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    assert not {"httpx2", "httpcore2", "anyio", "h11", "rich", "typer", "email"} & set(loaded)
