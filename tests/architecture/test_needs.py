"""Tests that need a program: skipped with one line where it is missing, failed where it is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

SAMPLE = """
import pytest

@pytest.mark.needs("node")
def test_with_node(): ...

@pytest.mark.needs("node")
def test_with_node_too(): ...

def test_with_nothing(): ...
"""


def outcome(sample: str, folder: Path, **environment: str) -> tuple[int, str]:
    """Runs pytest on a sample with this project's settings, on a machine whose PATH is empty."""
    (folder / "test_sample.py").write_text(sample, "utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:schemathesis",
        "-p",
        "no:cacheprovider",
        "-c",
    ]
    done = subprocess.run(
        [*command, str(ROOT / "pyproject.toml"), f"--rootdir={folder}", str(folder)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "TREADLE_TEST_REQUIRE"}
        | {"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_missing_program_skips_and_is_said_once(tmp_path: Path) -> None:
    code, said = outcome(SAMPLE, tmp_path)
    assert (code, said.count("not on this machine, so not run: node (2)")) == (0, 1), said
    assert "1 passed, 2 skipped" in said


def test_a_required_program_that_is_missing_fails(tmp_path: Path) -> None:
    code, said = outcome(SAMPLE, tmp_path, TREADLE_TEST_REQUIRE="node,postgres")
    assert code == pytest.ExitCode.TESTS_FAILED, said
    assert "node is missing and TREADLE_TEST_REQUIRE asks for it" in said


def test_an_unknown_need_fails(tmp_path: Path) -> None:
    code, said = outcome(SAMPLE.replace("node", "punchcards", 1), tmp_path)
    assert code == pytest.ExitCode.TESTS_FAILED, said
    assert "unknown need 'punchcards'" in said
