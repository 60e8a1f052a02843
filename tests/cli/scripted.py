"""A server that speaks of runs as a test tells it to: real HTTP on a real socket, its streams can be cut anywhere.

What the real server does is in tests/scenarios; this one is for what cannot be had from it on demand.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "the-key-of-a-scripted-server"
NODE = {"id": "n1", "name": "loom", "state": "present", "slots": 4, "busy": 1, "version": "1",
        "joined": "2030-01-01T00:00:00Z", "seen": "2030-01-01T00:00:00Z",
        "inventory": {"memory": 8 << 30}, "load": {"cpu_percent": 12.34, "memory_used": 1 << 30}}  # fmt: skip
SECONDS = 10.0


@dataclass
class Scripted:
    """What there is, and what was asked. Change it under `changed`."""

    run: dict[str, Any] | None = None
    printed: list[tuple[str, bytes]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    gap: tuple[int, int] | None = None
    nodes: list[dict[str, Any]] = field(default_factory=lambda: [NODE])
    cuts: list[int] = field(default_factory=list)
    """After so many bytes each of the next streams is cut."""
    refusals: list[tuple[int, str, str]] = field(default_factory=list)
    """Status, code and message for the next inputs."""
    taken: bytearray = field(default_factory=bytearray)
    eof: bool = False
    signals: list[dict[str, Any]] = field(default_factory=list)
    sizes: list[dict[str, int]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    started: list[dict[str, Any]] = field(default_factory=list)
    streams: list[int] = field(default_factory=list)
    """The offsets that streams were asked from."""
    connections: list[socket.socket] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    state: str = "running"
    on_signal: Any = None
    on_eof: Any = None
    away: bool = False
    """Streams that wait for more are cut."""

    def prints(self, data: bytes, stream: str = "stdout") -> None:
        with self.changed:
            self.printed.append((stream, data))
            self.changed.notify_all()

    def hangs_up(self) -> None:
        with self.changed:
            self.away = True
            self.changed.notify_all()

    def ends(self, code: int | None = 0, **more: Any) -> None:
        with self.changed:
            self.state = "succeeded" if code == 0 else more.pop("state", "failed")
            self.end = {"state": self.state, "code": code, "signal": None, "reason": "exited", "error": None,
                        "end": self.size, **more}  # fmt: skip
            self.changed.notify_all()

    @property
    def size(self) -> int:
        return sum(len(data) for _, data in self.printed)

    def until(self, is_so: Any, what: str) -> None:
        with self.changed:
            assert self.changed.wait_for(is_so, SECONDS), f"waited in vain for {what}"

    def told(self) -> dict[str, Any]:
        """The run as the server tells it."""
        asked = self.run or {}
        return {"id": "r1", "state": self.state, "name": asked.get("name"), "argv": asked.get("argv", ["true"]),
                "shell": None, "cwd": None, "on": asked.get("on", "any"), "node": "n1", "by": "local",
                "pty": bool(asked.get("pty")), "stdin": asked.get("stdin", False), "created": "2030-01-01T00:00:00Z",
                "started": "2030-01-01T00:00:00Z", "finished": "2030-01-01T00:00:01Z" if self.end else None,
                "code": None, "signal": None, "reason": None, "error": None, "seconds": None,
                "output": {"first": 0, "end": self.size}}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Scripted

    def setup(self) -> None:
        super().setup()
        self.script.connections.append(self.connection)

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self._note()
        if url.path == "/api/runs/r1":
            self._say(200, self.script.told())
        elif url.path == "/api/runs":
            self._say(200, {"runs": [self.script.told()], "total": 1})
        elif url.path == "/api/queue/nodes":
            self._say(200, {"nodes": self.script.nodes})
        elif url.path == "/api/tasks/r1/output":
            after = self.headers.get("last-event-id") or parse_qs(url.query).get("after", ["0"])[0]
            self._stream(int(after))
        else:
            self._refuse(404, "not_found", f"Run {url.path.rpartition('/')[2]} not found")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        verb = urlsplit(self.path).path.removeprefix("/api/runs").removeprefix("/r1")
        self._note()
        script = self.script
        if verb == "":
            script.run = body
            script.started.append(body)
            self._say(201, script.told())
            return
        if verb.count("/") > 1:
            self._refuse(404, "not_found", "Run nope not found")
            return
        if verb == "/input" and script.refusals:
            self._refuse(*script.refusals.pop(0))
            return
        with script.changed:
            if verb == "/input":
                script.taken += base64.b64decode(body.get("base64", ""))
                script.eof = script.eof or body.get("eof", False)
            elif verb == "/resize":
                script.sizes.append(body)
            elif verb == "/signal":
                script.signals.append(body)
            script.changed.notify_all()
        if verb == "/input" and body.get("eof") and script.on_eof:
            script.on_eof()
        if verb == "/signal":
            if script.on_signal:
                script.on_signal(body)
            self._say(202, script.told())
        else:
            self.send_response(204)
            self.end_headers()

    def _note(self) -> None:
        assert self.headers["authorization"] == f"Bearer {KEY}"
        with self.script.changed:
            self.script.asked.append((self.command, self.path))
            self.script.changed.notify_all()

    def _say(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._say(status, {"error": message, "code": code})

    def _stream(self, after: int) -> None:
        script = self.script
        with script.changed:
            script.streams.append(after)
            room = script.cuts.pop(0) if script.cuts else None
            script.changed.notify_all()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in self._events(after):
            piece = event if room is None else event[:room]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
            if room is not None:
                room -= len(piece)
                if room == 0:
                    self.close_connection = True
                    self.connection.close()
                    return
        self.wfile.write(b"0\r\n\r\n")

    def _events(self, after: int) -> Iterator[bytes]:
        script = self.script
        if after < 0:
            after = max(0, script.size + after)
        if script.gap and after < script.gap[1]:
            yield b'event: gap\nid: %d\ndata: {"from":%d,"to":%d}\n\n' % (script.gap[1], *script.gap)
            after = script.gap[1]
        number, at = 0, 0
        while True:
            with script.changed:
                script.changed.wait_for(
                    lambda n=number: len(script.printed) > n or script.end is not None or script.away, SECONDS
                )
                waiting, end = script.printed[number:], script.end
            if script.away:
                raise ConnectionAbortedError
            number += len(waiting)
            for stream, data in waiting:
                fresh = data[max(0, after - at) :]
                at += len(data)
                if fresh:
                    text = {"stream": stream, "encoding": "base64", "data": base64.b64encode(fresh).decode()}
                    yield f"id: {at}\ndata: {json.dumps(text)}\n\n".encode()
            if end is not None and not waiting:
                yield f"event: end\nid: {at}\ndata: {json.dumps(end)}\n\n".encode()
                return


@contextmanager
def scripted(home: Path, port: int = 0) -> Iterator[Scripted]:
    """A server in this home while the block runs."""
    script = Scripted()
    handler = type("ThisHandler", (Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that leaves is no error
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    (home / "secrets").mkdir(exist_ok=True)
    (home / "secrets" / "local.key").write_text(KEY)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    (home / "server.json").write_text(json.dumps({"listeners": {"fabric": address}}))
    try:
        yield script
    finally:
        script.ends()
        server.shutdown()
        for connection in script.connections:  # server_close would wait for those that clients keep open
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
        serving.join()
