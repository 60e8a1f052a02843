"""The rules of a task as tables: from each state each move, who may make it, and how tries are counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from treadle.core.errors import LeaseLost, WrongState
from treadle.core.tasks import MOVES, REMEMBERED_HOLDERS, STATES, Attempt, Hold, Move, OnLost, Result, State, Task

NOBODY = Hold()
OK = Result(ok=True, output="cloth")
BAD = Result(ok=False, error="thread broke", retry=False)
AGAIN = Result(ok=False, error="thread broke", retry=True)

QUEUED = Task(id="t1", project="p1", created=0, updated=0, seq=7, max_retries=2)
RUNNING = QUEUED.claimed(worker="w", holder="h", attempt="a1", now=10, until=110)
SAMPLES: dict[str, Task] = {
    "queued": QUEUED,
    "running": RUNNING,
    "succeeded": RUNNING.succeeded(NOBODY, OK, 20),
    "failed": RUNNING.failed(NOBODY, BAD, 20),
    "cancelled": QUEUED.cancelled(None, 20),
}
DO: dict[Move, Callable[[Task], Task]] = {
    "claim": lambda task: task.claimed(worker="w2", holder=None, attempt="a2", now=30, until=130),
    "extend": lambda task: task.extended(NOBODY, 500, 30),
    "finish": lambda task: task.succeeded(NOBODY, OK, 30),
    "fail": lambda task: task.failed(NOBODY, AGAIN, 30),
    "lose": lambda task: task.lost(30),
    "release": lambda task: task.released(NOBODY, 30),
    "cancel": lambda task: task.cancelled("enough", 30),
    "requeue": lambda task: task.requeued(30),
    "edit": lambda task: task.edited(30, description="another"),
    "delete": lambda task: task.removable(),
}
TABLE = """
             queued     running    succeeded  failed     cancelled
    claim    running    -          -          -          -
    extend   -          running    -          -          -
    finish   -          succeeded  -          -          -
    fail     -          queued     -          -          -
    lose     -          queued     -          -          -
    release  -          queued     -          -          -
    cancel   cancelled  cancelled  -          -          -
    requeue  -          -          -          queued     queued
    edit     queued     -          -          -          -
    delete   queued     -          succeeded  failed     cancelled
"""
HEAD, *LINES = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [(line[0], state, lands) for line in LINES for state, lands in zip(HEAD, line[1:], strict=True)]


def test_the_table_has_every_move_and_every_state() -> None:
    assert {move for move, _, _ in CELLS} == set(get_args(Move)) == set(MOVES) == set(DO)
    assert tuple(HEAD) == get_args(State) == STATES


@pytest.mark.parametrize(("move", "state", "lands"), CELLS)
def test_a_move_from_a_state(move: Move, state: str, lands: str) -> None:
    task = SAMPLES[state]
    assert task.state == state
    if lands == "-":
        with pytest.raises(WrongState, match=f"is {state}"):
            DO[move](task)
    else:
        moved = DO[move](task)
        assert moved.state == lands
        assert (moved.id, moved.seq, moved.created) == (task.id, task.seq, task.created)
        assert (moved.lease is not None) == (moved.state == "running")
        assert (moved.finished is not None) == (moved.state in ("succeeded", "failed", "cancelled"))
        assert moved.updated == (task.updated if move == "delete" else 30)


# Who may act on a lease that passed from session `h` (fence 1) to session `h2` (fence 2) of the same worker `w`.
PASSED = RUNNING.passed_to("h2", 20)
HOLDS = [
    (Hold(), True),
    (Hold(worker="w"), True),
    (Hold(worker="x"), False),
    (Hold(holder="h2"), True),
    (Hold(holder="h"), False),
    (Hold(holder="never held it"), True),  # TaskDriver: a session that speaks for the worker may finish
    (Hold(fence=2), True),
    (Hold(fence=1), False),
    (Hold(fence=3), False),
    (Hold(worker="w", holder="h2", fence=2), True),
    (Hold(worker="w", holder="h"), False),
    (Hold(worker="w", fence=1), False),
    (Hold(worker="x", fence=2), False),
]
HELD: dict[str, Callable[[Hold], Task]] = {
    "extend": lambda by: PASSED.extended(by, 500, 30),
    "finish": lambda by: PASSED.succeeded(by, OK, 30),
    "fail": lambda by: PASSED.failed(by, AGAIN, 30),
    "release": lambda by: PASSED.released(by, 30),
}


@pytest.mark.parametrize("move", HELD)
@pytest.mark.parametrize(("by", "accepted"), HOLDS, ids=str)
def test_who_may_act_on_a_lease(move: str, by: Hold, accepted: bool) -> None:
    if accepted:
        assert HELD[move](by).updated == 30
    else:
        with pytest.raises(LeaseLost):
            HELD[move](by)


def test_a_lease_that_ran_out_still_counts_until_it_is_given_on() -> None:
    assert not RUNNING.expired(109)
    assert RUNNING.expired(110)
    assert RUNNING.succeeded(Hold(worker="w", fence=1), OK, 10_000).state == "succeeded"
    assert not QUEUED.expired(10_000)


def test_each_assignment_raises_the_fence() -> None:
    fences = []
    task = QUEUED
    for turn in range(4):
        task = task.claimed(worker=f"w{turn}", holder=None, attempt=f"a{turn}", now=turn, until=100)
        fences.append(task.fence)
        task = task.passed_to("s", turn)
        fences.append(task.fence)
        assert task.attempts[-1].fence == task.fence
        task = task.released(NOBODY, turn)
    assert fences == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [attempt.worker for attempt in task.attempts] == ["w0", "w1", "w2", "w3"]


def test_an_earlier_holder_is_refused_after_the_task_was_given_on() -> None:
    given_on = RUNNING.lost(120).claimed(worker="w", holder="h", attempt="a2", now=130, until=230)
    with pytest.raises(LeaseLost):  # same worker name, same session: only the fence tells the two apart
        given_on.succeeded(Hold(worker="w", holder="h", fence=1), OK, 140)
    assert given_on.succeeded(Hold(worker="w", holder="h", fence=2), OK, 140).state == "succeeded"


def test_passing_a_lease_on_and_back() -> None:
    assert RUNNING.passed_to("h", 20) is RUNNING
    assert PASSED.lease is not None
    assert PASSED.lease.displaced == ("h",)
    back = PASSED.passed_to("h", 30)
    assert back.lease is not None
    assert (back.lease.holder, back.lease.displaced) == ("h", ("h2",))
    nobody = PASSED.passed_to(None, 30)
    assert nobody.lease is not None
    assert nobody.lease.displaced == ("h", "h2")
    assert PASSED.lease.until == RUNNING.lease.until if RUNNING.lease else False


def test_only_the_last_displaced_holders_are_remembered_and_the_fence_refuses_the_others() -> None:
    task = RUNNING
    for turn in range(REMEMBERED_HOLDERS + 5):
        task = task.passed_to(f"s{turn}", 20)
    assert task.lease is not None
    assert len(task.lease.displaced) == REMEMBERED_HOLDERS
    assert "h" not in task.lease.displaced
    with pytest.raises(LeaseLost):
        task.succeeded(Hold(worker="w", holder="h", fence=1), OK, 30)


# How tries end: f = fail and retry, F = fail for good, l = lease lost, r = released, q = requeued by a person.
TRIES: list[tuple[int, OnLost, str, State, int]] = [
    (0, "requeue", "f", "failed", 1),
    (1, "requeue", "f", "queued", 1),
    (1, "requeue", "ff", "failed", 2),
    (2, "requeue", "fl", "queued", 2),
    (2, "requeue", "lfl", "failed", 3),
    (3, "requeue", "lll", "queued", 3),
    (3, "requeue", "llll", "failed", 4),
    (3, "requeue", "F", "failed", 1),
    (3, "requeue", "fF", "failed", 2),
    (3, "fail", "l", "failed", 1),
    (3, "fail", "ffl", "failed", 3),
    (0, "requeue", "rrrr", "queued", 0),
    (1, "requeue", "rfr", "queued", 1),
    (0, "requeue", "l", "failed", 1),
    (1, "requeue", "ffq", "queued", 0),
    (1, "requeue", "ffqff", "failed", 2),
    (0, "requeue", "Fqr", "queued", 0),
]


@pytest.mark.parametrize(("max_retries", "on_lost", "story", "state", "retries"), TRIES)
def test_how_tries_are_counted(max_retries: int, on_lost: OnLost, story: str, state: State, retries: int) -> None:
    task = Task(id="t", project="p", created=0, updated=0, max_retries=max_retries, on_lost=on_lost)
    for now, step in enumerate(story, 1):
        if step == "q":
            task = task.requeued(now)
            continue
        task = task.claimed(worker="w", holder=None, attempt=f"a{now}", now=now, until=now)
        if step == "l":
            task = task.lost(now)
        elif step == "r":
            task = task.released(NOBODY, now)
        else:
            task = task.failed(NOBODY, AGAIN if step == "f" else BAD, now)
    assert (task.state, task.retries) == (state, retries)
    names = {"f": "failed", "F": "failed", "l": "lost", "r": "released"}
    assert [attempt.state for attempt in task.attempts] == [names[step] for step in story if step != "q"]


def test_a_failure_that_does_not_say_whether_to_retry_is_final() -> None:
    assert RUNNING.failed(NOBODY, Result(ok=False, error="?"), 20).state == "failed"


def told(task: Task) -> list[tuple[str, str | None]]:
    results = [(attempt.state, attempt.result) for attempt in task.history()]
    return [(state, (result.error or result.output) if result else None) for state, result in results]


def test_history_gives_each_try_its_own_result() -> None:
    retried = RUNNING.failed(NOBODY, AGAIN, 20)
    assert told(retried) == [("failed", "thread broke")]
    second = retried.claimed(worker="w2", holder=None, attempt="a2", now=30, until=130)
    assert told(second) == [("failed", "thread broke"), ("running", None)]
    lost = second.lost(140)
    assert told(lost)[1] == ("lost", "The lease of w2 ran out before the task was finished")
    third = lost.claimed(worker="w3", holder=None, attempt="a3", now=150, until=250)
    done = third.succeeded(NOBODY, OK, 160)
    assert [state for state, _ in told(done)] == ["failed", "lost", "succeeded"]
    assert told(done)[2] == ("succeeded", "cloth")
    assert done.attempts[-1].result is None  # stored once, with the task
    assert told(third.failed(NOBODY, BAD, 170))[2] == ("failed", "thread broke")
    assert told(third.cancelled("enough", 180))[2] == ("cancelled", "enough")


def test_history_keeps_how_the_last_try_ended_when_a_person_requeues() -> None:
    again = RUNNING.failed(NOBODY, BAD, 20).requeued(30)
    assert (again.result, again.finished, again.retries) == (None, None, 0)
    assert told(again) == [("failed", "thread broke")]
    next_try = again.claimed(worker="w2", holder=None, attempt="a2", now=40, until=140).succeeded(NOBODY, OK, 50)
    assert told(next_try) == [("failed", "thread broke"), ("succeeded", "cloth")]


def test_cancelling_a_waiting_task_leaves_its_tries_alone() -> None:
    released = RUNNING.released(NOBODY, 20)
    off = released.cancelled(None, 30)
    assert off.history() == released.attempts == (Attempt("a1", "w", 1, 10, 110, "released", 20),)
    assert off.result == Result(ok=False, error="Cancelled", retry=False, reason="cancelled")


def test_a_claim_starts_the_clock_and_forgets_the_delay() -> None:
    late = Task(id="t", project="p", created=0, updated=0, not_before=9)
    task = late.claimed(worker="w", holder="h", attempt="a", now=10, until=110)
    assert (task.assigned, task.not_before) == (10, None)
    assert task.attempts == (Attempt("a", "w", 1, 10, 110),)
    assert task.extended(NOBODY, 999, 20).attempts[-1].lease_until == 999
    assert task.released(NOBODY, 20).assigned is None
