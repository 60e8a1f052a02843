"""What waits for a slow client: streams are dropped with a word, replies never (spec 3.6)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from treadle.faces.architect.outbox import Dropped, Outbox


def drained(outbox: Outbox) -> list[bytes | Dropped]:
    found = []
    while (frame := outbox.take()) is not None:
        found.append(frame)
    return found


def test_in_order() -> None:
    outbox = Outbox(100)
    assert outbox.put(b"a")
    assert outbox.put(b"b", "s")
    assert outbox.put(b"c")
    assert drained(outbox) == [b"a", b"b", b"c"]
    assert (outbox.size, len(outbox)) == (0, 0)


def test_streams_go_first_and_the_gap_is_told_where_it_is() -> None:
    outbox = Outbox(100)
    outbox.put(b"r" * 10)
    for n in range(10):
        assert outbox.put(b"%010d" % n, "s")
    assert outbox.size <= 100
    assert outbox.put(b"q" * 10)
    first, gap, *rest = drained(outbox)
    assert first == b"r" * 10
    assert isinstance(gap, Dropped)
    assert rest == [b"%010d" % n for n in range(gap.frames, 10)] + [b"q" * 10]


def test_a_gap_at_the_end_is_told_too() -> None:
    outbox = Outbox(10)
    outbox.put(b"s" * 8, "s")
    outbox.put(b"r" * 8)
    assert drained(outbox) == [b"r" * 8, Dropped("s", 1)]


def test_replies_beyond_the_limit_say_that_the_client_is_too_slow() -> None:
    outbox = Outbox(10)
    assert outbox.put(b"r" * 8)
    assert not outbox.put(b"r" * 8)
    assert drained(outbox) == [b"r" * 8] * 2


def test_a_stream_that_nobody_wants_is_forgotten() -> None:
    outbox = Outbox(100)
    outbox.put(b"s", "s")
    outbox.put(b"t", "t")
    outbox.forget("s")
    assert drained(outbox) == [b"t"]
    outbox.put(b"t", "t")
    outbox.forget()
    assert drained(outbox) == []


@given(st.lists(st.tuples(st.integers(1, 60), st.sampled_from([None, "a", "b"])), max_size=40))
def test_nothing_is_lost_without_a_word(puts: list[tuple[int, str | None]]) -> None:
    outbox = Outbox(100)
    for size, stream in puts:
        outbox.put(b"x" * size, stream)
    got = drained(outbox)
    dropped = sum(each.frames for each in got if isinstance(each, Dropped))
    sent = sum(isinstance(each, bytes) for each in got)
    assert sent + dropped == len(puts)
    assert sent >= sum(stream is None for _, stream in puts)
