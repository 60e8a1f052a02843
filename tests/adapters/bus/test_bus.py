"""What every bus promises: hints that wake, requests that are answered, refused at once or given up in time."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adapters.bus.conftest import Reports, Two
from treadle.adapters.bus.messages import LARGEST
from treadle.adapters.bus.nats_server import NatsServer
from treadle.adapters.bus.opening import open_bus
from treadle.core import topics
from treadle.core.errors import Denied, Invalid, Unanswered, Unreachable
from treadle.core.ports import Bus, Listener

ODD = [
    "queue.a b",
    "queue.a.b",
    "queue.*",
    "queue.>",
    "task.",
    "task..x",
    ".",
    "% %25",
    "tâche.✓\r\n",
    "x" * 300,
    "\ud800",
]
TOPICS = [topics.EVENTS, *(make("a.*.>\t%2e") for make in (topics.queue, topics.task, topics.output))]
LONG = 30.0
"""Seconds that nothing here takes."""


async def echo(subject: str, payload: bytes) -> bytes:
    return subject.encode(errors="surrogatepass") + b"|" + payload


async def quiet(listener: Listener) -> None:
    """Takes the hint that a new listener may get so that it looks."""
    await listener.heard(0)


async def test_a_hint_wakes_every_listener_of_its_topic_and_no_other(two: Two) -> None:
    for topic in (*TOPICS, *ODD):
        with two.here.listen(topic) as first, two.here.listen(topic) as second, two.here.listen(topic + "_") as other:
            await two.settled()
            for each in (first, second, other):
                await quiet(each)
            waiting = [asyncio.create_task(listener.heard(LONG)) for listener in (first, second)]
            two.there.publish(topic)
            assert await asyncio.gather(*waiting) == [True, True], ascii(topic)
            with two.here.serve("mark", echo):  # what was said before this answer has arrived
                await two.settled()
                await two.there.request("mark", b"", LONG)
            assert await other.heard(0) is False, ascii(topic)


async def test_a_hint_is_kept_until_the_next_look_and_for_nobody_else(two: Two) -> None:
    two.there.publish("a")
    with two.here.listen("a") as listener:
        await two.settled()
        await quiet(listener)
        assert await listener.heard(0.01) is False
        two.there.publish("a")
        two.there.publish("a")
        two.there.publish("b")
        assert await listener.heard(LONG) is True
    with two.here.listen("a") as later:
        await two.settled()
        await quiet(later)
        assert await later.heard(0.01) is False


async def test_a_new_listener_misses_nothing_said_while_it_looked(two: Two) -> None:
    """Who listens and then looks hears of all that came after the look, though the others learn of it late."""
    for number in range(20):
        with two.here.listen(f"a{number}") as listener:
            two.there.publish(f"a{number}")  # before the server knows that somebody listens
            assert await listener.heard(LONG) is True


async def test_every_topic_says_what_is_said_there() -> None:
    made = [each for _, each in inspect.getmembers(topics, inspect.isfunction) if each.__module__ == topics.__name__]
    assert all(inspect.getdoc(each) for each in made)
    names: Counter[str] = Counter(_name(each) for each in made)
    names[topics.EVENTS] += 1
    assert max(names.values()) == 1
    assert "kept for nobody" in (topics.__doc__ or "")


def _name(make: Callable[[str], str]) -> str:
    return make("x")


async def test_a_request_is_answered(two: Two) -> None:
    for subject in ("a", "a.b.c", "a.b c.*", "a.>x", "a..b", "node.ü"):
        with two.here.serve(subject, echo):
            await two.settled()
            assert await two.there.request(subject, b"\x00\xff", LONG) == subject.encode() + b"|\x00\xff"
            assert await two.there.request(subject, b"", LONG) == subject.encode() + b"|"


async def test_whoever_serves_the_rest_is_asked_for_whatever_follows(two: Two) -> None:
    with two.here.serve("a.>", echo):
        await two.settled()
        for subject in ("a.b", "a.b.c", "a.>", "a.", "a.*.✓"):
            assert await two.there.request(subject, b"", LONG) == subject.encode() + b"|"
        for subject in ("a", "ab.c", "b.a.b", ">"):
            with pytest.raises(Unreachable):
                await two.there.request(subject, b"", LONG)


async def test_nobody_there_is_said_at_once(two: Two) -> None:
    with two.here.serve("somebody", echo):
        await two.settled()
        await two.there.request("somebody", b"", LONG)
        took = []
        for _ in range(5):
            began = time.perf_counter()
            with pytest.raises(Unreachable) as refused:
                await two.there.request("nobody.there", b"", LONG)
            took.append(time.perf_counter() - began)
            assert not isinstance(refused.value, Unanswered)
            assert "nobody.there" in refused.value.message
    assert min(took) < 0.05
    with pytest.raises(Unreachable, match="Nobody"):
        await two.there.request("somebody", b"", LONG)


async def test_silence_ends_after_the_time_given(two: Two) -> None:
    never = asyncio.Event()

    async def silent(subject: str, payload: bytes) -> bytes:
        await never.wait()
        return b""

    with two.here.serve("a", silent):
        await two.settled()
        began = time.monotonic()
        with pytest.raises(Unanswered):
            await two.there.request("a", b"", 0.1)
        assert 0.09 < time.monotonic() - began < LONG / 2


async def test_an_answer_that_fails_is_reported_and_told_at_once(two: Two) -> None:
    async def failing(subject: str, payload: bytes) -> bytes:
        raise Denied(f"not {payload.decode()}") if payload else ZeroDivisionError

    with two.here.serve("a", failing):
        await two.settled()
        for payload, fault in ((b"", ZeroDivisionError), (b"you", Denied)):
            with pytest.raises(Unanswered, match="failed") as refused:
                await two.there.request("a", payload, LONG)
            assert "not you" not in refused.value.message
            assert isinstance(two.reports.errors[-1], fault)
    assert two.reports.texts == ["Answering a failed"] * 2


async def test_several_who_serve_a_subject_share_its_requests(two: Two) -> None:
    asked: Counter[str] = Counter()

    def counting(who: str) -> Callable[[str, bytes], asyncio.Future[bytes]]:
        async def answer(subject: str, payload: bytes) -> bytes:
            asked[who] += 1
            return who.encode()

        return lambda subject, payload: asyncio.ensure_future(answer(subject, payload))

    with (
        two.here.serve("a.b", counting("one")),
        two.here.serve("a.b", counting("two")),
        two.there.serve("a.>", counting("three")),
    ):
        await two.settled()
        for _ in range(60):
            await two.there.request("a.b", b"", LONG)
    assert sum(asked.values()) == 60
    assert all(asked[who] >= 5 for who in ("one", "two", "three"))


async def test_payloads_up_to_the_largest_and_no_larger(two: Two) -> None:
    async def give(subject: str, payload: bytes) -> bytes:
        return bytes(int(payload)) if subject == "give" else payload

    with two.here.serve("give", give), two.here.serve("back", give):
        await two.settled()
        big = os.urandom(LARGEST)
        assert await two.there.request("back", big, LONG) == big
        with pytest.raises(Invalid, match="1048577 bytes; the bus carries at most 1048576"):
            await two.there.request("back", big + b"x", LONG)
        assert len(await two.there.request("give", b"%d" % LARGEST, LONG)) == LARGEST
        with pytest.raises(Unanswered):
            await two.there.request("give", b"%d" % (LARGEST + 1), LONG)
        assert isinstance(two.reports.errors[-1], Invalid)
        assert await two.there.request("give", b"3", LONG) == b"\0\0\0"


async def test_requests_do_not_wait_for_each_other(two: Two) -> None:
    release = asyncio.Event()
    begun = asyncio.Semaphore(0)

    async def slow(subject: str, payload: bytes) -> bytes:
        begun.release()
        await release.wait()
        return payload

    with two.here.serve("slow", slow), two.here.serve("quick", echo):
        await two.settled()
        asking = [asyncio.create_task(two.there.request("slow", b"%d" % n, LONG)) for n in range(50)]
        for _ in asking:
            await begun.acquire()
        assert await two.there.request("quick", b"", LONG) == b"quick|"
        release.set()
        assert await asyncio.gather(*asking) == [b"%d" % n for n in range(50)]


async def test_who_stops_waiting_leaves_nothing_behind(two: Two) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def slow(subject: str, payload: bytes) -> bytes:
        begun.set()
        await release.wait()
        return b"late"

    with two.here.serve("slow", slow), two.here.serve("quick", echo):
        await two.settled()
        before = asyncio.all_tasks()
        asking = asyncio.create_task(two.there.request("slow", b"", LONG))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        release.set()
        assert await two.there.request("quick", b"", LONG) == b"quick|"
        await gone(asyncio.all_tasks() - before)
    assert two.reports.texts == []


async def test_who_stops_serving_tells_those_who_wait(two: Two) -> None:
    begun = asyncio.Event()

    async def never(subject: str, payload: bytes) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    with two.here.serve("a", never):
        await two.settled()
        asking = asyncio.create_task(two.there.request("a", b"", LONG))
        await begun.wait()
    with pytest.raises(Unanswered, match="stopped"):
        await asking
    with pytest.raises(Unreachable, match="Nobody serves a"):
        await two.there.request("a", b"", LONG)
    assert two.reports.texts == []


async def test_requests_in_the_moment_of_the_end_are_answered_or_told(two: Two) -> None:
    """However the end of serving and a flood of requests fall together, nobody waits for the whole time given."""
    with two.here.serve("a", echo):
        await two.settled()
        asking = [asyncio.create_task(two.there.request("a", b"", LONG)) for _ in range(200)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    async with asyncio.timeout(LONG / 2):
        ends = await asyncio.gather(*asking, return_exceptions=True)
    assert {end if isinstance(end, bytes) else type(end) for end in ends} <= {b"a|", Unreachable, Unanswered}
    assert b"a|" in ends


async def test_what_is_no_subject_is_refused(two: Two) -> None:
    for subject in ("", "x" * 1025, "✓" * 200):
        with pytest.raises(ValueError, match="not a subject"):
            await two.there.request(subject, b"", LONG)
        with pytest.raises(ValueError, match="not a subject"), two.here.serve(subject, echo):
            pass


@pytest.mark.parametrize("kind", ["local", "nats"])
async def test_closing_leaves_nothing(kind: str, tmp_path: Path, reports: Reports) -> None:
    server = NatsServer(tmp_path, report=reports)
    await server.start()
    tasks, threads, sockets = asyncio.all_tasks(), threading.active_count(), open_sockets()
    bus: Bus = await open_bus(
        "local:" if kind == "local" else server.url, name="a", report=reports, credentials=server.credentials
    )
    begun = asyncio.Event()

    async def never(subject: str, payload: bytes) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    with bus.serve("a", never), bus.listen("b"):
        asking = asyncio.create_task(bus.request("a", b"", LONG))
        await begun.wait()
        await bus.close()
        with pytest.raises(Unanswered):
            await asking
        with pytest.raises(Unreachable, match="closed"):
            await bus.request("a", b"", LONG)
        bus.publish("b")
    await bus.close()
    with pytest.raises(Unreachable, match="closed"):
        await bus.request("a", b"", LONG)
    assert asyncio.all_tasks() == tasks
    assert threading.active_count() == threads
    await asyncio.sleep(0)
    assert open_sockets() == sockets
    await server.stop()
    assert reports.texts == []


def open_sockets() -> int:
    """How many sockets of the network this process has."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
        except OSError:
            continue
    return count


async def gone(tasks: set[asyncio.Task[object]]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=5)
    assert all(task.done() for task in tasks)
