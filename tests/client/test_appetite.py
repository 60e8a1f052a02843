"""How many tasks a worker wants: long ones are not hoarded, short ones come in hundreds."""

from __future__ import annotations

import pytest

from treadle.client.appetite import Appetite


def test_at_first_it_takes_one_for_each_hand() -> None:
    appetite = Appetite(8)
    assert appetite.wants(ready=0, busy=0) == 8
    assert appetite.wants(ready=0, busy=8) == 0
    assert appetite.wants(ready=3, busy=5) == 0


@pytest.mark.parametrize(("seconds", "ahead"), [(60.0, 0), (0.5, 4), (0.01, 200), (0.000_01, 500)])
def test_what_lies_ready_is_a_quarter_of_a_second_of_work(seconds: float, ahead: int) -> None:
    appetite = Appetite(8)
    appetite.took(seconds)
    assert appetite.ahead == ahead
    assert appetite.wants(ready=0, busy=8) == min(250, ahead)


def test_a_claim_waits_until_half_is_used_up() -> None:
    appetite = Appetite(1)
    appetite.took(0.001)  # 250 ahead
    assert appetite.wants(ready=126, busy=1) == 0
    assert appetite.wants(ready=125, busy=1) == 125
    assert appetite.wants(ready=0, busy=1) == 250


def test_the_newest_tasks_weigh_more() -> None:
    appetite = Appetite(1)
    appetite.took(0.001)
    for _ in range(60):
        appetite.took(10.0)
    assert appetite.ahead == 0
