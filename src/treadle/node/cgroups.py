"""Control groups, where this machine lets us make them: limits that hold for a run as a whole, not for each process.

Version 2 gives us a part of its tree only where somebody delegated it; version 1 has one tree for each controller.
"""

import os
from pathlib import Path

from msgspec import Struct

FILES = {  # what a limit is called: by version, then by limit
    2: {"memory": ("memory", "memory.max"), "processes": ("pids", "pids.max")},
    1: {"memory": ("memory", "memory.limit_in_bytes"), "processes": ("pids", "pids.max")},
}


Place = tuple[list[Path], list[tuple[Path, int]]]
"""The groups to make for a run, and the files to write its limits into."""


class Groups(Struct, frozen=True):
    """Where groups can be made, by controller (`memory`, `pids`); empty where nothing was delegated."""

    version: int = 0
    parents: dict[str, Path] = {}

    def place(self, name: str, limits: dict[str, int]) -> Place:
        """Where a run of that name goes with these limits."""
        groups: list[Path] = []
        settings: list[tuple[Path, int]] = []
        for limit, value in limits.items():
            controller, file = FILES.get(self.version, {}).get(limit, ("", ""))
            parent = self.parents.get(controller)
            if parent is None:
                continue
            group = parent / f"treadle-{name}"
            if group not in groups:
                groups.append(group)
            settings.append((group / file, value))
        return groups, settings


def delegated(proc: Path = Path("/proc/self")) -> Groups:
    """What this process may use. Looks, and tries, and believes nothing else."""
    mounts = _mounts(proc)
    parents: dict[str, Path] = {}
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in ("memory", "pids") and controller in mounts:
                parent = mounts[controller] / path.lstrip("/")
                if _can_make(parent):
                    parents[controller] = parent
        if not controllers and "" in mounts:
            # a group with processes in it cannot hand its controllers down: ours are made beside our own
            own = mounts[""] / path.lstrip("/")
            parent = own if path == "/" else own.parent
            if _hands_down(parent) and _can_make(parent):
                return Groups(2, {"memory": parent, "pids": parent})
    return Groups(1, parents) if parents else Groups()


def _mounts(proc: Path) -> dict[str, Path]:
    """Where each controller's tree of version 1 is mounted, and under "" that of version 2."""
    found = {}
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, behind = line.partition(" - ")
        kind, _, options = behind.split(" ", 2)
        if kind == "cgroup2":
            found[""] = Path(before.split(" ")[4])
        elif kind == "cgroup":
            for option in options.split(" ")[-1].split(","):
                found[option] = Path(before.split(" ")[4])
    return found


def _hands_down(parent: Path) -> bool:
    needed = {"memory", "pids"}
    try:
        if not needed <= set((parent / "cgroup.controllers").read_text().split()):
            return False
        if not needed <= set((parent / "cgroup.subtree_control").read_text().split()):
            (parent / "cgroup.subtree_control").write_text("+memory +pids")
    except OSError:
        return False
    return os.access(parent / "cgroup.procs", os.W_OK)  # moving a process in needs the common ancestor's


def _can_make(parent: Path) -> bool:
    trial = parent / f"treadle-trial-{os.getpid()}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return False
    return True
