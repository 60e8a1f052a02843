"""The clock under everything a wall clock does: slewing, steps of an hour, a suspended machine."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treadle.core.clock import CATCH_UP, FOLLOW, HOUR, MINUTE, SECOND, SteadyClock

START = 1_700_000_000 * SECOND
LEASE = 10 * MINUTE


class Machine:
    """A machine's two clocks, in microseconds, as the system calls give them: nanoseconds."""

    def __init__(self) -> None:
        self.wall_us, self.monotonic_us = START, 5 * HOUR
        self.clock = SteadyClock(lambda: self.wall_us * 1000, lambda: self.monotonic_us * 1000)

    def live(self, elapsed: int) -> int:
        """Let real time pass; what the clock shows then."""
        self.wall_us += elapsed
        self.monotonic_us += elapsed
        return self.clock()

    def step(self, by: int) -> None:
        """Somebody sets the wall clock."""
        self.wall_us += by


def lives(machine: Machine, lease: int, each: int = SECOND) -> int:
    """For how much real time a lease given now is seen as running."""
    until, began = machine.clock() + lease, machine.monotonic_us
    while machine.live(each) < until:
        pass
    return machine.monotonic_us - began


def test_it_shows_the_wall_clock_in_microseconds() -> None:
    machine = Machine()
    assert machine.clock() == START
    assert machine.live(123_456) == START + 123_456


@pytest.mark.parametrize("step", [-HOUR, HOUR])
@pytest.mark.parametrize("each", [10_000, SECOND, MINUTE])
def test_a_lease_of_ten_minutes_survives_a_step_and_lives_no_longer_than_a_ninth_more(step: int, each: int) -> None:
    machine = Machine()
    machine.step(step)
    assert LEASE * 9 // 10 <= lives(machine, LEASE, each) <= LEASE * 10 // 9 + each


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_step_in_the_middle_of_a_lease(step: int) -> None:
    machine = Machine()
    until = machine.clock() + LEASE
    machine.live(LEASE // 2)
    machine.step(step)
    assert machine.clock() < until  # not lost at once
    began = machine.monotonic_us
    while machine.live(SECOND) < until:
        pass
    assert LEASE * 4 // 10 <= machine.monotonic_us - began <= LEASE * 6 // 10  # and not doubled


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_after_a_step_it_bends_at_a_tenth_until_it_meets_the_wall(step: int) -> None:
    machine = Machine()
    machine.step(step)
    before = machine.clock()
    share = MINUTE // CATCH_UP
    assert machine.live(MINUTE) - before == MINUTE + (share if step > 0 else -share)
    for _ in range(10 * 60 + 10):
        machine.live(MINUTE)
    assert machine.clock() == machine.wall_us


@pytest.mark.parametrize("slew", [FOLLOW, 250_000, 1])
def test_a_small_difference_is_taken_over_at_once(slew: int) -> None:
    ahead = Machine()
    ahead.step(slew)
    assert ahead.clock() == ahead.wall_us
    behind = Machine()
    behind.step(-slew)
    assert behind.clock() == START  # stands still rather than going back
    assert behind.live(slew // 2) == START
    assert behind.live(slew) == behind.wall_us


def test_a_suspended_machine_keeps_its_leases() -> None:
    """While it sleeps the wall clock runs and the monotonic one stands: its own workers slept, too."""
    machine = Machine()
    until = machine.clock() + LEASE
    machine.step(8 * HOUR)
    assert machine.clock() < until
    assert machine.live(LEASE // 2) < until
    assert machine.live(LEASE // 2) >= until


@settings(max_examples=150, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(0, 30 * MINUTE), st.one_of(st.just(0), st.integers(-2 * HOUR, 2 * HOUR))),
        max_size=40,
    )
)
def test_it_never_goes_back_and_never_jumps(happened: list[tuple[int, int]]) -> None:
    machine = Machine()
    shown = machine.clock()
    for elapsed, step in happened:
        machine.step(step)
        passed = machine.live(elapsed) - shown
        assert 0 <= passed <= elapsed + max(elapsed // CATCH_UP, FOLLOW)
        if abs(step) > FOLLOW:  # a step is absorbed by bending, so at least nine tenths of real time pass
            assert passed >= elapsed - max(elapsed // CATCH_UP, FOLLOW)
        shown += passed


def test_the_real_clock_runs() -> None:
    clock = SteadyClock()
    shown = [clock() for _ in range(1000)]
    assert shown == sorted(shown)
    assert shown[0] > 1_600_000_000 * SECOND
