"""What tasks print, over the native API: events, plain bytes and their ranges, sockets, and the upload."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.faces.fabric.conftest import Api, held
from tests.faces.fabric.serving import KEY, Served
from tests.faces.fabric.test_access import opened
from tests.faces.fabric.test_events import blocks
from treadle.core.access import Principal
from treadle.core.errors import LeaseLost
from treadle.core.output import Stream
from treadle.core.runs import Command
from treadle.faces.fabric.output import OutputRoutes
from treadle.web.call import Call

LOCAL = Principal(name="local", face="fabric", scopes=("*",))
OWNER = {"authorization": f"Bearer {KEY}"}
RAW = {"accept": "application/octet-stream"}


class Printing:
    """A running task and what it prints."""

    def __init__(self, server: Served, api: Api, project: str) -> None:
        self.api, self._server = api, server
        [self.task] = api.submit(project, {})
        [self.held] = api.claim(project)
        self.at = 0

    @property
    def path(self) -> str:
        return f"/api/tasks/{self.task['id']}/output"

    def says(self, *parts: tuple[Stream, bytes], lost: int = 0) -> None:
        task, fence, at = self.task["id"], self.held["fence"], self.at + lost
        self.at = self._server.do(lambda fabric: fabric.output.write(task, fence, at, parts))

    def out(self, data: bytes) -> None:
        self.says(("stdout", data))

    def ends(self, **how: Any) -> None:
        [outcome] = self.api.word("finish", held(self.held, **(how or {"ok": True})))
        assert "error" not in outcome

    def follow(self, after: int | None = None, **headers: str) -> Any:
        query = {} if after is None else {"after": after}
        return self.api.http.stream("GET", self.path, params=query, headers=headers)

    def raw(self, **headers: str) -> httpx2.Response:
        return self.api.http.get(self.path, headers={**RAW, **headers})


@pytest.fixture
def printing(server: Served, api: Api, project: str) -> Printing:
    return Printing(server, api, project)


def said(block: dict[str, str]) -> Any:
    """What an event says: (stream, bytes), or its own shape."""
    data = json.loads(block["data"])
    if "event" in block:
        return block["event"], data
    assert data.keys() == {"stream", "encoding", "data"}
    assert data["encoding"] == "base64"
    return data["stream"], base64.b64decode(data["data"])


END = {"state": "succeeded", "code": None, "signal": None, "reason": None, "error": None}


def test_the_past_the_tail_and_the_end_are_one_stream(printing: Printing) -> None:
    printing.says(("stdout", b"past\n"), ("stderr", b"oh\n"))
    with printing.follow() as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        coming = blocks(answer)
        first, second = next(coming), next(coming)
        assert (first["id"], said(first)) == ("5", ("stdout", b"past\n"))
        assert (second["id"], said(second)) == ("8", ("stderr", b"oh\n"))
        printing.out(b"\xff\x00 live\n")
        third = next(coming)
        assert (third["id"], said(third)) == ("16", ("stdout", b"\xff\x00 live\n"))
        printing.out(b"last")
        printing.ends()
        fourth, end = next(coming), next(coming)
        assert said(fourth) == ("stdout", b"last")
        assert (end["id"], said(end)) == ("20", ("end", {**END, "end": 20}))
        assert list(coming) == []


def test_the_end_of_a_failed_task_says_why(printing: Printing) -> None:
    printing.ends(ok=False, error="it broke", retry=False)
    with printing.follow() as answer:
        [end] = blocks(answer)
    assert said(end) == ("end", {**END, "state": "failed", "error": "it broke", "end": 0})


@pytest.mark.parametrize(
    ("after", "header", "data"),
    [(None, None, b"0123456789"), (4, None, b"456789"), (-3, None, b"789"), (-30, None, b"0123456789"),
     (0, "7", b"789"), (10, None, b""), (None, "10", b"")],
)  # fmt: skip
def test_it_goes_on_from_any_offset(after: int | None, header: str | None, data: bytes, printing: Printing) -> None:
    printing.out(b"0123456789")
    printing.ends()
    with printing.follow(after, **({"last-event-id": header} if header else {})) as answer:
        *begin, end = blocks(answer)
    begin = [block for block in begin if "data" in block]
    assert b"".join(said(block)[1] for block in begin) == data
    assert end["id"] == "10"


def test_who_follows_the_tail_knows_at_once_where_it_is(printing: Printing) -> None:
    printing.out(b"0123456789")
    with printing.follow(-4) as answer:
        assert next(blocks(answer)) == {"id": "6"}


@pytest.mark.parametrize(("after", "header"), [(11, None), (None, "11"), (None, "x"), (None, "-1"), (None, "9" * 30)])
def test_an_offset_that_was_not_reached_is_refused(after: int | None, header: str | None, printing: Printing) -> None:
    printing.out(b"0123456789")
    with printing.follow(after, **({"last-event-id": header} if header else {})) as answer:
        assert answer.status_code == 400
        answer.read()
        assert answer.json()["faults"][0]["field"] == ("after" if header is None else "Last-Event-ID")


def test_a_gap_is_said_in_every_form(printing: Printing) -> None:
    printing.out(b"abc")
    with printing.follow(2) as answer:
        coming = blocks(answer)
        assert said(next(coming)) == ("stdout", b"c")
        printing.says(("stdout", b"xyz"), lost=7)
        printing.says(lost=5)
        printing.ends()
        gap, data, last, end = coming
    assert (gap["id"], said(gap)) == ("10", ("gap", {"from": 3, "to": 10}))
    assert (data["id"], said(data)) == ("13", ("stdout", b"xyz"))
    assert (last["id"], said(last)) == ("18", ("gap", {"from": 13, "to": 18}))
    assert said(end)[1]["end"] == 18
    part = printing.raw(range="bytes=4-11")
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"xy", "bytes 10-11/18")
    with pytest.raises(httpx2.RemoteProtocolError):  # cut where bytes are missing: it never looks whole
        printing.raw()


def test_the_bytes_as_they_are(printing: Printing) -> None:
    assert printing.raw().content == b""
    everything = os.urandom(700_000)
    for start in range(0, len(everything), 100_000):
        printing.out(everything[start : start + 100_000])
    whole = printing.raw()
    assert whole.status_code == 200
    assert whole.headers["content-length"] == "700000"
    assert whole.headers["x-output-first"] == "0"
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.content == everything
    head = printing.api.http.head(printing.path, headers=RAW)
    assert (head.headers["content-length"], head.content) == ("700000", b"")
    tail = printing.api.http.get(printing.path, params={"after": -5}, headers=RAW)
    assert (tail.content, tail.headers["x-output-first"]) == (everything[-5:], "699995")


@pytest.mark.parametrize(
    ("asked", "status", "data", "told"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=4-400", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-300", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=9-9", 206, b"9", "bytes 9-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=3-2", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("bytes=x-", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
    ],
)
def test_ranges(asked: str, status: int, data: bytes | None, told: str | None, printing: Printing) -> None:
    printing.out(b"0123456789")
    answer = printing.raw(range=asked)
    assert answer.status_code == status
    assert answer.headers.get("content-range") == told
    if data is None:
        assert answer.json()["code"] == "range_not_satisfiable"
    else:
        assert answer.content == data
        assert answer.headers["content-length"] == str(len(data))
    assert printing.raw(range=asked, **{"if-range": '"some-etag"'}).content == b"0123456789"


def test_ranges_in_nothing(printing: Printing) -> None:
    assert printing.raw(range="bytes=0-").status_code == 416
    assert printing.raw(range="bytes=-1").status_code == 416


def test_a_stream_cut_at_random_and_gone_on_with_is_the_same(printing: Printing) -> None:
    chance = random.Random(50)
    parts: list[tuple[Stream, bytes]] = [
        (chance.choice(("stdout", "stderr")), chance.randbytes(chance.randint(1, 3000))) for _ in range(300)
    ]
    after, cuts, got = 0, 0, {"stdout": sha256(), "stderr": sha256()}

    def write() -> None:
        for part in parts:
            printing.says(part)
        printing.ends()

    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(write)
        ended = False
        while not ended:
            left = chance.randint(1, 40_000)
            received = b""
            with printing.follow(None, **({"last-event-id": str(after)} if after else {})) as answer:
                for piece in answer.iter_raw():
                    received += piece[: left - len(received)]
                    if len(received) >= left:
                        break
            cuts += 1
            for block in received.split(b"\n\n")[:-1]:
                fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if not line.startswith(":"))
                if fields.get("event") == "end":
                    ended = True
                elif fields:
                    stream, data = said(fields)
                    got[stream].update(data)
                    after = int(fields["id"])
        writing.result()
    assert cuts >= 20
    assert after == sum(len(data) for _, data in parts)
    for name, found in got.items():
        assert found.digest() == sha256(b"".join(data for stream, data in parts if stream == name)).digest()


def test_a_stuck_reader_costs_nobody_else(printing: Printing, server: Served) -> None:
    """Many who never read, and one who does: that one gets everything, at once, and the server keeps nothing more."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    request = f"GET {printing.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    stuck = [socket.create_connection((host, int(port))) for _ in range(20)]
    try:
        for each in stuck:
            each.sendall(request)
        piece = os.urandom(250_000)
        with printing.follow() as answer:
            coming = blocks(answer)
            for _ in range(80):
                began = time.monotonic()
                printing.out(piece)
                got = b""
                while len(got) < len(piece):
                    got += said(next(coming))[1]
                assert got == piece
                assert time.monotonic() - began < 5
        unsent = server.do(lambda _: buffered(server))
        assert 0 < unsent < 20 * 1_000_000  # of 20 x 27 MB
    finally:
        for each in stuck:
            each.close()


async def buffered(server: Served) -> int:
    """What waits in the server's memory to be sent."""
    connections = [connection for each in server._listeners._servers for connection in each.server_state.connections]
    return sum(connection.transport.get_write_buffer_size() for connection in connections)


def test_a_quiet_stream_is_kept_alive(printing: Printing, server: Served) -> None:
    async def first_sign(fabric: Any) -> bytes:
        call = Call.__new__(Call)
        call.params, call.headers, call.principal = {"task": printing.task["id"]}, {}, LOCAL
        call.query = type("Query", (), {"after": None})()
        reply = await OutputRoutes(fabric, heartbeat=0.5).show(call)
        assert reply.stream is not None
        try:
            return await anext(reply.stream)
        finally:
            await reply.stream.aclose()  # type: ignore[attr-defined]

    assert server.do(first_sign).startswith(b":")


def test_a_worker_hands_in_what_it_prints(printing: Printing) -> None:
    api, fence = printing.api, printing.held["fence"]

    def hand_in(data: bytes, status: int = 200, **query: Any) -> Any:
        return api.ask("POST", printing.path, status=status, params=query, content=data)

    assert hand_in(b"abc", fence=fence, at=0) == {"expected": 3}
    assert hand_in(b"abc", fence=fence, at=0) == {"expected": 3}
    assert hand_in(b"cde", fence=fence, at=2, stream="stderr") == {"expected": 5}
    assert printing.raw().content == b"abcde"
    assert hand_in(b"x", 409, fence=fence + 1, at=0)["code"] == "lease_lost"
    assert hand_in(b"x", 400, fence=fence, at=-1)["faults"][0]["field"] == "at"
    assert hand_in(b"x", 400, fence=fence, at=0, stream="stdin")["faults"][0]["field"] == "stream"
    assert {fault["field"] for fault in hand_in(b"x", 400)["faults"]} == {"fence", "at"}
    query = {"fence": fence, "at": 5}
    api.ask("POST", printing.path, status=415, params=query, content=b"x", headers={"content-encoding": "gzip"})
    printing.ends()
    assert hand_in(b"late", 409, fence=fence, at=5)["code"] == "lease_lost"
    assert printing.raw().content == b"abcde"


def test_the_next_assignment_prints_behind_the_first(printing: Printing, project: str) -> None:
    printing.out(b"first ")
    first = printing.held
    printing.api.word("release", held(first))
    [printing.held] = printing.api.claim(project, worker="w2")
    printing.at = 0
    printing.out(b"second")
    with pytest.raises(LeaseLost):
        Printing.says(_as(printing, first), ("stdout", b"late"))
    assert printing.raw().content == b"first second"


def _as(printing: Printing, holder: dict[str, Any]) -> Printing:
    other = Printing.__new__(Printing)
    other.__dict__ = {**printing.__dict__, "held": holder, "at": 6}
    return other


def test_what_is_not_there(printing: Printing, server: Served, api: Api, project: str) -> None:
    nobody = "/api/tasks/11111111-1111-4111-8111-111111111111/output"
    for headers in (RAW, {}):
        assert api.ask("GET", nobody, status=404, headers=headers)["code"] == "not_found"
        api.ask("GET", "/api/tasks/..%2f..%2fsecrets/output", status=404, headers=headers)
    api.ask("POST", nobody, status=404, params={"fence": 1, "at": 0}, content=b"x")
    printing.out(b"x")
    printing.ends()
    api.ask("DELETE", f"/api/queue/projects/{project}", status=204)
    api.ask("GET", printing.path, status=404)


def test_a_deleted_task_ends_its_streams(printing: Printing) -> None:
    printing.out(b"x")
    printing.api.word("release", held(printing.held))
    with printing.follow() as answer:
        coming = blocks(answer)
        next(coming)
        printing.api.ask("DELETE", f"/api/queue/tasks/{printing.task['id']}", status=204)
        assert list(coming) == []
    printing.api.ask("GET", printing.path, status=404)


def test_rights(printing: Printing, server: Served) -> None:
    api = printing.api
    api.ask("GET", printing.path, status=403, headers={**opened(server, "queue:claim"), **RAW})
    api.http.get(printing.path, headers={**opened(server, "queue:read"), **RAW}).raise_for_status()
    fence = {"fence": printing.held["fence"], "at": 0}
    api.ask("POST", printing.path, status=403, headers=opened(server, "queue:read"), params=fence)
    run = server.do(lambda fabric: fabric.runs.start(Command(argv=("true",)), by=LOCAL))
    path = f"/api/tasks/{run.id}/output"
    api.ask("GET", path, status=403, headers={**opened(server, "queue:read"), **RAW})
    api.http.get(path, headers={**opened(server, "queue:read", "runs:read"), **RAW}).raise_for_status()
    api.ask("POST", path, status=403, headers=OWNER, params=fence)


# the socket


@contextmanager
def attached(server: Served, path: str, **headers: str) -> Iterator[Any]:
    with connect(f"ws{server.url.removeprefix('http')}{path}", additional_headers=headers, proxy=None) as opened:
        yield opened


def test_a_socket_says_the_same(printing: Printing, server: Served) -> None:
    printing.says(("stdout", b"past"), ("stderr", b"\xff"))
    with attached(server, printing.path) as opened:
        piece = {"encoding": "base64"}
        assert json.loads(opened.recv(5)) == {**piece, "id": 4, "stream": "stdout", "data": "cGFzdA=="}
        assert json.loads(opened.recv(5)) == {**piece, "id": 5, "stream": "stderr", "data": "/w=="}
        printing.says(("stdout", b"live"), lost=5)
        assert json.loads(opened.recv(5)) == {"id": 10, "from": 5, "to": 10}
        assert json.loads(opened.recv(5)) == {**piece, "id": 14, "stream": "stdout", "data": "bGl2ZQ=="}
        printing.ends()
        assert json.loads(opened.recv(5)) == {**END, "id": 14, "end": 14}
        assert list(opened) == []
        assert opened.protocol.close_code == 1000
    with attached(server, f"{printing.path}?after=-2") as opened:
        assert json.loads(opened.recv(5))["data"] == "dmU="


def test_a_socket_is_refused_like_a_request(printing: Printing, server: Served) -> None:
    for path, headers, status in (
        (f"{printing.path}?after=9", {}, 400),
        ("/api/tasks/nobody/output", {}, 404),
        (printing.path, opened(server, "queue:claim"), 403),
    ):
        with pytest.raises(InvalidStatus) as refused, attached(server, path, **headers):
            pass
        assert refused.value.response.status_code == status


def test_who_leaves_a_socket_is_not_followed_any_more(printing: Printing, server: Served) -> None:
    async def listeners(fabric: Any) -> int:
        heard = fabric.bus._listeners.get(f"output.{printing.task['id']}", ())
        return len(heard)

    with attached(server, printing.path), attached(server, printing.path):
        deadline = time.monotonic() + 5
        while server.do(listeners) != 1:  # one look for both
            assert time.monotonic() < deadline
    while server.do(listeners):
        assert time.monotonic() < deadline + 5
        asyncio.run(asyncio.sleep(0.01))
