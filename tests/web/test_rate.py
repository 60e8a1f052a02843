"""The rate limit's windows: whom they count, when they end, how many are remembered."""

from __future__ import annotations

import pytest

from treadle.web.rate import RateLimit, client_key


def test_a_window_starts_with_the_first_call_and_ends_as_a_whole() -> None:
    rate = RateLimit(2, window=10)
    assert [rate.take("a", now).used for now in (100.5, 104, 109.9)] == [1, 2, 3]
    assert rate.look("a", 109.9).ends == 110
    assert rate.take("a", 110).used == 1
    assert rate.look("a", 111).ends == 120


def test_looking_counts_nothing_and_remembers_nobody() -> None:
    rate = RateLimit(2, window=10)
    assert rate.remaining(rate.look("a", 1)) == 2
    assert len(rate) == 0


def test_what_is_left_never_falls_below_nothing() -> None:
    rate = RateLimit(1)
    assert [rate.remaining(rate.take("a", 1)) for _ in range(3)] == [0, 0, 0]


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    rate = RateLimit(5, window=100, clients=3)
    for number, client in enumerate("abcd"):
        rate.take(client, number)
    assert len(rate) == 3
    assert [rate.look(client, 10).used for client in "abcd"] == [0, 1, 1, 1]


def test_ended_windows_are_forgotten() -> None:
    rate = RateLimit(5, window=10)
    for number in range(1000):
        rate.take(f"client {number}", number)
    assert len(rate) <= 11


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_whom_an_address_counts_as(address: str, key: str) -> None:
    assert client_key(address) == key
