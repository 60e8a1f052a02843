"""What the process says on stderr: a fact with fields, as one JSON line, or as one readable line on a terminal.

Lines gather for at most a tenth of a second; warnings and worse are written at once. The query string of a request is
never logged: it may hold a token.
"""

import asyncio
import atexit
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from treadle.web.call import Call

LEVELS = ("debug", "info", "warning", "error")
GATHER = 0.1
"""Seconds a line may wait for others."""
_GATHER_BYTES = 64 * 1024
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_encode = msgspec.json.Encoder(enc_hook=str).encode


class _RequestLine(Struct):
    timestamp: str
    level: str
    message: str
    correlationId: str  # noqa: N815  (the log's words are the contract's)
    method: str
    path: str
    status: int
    ms: float
    client: str
    userAgent: str  # noqa: N815
    face: str


class Log:
    """Writes facts. `write` takes whole lines as bytes; `human` lines are for eyes; below `level` nothing is said.

    Safe to use from any thread. Lines that could not be written are counted, and the count is said when writing works.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        human: bool = False,
        level: str = "info",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._write, self._human, self._now = write, human, now
        self._least = LEVELS.index(level)
        self._lines: list[bytes] = []
        self._size = 0
        self._lock = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost = 0
        self._second, self._prefix = -1, ""
        self._requests = self._least <= LEVELS.index("info")

    def debug(self, fact: str, **fields: Any) -> None:
        self.say("debug", fact, fields)

    def info(self, fact: str, **fields: Any) -> None:
        self.say("info", fact, fields)

    def warning(self, fact: str, **fields: Any) -> None:
        self.say("warning", fact, fields)

    def error(self, fact: str, **fields: Any) -> None:
        self.say("error", fact, fields)

    def failed(self, fact: str, error: BaseException, **fields: Any) -> None:
        """A failure nobody planned for, with its traceback."""
        self.say("error", fact, {**fields, "error": "".join(traceback.format_exception(error)).rstrip()})

    def say(self, level: str, fact: str, fields: dict[str, Any]) -> None:
        rank = LEVELS.index(level)
        if rank < self._least:
            return
        if self._human:
            line = self._readable(level, fact, fields)
        else:
            line = _encode({"timestamp": self._stamp(), "level": level, "message": fact, **fields}) + b"\n"
        self._add(line)
        if rank >= 2:
            self.flush()

    def request(self, face: str, call: Call, status: int, seconds: float) -> None:
        """The access line of one request."""
        if not self._requests:
            return
        agent = call.headers.get(b"user-agent", b"")[:200].decode("latin-1")
        path = call.raw_path[:2000].decode("latin-1")
        ms = round(seconds * 1000, 3)
        if self._human:
            line = f"{self._clock()}  {call.method} {path} {status}  {ms:.1f} ms  {face}  {call.client}"
            self._add(line.translate(_CONTROL).encode(errors="replace") + b"\n")
            return
        level = "info" if status < 500 else "warning"
        self._add(
            _encode(
                _RequestLine(
                    self._stamp(), level, "request", call.correlation, call.method, path, status, ms,
                    call.client, agent, face,
                )
            )
            + b"\n"
        )  # fmt: skip

    def flush(self) -> None:
        """Writes what has gathered."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            lines, self._lines, self._size = self._lines, [], 0
            if not lines:
                return
            count = len(lines)
            if self._lost:
                lines.insert(0, _encode({"timestamp": self._stamp(), "level": "warning", "message": "log lines lost",
                                         "lines": self._lost}) + b"\n")  # fmt: skip
            try:
                self._write(b"".join(lines))
            except OSError:
                self._lost += count
            else:
                self._lost = 0

    def _add(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        if self._size > _GATHER_BYTES:
            self.flush()
        elif self._timer is None or self._loop is None or self._loop.is_closed():
            self._gather()

    def _gather(self) -> None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()  # another thread, or no loop any more: nobody would come back for the line
        else:
            self._timer = self._loop.call_later(GATHER, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.flush()

    def _stamp(self) -> str:
        """ISO 8601 UTC with milliseconds."""
        now = self._now()
        second = int(now)
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._prefix}.{int((now - second) * 1000):03d}Z"

    def _clock(self) -> str:
        return time.strftime("%H:%M:%S", time.localtime(self._now()))

    def _readable(self, level: str, fact: str, fields: dict[str, Any]) -> bytes:
        error = fields.get("error")
        rest = "  ".join(f"{name}={value}" for name, value in fields.items() if name != "error")
        line = f"{self._clock()}  {level if level != 'info' else ''}{': ' if level != 'info' else ''}{fact}  {rest}"
        text = line.rstrip().translate(_CONTROL) + "\n"
        if error is not None:
            text += "".join(f"    {row.translate(_CONTROL)}\n" for row in str(error).splitlines())
        return text.encode(errors="replace")


def stderr_log(*, level: str = "info", human: bool | None = None) -> Log:
    """The process's log on stderr, for eyes if that is a terminal; what has gathered is written at exit too."""
    stream = sys.stderr.buffer

    def write(lines: bytes) -> None:
        stream.write(lines)
        stream.flush()

    log = Log(write, human=sys.stderr.isatty() if human is None else human, level=level)
    atexit.register(log.flush)
    return log


class Bridge(logging.Handler):
    """Brings what libraries and the other rooms say through the standard `logging` into the same log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "debug" if record.levelno < 20 else "info" if record.levelno < 30 else "warning"
        fields: dict[str, Any] = {"logger": record.name}
        if record.levelno >= logging.ERROR:
            level = "error"
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        self._log.say(level, record.getMessage(), fields)


def bridge(log: Log, level: int = logging.INFO) -> None:
    """Makes `log` the only handler of the root logger; libraries that chat are heard from warnings on."""
    root = logging.getLogger()
    root.handlers = [Bridge(log)]
    root.setLevel(logging.WARNING)
    logging.getLogger("treadle").setLevel(level)
