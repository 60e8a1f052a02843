"""Pictures of the screen: which program takes them, and honest words where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.watching import ENV
from treadle.device.tools.commands import Commands
from treadle.device.tools.roots import Roots
from treadle.device.tools.screen import PNG, capture
from treadle.node.processes import Processes


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


async def taken(processes: Processes, folder: Path, **display: str) -> object:
    env = {**ENV, "PATH": f"{folder}:/usr/bin:/bin", **display}
    return await capture(Commands(processes, Roots([]), env), env)


async def test_without_a_display_there_is_no_picture(processes: Processes, tmp_path: Path) -> None:
    said = await taken(processes, tmp_path / "bin")
    assert said == {"success": False, "error": "there is no display: neither WAYLAND_DISPLAY nor DISPLAY is set"}


async def test_without_a_program_there_is_none_either(processes: Processes, tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path), "DISPLAY": ":9"}
    said = await capture(Commands(processes, Roots([]), env), env)
    assert isinstance(said, dict)
    assert "install one of: import, scrot, maim" in said["error"]


@pytest.mark.parametrize(("name", "display"), [("grim", "WAYLAND_DISPLAY"), ("import", "DISPLAY")])
async def test_a_picture_comes_from_the_program_of_that_display(
    processes: Processes, tmp_path: Path, name: str, display: str
) -> None:
    program(tmp_path / "bin", name, f'printf "\\211PNG\\r\\n\\032\\n%s" "${display}"')
    picture = await taken(processes, tmp_path / "bin", **{display: "here"})
    assert picture == PNG + b"here"


@pytest.mark.parametrize(
    ("script", "error"),
    [("echo cannot open display >&2; exit 1", "import took no picture: cannot open display"),
     ("echo no picture", "import wrote something that is no picture")],
)  # fmt: skip
async def test_a_program_that_fails_is_told(processes: Processes, tmp_path: Path, script: str, error: str) -> None:
    program(tmp_path / "bin", "import", script)
    said = await taken(processes, tmp_path / "bin", DISPLAY=":9")
    assert isinstance(said, dict)
    assert said["error"].startswith(error)
