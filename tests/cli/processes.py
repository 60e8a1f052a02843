"""`treadle` in a process of its own, with pipes or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

SECONDS = 30.0


class Program:
    """`treadle` in a process of its own, speaking with the server of a home."""

    def __init__(self, home: Path, *arguments: str, **more: Any) -> None:
        more.setdefault("stdin", subprocess.DEVNULL)
        env = {**os.environ, "TREADLE_HOME": str(home), **more.pop("env", {})}
        self.printed = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "treadle", *arguments],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
        )  # fmt: skip

    def until(self, text: bytes) -> None:
        """Reads until it has printed this."""
        assert self.process.stdout is not None
        printed, deadline = b"", time.monotonic() + SECONDS
        while text not in printed:
            left = deadline - time.monotonic()
            assert left > 0, (text, printed)
            if select.select([self.process.stdout], [], [], left)[0]:
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, (text, printed)
                printed += data
        self.printed = printed

    def ended(self, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
        """Its code, and what it printed that nobody has read."""
        try:
            out, err = self.process.communicate(stdin, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, out or b"", err


def treadle(home: Path, *arguments: str, **more: Any) -> tuple[int, bytes, bytes]:
    stdin = more.pop("input", None)
    if stdin is not None:
        more["stdin"] = subprocess.PIPE
    return Program(home, *arguments, **more).ended(stdin)


class Screen:
    """`treadle` on a terminal of its own."""

    def __init__(self, home: Path, *arguments: str, columns: int = 90, rows: int = 30) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "treadle", *arguments],
            env={**os.environ, "TREADLE_HOME": str(home), "TERM": "xterm"},
            stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, start_new_session=True,
        )  # fmt: skip
        self.shown = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def until(self, text: bytes) -> None:
        """Reads until this is on the screen."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, (text, self.shown)
            if select.select([self.ours], [], [], left)[0]:
                self.shown += os.read(self.ours, 65536)

    @property
    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.theirs)[3] & termios.ICANON

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)
