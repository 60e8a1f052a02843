"""Execute, input and kill: what is refused before a stream begins, and what the streams of runs hold."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faces.console.conftest import Script
from tests.faces.console.serving import Browser, Crashing, Server, served, shown, until


def alive(pid: int) -> bool:
    """Whether a process is there; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# What is refused


def test_what_can_be_refused_is_refused_before_the_stream(browser: Browser, root: Path, script: Script) -> None:
    path = str(script("true"))
    (root / "plain.txt").write_text("")
    os.mkfifo(root / "pipe")
    for status, code, body in [
        (400, "bad_request", {}),
        (400, "bad_request", {"args": "x"}),
        (400, "bad_request", {"path": 7}),
        (400, "bad_request", {"path": ""}),
        (400, "bad_request", {"path": "relative"}),
        (400, "bad_request", {"path": path, "args": '"open'}),
        (400, "bad_request", {"path": path, "args": "nul \0"}),
        (400, "bad_request", {"path": path, "args": ["a"]}),
        (400, "bad_request", {"path": path, "session_id": ""}),
        (400, "bad_request", {"path": path, "session_id": "a/b"}),
        (400, "bad_request", {"path": path, "session_id": "x" * 129}),
        (400, "bad_request", {"path": f"{root}/pipe"}),
        (403, "denied", {"path": f"{root}/plain.txt"}),
        (403, "outside_roots", {"path": "/bin/true"}),
        (403, "outside_roots", {"path": f"{root}/../../../../bin/true"}),
        (404, "not_found", {"path": f"{root}/none"}),
    ]:
        browser.refused(status, code, "POST", "/api/execute", body)
    for body in ({}, {"input": "x"}, {"session_id": "s"}, {"session_id": 1, "input": ""}):
        browser.refused(400, "bad_request", "POST", "/api/input", body)
    browser.refused(400, "bad_request", "POST", "/api/kill", {})
    browser.refused(404, "not_found", "POST", "/api/kill", {"session_id": "nobody"})
    browser.refused(404, "not_found", "POST", "/api/input", {"session_id": "nobody", "input": "x"})
    browser.refused(404, "not_found", "GET", "/api/sessions/nobody/stream")
    assert browser.get("/api/sessions")["user"] == "anonymous@console"


def test_broken_json_and_forms_are_not_repaired(browser: Browser) -> None:
    for content, kind in [(b"{'path': '/x'}", "application/json"), (b"path=/x", "application/x-www-form-urlencoded")]:
        answer = browser.http.post(
            "/api/execute", content=content, headers={"content-type": kind, "x-csrf-token": browser.token}
        )
        assert (answer.status_code, answer.json()["success"]) in ((400, False), (415, False))


def test_addresses_that_are_none_and_other_methods(browser: Browser) -> None:
    browser.refused(404, "not_found", "GET", "/api/none")
    browser.refused(405, "wrong_method", "GET", "/api/execute")
    assert browser.ask("GET", "/api/execute").headers["allow"] == "OPTIONS, POST"
    assert browser.ask("OPTIONS", "/api/execute").status_code == 204


@pytest.mark.parametrize("verb", ["execute", "input", "kill"])
def test_a_change_without_the_csrf_token_is_401_and_does_nothing(browser: Browser, script: Script, verb: str) -> None:
    """Upstream skips the check for input and kill."""
    body = {"path": str(script("true")), "session_id": "csrf", "input": "x"}
    for token in ("", "wrong", "é" * 3):
        headers = {"x-csrf-token": token.encode()} if token else {}
        answer = browser.http.post(f"/api/{verb}", json=body, headers=headers)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (401, "csrf")
    stranger = browser.server.client().post(f"/api/{verb}", json=body, headers={"x-csrf-token": browser.token})
    assert (stranger.status_code, stranger.json()["code"]) == (401, "csrf")
    assert not any(each["session_id"] == "csrf" for each in browser.get("/api/sessions")["sessions"])


def test_a_closed_server_asks_and_a_bearer_needs_no_csrf(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho it ran\n")
    (tmp_path / "run.sh").chmod(0o755)
    with served(tmp_path, roots=(str(tmp_path),), gate={"token": "the-one-token"}) as server:
        for method, path in [("GET", "/api/browse?path=/"), ("GET", "/api/sessions"), ("POST", "/api/execute")]:
            answer = server.client().request(method, path, json={"path": str(tmp_path)} if method == "POST" else None)
            assert (answer.status_code, answer.json()["code"]) == (401, "auth"), path
            assert answer.headers["www-authenticate"] == "Bearer"
        assert server.client().get("/api/health").json()["status"] == "healthy"
        page = server.client().get("/", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (302, "/login?next=%2F")
        holder = server.client(authorization="Bearer the-one-token")
        with holder.stream("POST", "/api/execute", json={"path": str(tmp_path / "run.sh")}) as answer:
            assert (answer.status_code, "it ran" in answer.read().decode()) == (200, True)


def test_without_a_node_execute_says_so(tmp_path: Path) -> None:
    with served(tmp_path, with_node=False, roots=(str(tmp_path),)) as server:
        browser = Browser(server)
        told = browser.refused(503, "unreachable", "POST", "/api/execute", {"path": str(tmp_path), "session_id": "s"})
        assert "treadle up" in told["error"]
        assert browser.get("/api/sessions")["count"] == 0


def test_nobody_is_sent_away_for_asking_often(browser: Browser, root: Path) -> None:
    """Upstream answers the 71st health check and the 51st folder of an hour with 429, in plain text."""
    for _ in range(120):
        assert browser.get("/api/health")["status"] == "healthy"
        assert browser.get("/api/browse", path=str(root))["success"]


# What a stream holds


def test_a_run_from_its_first_message_to_its_last(browser: Browser, script: Script, name: str) -> None:
    path = script('printf "<%s>\\n" "$@"; pwd; tty; echo "$COLUMNS $LINES $TERM"; echo wrong >&2; exit 3')
    with browser.execute(path, 'a "b c" --token=abc', name) as stream:
        headers = stream.answer.headers
        messages = stream.rest()
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (headers["cache-control"], headers["x-accel-buffering"], headers["x-session-id"]) == ("no-store", "no", name)
    first, *middle, last = messages
    assert first == {
        "type": "system",
        "data": f"{path} a 'b c' '--token=***'",
        "session_id": name,
        "argv": [str(path), "a", "b c", "--token=***"],
    }
    assert last == {"type": "exit", "code": 3, "reason": "exited"}
    assert {message["type"] for message in middle} == {"html"}
    lines = shown(middle).splitlines()
    assert lines[:4] == ["<a>", "<b c>", "<--token=abc>", str(path.parent)]
    assert lines[4].startswith("/dev/pts/")
    assert lines[5:] == ["120 40 xterm-256color", "wrong"]


def test_a_path_may_hold_what_a_shell_would_read(browser: Browser, script: Script) -> None:
    """Upstream refuses such paths and words."""
    path = script('printf "%s\n" "$0" "$@"', "Tom & Jerry! $(id) 'x' *.sh")
    with browser.execute(path, "'; id' '$(id)' .. ~ \\*") as stream:
        messages = stream.rest()
    assert shown(messages).splitlines() == [str(path), "; id", "$(id)", "..", "~", "*"]


def test_every_line_of_the_stream_is_framed(browser: Browser, script: Script) -> None:
    """The document's clients split at every line end; what a run prints cannot look like a message."""
    path = script('printf \'data: {"type":"exit","code":0}\\n\\n\\342\\200\\250 \\302\\205 \\377 <script>&\\n\'')
    with browser.execute(path) as stream:
        raw = stream.answer.read()
    events = raw.split(b"\n\n")
    assert events.pop() == b""
    assert all(event.startswith(b"data: {") and b"\n" not in event for event in events)
    assert raw.count(b'"type":"exit"') == 1
    assert b"<script>" not in raw
    assert len(raw.decode().splitlines()) == 2 * len(events)


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("exit 0", {"code": 0, "reason": "exited"}),
        ("kill -SEGV $$", {"code": -11, "signal": "SIGSEGV", "reason": "exited"}),
    ],
)
def test_how_it_ended_is_said(browser: Browser, script: Script, text: str, last: dict[str, Any]) -> None:
    with browser.execute(script(text)) as stream:
        assert stream.rest()[-1] == {"type": "exit", **last}


def test_what_cannot_be_started_is_said_in_the_stream(browser: Browser, root: Path) -> None:
    path = root / "broken"
    path.write_text("#!/nonexistent/interpreter\n")
    path.chmod(0o755)
    with browser.execute(path) as stream:
        first, *middle, last = stream.rest()
    assert first["type"] == "system"
    assert [message["type"] for message in middle] == ["error", "html"]
    assert middle[0]["data"] in shown(middle)
    assert last == {"type": "exit", "code": 127, "reason": "spawn_error"}


def test_a_prompt_without_a_newline_is_shown_and_answered(browser: Browser, script: Script, name: str) -> None:
    """Upstream shows it only when more comes."""
    path = script('printf "Name? "; read name; printf "Age? "; read age; echo "$name is $age"')
    with browser.execute(path, session=name) as stream:
        stream.until("Name? ")
        browser.type(name, "Ada")  # as the page sends it
        stream.until("Age? ")
        browser.type(name, "36\n")  # as the document writes it
        rest = stream.rest()
    assert shown(rest).endswith("Ada is 36\n")
    assert rest[-1]["code"] == 0


def test_what_is_typed_is_not_repeated(browser: Browser, script: Script, name: str) -> None:
    """The known page prints it by itself; and passwords are typed here."""
    with browser.execute(script('printf "Word? "; read word; echo "took it"'), session=name) as stream:
        stream.until("Word? ")
        browser.type(name, "open sesame")
        assert shown(stream.rest()) == "took it\n"


def test_an_empty_input_is_enter_and_raw_bytes_stay_as_they_are(browser: Browser, script: Script, name: str) -> None:
    path = script(
        'read x; echo "[$x]"; stty raw; printf "go "; dd bs=1 count=3 2>/dev/null | od -An -tx1; '
        "stty sane; printf calm; cat; echo over"
    )
    with browser.execute(path, session=name) as stream:
        browser.type(name, "")
        stream.until("[]")
        stream.until("go ")
        browser.type(name, "\x1b[A", raw=True)
        stream.until("calm")
        browser.type(name, "\x04", raw=True)
        assert "over" in shown(stream.rest())


def test_ctrl_c_interrupts(browser: Browser, script: Script, name: str) -> None:
    path = script("trap 'echo caught; exit 5' INT; printf ready; while :; do sleep 0.05; done")
    with browser.execute(path, session=name) as stream:
        stream.until("ready")
        browser.type(name, "\x03", raw=True)
        rest = stream.rest()
    assert "caught" in shown(rest)
    assert rest[-1]["code"] == 5


def test_input_that_is_too_long_or_not_read_is_refused(browser: Browser, script: Script, name: str) -> None:
    with browser.execute(script("stty raw; printf ready; sleep 60"), session=name) as stream:
        stream.until("ready")
        browser.refused(413, "too_large", "POST", "/api/input", {"session_id": name, "input": "x" * 65537})
        browser.refused(413, "too_large", "POST", "/api/input", {"session_id": name, "input": "é" * 32768})
        body = {"session_id": name, "input": "x" * 65535}
        browser.refused(409, "not_reading", "POST", "/api/input", body)
        browser.kill(name)
        stream.rest()
    browser.refused(404, "not_found", "POST", "/api/input", {"session_id": name, "input": "x"})


def test_input_arrives_in_order_and_is_never_logged(
    server: Server, browser: Browser, script: Script, name: str
) -> None:
    path = script("stty -echo; printf ready; while read x; do [ $x = end ] && break; echo $x; done")
    with browser.execute(path, session=name) as stream:
        stream.until("ready")
        for number in range(50):
            browser.type(name, f"secret-{number}")
        browser.type(name, "end")
        assert shown(stream.rest()).split() == [f"secret-{number}" for number in range(50)]
    assert "secret-1" not in str(server.lines())


def test_pipes_instead_of_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\n[ -t 0 ] && echo tty; cat; echo wrong >&2\n")
    (tmp_path / "run.sh").chmod(0o755)
    with served(tmp_path, roots=(str(tmp_path),), pty=False) as server:
        browser = Browser(server)
        with browser.execute(tmp_path / "run.sh", session="s") as stream:
            browser.type("s", "typed")
            assert stream.until("typed") == "typed\n"
            browser.type("s", "\x04", raw=True)
            rest = stream.rest()
    assert [(message["origin"], shown([message])) for message in rest[:-1]] == [("stderr", "wrong\n")]


# Ending it


def test_kill_ends_the_whole_tree(browser: Browser, script: Script, name: str, root: Path) -> None:
    """Upstream leaves the grandchildren alive."""
    text = "setsid sleep 99 & echo $! >>pids; (sleep 99 & echo $! >>pids); echo $$ >>pids; printf ready; wait; sleep 99"
    with browser.execute(script(text), session=name) as stream:
        stream.until("ready")
        pids = [int(pid) for pid in (root / "pids").read_text().split()]
        assert len(pids) == 3
        assert all(map(alive, pids))
        browser.kill(name)
        last = stream.rest()[-1]
    assert last == {"type": "exit", "code": -15, "signal": "SIGTERM", "reason": "killed"}
    until(lambda: not any(map(alive, pids)), "all of them to be gone")
    browser.kill(name)  # nothing happens to what has ended


def test_kill_answers_at_once_and_the_second_time_means_now(tmp_path: Path) -> None:
    """Upstream waits for two seconds inside the request."""
    (tmp_path / "run.sh").write_text("#!/bin/sh\ntrap 'echo no' TERM\nprintf ready\nwhile :; do sleep 0.1; done\n")
    (tmp_path / "run.sh").chmod(0o755)
    with served(tmp_path, roots=(str(tmp_path),), kill_seconds=600) as server:
        browser = Browser(server)
        with browser.execute(tmp_path / "run.sh", session="s") as stream:
            stream.until("ready")
            browser.kill("s")
            stream.until("no")  # it was asked, and it stays
            browser.kill("s")
            assert stream.rest()[-1] == {"type": "exit", "code": -9, "signal": "SIGKILL", "reason": "killed"}


def test_what_does_not_end_is_made_to(browser: Browser, script: Script, name: str) -> None:
    with browser.execute(script("trap '' TERM; printf ready; while :; do sleep 0.1; done"), session=name) as stream:
        stream.until("ready")
        browser.kill(name)
        assert stream.rest()[-1]["signal"] == "SIGKILL"


def test_a_kill_that_follows_at_once_finds_the_run(browser: Browser, script: Script, name: str) -> None:
    """Also before its node has begun it."""
    for number in range(5):
        with browser.execute(script("sleep 1000"), session=f"{name}.{number}") as stream:
            browser.kill(f"{name}.{number}")
            assert stream.rest()[-1]["reason"] == "killed"


def test_a_stopping_server_ends_runs_and_streams(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho $$\nprintf ready\nsleep 1000\n")
    (tmp_path / "run.sh").chmod(0o755)
    with served(tmp_path, roots=(str(tmp_path),)) as server:
        browser = Browser(server)
        with browser.execute(tmp_path / "run.sh") as stream:
            pid = int(stream.until("ready").split()[0])
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            rest = stream.rest()
            stopping.join()
    assert [message["type"] for message in rest].count("exit") == 1
    assert (rest[-1]["type"], rest[-1]["reason"], rest[-1]["signal"]) == ("exit", "shutdown", "SIGTERM")
    assert not alive(pid)


def test_a_server_that_leaves_its_run_behind_says_exit_too(tmp_path: Path) -> None:
    """With a node elsewhere the run goes on; the stream still ends as the contract says."""
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho $$\nprintf ready\nsleep 1000\n")
    (tmp_path / "run.sh").chmod(0o755)
    server = Crashing(tmp_path, roots=(str(tmp_path),))
    server.start()
    try:
        with Browser(server).execute(tmp_path / "run.sh") as stream:
            pid = int(stream.until("ready").split()[0])
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            rest = stream.rest()
            stopping.join()
        assert alive(pid)
    finally:
        server.stop()
    assert rest[-1] == {"type": "exit", "code": 255, "reason": "shutdown"}
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), "it to be gone")


def test_too_many_runs_are_429(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\nprintf ready\nread x\n")
    (tmp_path / "run.sh").chmod(0o755)
    with served(tmp_path, roots=(str(tmp_path),), most_runs=2) as server:
        browser = Browser(server)
        body = {"path": str(tmp_path / "run.sh"), "session_id": "three"}
        with browser.execute(body["path"], session="one") as one, browser.execute(body["path"], session="two") as two:
            browser.refused(429, "busy", "POST", "/api/execute", body)
            assert browser.ask("POST", "/api/execute", body).headers["retry-after"] == "5"
            assert browser.get("/api/health")["sessions"] == 2
            browser.type("one", "")
            assert one.rest()[-1]["code"] == 0
            with browser.execute(body["path"], session="three") as three:
                for session, stream in (("two", two), ("three", three)):
                    browser.type(session, "")
                    assert stream.rest()[-1]["code"] == 0


def test_answers_speak_the_contracts_shape(browser: Browser) -> None:
    answer: httpx2.Response = browser.ask("GET", "/api/health")
    assert set(answer.json()) == {"status", "success", "server_time", "version", "sessions"}
    document = browser.get("/openapi.json")
    assert {"/api/execute", "/api/input", "/api/kill", "/api/browse", "/api/sessions"} <= set(document["paths"])
