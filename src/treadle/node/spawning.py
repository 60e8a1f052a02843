"""Starting a holder: what it is to run, told in memory that no other process can read, and the process itself."""

import fcntl
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from treadle.core.runs import Command

from .cgroups import Place
from .holder import __path__ as holder_path
from .holder.fields import Fields, encode

LIMITS = ("seconds", "memory", "cpu", "files", "processes", "file_size")
TERMINAL = "xterm-256color"
MARK = "TREADLE_RUN"
"""The variable that tells a run's folder in the environment of all its processes: no other run has it."""


def described(
    folder: Path,
    command: Command,
    argv: Sequence[str],
    cwd: str,
    secrets: Mapping[str, str],
    env: Mapping[str, str],
    place: Place,
) -> Fields:
    """What a holder has to know, as fields (see `holder.birth.Spec`)."""
    variables = {**env}
    if command.pty is not None:
        variables |= {"TERM": TERMINAL, "COLUMNS": str(command.pty.columns), "LINES": str(command.pty.rows)}
    variables |= {**command.env, **secrets, MARK: str(folder)}
    fields = [("argv", argument) for argument in argv]
    fields += [("env", f"{key}={value}") for key, value in variables.items()]
    fields += [("cwd", cwd), ("grace", str(command.grace))]
    if command.pty is not None:
        fields += [("columns", str(command.pty.columns)), ("rows", str(command.pty.rows))]
        if not command.pty.echo:
            fields.append(("mute", "1"))
    if command.stdin:
        fields.append(("stdin", "1"))
    for limit in LIMITS:
        value = getattr(command.limits, limit)
        if value is not None:
            fields.append((limit, str(value)))
    fields += [("secret", value) for value in secrets.values() if value]
    groups, settings = place
    fields += [("group", str(group)) for group in groups]
    fields += [("set", f"{file}={value}") for file, value in settings]
    return fields


def spawn(folder: Path, state: int, fields: Fields) -> tuple[int, socket.socket]:
    """Start a holder for the run in this folder; its pid and our end of its first connection.

    `state` is the descriptor of the run's locked file. Nothing is told through arguments or variables: everybody on
    this machine may see the former, and all processes of this user the latter.
    """
    ours, theirs = socket.socketpair()
    told = os.memfd_create("treadle-spec")
    raised: list[int] = []
    try:
        content = encode(fields)
        while content:
            content = content[os.write(told, content) :]
        # above those that they become, should our own standard streams be closed
        raised += [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 3) for each in (told, theirs.fileno(), state)]
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-X", "utf8", f"{next(iter(holder_path))}/__main__.py", str(folder)],
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, number, becomes) for becomes, number in enumerate(raised)],
            setsid=True,
            setsigmask=[],
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        for descriptor in (told, *raised):
            os.close(descriptor)
    return pid, ours
