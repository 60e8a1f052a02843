"""Answers on disk: private, in order, bounded, found again by a later life."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from treadle.device.unsent import Unsent


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_later_life_finds_them_in_order(tmp_path: Path, clock: Clock) -> None:
    unsent = Unsent(tmp_path / "a", clock)
    keys = [("s", f"r-{number}") for number in range(12)]
    for number, key in enumerate(keys):
        await unsent.keep(key, b"frame %d" % number)
    unsent.delivered(keys[3], b"frame 3")
    later = Unsent(tmp_path / "a", clock)
    assert later.waiting() == keys[:3] + keys[4:]
    assert later.frame(("s", "r-11")) == b"frame 11"
    assert later.frame(keys[3]) is None
    await later.keep(("s", "new"), b"n")
    assert Unsent(tmp_path / "a", clock).waiting()[-1] == ("s", "new")


async def test_files_are_for_this_user_alone(tmp_path: Path, clock: Clock) -> None:
    unsent = Unsent(tmp_path / "a", clock)
    await unsent.keep(("s", "r"), b"secret")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a").iterdir()] == [0o600]


async def test_the_oldest_go_when_there_are_too_many_or_too_much(tmp_path: Path, clock: Clock) -> None:
    few = Unsent(tmp_path / "few", clock, most_files=2)
    for name in "abc":
        await few.keep(("s", name), b"x")
    assert few.waiting() == [("s", "b"), ("s", "c")]
    small = Unsent(tmp_path / "small", clock, most_bytes=10)
    for name in "abc":
        await small.keep(("s", name), b"12345")
    assert small.waiting() == [("s", "b"), ("s", "c")]
    assert len(list((tmp_path / "small").iterdir())) == 2


async def test_nobody_waits_for_ever(tmp_path: Path, clock: Clock) -> None:
    unsent = Unsent(tmp_path / "a", clock, oldest=60)
    await unsent.keep(("s", "old"), b"x")
    clock.now += 61
    await unsent.keep(("s", "new"), b"x")
    assert unsent.waiting() == [("s", "new")]


async def test_what_was_delivered_can_be_asked_for_again(tmp_path: Path, clock: Clock) -> None:
    unsent = Unsent(tmp_path / "a", clock)
    await unsent.keep(("s", "r"), b"x")
    unsent.delivered(("s", "r"), b"x")
    assert unsent.waiting() == []
    assert list((tmp_path / "a").iterdir()) == []
    assert unsent.frame(("s", "r")) == b"x"


@pytest.mark.parametrize("name", [".draft.ab12", "000000000001-abc", "nonsense"])
def test_what_was_cut_off_is_cleared_away(tmp_path: Path, clock: Clock, name: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).write_bytes(b"\x93half")
    assert Unsent(tmp_path / "a", clock).waiting() == []
    assert list((tmp_path / "a").iterdir()) == []


async def test_a_disk_that_takes_nothing_is_told(tmp_path: Path, clock: Clock) -> None:
    unsent = Unsent(tmp_path / "a", clock)
    (tmp_path / "a").rmdir()
    with pytest.raises(OSError, match="No such file"):
        await unsent.keep(("s", "r"), b"x")
    assert unsent.waiting() == []
