"""A stranger's first minutes: the files as committed, in a fresh folder, with an empty home."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, repository_files

# Where the registries are is this machine's business and is said in its environment or in these files, not here.
REGISTRY_SETTINGS = [".config/pip", ".pip", ".config/uv"]


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    clone = tmp_path / "clone"
    for path in repository_files():
        target = clone / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return clone


@pytest.fixture
def empty_home(tmp_path: Path) -> dict[str, str]:
    """An environment whose HOME holds nothing but this machine's way to the package registries."""
    home = tmp_path / "home"
    home.mkdir()
    for name in REGISTRY_SETTINGS:
        if (Path.home() / name).is_dir():
            shutil.copytree(Path.home() / name, home / name)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("TREADLE_", "VIRTUAL_ENV", "XDG_"))
    }
    return kept | {"HOME": str(home)}


def make(target: str, clone: Path, environment: dict[str, str]) -> float:
    """Runs one make target; its seconds. Fails with what it printed."""
    began = time.monotonic()
    done = subprocess.run(["make", target], cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_fresh_clone_sets_itself_up(fresh: Path, empty_home: dict[str, str]) -> None:
    make("setup", fresh, empty_home)
    assert make("setup", fresh, empty_home) < 2.0

    said = subprocess.run(
        [fresh / ".venv/bin/treadle", "--version"], env=empty_home, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip().endswith(version(fresh))
    where = [str(fresh / ".venv/bin/python"), "-c", "import treadle; print(treadle.__file__)"]
    found = subprocess.run(where, env=empty_home, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(fresh)

    # A folder that was moved is set up again, because scripts in .venv carry its old path.
    moved = fresh.rename(fresh.with_name("moved"))
    make("setup", moved, empty_home)
    subprocess.run([moved / ".venv/bin/treadle", "--version"], env=empty_home, capture_output=True, check=True)


def version(clone: Path) -> str:
    text = (clone / "src/treadle/__init__.py").read_text("utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]


def test_bare_make_prints_the_menu() -> None:
    menu = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("up", "setup", "test", "check", "bench", "lock"):
        assert f"make {target} " in menu
