"""Bans by a passed clock (spec 2.1)."""

from __future__ import annotations

import pytest

from treadle.core.clock import SECOND
from treadle.faces.architect import bans as module
from treadle.faces.architect.bans import Bans


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> int:
        return round(self.seconds * SECOND)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bans(clock: Clock) -> Bans:
    return Bans(clock, lambda: (5, 60))


def fail(bans: Bans, times: int, address: str = "192.0.2.1") -> bool:
    return [bans.failed(address) for _ in range(times)][-1]


@pytest.mark.parametrize(
    ("pauses", "banned"),
    [
        ((0, 0, 0, 0), True),  # five at once
        ((0, 0, 0), False),  # four
        ((10, 10, 10, 10), True),
        ((20, 20, 20, 20), False),  # never five within a minute
        ((59, 0, 0, 0), True),
        ((60, 0, 0, 0), False),
    ],
)
def test_who_is_banned(bans: Bans, clock: Clock, pauses: tuple[int, ...], banned: bool) -> None:
    said = bans.failed("192.0.2.1")
    for pause in pauses:
        clock.seconds += pause
        said = bans.failed("192.0.2.1")
    assert said is banned
    assert (bans.left("192.0.2.1") > 0) is banned


def test_a_ban_ends_by_itself(bans: Bans, clock: Clock) -> None:
    assert fail(bans, 5)
    assert bans.left("192.0.2.1") == 60
    assert bans.left("192.0.2.2") == 0
    assert [ban.address for ban in bans.listed()] == ["192.0.2.1"]
    clock.seconds += 59.5
    assert bans.left("192.0.2.1") == 1
    clock.seconds += 0.5
    assert bans.left("192.0.2.1") == 0
    assert bans.listed() == []
    assert not fail(bans, 4)


def test_a_success_forgives(bans: Bans) -> None:
    fail(bans, 4)
    bans.passed("192.0.2.1")
    assert not fail(bans, 4)


def test_a_ban_can_be_lifted_as_it_is_listed(bans: Bans) -> None:
    assert fail(bans, 5, "2001:db8::1")
    assert bans.left("2001:db8::2") == 60  # the same network
    assert bans.left("2001:db8:0:1::1") == 0
    (ban,) = bans.listed()
    assert bans.lift(ban.address)
    assert bans.left("2001:db8::1") == 0
    assert not bans.lift(ban.address)


def test_a_mapped_address_is_the_address(bans: Bans) -> None:
    fail(bans, 5, "::ffff:192.0.2.1")
    assert bans.left("192.0.2.1") == 60


def test_what_is_remembered_is_bounded(bans: Bans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 10)
    for number in range(20):
        fail(bans, 5, f"192.0.2.{number}")
    assert len(bans.listed()) == 10
