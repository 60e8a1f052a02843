"""Pauses between tries: doubled, bounded, drawn from the whole range, short again after a good minute."""

from __future__ import annotations

from treadle.device.pausing import Pauses


def longest(pauses: Pauses, times: int, lasted: float = 0.0) -> list[float]:
    return [pauses.after(lasted) for _ in range(times)]


def test_the_most_doubles_up_to_a_minute() -> None:
    assert longest(Pauses(lambda _, most: most), 9) == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_jitter_is_full() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(least: float, most: float) -> float:
        asked.append((least, most))
        return least

    assert longest(Pauses(uniform), 3) == [0, 0, 0]
    assert asked == [(0, 1), (0, 2), (0, 4)]


def test_a_good_minute_makes_the_next_pause_short_again() -> None:
    pauses = Pauses(lambda _, most: most)
    longest(pauses, 5)
    assert pauses.after(59.9) == 32
    assert pauses.after(60.0) == 1
    assert pauses.after(0.0) == 2
