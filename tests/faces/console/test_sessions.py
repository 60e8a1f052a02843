"""Sessions: names of runs that outlive their streams, belong to their user, and are there again after a restart."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faces.console.conftest import Script
from tests.faces.console.serving import Browser, Crashing, Server, served, shown, text_of, until
from treadle.core.fabric import Fabric
from treadle.faces.console import sessions as kept
from treadle.faces.console.gate import USE

WAITS = '#!/bin/sh\necho begun\nread x\necho "got $x"\n'


@pytest.fixture
def waits(tmp_path: Path) -> Path:
    path = tmp_path / "run.sh"
    path.write_text(WAITS)
    path.chmod(0o755)
    return path


def ended(browser: Browser, session: str) -> bool:
    return not browser.session(session)["running"]


def test_a_name_is_taken_while_its_run_goes_on(browser: Browser, script: Script, name: str) -> None:
    """Upstream lets a second run take the name, and the first one then runs on where nobody reaches it."""
    path = script("echo $$; read x; echo over")
    with browser.execute(path, session=name) as first:
        pid = first.until("\n").strip()
        browser.refused(409, "session_exists", "POST", "/api/execute", {"path": str(path), "session_id": name})
        assert os.path.exists(f"/proc/{pid}")
        browser.type(name, "")
        assert "over" in shown(first.rest())
    with browser.execute(path, session=name) as again:
        assert again.until("\n").strip() != pid
        browser.kill(name)
        again.rest()


def test_two_at_once_get_one_name_once(browser: Browser, script: Script, name: str) -> None:
    path, codes = str(script("read x")), []

    def execute() -> None:
        with browser.http.stream(
            "POST", "/api/execute", json={"path": path, "session_id": name}, headers={"x-csrf-token": browser.token}
        ) as answer:
            codes.append(answer.status_code)

    threads = [threading.Thread(target=execute) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [409] * 7
    browser.kill(name)


def test_without_a_name_one_is_made(browser: Browser, script: Script) -> None:
    with browser.execute(script("true")) as stream:
        first = next(stream.messages())
        assert first["session_id"] == stream.answer.headers["x-session-id"] != ""
        stream.rest()
    assert browser.session(first["session_id"])["code"] == 0


def test_a_client_that_leaves_can_come_back(browser: Browser, script: Script, name: str) -> None:
    path = script('echo first; read x; echo "second $x"; read y; exit 4')
    with browser.execute(path, session=name) as stream:
        stream.until("first")
    until(lambda: not browser.session(name)["watched"], "the stream to be noticed as gone")
    assert browser.session(name)["running"]
    with browser.watch(name) as stream:
        messages = stream.messages()
        system, snapshot = next(messages), next(messages)
        assert (system["type"], system["session_id"]) == ("system", name)
        assert snapshot["type"] == "html_full"
        assert "first" in text_of(snapshot)
        assert browser.session(name)["watched"]
        browser.type(name, "x")
        stream.until("second x")
        browser.type(name, "")
        assert stream.rest()[-1] == {"type": "exit", "code": 4, "reason": "exited"}
    with browser.watch(name) as stream:  # when it is over, too
        assert [message["type"] for message in stream.rest()] == ["system", "html_full", "exit"]


def test_several_may_watch(browser: Browser, script: Script, name: str) -> None:
    with browser.execute(script("read x; echo over"), session=name) as one, browser.watch(name) as two:
        browser.type(name, "")
        assert "over" in shown(one.rest())
        assert "over" in shown(two.rest())


def test_what_nobody_watches_is_ended_after_a_while(waits: Path, tmp_path: Path) -> None:
    """Upstream leaves a quiet run behind that can neither be listed nor killed."""
    with served(tmp_path, roots=(str(tmp_path),), detached_seconds=1, kill_seconds=1) as server:
        browser = Browser(server)
        began = time.monotonic()
        with browser.execute(waits, session="s") as stream:
            stream.until("begun")
            with browser.execute(waits, session="watched") as other:
                other.until("begun")
                stream.answer.close()
                until(lambda: ended(browser, "s"), "the end of what nobody watches")
                assert time.monotonic() - began >= 1
                assert browser.session("s")["reason"] == "killed"
                assert browser.session("watched")["running"]
                browser.type("watched", "me")
                assert "got me" in shown(other.rest())


def test_who_comes_back_in_time_keeps_it_alive(waits: Path, tmp_path: Path) -> None:
    with served(tmp_path, roots=(str(tmp_path),), detached_seconds=1, kill_seconds=1) as server:
        browser = Browser(server)
        with browser.execute(waits, session="s") as stream:
            stream.until("begun")
        with browser.watch("s") as stream:
            stream.until("begun")
            deadline = time.monotonic() + 2.5
            until(lambda: time.monotonic() > deadline, "twice the time")
            browser.type("s", "you")
            assert "got you" in shown(stream.rest())


def test_with_zero_it_goes_on_without_end(waits: Path, tmp_path: Path) -> None:
    with served(tmp_path, roots=(str(tmp_path),), detached_seconds=0) as server:
        browser = Browser(server)
        with browser.execute(waits, session="s") as stream:
            stream.until("begun")

        async def stored(fabric: Fabric) -> kept.Session:
            found = await fabric.store.read(kept.every)
            return found[0].value

        until(lambda: not browser.session("s")["watched"], "the reader to be gone")
        assert server.do(stored).until is None
        browser.kill("s")


def test_abort_and_then_kill_is_what_the_page_does(browser: Browser, script: Script, name: str) -> None:
    for number in range(5):
        session = f"{name}.{number}"
        with browser.execute(script("sleep 1000"), session=session) as stream:
            next(stream.messages())
        browser.kill(session)
        until(lambda session=session: ended(browser, session), "its end")  # type: ignore[misc]
        assert browser.session(session)["reason"] == "killed"


def test_an_execute_that_is_aborted_before_its_answer_is_found_too(server: Server, script: Script, name: str) -> None:
    browser = Browser(server)
    path = str(script("sleep 1000"))
    with pytest.raises(httpx2.TimeoutException), server.client() as http:
        http.post(
            "/api/execute",
            json={"path": path, "session_id": name},
            headers={"x-csrf-token": browser.token, "cookie": f"session={browser.http.cookies['session']}"},
            timeout=0.2,
        )
    browser.kill(name)
    until(lambda: ended(browser, name), "its end")


def test_a_session_is_its_users_own(tmp_path: Path, waits: Path) -> None:
    """Another's is 404; who manages the server sees all."""
    with served(tmp_path, roots=(str(tmp_path),), gate={"username": "ada", "password": "pw"}) as server:
        key: Any = {"kind": "key", "principal": "bob", "face": "fabric", "scopes": (USE,), "secret": "the-key-of-bob"}
        server.do(lambda fabric: fabric.grants.open(**key))
        holder = Browser(server, authorization="Bearer the-key-of-bob")
        basic = Browser(server, authorization="Basic " + base64.b64encode(b"ada:pw").decode())
        with holder.execute(waits, session="s") as stream, basic.execute(waits, session="mine") as mine:
            stream.until("begun")
            mine.until("begun")
            assert [each["session_id"] for each in holder.get("/api/sessions")["sessions"]] == ["s"]
            for method, path, body in [
                ("POST", "/api/input", {"session_id": "mine", "input": "x"}),
                ("POST", "/api/kill", {"session_id": "mine"}),
                ("GET", "/api/sessions/mine/stream", None),
            ]:
                holder.refused(404, "not_found", method, path, body)
            with basic.execute(waits, session="s") as same_name:  # a name of its own
                same_name.until("begun")
                basic.kill("s")
                assert same_name.rest()[-1]["reason"] == "killed"
            assert holder.session("s")["running"]
            manager = login(server)
            assert {each["session_id"] for each in manager.get("/api/sessions")["sessions"]} == {"s", "mine"}
            manager.kill("mine")
            assert mine.rest()[-1]["reason"] == "killed"
            holder.kill("s")


def login(server: Server) -> Browser:
    browser = Browser(server)
    form = {"username": "ada", "password": "pw", "csrf_token": browser.token}
    answer = browser.http.post("/login", data=form, headers={"origin": server.url})
    assert answer.status_code == 302, answer.text
    browser.token = browser.http.get("/api/csrf_token").json()["csrf_token"]
    return browser


def test_runs_are_there_again_after_a_restart(tmp_path: Path, waits: Path) -> None:
    """The server is gone as if killed; the run goes on, and the next server's clients find it, and what it printed."""
    options: dict[str, Any] = {"roots": (str(tmp_path),), "detached_seconds": 2, "kill_seconds": 1}
    options["gate"] = {"token": "t"}
    first = Crashing(tmp_path, **options)
    first.start()
    try:
        browser = Browser(first, authorization="Bearer t")
        for session in ("s", "left"):
            with browser.execute(waits, session=session) as stream:
                stream.until("begun")
    finally:
        first.stop()
    with served(tmp_path, **options) as second:
        browser = Browser(second, authorization="Bearer t")
        with browser.watch("s") as stream:
            stream.until("begun")
            browser.refused(409, "session_exists", "POST", "/api/execute", {"path": str(waits), "session_id": "s"})
            browser.type("s", "again")
            messages = stream.rest()
        assert "got again" in shown(messages)
        assert messages[-1]["code"] == 0
        until(lambda: ended(browser, "left"), "the end of what nobody came back for")
        assert browser.session("left")["reason"] == "killed"


def test_a_run_whose_holder_was_killed_ends_its_stream(browser: Browser, script: Script, name: str) -> None:
    with browser.execute(script("echo $PPID; read x"), session=name) as stream:
        holder = int(stream.until("\n").strip())
        os.kill(holder, signal.SIGKILL)
        *_, error, html, last = stream.rest()
    assert (error["type"], html["type"]) == ("error", "html")
    assert (last["type"], last["reason"]) == ("exit", "lost")


def test_a_stream_says_exit_once_however_it_ends(browser: Browser, script: Script, name: str) -> None:
    for text in ("true", "exit 7", "kill -9 $$"):
        with browser.execute(script(text), session=name) as stream:
            types = [message["type"] for message in stream.rest()]
        assert types.count("exit") == 1
        assert types[-1] == "exit"


def test_lines_of_a_stream_are_json(browser: Browser, script: Script) -> None:
    with browser.execute(script("seq 1 2000")) as stream:
        lines = list(stream.lines())
    assert all(line == "" or json.loads(line.removeprefix("data: ")) for line in lines)


def test_a_login_that_failed_stands_in_the_access_log(tmp_path: Path) -> None:
    """Its answer is a page with status 200 all the same, and the log keeps refusals only."""
    with served(tmp_path, roots=(str(tmp_path),), gate={"username": "ada", "password": "pw"}) as server:
        browser = Browser(server)
        form = {"username": "ada", "password": "wrong", "csrf_token": browser.token}
        answer = browser.http.post("/login", data=form, headers={"origin": server.url})
        assert (answer.status_code, "wrong" in answer.text) == (200, False)
        entries = login(server).get("/api/access_log/entries")["entries"]
        assert [(each["endpoint"], each["success"]) for each in entries] == [("/login", False)]
