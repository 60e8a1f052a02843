"""Runs as processes of this machine: each lives in a holder of its own, outlives us, and is found again.

A run has a folder: `state` (locked by its holder as long as that lives), `door` (the holder's socket), segments of
output (see `spool`), and in the end `ending`.
"""

import asyncio
import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals

from msgspec import convert

from treadle.core.errors import Duplicate
from treadle.core.output import PIECE, Part
from treadle.core.runs import Command, Ending, Reason, Window

from . import orphans, sandbox
from .cgroups import Groups, Place, delegated
from .holder import door, record, tree
from .holder.fields import Fields, decode
from .line import Line
from .spawning import described, spawn
from .spool import SpoolReader

STATE = "state"
PRIVATE = 0o700
HURRY, CALM = 0.002, 0.2
"""Seconds between two looks at a holder that is about to be gone: at first, and after a while."""
GREETING_SECONDS = 5.0
FORGET_SECONDS = 15.0
"""How long a holder may take to end its run when nobody wants it any more; then it is killed too."""


class Process:
    """One run on this machine. Waiting methods have one caller at a time; `pid` is the command's."""

    def __init__(self, name: str, folder: Path, grace: float, on_forgotten: Callable[[str], object]) -> None:
        self.name, self.grace = name, grace
        self.pid: int | None = None
        self.end = 0
        self.ending: Ending | None = None
        self._folder, self._on_forgotten = folder, on_forgotten
        self._holder: int | None = None  # its pid while it is our child and not yet waited for
        self._reader = SpoolReader(folder)
        self._line = Line(self._heard, self._lost_touch)
        self._grown, self._greeted, self._gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._left = self._forgotten = False
        self._watching: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Whether the command could be started."""
        return self.pid is not None

    @property
    def holder(self) -> int | None:
        """The pid of the holder, once it has started the command."""
        return int(self._state().get("holder", 0)) or None

    @property
    def first(self) -> int:
        """The oldest offset that can be read: it moves when output is shipped, and when it had to be dropped."""
        return next(iter(self._reader.segments()), self.end)

    async def read(self, at: int, most: int = PIECE) -> list[Part]:
        """Output from this run's own offset on, up to `most` bytes; nothing when there is no more yet.

        Raises Conflict when `at` lies before `first`.
        """
        return self._reader.read(at, self.end, most)

    async def grew(self, seconds: float) -> bool:
        """Wait until there is more than at the last call, or the ending; False when `seconds` passed first."""
        if self.ending is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._grown.wait()
        grew = self._grown.is_set() or self.ending is not None
        self._grown.clear()
        return grew

    def shipped(self, to: int) -> None:
        """All before this offset is safe elsewhere: it goes, and a command that had to wait for it goes on."""
        self._reader.remove(to)
        self._line.say("shipped", to)

    async def input(self, data: bytes, eof: bool = False) -> bool:
        """Let the command read this, and with `eof` nothing after it; False if the rest still waits after 2 seconds.

        Raises Conflict when it takes nothing of it for so long or has no input, WrongState when it has ended,
        Unanswered when its holder does not answer.
        """
        return await self._line.feed(data, eof=eof)

    async def resize(self, window: Window) -> None:
        """Give the terminal another size; without a terminal nothing happens."""
        self._line.say("resize", window.columns, window.rows)

    async def signal(self, number: int, grace: float | None = None) -> None:
        """Signal the command's group (from a keyboard: the terminal's foreground); KILL reaches the whole tree.

        With `grace` the whole tree gets the signal, and KILL after so many seconds.
        """
        self._line.say("signal", int(number), "-" if grace is None else grace)

    async def forget(self) -> None:
        """End what is left of the run, and remove its folder. Returns when its holder is gone too."""
        self._forgotten = True
        self._line.say("forget")
        if not self._gone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FORGET_SECONDS):
                    await self._gone.wait()
        if not self._gone.is_set():
            self._kill_holder()
            await self._gone.wait()
        self.leave()
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._on_forgotten(self.name)

    def leave(self) -> None:
        """Let go of the run; it goes on, to be found again."""
        self._left = True
        self._line.hang_up()
        self._reader.close()
        if self._watching is not None:
            self._watching.cancel()

    # the holder, from here

    async def begin(self, fields: Fields) -> None:
        """Start a holder with what it is to run, and return when it has said something or is gone."""
        state = os.open(self._folder / STATE, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(state, fcntl.LOCK_EX)  # the holder gets it with the descriptor
            self._holder, connection = spawn(self._folder, state, fields)
        finally:
            os.close(state)
        await self._speak(connection)
        await self._greeted.wait()

    def stillborn(self, why: str) -> None:
        """Record that the run could not begin."""
        record.write([("reason", "spawn_error"), ("error", why)], str(self._folder))
        self._over(Ending(reason="spawn_error", error=why))
        self._gone.set()

    async def _speak(self, connection: socket.socket) -> None:
        self._line = Line(self._heard, self._lost_touch)
        await asyncio.get_running_loop().create_unix_connection(lambda: self._line, sock=connection)

    async def resume(self) -> None:
        """Take up a run of an earlier life: find its holder, or how it ended."""
        state = self._state()
        self.grace = float(state.get("grace", self.grace))
        self.pid = int(state["command"]) if "command" in state else None
        self._watch()
        with suppress(TimeoutError):  # a holder that is stopped answers when it goes on
            async with asyncio.timeout(GREETING_SECONDS):
                await self._greeted.wait()

    def _heard(self, words: list[str]) -> None:
        match words:
            case ["started", pid]:
                self.pid = int(pid)
                self._greeted.set()
            case ["spool", _, end]:
                self.end = int(end)
                self._grown.set()

    def _lost_touch(self) -> None:
        if not self._left:
            self._watch()

    def _watch(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._see_out(), name=f"holder of {self.name}")

    async def _see_out(self) -> None:
        """With no line to the holder: learn how the run ended and wait until the holder is gone, or reach it again."""
        pause = HURRY
        while True:
            alive = _is_locked(self._folder / STATE)
            waited_for = self._wait_for_holder()
            recorded = self._recorded()
            if recorded is not None:
                self._over(recorded)
            if not alive and waited_for and self._clean_up(recorded):
                break
            if alive and recorded is None and (connection := self._knock()) is not None:
                await self._speak(connection)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, CALM)
        self._gone.set()

    def _clean_up(self, recorded: Ending | None) -> bool:
        """With the holder gone: whether all its processes are; if it left no record, one is made then."""
        if recorded is not None and recorded.reason != "lost":
            return True
        if orphans.end(self._folder, self._state()):
            return False
        orphans.remove_groups(self._state())
        if recorded is None:
            self.end = max(self.end, self._reader.scan_end())
            lost = Ending(reason="lost", error="The process that held this run was killed")
            if not self._forgotten:
                fields = [("reason", "lost"), ("error", str(lost.error)), ("end", str(self.end))]
                with suppress(OSError):  # a full disk: it is told all the same, and found out again by a later life
                    record.write(fields, str(self._folder))
            self._over(lost)
        return True

    def _over(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            self._grown.set()
            self._greeted.set()

    def _recorded(self) -> Ending | None:
        try:
            fields = dict(decode((self._folder / record.NAME).read_bytes()))
        except FileNotFoundError:
            return None
        self.end = int(fields.get("end", 0)) if "end" in fields else max(self.end, self._reader.scan_end())
        code = int(fields["code"]) if "code" in fields else None
        return Ending(
            code=code,
            signal=_name_of(-code) if code is not None and code < 0 else None,
            reason=convert(fields["reason"], Reason),
            error=fields.get("error"),
            seconds=float(fields.get("seconds", 0)),
        )

    def _wait_for_holder(self) -> bool:
        """Whether our child, if the holder is one, has ended and was waited for: so that no zombie stays."""
        if self._holder is not None:
            with suppress(ChildProcessError):
                if os.waitpid(self._holder, os.WNOHANG)[0] == 0:
                    return False
            self._holder = None
        return True

    def _kill_holder(self) -> None:
        state = self._state()
        member = tree.look(self._holder or int(state.get("holder", 0)))
        if member is not None and (self._holder or member.start == int(state["holder_start"])):
            tree.send(member, SIGKILL)

    def _state(self) -> dict[str, str]:
        try:
            return dict(decode((self._folder / STATE).read_bytes()))
        except FileNotFoundError:
            return {}

    def _knock(self) -> socket.socket | None:
        """A connection to the holder's door; None while it is not open. The path may be longer than a socket's."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{door.NAME}")
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            connection.close()
            return None
        finally:
            os.close(folder)
        return connection


class Processes:
    """All runs of this machine, in folders under one that is closed to other users.

    `cwd` is where a command runs that names no folder (the user's home), `hidden` what sandboxes must not see. One
    process at a time may use a folder; the lock of the home sees to that.
    """

    def __init__(
        self, folder: Path, *, cwd: Path | None = None, hidden: Iterable[Path] = (), groups: Groups | None = None
    ) -> None:
        folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        folder.chmod(PRIVATE)
        self._folder = folder.resolve()
        self._cwd = str(cwd or Path.home())
        self._hidden = (self._folder, *hidden)
        self._groups = groups
        self._known: dict[str, Process] = {}

    async def start(self, name: str, command: Command, secrets: Mapping[str, str], env: Mapping[str, str]) -> Process:
        """Start a run; `name` is its own for ever. Returns when the command runs, or has an ending that says why not.

        Its environment is `env`, the terminal's variables, then those of the command, then the secrets. Raises
        Duplicate for a name that is taken, Invalid for an unknown sandbox, OSError when the disk takes no folder.
        """
        cwd = command.cwd or self._cwd
        argv = ["/bin/sh", "-c", command.shell] if command.shell is not None else list(command.argv)
        if command.sandbox is not None:
            argv = sandbox.wrapped(argv, command.sandbox, cwd, self._hidden)
        folder = self._folder / name
        if folder.parent != self._folder or name in ("", ".", ".."):
            raise ValueError(f"{name!r} cannot name a run")
        try:
            folder.mkdir(mode=PRIVATE)
        except FileExistsError:
            raise Duplicate(f"There is a run {name} already") from None
        process = self._known[name] = Process(name, folder, command.grace, self._known.pop)
        try:
            if command.sandbox is not None and shutil.which(argv[0]) is None:
                process.stillborn(
                    f"The sandbox {command.sandbox!r} needs the program {argv[0]}, which is not installed"
                )
            else:
                place = self._place(name, command)
                await process.begin(described(folder, command, argv, cwd, secrets, env, place))
        except (OSError, ValueError):
            del self._known[name]
            shutil.rmtree(folder, ignore_errors=True)  # the error that we know of says more
            raise
        return process

    def _place(self, name: str, command: Command) -> Place:
        limits = {"memory": command.limits.memory, "processes": command.limits.processes}
        asked = {limit: value for limit, value in limits.items() if value is not None}
        if asked and self._groups is None:
            self._groups = delegated()
        return self._groups.place(name, asked) if asked and self._groups else ([], [])

    async def found(self) -> list[Process]:
        """The runs of an earlier life: those that live, and those that have ended and were not forgotten."""
        names = sorted(
            entry.name for entry in self._folder.iterdir() if entry.is_dir() and entry.name not in self._known
        )
        found = [Process(name, self._folder / name, Command().grace, self._known.pop) for name in names]
        self._known |= {process.name: process for process in found}
        await asyncio.gather(*(process.resume() for process in found))
        return found

    async def close(self) -> None:
        """Let go of all runs; they go on, and a later life finds them. Safe to call twice."""
        for process in self._known.values():
            process.leave()
        self._known.clear()
        await asyncio.sleep(0)  # connections close in the loop's next turn


def _is_locked(state: Path) -> bool:
    """Whether somebody holds the lock of a holder: it is let go of by the kernel when the holder is gone."""
    try:
        file = os.open(state, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _name_of(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"SIG{number}"  # one of the nameless real-time signals
