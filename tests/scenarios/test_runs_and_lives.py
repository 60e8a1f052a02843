"""`treadle up` with the node it has: killed, stopped and started again while runs go on, and many runs at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.fleet import (
    ONLY,
    Caller,
    Follower,
    end_all,
    expected,
    holders_of,
    left_of,
    node,
    nothing_left,
    pids,
    printing,
    read,
)
from tests.scenarios.own_nats import own_nats
from tests.scenarios.serving import server, until
from tests.scenarios.test_nodes import admitted, bus_of

WAITS = "echo ready; exec sleep 300"
FOREVER = "while :; do sleep 0.1; done"
STUBBORN = f"trap '' TERM; (setsid sh -c 'trap \"\" TERM; {FOREVER}' &); echo ready; {FOREVER}"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    end_all(home)


def children_of(parent: int) -> list[int]:
    """All children of a process, zombies too."""
    wanted = str(parent).encode()
    return [pid for pid in pids() if read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[1:2] == [wanted]]


def test_a_run_goes_on_while_its_server_is_killed_and_started_again(home: Path) -> None:
    size = 3_000_000
    with server(home, *ONLY) as up:
        call = Caller(up, home)
        id = call.start(*printing(size, 0.05))
        stays = call.start(shell="read line; echo $line; exit 9", stdin=True)
        follower = Follower(call, id)
        until(lambda: follower.at > size // 5, "output")
        pid = left_of(home)
        up.signal(signal.SIGKILL)
        up.ended()
        assert left_of(home) == pid
        with server(home, *ONLY) as again:
            call.up = again
            end = follower.finished()
            assert (end["state"], end["code"], end["end"]) == ("succeeded", 0, size)
            assert follower.digest.hexdigest() == expected(size)
            call.must(f"/api/runs/{stays}/input", {"text": "still here\n"})
            run = call.ended(stays)
            assert (run["code"], call.raw(stays)) == (9, b"still here\n")
            attempts = call.must(f"/api/queue/tasks/{stays}")["attempts"]
            assert [attempt["fence"] for attempt in attempts] == [1]
            nothing_left(home)
            assert again.stop() == 0


def test_a_stop_ends_what_runs_and_says_so_to_who_watches(home: Path) -> None:
    with server(home, *ONLY) as up:
        call = Caller(up, home)
        ids = [call.start(shell=shell, grace=1) for shell in (WAITS, STUBBORN)]
        for id in ids:
            call.prints(id, b"ready")
        followers = [Follower(call, id) for id in ids]
        until(lambda: all(follower.at for follower in followers), "the watchers")
        began = time.monotonic()
        assert up.stop() == 0
        assert time.monotonic() - began < 10
        for follower in followers:
            end = follower.finished()
            assert (end["state"], end["reason"], follower.cuts) == ("failed", "shutdown", 0)
        assert left_of(home) == holders_of(home) == []
        assert runs_of(home) == []
    with server(home, *ONLY) as again:
        call.up = again
        for id in ids:
            run = call.run(id)
            assert (run["state"], run["reason"], run["finished"] is not None) == ("failed", "shutdown", True)
            assert call.raw(id) == b"ready\n"
        assert call.ended(call.start("true"))["code"] == 0
        assert again.stop() == 0


def runs_of(home: Path) -> list[str]:
    """The runs that the node in this home keeps something of."""
    return [state.parent.name for state in (home / "node").rglob("state")]


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_five_hundred_runs_leave_nothing_behind(home: Path) -> None:
    with server(home, *ONLY) as up:
        call, pid = Caller(up, home), up.process.pid
        for id in [call.start("true") for _ in range(60)]:  # threads for work on files are kept
            assert call.ended(id)["code"] == 0

        until(lambda: children_of(pid) == [], "the warm-up to be over")
        before, kept = descriptors(pid), threads(pid) + min(32, (os.cpu_count() or 1) + 4)
        ids = [call.start(shell=f"echo {number}") for number in range(500)]
        for number, id in enumerate(ids):
            assert call.ended(id)["code"] == 0
            assert call.raw(id) == b"%d\n" % number
        until(lambda: children_of(pid) == [] and holders_of(home) == [], "all children to be gone")
        until(lambda: descriptors(pid) <= before, f"no more than {before} descriptors")
        assert threads(pid) <= kept  # those for work on files are made as they are needed, and kept
        assert runs_of(home) == []
        starts = [call.run(id)["started"] for id in ids]
        assert starts == sorted(starts)
        assert up.stop() == 0


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_node_that_is_silent_for_too_long(tmp_path: Path) -> None:
    """It is absent, its runs are lost or run again elsewhere, and nothing that it says late is believed."""
    script = "trap '' TERM HUP; (setsid sleep 300 &); i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done"
    mark, homes = tmp_path / "mark", {name: tmp_path / name for name in ("loom", "shuttle")}
    with own_nats(tmp_path) as nats, server(tmp_path / "server", *ONLY, *bus_of(nats), verb="serve") as up:
        call = Caller(up, tmp_path / "server")
        own = {name: (home, *admitted(nats, home), "--name", name) for name, home in homes.items()}

        def stands(name: str, state: str) -> None:
            deadline = time.monotonic() + 60
            while call.nodes()[name]["state"] != state:
                assert time.monotonic() < deadline, f"{name} is not {state}"
                time.sleep(0.05)

        with node(*own["loom"]) as loom:
            fails = call.start(shell=script, grace=0.5)
            moves = call.start(shell=f"[ -e {mark} ] && exit 6; touch {mark}; {script}", on_lost="requeue", grace=0.5)
            call.prints(fails, b"line 2")
            call.prints(moves, b"line 2")
            with node(*own["shuttle"]) as shuttle:
                stays = call.start(shell="echo ready; read line; exit 8", on="shuttle", stdin=True)
                call.prints(stays, b"ready")
                for each in (loom, shuttle):
                    each.signal(signal.SIGSTOP)
                stands("loom", "absent")
                stands("shuttle", "absent")
                call.must(f"/api/queue/nodes/{shuttle.id}", method="DELETE")
                assert set(call.nodes()) == {"loom"}
                shuttle.signal(signal.SIGCONT)
                until(lambda: "shuttle" in call.nodes(), "the removed node to join again")
                call.must(f"/api/runs/{stays}/input", {"text": "\n"})
                assert call.ended(stays)["code"] == 8

                lost = call.ended(fails)
                assert (lost["state"], lost["reason"], lost["node"]) == ("failed", "lost", "loom")
                printed = call.raw(fails)
                moved = call.ended(moves)
                assert (moved["code"], moved["node"]) == (6, "shuttle")
                attempts = call.must(f"/api/queue/tasks/{moves}")["attempts"]
                assert [(attempt["worker"], attempt["state"]) for attempt in attempts] == [
                    ("node/loom", "lost"),
                    ("node/shuttle", "failed"),
                ]

                assert len(left_of(homes["loom"])) >= 4  # nobody could end them yet
                loom.signal(signal.SIGCONT)
                nothing_left(homes["loom"])
                stands("loom", "present")
                assert call.raw(fails) == printed
                assert call.run(fails) == lost
                assert loom.stop() == shuttle.stop() == 0
