"""A server and a node as two processes on a real NATS server: what runs there survives whatever is killed between."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios.fleet import (
    ONLY,
    Caller,
    Follower,
    NodeProcess,
    expected,
    left_of,
    node,
    nothing_left,
    printing,
    refused_node,
)
from tests.scenarios.own_nats import OwnNats, own_nats
from tests.scenarios.serving import server, until
from treadle.adapters.bus.credentials import new_seed

MB = 1_000_000


@dataclass
class Fleet:
    """A server and one node, which is called loom and has two slots."""

    folder: Path
    nats: OwnNats
    caller: Caller
    node: NodeProcess

    @property
    def home(self) -> Path:
        return self.folder / "node"


def admitted(nats: OwnNats, home: Path) -> tuple[str | Path, ...]:
    """What a node in this home is started with: its first start made its id, by which it is admitted."""
    if not (home / "node" / "id").exists():
        stranger = home.with_name("stranger.nk")
        stranger.write_text(new_seed() + "\n")
        wrong = refused_node(home, "--bus", nats.url, "--bus-credentials", stranger)
        assert (wrong.code, wrong.stdout) == (1, "")
        assert "Authorization" in wrong.line
        assert identity(home) in wrong.line
    id = identity(home)
    return "--bus", nats.url, "--bus-credentials", nats.node(id)


def identity(home: Path) -> str:
    return (home / "node" / "id").read_text().strip()


def bus_of(nats: OwnNats) -> tuple[str | Path, ...]:
    return "--bus", nats.url, "--bus-credentials", nats.credentials


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with own_nats(folder) as nats, server(folder / "server", *ONLY, *bus_of(nats), verb="serve") as up:
        own = admitted(nats, folder / "node")
        with node(folder / "node", *own, "--name", "loom", "--slots", "2") as loom:
            yield Fleet(folder, nats, Caller(up, folder / "server"), loom)
            assert loom.stop() == 0
            assert up.stop() == 0


def test_a_run_there_starts_streams_is_fed_and_ends(fleet: Fleet) -> None:
    call = fleet.caller
    shown = call.nodes()["loom"]
    assert (shown["id"], shown["state"], shown["slots"]) == (fleet.node.id, "present", 2)
    id = call.start(
        shell="echo ready; read line; stty size; echo got $line; exit 7", pty={"columns": 80, "rows": 24}, on="loom"
    )
    call.prints(id, b"ready")
    call.must(f"/api/runs/{id}/resize", {"columns": 61, "rows": 17})
    call.must(f"/api/runs/{id}/input", {"text": "tea\n"})
    run = call.ended(id)
    assert (run["state"], run["code"], run["node"], run["on"]) == ("failed", 7, "loom", "loom")
    assert call.raw(id).replace(b"\r", b"").endswith(b"17 61\ngot tea\n")


@pytest.mark.parametrize("way", ["signal", "cancel", "remove"])
def test_a_run_there_is_ended_at_once(fleet: Fleet, way: str) -> None:
    call = fleet.caller
    id = call.start(shell="trap '' HUP; setsid sleep 300 & (sleep 301 &) ; echo ready; sleep 302")
    call.prints(id, b"ready")
    assert len(left_of(fleet.home)) >= 3
    if way == "signal":
        call.must(f"/api/runs/{id}/signal", {"signal": "TERM", "grace": 2})
        assert call.ended(id)["reason"] == "killed"
    elif way == "cancel":
        call.must(f"/api/queue/tasks/{id}/cancel", {})
        assert call.run(id)["state"] == "cancelled"
    else:
        call.must("/api/queue/projects/runs", method="DELETE")
        assert call.ask(f"/api/runs/{id}")[0] == 404
    nothing_left(fleet.home)


def test_a_node_that_is_not_there_is_refused(fleet: Fleet) -> None:
    status, said = fleet.caller.ask("/api/runs", {"argv": ["true"], "on": "nowhere"})
    assert (status, "nowhere" in said["error"]) == (404, True)


def test_two_servers_and_a_nats_server_are_killed_and_the_stream_is_whole(tmp_path: Path) -> None:
    size = 4 * MB
    with own_nats(tmp_path) as nats:
        arguments = (*ONLY, *bus_of(nats))
        with server(tmp_path / "server", *arguments, verb="serve") as first:
            call = Caller(first, tmp_path / "server")
            with node(tmp_path / "node", *admitted(nats, tmp_path / "node"), "--name", "loom") as loom:
                id = call.start(*printing(size, 0.05))
                follower = Follower(call, id)
                until(lambda: follower.at > size // 6, "output")
                first.signal(signal.SIGKILL)
                first.ended()
                with server(tmp_path / "server", *arguments, verb="serve") as second:
                    call.up = second
                    until(lambda: follower.at > size // 3, "output of the second server")
                    nats.signal(signal.SIGKILL)
                    until(lambda: follower.at > size // 2, "output over the second NATS server")
                    waiting = call.start("true")  # the node takes it although nobody answered its last question
                    end = follower.finished()
                    assert (end["state"], end["code"], end["end"]) == ("succeeded", 0, size)
                    assert follower.digest.hexdigest() == expected(size)
                    assert follower.cuts >= 1
                    assert call.ended(waiting)["state"] == "succeeded"
                    assert loom.stop() == 0
                    assert call.nodes()["loom"]["state"] == "absent"
                    assert second.stop() == 0
        nothing_left(tmp_path / "node")


def test_a_node_is_killed_and_finds_its_run_again(tmp_path: Path) -> None:
    size, home = 3 * MB, tmp_path / "node"
    with own_nats(tmp_path) as nats, server(tmp_path / "server", *ONLY, *bus_of(nats), verb="serve") as up:
        call, own = Caller(up, tmp_path / "server"), admitted(nats, home)
        with node(home, *own, "--name", "loom", keep=True) as first:
            id = call.start(*printing(size, 0.05))
            follower = Follower(call, id)
            until(lambda: follower.at > size // 6, "output")
            first.signal(signal.SIGKILL)
            first.process.wait()
            waiting = call.start("true")
        with node(home, *own, "--name", "loom") as second:
            assert second.id == first.id
            end = follower.finished()
            assert (end["state"], end["code"], end["end"]) == ("succeeded", 0, size)
            assert (follower.digest.hexdigest(), follower.cuts) == (expected(size), 0)
            assert call.ended(waiting)["code"] == 0
            nothing_left(home)


@pytest.mark.slow
def test_a_hundred_megabytes_arrive_as_they_were_printed(fleet: Fleet) -> None:
    id = fleet.caller.start(*printing(100 * MB))
    assert fleet.caller.ended(id)["output"] == {"first": 0, "end": 100 * MB}
    assert hashlib.sha256(fleet.caller.raw(id)).hexdigest() == expected(100 * MB)
