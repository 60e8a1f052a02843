"""What a task prints, seen through connections that break and a server that is killed, is byte for byte what it was;
and however much it prints, the server's memory stays as it is."""

from __future__ import annotations

import base64
import http.client
import json
import random
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.serving import Running, server, until

LONGEST_CUT = 60_000
MIB = 1 << 20
RAW = {"Accept": "application/octet-stream"}


class Printing:
    """A claimed task, and a worker that uploads what it prints; a request that fails is made again."""

    def __init__(self, up: Running) -> None:
        self.up = up
        assert up.ask("fabric", "/api/queue/submit", {"project": "default", "tasks": [{}]})[0] == 200
        _, claimed = up.ask("fabric", "/api/queue/claim", {"project": "default", "worker": "w", "count": 1})
        [task] = claimed["tasks"]
        self.id, self.fence = task["id"], task["fence"]
        self.path = f"/api/tasks/{self.id}/output"

    def connect(self) -> http.client.HTTPConnection:
        host, _, port = self.up.urls["fabric"].removeprefix("http://").partition(":")
        return http.client.HTTPConnection(host, int(port), timeout=20)

    def upload(self, parts: list[tuple[str, bytes]]) -> None:
        """In order, each until it is acknowledged; what was acknowledged is not sent again."""
        connection, at, said = self.connect(), 0, None
        for stream, data in parts:
            while True:
                try:
                    query = f"?fence={self.fence}&at={at}&stream={stream}"
                    connection.request("POST", self.path + query, data)
                    answer = connection.getresponse()
                    said = json.loads(answer.read())
                    assert answer.status == 200, said
                    break
                except (OSError, http.client.HTTPException):
                    connection.close()
                    connection = self.connect()
            at += len(data)
            assert said == {"expected": at}
        connection.close()

    def finish(self) -> None:
        status, said = self.up.ask(
            "fabric", "/api/queue/finish", {"tasks": [{"id": self.id, "fence": self.fence, "ok": True}]}
        )
        assert (status, said["results"][0]["task"]["state"]) == (200, "succeeded")

    @contextmanager
    def asked(self, headers: dict[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
        connection = self.connect()
        try:
            connection.request("GET", self.path, headers=headers or {})
            yield connection.getresponse()
        finally:
            connection.close()


def received(answer: http.client.HTTPResponse, most: int) -> bytes:
    """What arrives before the connection is cut after so many bytes, or by the server."""
    got = b""
    with suppress(OSError, http.client.HTTPException):
        while len(got) < most and (piece := answer.read1(most - len(got))):
            got += piece
    return got


def events(received: bytes) -> Iterator[dict[str, str]]:
    """The events that arrived whole."""
    for block in received.split(b"\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if not line.startswith(":"))
        if fields:
            yield fields


def printed(chance: random.Random, count: int) -> list[tuple[str, bytes]]:
    return [
        (chance.choice(("stdout", "stderr")), chance.randbytes(chance.randint(1, 4000))) for _ in range(count)
    ]  # fmt: skip


def digest(parts: list[tuple[str, bytes]], stream: str | None = None) -> str:
    return sha256(b"".join(data for name, data in parts if stream in (None, name))).hexdigest()


def follow(printing: Printing, chance: random.Random, cuts: int, on_cut: Any) -> tuple[dict[str, str], int]:
    """Follows to the end through at least so many connections; the digest of each stream, and the last offset."""
    hashes, after, cut = {"stdout": sha256(), "stderr": sha256()}, 0, 0
    while True:
        last = cut >= cuts
        try:
            with printing.asked({"Last-Event-ID": str(after)} if after else {}) as answer:
                assert answer.status == 200
                got = received(answer, 1 << 40 if last else chance.randint(1, LONGEST_CUT))
        except (OSError, http.client.HTTPException):
            continue  # the server is just being started again
        cut += 1
        for fields in events(got):
            data = json.loads(fields["data"])
            assert fields.get("event") != "gap"
            if fields.get("event") == "end":
                assert data["state"] == "succeeded"
                if last:
                    return {name: found.hexdigest() for name, found in hashes.items()}, after
            else:
                hashes[data["stream"]].update(base64.b64decode(data["data"]))
                after = int(fields["id"])
        on_cut(cut)


@pytest.mark.parametrize("cuts", [50, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_a_stream_cut_at_random_is_the_same_by_its_digest(cuts: int, tmp_path: Path) -> None:
    chance = random.Random(cuts)
    parts = printed(chance, 10 * cuts)
    with server(tmp_path / "home") as up, ThreadPoolExecutor(1) as writer:
        printing = Printing(up)
        writing = writer.submit(printing.upload, parts)
        ending = writer.submit(printing.finish)
        found, end = follow(printing, random.Random(7), cuts, lambda _: None)
        writing.result()
        ending.result()
        assert found == {name: digest(parts, name) for name in ("stdout", "stderr")}
        assert end == sum(len(data) for _, data in parts)
        assert ranges(printing, chance, end) == digest(parts)
        assert up.stop() == 0


def ranges(printing: Printing, chance: random.Random, end: int) -> str:
    """The raw bytes by way of ranges, each cut somewhere; their digest."""
    hashed, at = sha256(), 0
    while at < end:
        with printing.asked(RAW | {"Range": f"bytes={at}-"}) as answer:
            assert (answer.status, answer.getheader("Content-Range")) == (206, f"bytes {at}-{end - 1}/{end}")
            got = received(answer, chance.randint(1, 100_000))
        hashed.update(got)
        at += len(got)
    return hashed.hexdigest()


def test_a_killed_server_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(3)
    parts = printed(chance, 600)
    home, listen = tmp_path / "home", ("--listen",)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"fabric=127.0.0.1:{free.getsockname()[1]}"
    with ThreadPoolExecutor(2) as threads:
        with server(home, *listen, address) as up:
            printing = Printing(up)
            following = threads.submit(follow, printing, random.Random(4), 40, lambda _: None)
            writing = threads.submit(printing.upload, parts)
            until(lambda: extent(printing) > 200_000, "some output")
            up.signal(signal.SIGKILL)
            assert up.ended() == -signal.SIGKILL
        with server(home, *listen, address) as up:
            printing.up = up
            writing.result(20)
            printing.finish()
            found, end = following.result(30)
            assert found == {name: digest(parts, name) for name in ("stdout", "stderr")}
            assert end == sum(len(data) for _, data in parts)


def extent(printing: Printing) -> int:
    with printing.asked(RAW | {"Range": "bytes=0-0"}) as answer:
        return int((answer.getheader("Content-Range") or "/0").rpartition("/")[2])


def memory(up: Running) -> int:
    """What the server process has in memory, bytes."""
    status = Path(f"/proc/{up.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) * 1024


def test_a_flood_leaves_the_memory_as_it_is(tmp_path: Path) -> None:
    """100 MiB through, beside readers that never read; what is kept of it afterwards is on disk."""
    piece = random.Random(1).randbytes(MIB)
    with server(tmp_path / "home") as up, ThreadPoolExecutor(1) as writer:
        printing = Printing(up)
        stuck = [printing.connect() for _ in range(10)]
        for each in stuck:
            each.request("GET", printing.path)
        printing.upload([("stdout", piece)])  # everything that is needed once is there now
        before, most = memory(up), 0
        other = Printing(up)
        writing = writer.submit(other.upload, [("stdout", piece)] * 100)
        began, got = time.monotonic(), 0
        with other.asked() as answer:
            while got < 100 * MIB * 4 // 3:
                arrived = len(answer.read1(MIB))
                assert arrived
                if got // (8 * MIB) != (got + arrived) // (8 * MIB):
                    most = max(most, memory(up))
                got += arrived
        took = time.monotonic() - began
        writing.result()
        hashed = sha256()
        with other.asked(RAW) as answer:
            assert answer.getheader("Content-Length") == str(100 * MIB)
            while data := answer.read1(MIB):
                hashed.update(data)
        assert hashed.hexdigest() == digest([("stdout", piece)] * 100)
        most = max(most, memory(up))
        assert most - before < 24 * MIB, f"{before / MIB:.0f} MiB became {most / MIB:.0f}"
        assert took < 20  # a floor for any machine; bench/ has the figure
        for each in stuck:
            each.close()
