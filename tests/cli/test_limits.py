"""Limits as people type them."""

from __future__ import annotations

import pytest

from treadle.cli import Stop
from treadle.cli.limits import limits
from treadle.client import Limits


def test_units() -> None:
    assert limits(["memory=1G", "cpu=2m", "files=64", "processes=9", "file-size=10MiB", "seconds=0.5h"]) == Limits(
        memory=1 << 30, cpu=120, files=64, processes=9, file_size=10 << 20, seconds=1800.0
    )
    assert limits(["memory=1.5k", "memory=512b"]) == Limits(memory=512)
    assert limits(["file_size=3"]) == Limits(file_size=3)
    assert limits(["seconds=1.5"]) == Limits(seconds=1.5)


@pytest.mark.parametrize("typed", ["", "memory", "memory=", "memory=-1", "memory=1X", "speed=3", "files=1G", "cpu=0"])
def test_what_is_no_limit(typed: str) -> None:
    with pytest.raises(Stop, match=r"say (NAME=VALUE with one of memory, cpu, |a number such as )") as stop:
        limits([typed])
    assert stop.value.code == 2
