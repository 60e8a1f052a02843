"""One Console for all tests that need no settings of their own, each with a folder and session names of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faces.console.serving import Browser, Server, served

Script = Callable[..., Path]
_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("console")
    (home / "media").mkdir()
    with served(home, roots=(str(home / "media"),), kill_seconds=1) as running:
        yield running


@pytest.fixture
def root(server: Server) -> Path:
    """A folder under the root."""
    folder = server.home / "media" / f"t{next(_numbers)}"
    folder.mkdir()
    return folder


@pytest.fixture
def browser(server: Server) -> Iterator[Browser]:
    browser = Browser(server)
    yield browser
    browser.http.close()


@pytest.fixture
def name() -> str:
    """A session id that no other test has."""
    return f"session_{next(_numbers)}"


@pytest.fixture
def script(root: Path) -> Script:
    """Writes a shell script into the folder; gives its path."""

    def write(text: str, name: str = "run.sh", *, folder: Path = root) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
        path.chmod(0o755)
        return path

    return write
