"""Control groups: used where they were delegated, and nowhere else; told from what the kernel shows, on made trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from treadle.node.cgroups import Groups, delegated


def machine(root: Path, cgroup: str, mounts: str) -> Path:
    """What /proc/self would show."""
    proc = root / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mounts.replace("ROOT", str(root)))
    return proc


def test_version_2_lends_a_group_beside_our_own(tmp_path: Path) -> None:
    proc = machine(tmp_path, "0::/service/node\n", "30 20 0:26 / ROOT rw,nosuid - cgroup2 cgroup2 rw\n")
    service = tmp_path / "service"
    (service / "node").mkdir(parents=True)
    for name, text in (
        ("cgroup.controllers", "cpu memory pids\n"), ("cgroup.subtree_control", "memory pids\n"), ("cgroup.procs", "")
    ):  # fmt: skip
        (service / name).write_text(text)
    groups = delegated(proc)
    assert groups == Groups(2, {"memory": service, "pids": service})
    assert groups.place("t.1", {"memory": 1000, "processes": 5}) == (
        [service / "treadle-t.1"],
        [(service / "treadle-t.1/memory.max", 1000), (service / "treadle-t.1/pids.max", 5)],
    )


def test_version_2_without_the_controllers_lends_nothing(tmp_path: Path) -> None:
    proc = machine(tmp_path, "0::/service/node\n", "30 20 0:26 / ROOT rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "service/node").mkdir(parents=True)
    (tmp_path / "service/cgroup.controllers").write_text("cpu\n")
    assert delegated(proc) == Groups()
    assert delegated(proc).place("t.1", {"memory": 1000}) == ([], [])


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    mounts = "".join(
        f"{n} 20 0:2{n} / ROOT/{name} rw - cgroup cgroup rw,{name}\n" for n, name in enumerate(("pids", "memory"))
    )
    proc = machine(tmp_path, "8:pids:/\n4:memory:/us\n3:cpu:/\n", mounts)
    (tmp_path / "pids").mkdir()  # and no memory/us: that part of the tree is not ours
    groups = delegated(proc)
    assert groups == Groups(1, {"pids": tmp_path / "pids"})
    group = tmp_path / "pids/treadle-t.1"
    assert groups.place("t.1", {"memory": 1000, "processes": 5}) == ([group], [(group / "pids.max", 5)])


@pytest.mark.parametrize("cgroup", ["", "0::/\n", "1:name=systemd:/\n"])
def test_a_machine_without_them_lends_nothing(tmp_path: Path, cgroup: str) -> None:
    assert delegated(machine(tmp_path, cgroup, "")) == Groups()
