"""Sandboxes: an unknown one is refused; what a known one adds stands before the command and leaves it as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from treadle.core.errors import Invalid
from treadle.node.sandbox import wrapped


def test_the_command_stands_unchanged_behind_its_wrapping() -> None:
    argv = wrapped(["ls", "--bind", "/", "/"], "bwrap", "/work", [Path("/home/me/.treadle")])
    assert argv[0] == "bwrap"
    assert argv[argv.index("--") + 1 :] == ["ls", "--bind", "/", "/"]
    wrapping = " ".join(argv[: argv.index("--")])
    assert "--ro-bind / /" in wrapping
    assert "--bind /work /work" in wrapping
    assert wrapping.index("--tmpfs /home/me/.treadle") > wrapping.index("--ro-bind")


def test_the_root_is_never_made_writable() -> None:
    assert "--bind" not in wrapped(["ls"], "bwrap", "/", [])


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(Invalid):
        wrapped(["ls"], "moat", "/", [])
