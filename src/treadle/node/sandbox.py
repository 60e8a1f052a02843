"""Sandboxes by name: how a command is wrapped so that it can do less than the node's own user can."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from treadle.core.errors import Fault, Invalid

PROFILES = ("bwrap",)


def wrapped(argv: Sequence[str], profile: str, cwd: str, hidden: Iterable[Path]) -> list[str]:
    """The arguments that run `argv` in a sandbox. Raises Invalid for a profile that does not exist.

    `bwrap`: namespaces of its own for processes, IPC and the host name, no new privileges; the file system can be read
    and only the working folder (unless it is the root) and a private /tmp be written; `hidden` folders are seen empty.
    The network is the node's.
    """
    if profile not in PROFILES:
        raise Invalid(Fault("sandbox", f"must be one of: {', '.join(PROFILES)}", profile))
    arguments = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    arguments += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]  # noqa: S108
    if cwd != "/":
        arguments += ["--bind", cwd, cwd]
    for folder in hidden:
        arguments += ["--tmpfs", str(folder)]
    return [*arguments, "--chdir", cwd, "--", *argv]
