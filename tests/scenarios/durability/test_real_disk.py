"""A small real file system that fills up, and one mounted read-only: the kernel's own refusals, not a shim's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STORIES = Path(__file__).with_name("small_disk.py")
MOUNTED = 'mount -t tmpfs -o size=6m tmpfs "$1" && shift && exec "$@"'
ALONE = ["unshare", "--mount", "--map-root-user", "sh", "-c", MOUNTED, "sh"]
"""Runs a command in a mount namespace of its own, in which a folder is a file system of six megabytes."""


@pytest.mark.parametrize(
    ("story", "end"),
    [("fill", "full, read, made room, went on\n"), ("read-only", "refused, remounted, went on\n")],
)
def test_on_a_small_file_system(tmp_path: Path, story: str, end: str) -> None:
    try:
        subprocess.run([*ALONE, str(tmp_path), "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs unshare: this user may not mount file systems")
    command = [*ALONE, str(tmp_path), sys.executable, str(STORIES), str(tmp_path), story]
    played = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert played.returncode == 0, played.stderr
    assert played.stdout == end
