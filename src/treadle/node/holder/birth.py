"""The birth of a command: its terminal or pipes, its limits, its place in the tree, until it is itself."""

import _signal  # type: ignore[import-not-found]  # see `tree`
import ctypes
import fcntl
import os
import resource
import sys
import termios

PIPE = 256 * 1024
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
RESOURCES = {
    "memory": resource.RLIMIT_AS,
    "cpu": resource.RLIMIT_CPU,
    "files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "file_size": resource.RLIMIT_FSIZE,
}

prctl = ctypes.CDLL(None, use_errno=True).prctl


class Spec:
    """What a holder is to run, from the fields that the node sends."""

    def __init__(self, fields: list[tuple[str, str]], umask: int) -> None:
        every: dict[str, list[str]] = {}
        for key, value in fields:
            every.setdefault(key, []).append(value)
        one = {key: values[0] for key, values in every.items()}
        self.argv = every["argv"]
        self.env = dict(pair.split("=", 1) for pair in every.get("env", []))
        self.cwd = one["cwd"]
        self.window = (int(one["rows"]), int(one["columns"])) if "rows" in one else None
        self.mute = "mute" in one
        self.stdin = "stdin" in one
        self.grace = float(one["grace"])
        self.seconds = float(one["seconds"]) if "seconds" in one else None
        self.limits = {name: int(one[name]) for name in RESOURCES if name in one}
        self.secrets = [value.encode("utf-8", "surrogateescape") for value in every.get("secret", [])]
        self.groups = every.get("group", [])
        self.settings = [pair.split("=", 1) for pair in every.get("set", [])]
        self.counted = any(file.endswith("/pids.max") for file, _ in self.settings)
        self.umask = umask


class Stillborn(Exception):
    """The command could not be started: one line that says why."""


class Born:
    """A command that runs: its pid, what it prints by descriptor (1 stdout, 2 stderr), where its input goes."""

    def __init__(self, pid: int, outputs: dict[int, int], stdin: int, terminal: int) -> None:
        self.pid, self.outputs, self.stdin, self.terminal = pid, outputs, stdin, terminal


def become_subreaper() -> None:
    """From now on whoever loses its parent below us becomes our child, and not init's."""
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")


def resize(terminal: int, rows: int, columns: int) -> None:
    """Give a terminal its size; the kernel sends SIGWINCH to whoever is in the foreground."""
    size = b"".join(number.to_bytes(2, sys.byteorder) for number in (rows, columns, 0, 0))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


def _mute(terminal: int) -> None:
    """Do not repeat what is typed."""
    settings = termios.tcgetattr(terminal)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, settings)


def bear(spec: Spec) -> Born:
    """Start the command. Raises Stillborn, and then nothing is left of it."""
    ours: list[int] = []
    theirs: list[int] = []
    try:
        return _bear(spec, ours, theirs)
    except Stillborn:
        for descriptor in ours:
            os.close(descriptor)
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)


def _bear(spec: Spec, ours: list[int], theirs: list[int]) -> Born:
    terminal, stdin = -1, -1
    if spec.window is not None:
        master, terminal = os.openpty()
        ours += [master, terminal]
        resize(master, *spec.window)
        if spec.mute:
            _mute(terminal)
        outputs, stdin, stdio = {master: 1}, master, [terminal] * 3
    else:
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        ours += [out, err]
        theirs += [out_end, err_end]
        for pipe in (out, err):
            _widen(pipe)
        if spec.stdin:
            in_end, stdin = os.pipe()
            ours.append(stdin)
        else:
            in_end = os.open(os.devnull, os.O_RDONLY)
        theirs.append(in_end)
        outputs, stdio = {out: 1, err: 2}, [in_end, out_end, err_end]
    for descriptor in {*outputs, stdin} - {-1}:
        os.set_blocking(descriptor, False)
    trouble, report = os.pipe()
    theirs += [trouble, report]
    holder = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_born(spec, stdio, report, holder)
    os.close(report)
    theirs.remove(report)
    why = os.read(trouble, 4096)
    if why:
        os.waitpid(pid, 0)
        raise Stillborn(why.decode("utf-8", "surrogateescape"))
    return Born(pid, outputs, stdin, terminal)


def _widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
    except OSError:
        return  # this user has used up what pipes may hold; the default size works too


def _be_born(spec: Spec, stdio: list[int], report: int, holder: int) -> None:
    """In the child: never returns. What goes wrong is told through `report`, which a successful exec closes."""
    subject = "start"
    try:
        prctl(PR_SET_PDEATHSIG, _signal.SIGKILL, 0, 0, 0)
        if os.getppid() != holder:
            os._exit(127)  # it died before we asked to go with it
        os.setsid()
        report = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, 3)
        stdio = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3) for descriptor in stdio]
        for number, descriptor in enumerate(stdio):
            os.dup2(descriptor, number)
        if spec.window is not None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for group in spec.groups:
            subject = group
            _put(group + "/cgroup.procs", "0")
        subject = spec.cwd
        os.chdir(spec.cwd)
        subject = "limits"
        _limit(spec)
        os.umask(spec.umask)
        for number in range(1, _signal.NSIG):
            if number not in (_signal.SIGKILL, _signal.SIGSTOP) and _signal.getsignal(number) is not None:
                _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
        subject = spec.argv[0]
        _exec(spec)
    except BaseException as error:  # noqa: BLE001  # this is the other side of a fork: it must not go on as a holder
        told = (error.strerror if isinstance(error, OSError) else None) or repr(error)
        os.write(report, f"{subject}: {told}".encode("utf-8", "surrogateescape")[:4096])
    finally:
        os._exit(127)


def _exec(spec: Spec) -> None:
    program = spec.argv[0]
    if "/" in program:
        os.execve(program, spec.argv, spec.env)  # noqa: S606
    denied: OSError | None = None
    for folder in spec.env.get("PATH", os.defpath).split(":"):
        try:
            os.execve(f"{folder or '.'}/{program}", spec.argv, spec.env)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            denied = error
    raise denied or FileNotFoundError(2, "command not found")


def _limit(spec: Spec) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, value in spec.limits.items():
        if name == "processes":
            if spec.counted:
                continue  # by a control group, which counts this run alone
            value += _threads_of(os.getuid())  # the kernel counts all that this user runs
        which = RESOURCES[name]
        _, most = resource.getrlimit(which)
        soft = value if most == resource.RLIM_INFINITY else min(value, most)
        # a CPU limit ends first with SIGXCPU, which says what happened, and a second later with SIGKILL
        hard = soft + 1 if name == "cpu" and soft != most else soft
        resource.setrlimit(which, (soft, hard))


def _threads_of(user: int) -> int:
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == user:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue  # it ended meanwhile
    return count


def make_groups(spec: Spec) -> None:
    """Make the control groups of this run. Raises Stillborn."""
    try:
        for group in spec.groups:
            os.mkdir(group)
        for file, value in spec.settings:
            _put(file, value)
    except OSError as error:
        raise Stillborn(f"control group: {error.strerror}: {error.filename}") from error


def remove_groups(spec: Spec) -> None:
    """Remove them; only empty ones go."""
    for group in spec.groups:
        try:
            os.rmdir(group)
        except OSError:
            continue  # it was never made, or somebody who cannot be killed lives in it


def memory_ran_out(spec: Spec) -> bool:
    """Whether the kernel has ended some of this run's processes for want of the memory its group may have."""
    for group in spec.groups:
        for file in ("memory.events", "memory.oom_control"):
            try:
                with open(f"{group}/{file}") as source:
                    counts = dict(line.split() for line in source)
            except OSError:
                continue  # a group of another kind, or of the other version
            if counts.get("oom_kill", "0") != "0":
                return True
    return False


def _put(file: str, value: str) -> None:
    with open(file, "w") as target:
        target.write(value)
