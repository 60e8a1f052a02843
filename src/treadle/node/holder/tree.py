"""The tree of a process: itself and whatever descends from it, and how to end all of it so that nobody is left.

A process is known by its pid *and* its start time (field 22 of /proc/PID/stat): a pid alone is given out again.
"""

import _signal  # type: ignore[import-not-found]  # the enums of `signal` cost a fifth of a holder's start
import os
import time

STOP_SECONDS = 0.5
CHASE_SECONDS = 0.05


class Member:
    """A process as /proc shows it: ids as numbers, start time in clock ticks since boot."""

    __slots__ = ("group", "parent", "pid", "session", "start", "state")

    def __init__(self, pid: int, state: str, parent: int, group: int, session: int, start: int) -> None:
        self.pid, self.state, self.parent = pid, state, parent
        self.group, self.session, self.start = group, session, start


def look(pid: int) -> Member | None:
    """The process of this pid, a zombie too; None when there is none."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(file, 4096)
    except OSError:
        return None
    finally:
        os.close(file)
    rest = line[line.rindex(b")") + 2 :].split()  # the name before it may hold anything
    return Member(pid, rest[0].decode(), int(rest[1]), int(rest[2]), int(rest[3]), int(rest[19]))


def everybody() -> list[Member]:
    """All processes that can be seen."""
    seen = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [member for member in seen if member is not None]


def descendants(root: int) -> list[Member]:
    """The living processes below `root`, parents first."""
    below: dict[int, list[Member]] = {}
    for member in everybody():
        below.setdefault(member.parent, []).append(member)
    found, ahead = [], [root]
    while ahead:
        for member in below.get(ahead.pop(), ()):
            ahead.append(member.pid)
            if member.state not in "ZX":
                found.append(member)
    return found


def send(member: Member, number: int) -> bool:
    """Signal exactly this process; False when it is gone, or is not ours to signal."""
    try:
        held = os.pidfd_open(member.pid)
    except OSError:
        held = -1  # gone, or a kernel before 5.3
    try:
        now = look(member.pid)
        if now is None or now.start != member.start:
            return False
        if held >= 0:
            _signal.pidfd_send_signal(held, number)
        else:
            os.kill(member.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if held >= 0:
            os.close(held)
    return True


def stop(root: int) -> list[Member]:
    """Stop everything below `root`, until a look finds nobody new; those who were stopped.

    A whole process group is stopped at once, which no fork escapes; the stopped member keeps the group's number its
    own. Descendants of `root` share no group with anybody else: `root` gave the first of them a session.
    """
    stopped: dict[tuple[int, int], Member] = {}
    until = time.monotonic() + STOP_SECONDS
    while time.monotonic() < until:
        fresh = [member for member in descendants(root) if (member.pid, member.start) not in stopped]
        if not fresh:
            break
        own = os.getpgid(root)
        for member in fresh:
            stopped[member.pid, member.start] = member
            if send(member, _signal.SIGSTOP):
                now = look(member.pid)
                if now is not None and now.start == member.start and now.group not in (0, own):
                    _signal_group(now.group, _signal.SIGSTOP)
    return list(stopped.values())


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return  # it ended meanwhile, or has become another user's; each member is tried by itself as well


def kill(root: int) -> None:
    """Stop, then kill, everything below `root`; only the parents of the dead can tell when nobody is left."""
    for member in stop(root):
        send(member, _signal.SIGKILL)


def children() -> list[int]:
    """The pids of our own children, zombies too. They are ours until we wait for them: nobody else can have them."""
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [member.pid for member in everybody() if member.parent == own]


def chase(reap: "Reap") -> None:
    """Kill our children as they come, for a moment.

    What forks and exits faster than /proc can be read is, each time, an orphan that the kernel gives to us (we are
    the subreaper), and as our child it can be found and killed within microseconds.
    """
    until = time.monotonic() + CHASE_SECONDS
    while time.monotonic() < until and (pids := children()):
        for pid in pids:
            try:
                os.kill(pid, _signal.SIGKILL)
            except PermissionError:
                return
        reap()


class Reap:
    """Waits for our children that have ended, and for adopted ones; remembers how the command ended."""

    def __init__(self, command: int) -> None:
        self.command = command
        self.status: int | None = None
        self.childless = False  # once true, nothing that descends from us is left

    def __call__(self) -> None:
        while not self.childless:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.childless = True
                return
            if pid == 0:
                return
            if pid == self.command:
                self.status = status
