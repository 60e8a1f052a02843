"""The command line as a whole: the table of commands, what is imported when, help, completion, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from treadle import __version__
from treadle.cli import COMMANDS

PROBE = """
import json, sys
from treadle.cli import main
sys.argv = ["treadle", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
sys.stdout.flush()
print("\\n" + json.dumps(sorted(sys.modules)))
"""


def treadle(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "treadle", *arguments],
        env=os.environ | {"COLUMNS": "200", **environ}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def imported(*arguments: str) -> set[str]:
    """The modules that are loaded once this command line has run."""
    done = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_version() -> None:
    assert treadle("--version").stdout == f"treadle {__version__}\n"
    with_more = treadle("--version", "up")
    assert (with_more.stdout, with_more.returncode) == (f"treadle {__version__}\n", 0)


def test_the_version_imports_no_parser() -> None:
    assert not {"typer", "rich", "msgspec"} & imported("--version")


def test_help_lists_every_command_and_imports_none() -> None:
    done = treadle("--help")
    assert done.returncode == 0
    for row in COMMANDS:
        assert f" {row.name} " in done.stdout
        assert row.help in done.stdout
    assert not {name for name in imported("--help") if name.startswith("treadle.cli.")}


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_each_place_in_the_table_is_there(row: object) -> None:
    module, _, name = row.place.partition(":")  # type: ignore[attr-defined]
    assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_each_command_explains_itself(row: object) -> None:
    done = treadle(row.name, "--help")  # type: ignore[attr-defined]
    assert done.returncode == 0, done.stderr
    assert f"Usage: treadle {row.name}" in done.stdout  # type: ignore[attr-defined]


def test_a_command_imports_no_other_command_and_no_server() -> None:
    loaded = imported("settings", "--json")
    assert {name for name in loaded if name.startswith("treadle.cli.")} == {"treadle.cli.settings"}
    assert not {name for name in loaded if name.startswith(("treadle.compose", "treadle.core", "uvicorn"))}


def test_a_wrong_command_is_refused_with_the_nearest() -> None:
    done = treadle("setings")
    assert done.returncode == 2
    assert "Did you mean 'settings'?" in done.stderr


def test_no_command_shows_the_help() -> None:
    done = treadle()
    assert done.returncode == 2
    assert "COMMAND" in done.stdout + done.stderr


def test_a_shell_completes_commands_and_their_options() -> None:
    def completed(words: str) -> set[str]:
        count = str(len(words.split(" ")) - 1)
        done = treadle(COMP_WORDS=words, COMP_CWORD=count, _TREADLE_COMPLETE="complete_bash")
        return set(done.stdout.split())

    assert completed("treadle se") == {"serve", "settings"}
    assert completed("treadle tasks su") == {"submit"}
    assert "--json" in completed("treadle settings --")
    assert "--detach" in completed("treadle run --")
