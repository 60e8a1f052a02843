"""What a machine says of itself: made-up root folders for kinds of machines, this machine for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import json

from treadle.node.inventory import Inventory, device_type, surroundings

CHASSIS = "sys/class/dmi/id/chassis_type"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({".dockerenv": ""}, "container"),
        ({"run/.containerenv": "", CHASSIS: "10\n"}, "container"),
        ({"run/systemd/container": "lxc"}, "container"),
        ({"proc/cpuinfo": "model name\t: X\nflags\t\t: fpu hypervisor avx\n", CHASSIS: "17\n"}, "vm"),
        ({"proc/cpuinfo": "flags\t\t: fpu nohypervisors avx\n", CHASSIS: "23\n"}, "server"),
        ({"proc/device-tree/model": "Raspberry Pi 5"}, "board"),
        ({CHASSIS: "10\n"}, "laptop"),
        ({CHASSIS: "30\n"}, "tablet"),
        ({CHASSIS: "3\n"}, "desktop"),
        ({CHASSIS: "?\n"}, "desktop"),
        ({}, "desktop"),
    ],
)
def test_the_kind_of_machine(files: Mapping[str, str], expected: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert device_type(tmp_path) == expected


def test_a_run_inherits_no_settings_of_ours_and_nothing_that_looks_like_a_secret() -> None:
    plain = {"PATH": "/bin", "LANG": "C", "HOME": "/h", "SSH_AUTH_SOCK": "/s", "PWD": "/"}
    private = dict.fromkeys(
        ("TREADLE_HOME", "UA_PASSWORD", "TASKDRIVER_PORT", "AWS_SECRET_ACCESS_KEY", "github_token", "PGPASSWORD",
         "DB_PASS", "SSH_PASSPHRASE", "GOOGLE_APPLICATION_CREDENTIALS"), "x",
    )  # fmt: skip
    assert surroundings({**plain, **private}) == plain


def test_this_machine(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path)
    facts, load = inventory.facts(), inventory.load()
    assert facts["cpu"]["threads"] >= 1
    assert facts["memory"]["total"] > load["memory_used"] > 0
    assert facts["disk"]["total"] > load["disk_used"] > 0
    assert len(facts["gpus"]) == len(load["gpus"])
    assert 0 <= load["cpu_percent"] <= 100
    assert ("battery" in load) == facts["battery"]
    assert json.decode(json.encode([facts, load])) == [facts, load]
