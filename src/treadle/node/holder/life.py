"""The life of a holder: it starts the command, carries what it prints to the spool and what it is told to its input,
and ends when nothing of the command is left and how it ended is on disk.

It is started with what to run on descriptor 0 (see `birth.Spec`), a connection to the node on 1, and on 2 the file
`state`, locked: the lock lives as long as the holder, so whoever can take it knows that the holder is gone.
"""

import _signal  # type: ignore[import-not-found]  # see `tree`
import fcntl
import os
import select
import time

from . import birth, record, tree
from .door import Door
from .feed import Feed
from .fields import decode, encode
from .flow import Flow

LINGER = 1.0
"""Seconds that descendants have, after TERM, once the command itself has ended."""
ROUND = 0.02
"""Seconds between two rounds of killing."""
GIVE_UP = 10.0
"""Seconds of killing after which only those are left that nobody here can kill."""
LOOK = 0.25
"""Seconds between two counts of the processes of a run that may have only so many."""
FULL_RETRY = 0.2
TYPED = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTSTP)
"""Signals that a terminal sends to whoever is in its foreground."""


class Life:
    """One command, from its birth until its ending is recorded. Works in the run's folder."""

    def __init__(self, spec: birth.Spec, born: birth.Born, door: Door, wakeup: int) -> None:
        self._spec, self._door, self._wakeup = spec, door, wakeup
        self._command, self._master = born.pid, born.stdin if born.terminal >= 0 else -1
        self._reap = tree.Reap(born.pid)
        self._flow = Flow(born.outputs, spec.secrets, terminal=born.terminal >= 0)
        self._feed = Feed(born.stdin, self._master >= 0, door) if born.stdin >= 0 else None
        self._told = (-1, -1)  # first and end, as the node knows them
        self._began = time.monotonic()
        self._ended: float | None = None  # when the command itself had ended
        self._reason = self._error = ""
        self._sent: set[int] = set()
        self._timeout_at = None if spec.seconds is None else self._began + spec.seconds
        self._look_at = self._began if "processes" in spec.limits and not spec.counted else None
        self._kill_at: float | None = None
        self._killing_since: float | None = None
        self._forgotten = self._stopped = False

    def run(self) -> None:
        """All of it."""
        for number in (_signal.SIGTERM, _signal.SIGINT):
            _signal.signal(number, self._on_stop)
        self._greet()
        while not self._over():
            self._turn()
        self._kill_at = self._timeout_at = self._look_at = None
        self._flow.finish(connected=self._door.connected)
        while self._flow.full and not self._forgotten:
            self._turn()
        if not self._forgotten:
            record.write(self._ending())

    def _on_stop(self, *_: object) -> None:
        self._stopped = True

    def _over(self) -> bool:
        if not self._reap.childless and self._killing_since is not None:
            if time.monotonic() - self._killing_since < GIVE_UP:
                return False
            self._error = f"{len(tree.descendants(os.getpid()))} of its processes could not be killed"
            return True
        return self._reap.childless

    def _turn(self) -> None:
        """Wait for something to happen, and deal with it."""
        reading = self._flow.wanted(connected=self._door.connected)
        interests = {self._wakeup: select.POLLIN, **self._door.interests(), **dict.fromkeys(reading, select.POLLIN)}
        writing = self._feed.wanted if self._feed is not None else -1
        if writing >= 0:  # a terminal has one descriptor for both directions
            interests[writing] = interests.get(writing, 0) | select.POLLOUT
        poll = select.poll()
        for descriptor, events in interests.items():
            poll.register(descriptor, events)
        for descriptor, events in poll.poll(self._patience()):
            if descriptor == self._wakeup:
                os.read(self._wakeup, 512)
            elif self._door.listens_on(descriptor):
                if self._door.welcome():
                    self._greet()
            elif descriptor == self._door.connection:
                self._door.flush()
                for words, data in self._door.hear():
                    self._obey(words, data)
            else:
                if descriptor == writing and self._feed is not None:
                    self._feed.push()
                if descriptor in reading and events & ~select.POLLOUT:
                    self._flow.pump(descriptor, connected=self._door.connected)
        self._tend(time.monotonic())

    def _patience(self) -> float | None:
        """Milliseconds until something is due, or None."""
        due = [self._kill_at, self._timeout_at, self._look_at, self._feed.deadline if self._feed else None]
        if self._flow.full:
            due.append(time.monotonic() + FULL_RETRY)
        times = [at for at in due if at is not None]
        return max(min(times) - time.monotonic(), 0.0) * 1000 + 1 if times else None

    def _tend(self, now: float) -> None:
        """Do what is due."""
        self._reap()
        if self._reap.status is not None and self._ended is None:
            self._ended = now
            if not self._reap.childless and self._kill_at is None:
                self._end(_signal.SIGTERM, min(self._spec.grace, LINGER), "")
        if self._stopped:
            self._stopped = False
            self._end(_signal.SIGTERM, self._spec.grace, "shutdown")
        if self._timeout_at is not None and now >= self._timeout_at:
            self._timeout_at = None
            self._end(_signal.SIGTERM, self._spec.grace, "timeout")
        if self._look_at is not None and now >= self._look_at:
            self._look_at = now + LOOK
            self._count()
        if self._kill_at is not None and now >= self._kill_at and not self._reap.childless:
            self._kill(now)
        if self._feed is not None:
            self._feed.expire(now)
        if self._flow.full:
            self._flow.retry(connected=self._door.connected)
        self._tell()

    # how it ends

    def _end(self, number: int, grace: float, reason: str) -> None:
        """Ask everybody to end, and after the grace make them."""
        if self._ended is None and not self._reason:
            self._reason = reason
        if number == _signal.SIGKILL:
            grace = 0.0
        else:
            for member in tree.descendants(os.getpid()):
                tree.send(member, number)
                tree.send(member, _signal.SIGCONT)
        at = time.monotonic() + grace
        self._kill_at = at if self._kill_at is None else min(at, self._kill_at)

    def _kill(self, now: float) -> None:
        if self._killing_since is None:
            self._killing_since = now
        tree.kill(os.getpid())
        tree.chase(self._reap)
        self._kill_at = time.monotonic() + ROUND

    def _count(self) -> None:
        """Hold a limit that the kernel does not hold for us: its own counts all that the user runs, and spares root."""
        most = self._spec.limits["processes"]
        if self._kill_at is None and len(tree.descendants(os.getpid())) > most:
            self._error = f"it had more than {most} processes"
            self._end(_signal.SIGKILL, 0.0, "killed")

    def _signal(self, number: int) -> None:
        """To the group that has the terminal's foreground or, as with kill(1), to the command's own group."""
        self._sent.add(number)
        if self._ended is not None:
            for member in tree.descendants(os.getpid()):
                tree.send(member, number)
            return
        group = self._command
        if self._master >= 0 and number in TYPED:
            group = os.tcgetpgrp(self._master) or group
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return  # it has just ended, or has become another user's

    def _ending(self) -> list[tuple[str, str]]:
        code = None if self._reap.status is None else os.waitstatus_to_exitcode(self._reap.status)
        reason = self._reason or ("killed" if code is not None and -code in self._sent else "exited")
        errors = [self._error] if self._error else []
        if birth.memory_ran_out(self._spec):
            errors.append("the memory limit was reached")
        if self._flow.spool.lost:
            errors.append(f"the disk was full: {self._flow.spool.lost} bytes of its output are lost")
        fields = [("reason", reason), ("end", str(self._flow.spool.end))]
        if code is not None:
            fields.append(("code", str(code)))
        if errors:
            fields.append(("error", "; ".join(errors)))
        fields.append(("seconds", f"{(self._ended or time.monotonic()) - self._began:.6f}"))
        return fields

    # what the node says, and is told

    def _obey(self, words: list[str], data: bytes) -> None:
        match words:
            case ["shipped", offset]:
                self._flow.spool.ship(int(offset))
            case ["input", sequence, end, _]:
                if self._feed is None:
                    self._door.say(f"blocked {sequence} was started without an input")
                else:
                    self._feed.take(sequence, data, end=end == "1")
            case ["resize", columns, rows]:
                if self._master >= 0:
                    birth.resize(self._master, int(rows), int(columns))
            case ["signal", number, "-"]:
                if int(number) == _signal.SIGKILL:
                    self._end(_signal.SIGKILL, 0.0, "killed")
                else:
                    self._signal(int(number))
            case ["signal", number, grace]:
                self._end(int(number), float(grace), "killed")
            case ["forget"]:
                self._forgotten = True
                self._end(_signal.SIGKILL, 0.0, "killed")
            case _:
                raise ValueError(f"unknown words: {words}")

    def _greet(self) -> None:
        self._door.say(f"started {self._command}")
        self._told = (-1, -1)
        self._tell()

    def _tell(self) -> None:
        """How far the spool reaches; a node that is slow to listen hears only the newest."""
        now = (self._flow.spool.first, self._flow.spool.end)
        if now != self._told and self._door.connected and self._door.idle:
            self._told = now
            self._door.say(f"spool {now[0]} {now[1]}")


def main(folder: str) -> None:
    """Be the holder of the run in this folder; never returns."""
    os.chdir(folder)
    umask = os.umask(0o077)
    connection, state = (fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3) for number in (1, 2))
    spec = birth.Spec(decode(_read_all(0)), umask)
    _let_go({connection, state})
    record.reserve()
    wakeup = _wakeup()
    for number in (_signal.SIGHUP, _signal.SIGPIPE, _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGTSTP):
        _signal.signal(number, _signal.SIG_IGN)
    try:
        birth.become_subreaper()
        birth.make_groups(spec)
        born = birth.bear(spec)
    except birth.Stillborn as error:
        record.write([("reason", "spawn_error"), ("error", str(error))])
    else:
        _live(spec, born, Door(connection), wakeup, state)
    birth.remove_groups(spec)
    os._exit(0)


def _live(spec: birth.Spec, born: birth.Born, door: Door, wakeup: int, state: int) -> None:
    try:
        note = [("grace", str(spec.grace)), *((f"group{number}", group) for number, group in enumerate(spec.groups))]
        for key, pid in (("holder", os.getpid()), ("command", born.pid)):
            member = tree.look(pid)
            note += [(key, str(pid)), (f"{key}_start", str(member.start if member is not None else 0))]
        os.write(state, encode(note))
        life = Life(spec, born, door, wakeup)
        door.open()
        life.run()
    except BaseException as error:  # nobody else could tell what happened, or end the processes
        reap = tree.Reap(born.pid)
        tree.kill(os.getpid())
        tree.chase(reap)
        record.write([("reason", "lost"), ("error", f"the holder failed: {error!r}".replace("\0", " "))])
        raise


def _wakeup() -> int:
    """A descriptor that can be read whenever a signal came."""
    ours, theirs = os.pipe()
    for end in (ours, theirs):
        os.set_blocking(end, False)
    _signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    return ours


def _read_all(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    pieces = []
    while piece := os.read(descriptor, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def _let_go(keep: set[int]) -> None:
    """Close what we inherited: a holder outlives those it got it from."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number, inheritable=False)
    for number in [int(name) for name in os.listdir("/proc/self/fd")]:
        if number > 2 and number not in keep:
            try:
                os.close(number)
            except OSError:
                continue  # the descriptor of the listing itself
