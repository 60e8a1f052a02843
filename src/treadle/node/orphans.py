"""Orphans are what a run's holder leaves behind when it is killed itself: found by the mark they carry, and ended.

The kernel ends the command with its holder. Its descendants are known by the variable that tells their run's folder,
by the session of the command (its pid and start time are on record), or by a parent that is one of them.
"""

import os
from pathlib import Path
from signal import SIGKILL, SIGSTOP

from .holder import tree
from .spawning import MARK


def end(folder: Path, state: dict[str, str]) -> bool:
    """Stop and kill all that can be found of the run now; whether there was anybody, so look again."""
    found = _left_of(folder, state)
    for member in found:
        tree.send(member, SIGSTOP)
    for member in found:
        tree.send(member, SIGKILL)
    for member in found:
        try:
            os.waitpid(member.pid, os.WNOHANG)  # where the node is the first process of a container, they are now its
        except ChildProcessError:
            continue
    return bool(found)


def remove_groups(state: dict[str, str]) -> None:
    """Remove the control groups that the holder had made."""
    for key, group in state.items():
        if key.startswith("group") and os.path.isdir(group):
            os.rmdir(group)


def _left_of(folder: Path, state: dict[str, str]) -> list[tree.Member]:
    command, start = int(state.get("command", 0)), int(state.get("command_start", 0))
    everybody = [member for member in tree.everybody() if member.state not in "ZX" and member.start >= start]
    sessions = {command} if any(each.pid == command and each.start == start for each in everybody) else set()
    found = {each.pid: each for each in everybody if each.session in sessions or _carries(each.pid, f"{MARK}={folder}")}
    for member in everybody:
        if member.pid in found:
            found |= {each.pid: each for each in tree.descendants(member.pid)}
    found.pop(os.getpid(), None)
    return list(found.values())


def _carries(pid: int, mark: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark.encode() in file.read().split(b"\0")
    except OSError:
        return False  # it ended meanwhile, or is another user's
