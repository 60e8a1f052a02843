"""The Console of a real `treadle up`: its settings, its runs over a stop and a crash, and starts that cannot be."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.faces.console.serving import SECONDS, Browser, shown, until
from tests.scenarios.serving import ANYWHERE, Running, refused, server

LISTEN = (*ANYWHERE, "--listen", "console=127.0.0.1:0")


class At:
    """Clients for the Console of a server that runs somewhere."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clients: list[httpx2.Client] = []

    def client(self, **headers: str) -> httpx2.Client:
        client = httpx2.Client(base_url=self.url, timeout=SECONDS, trust_env=False, headers=headers)
        self.clients.append(client)
        return client


@contextmanager
def browsing(up: Running) -> Iterator[Browser]:
    at = At(up.urls["console"])
    try:
        yield Browser(at)
    finally:
        for client in at.clients:
            client.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def waits(tmp_path: Path) -> Path:
    """A script that says its pid, waits for a line, and says that."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "run.sh"
    path.write_text('#!/bin/sh\necho "pid $$"\nread x\necho "got $x"\n')
    path.chmod(0o755)
    return path


def test_a_folder_that_is_opened_can_be_browsed_and_run_in(home: Path, waits: Path) -> None:
    with server(home, *LISTEN, UA_BROWSE_ROOTS=str(waits.parent)) as up, browsing(up) as browser:
        assert browser.get("/api/health")["status"] == "healthy"
        assert [item["name"] for item in browser.get("/api/browse", path=str(waits.parent))["items"]] == ["run.sh"]
        with browser.execute(waits, session="s") as stream:
            stream.until("pid ")
            browser.type("s", "it")
            messages = stream.rest()
        assert shown(messages).endswith("got it\n")
        assert messages[-1] == {"type": "exit", "code": 0, "reason": "exited"}
        assert "Execute" in browser.http.get("/").text
        assert up.stop() == 0


def test_the_owners_key_opens_a_console_that_asks(home: Path, waits: Path) -> None:
    with server(home, *LISTEN, "--auth", "required", UA_BROWSE_ROOTS=str(waits.parent)) as up, browsing(up) as browser:
        browser.refused(401, "auth", "GET", "/api/browse_roots")
        key = (home / "secrets/local.key").read_text().strip()
        with browsing(up) as stranger:
            owner = Browser(stranger.server, authorization=f"Bearer {key}")
            assert owner.get("/api/browse_roots")["count"] == 1
            assert owner.get("/api/sessions")["user"] == "local"


def test_a_stop_ends_runs_and_says_so(home: Path, waits: Path) -> None:
    with server(home, *LISTEN, UA_BROWSE_ROOTS=str(waits.parent)) as up, browsing(up) as browser:
        with browser.execute(waits, session="s") as stream:
            pid = int(stream.until("\n").split()[1])
            stopping = threading.Thread(target=up.stop)
            stopping.start()
            messages = stream.rest()
            stopping.join()
        assert (messages[-1]["type"], messages[-1]["reason"]) == ("exit", "shutdown")
        assert up.ended() == 0
        assert not os.path.exists(f"/proc/{pid}")


def test_a_crash_loses_no_run(home: Path, waits: Path) -> None:
    """The server is killed and started again: the same client finds its run, with all it printed, and goes on."""
    with (
        server(home, *LISTEN, UA_BROWSE_ROOTS=str(waits.parent)) as up,
        browsing(up) as browser,
        browser.execute(waits, session="s") as stream,
    ):
        pid = stream.until("\n").split()[1]
        up.signal(signal.SIGKILL)
        up.ended()
        with pytest.raises(httpx2.HTTPError):
            stream.rest()
    with server(home, *LISTEN, UA_BROWSE_ROOTS=str(waits.parent)) as up, browsing(up) as browser:
        with browser.watch("s") as stream:
            assert stream.until("\n").split() == ["pid", pid]
            browser.type("s", "again")
            messages = stream.rest()
        assert shown(messages).endswith("got again\n")
        assert messages[-1]["code"] == 0
        until(lambda: not browser.session("s")["running"], "the run to be over")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"UA_WEBUI_USERNAME": "ada"}, "UA_WEBUI_PASSWORD"),
        ({"UA_BROWSE_ROOTS": "relative"}, "relative"),
        ({"TREADLE_CONSOLE_COMMAND": "{args}"}, "command"),
    ],
)
def test_settings_that_cannot_be_meant_are_one_line(home: Path, more: dict[str, str], words: str) -> None:
    start = refused(home, *LISTEN, **more)
    assert start.code == 1
    assert words in start.line
