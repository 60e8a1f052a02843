"""The peers' own virtual environment, made from their hashed lock; standard library only: any Python may ask for it."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VENV = HERE / ".venv"
LOCK = HERE / "requirements.txt"
PYTHON = VENV / "bin" / "python"
Command = Sequence[Path | str]
_STAMP = VENV / "setup.stamp"


class SetupFailed(Exception):
    """The environment could not be made; the text is one line that says why."""


def setup() -> Path:
    """Makes the environment unless it is current, and gives its Python; a second caller waits for the first."""
    if not _is_current():
        with (HERE / ".setup.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not _is_current():
                _make()
    return PYTHON


def _make() -> None:
    print("peers: installing the locked packages into bench/peers/.venv", file=sys.stderr)
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".venv" / "bin")) or ""
    with_uv: list[Command] = [
        [uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, VENV],
        [uv, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode", "--python", PYTHON, LOCK],
    ]
    pip: Command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    with_pip: list[Command] = [
        [sys.executable, "-m", "venv", "--clear", VENV],
        [*pip, "install", "--quiet", "--require-hashes", "-r", LOCK],
    ]
    # uv reads its own settings, pip its own: where only pip knows the way to a registry, pip does it.
    if not uv or _first_failure(with_uv):
        failure = _first_failure(with_pip)
        if failure:
            raise SetupFailed(f"the peers' packages could not be installed: {failure}")
    _STAMP.write_text(_wanted())


def _first_failure(commands: Sequence[Command]) -> str:
    """Runs them in turn; the last line of the first one that fails, or nothing."""
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            return said[-1] if said else f"{command[0]} ended with {done.returncode}"
    return ""


def _wanted() -> str:
    lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    return f"{VENV}\n{sys.version_info[:2]}\n{lock}\n"


def _is_current() -> bool:
    return PYTHON.exists() and _STAMP.exists() and _STAMP.read_text() == _wanted()
