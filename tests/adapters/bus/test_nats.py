"""The bus over NATS where things go wrong: the server dies, hangs or turns us away, or somebody pretends to be one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.adapters.bus.certificates import certificate
from tests.adapters.bus.conftest import Reports
from treadle.adapters.bus import link as link_module
from treadle.adapters.bus.address import BusAddress, BusUnusable
from treadle.adapters.bus.credentials import new_seed, public_key
from treadle.adapters.bus.link import Link
from treadle.adapters.bus.nats import NatsBus
from treadle.adapters.bus.nats_server import NatsServer
from treadle.adapters.bus.opening import open_bus
from treadle.core.errors import FabricError, Unanswered, Unreachable
from treadle.core.ports import Bus

LONG = 30.0

Open = Callable[..., Awaitable[NatsBus]]


async def echo(subject: str, payload: bytes) -> bytes:
    return subject.encode() + b"|" + payload


@pytest.fixture
async def connect(server: NatsServer, reports: Reports) -> AsyncIterator[Open]:
    """Opens a bus of our own server, with all rights unless a credentials file says otherwise."""
    opened: list[Bus] = []

    async def connect(name: str = "server", credentials: Path | None = None, url: str | None = None) -> NatsBus:
        bus = await open_bus(
            url or server.url, name=name, report=reports, credentials=credentials or server.credentials
        )
        opened.append(bus)
        assert isinstance(bus, NatsBus)
        return bus

    yield connect
    for bus in opened:
        await bus.close()


async def node(server: NatsServer, connect: Open, name: str, folder: Path) -> NatsBus:
    """A node that was admitted by hand."""
    seed = new_seed()
    server.admit(name, public_key(seed))
    await server.reload()
    return await connect(name, key_file(folder / f"{name}.nk", seed))


def key_file(path: Path, text: str) -> Path:
    path.write_text(text + "\n")
    return path


async def test_a_killed_server_comes_back_and_so_does_everybody(
    server: NatsServer, connect: Open, reports: Reports
) -> None:
    here, there = await connect(), await connect()
    begun = asyncio.Event()

    async def never(subject: str, payload: bytes) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    with here.listen("a") as listener, here.serve("a.>", echo), here.serve("never", never):
        await here.settled()
        await listener.heard(0)
        asking = asyncio.create_task(there.request("never", b"", LONG))
        await begun.wait()
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        with pytest.raises(Unanswered, match="lost before never answered"):
            await asking
        async with asyncio.timeout(LONG):
            assert await listener.heard(LONG)  # told once to look: hints may have passed
            while True:
                try:
                    assert await there.request("a.b", b"x", LONG) == b"a.b|x"
                    break
                except Unreachable:
                    continue  # one of the two is back before the other
            await here.settled()
            there.publish("a")
            assert await listener.heard(LONG)
    assert server.pid not in (None, first)
    assert any("started again" in text for text in reports.texts)
    assert reports.errors == []


async def test_while_the_server_is_away_requests_fail_in_time_and_hints_wait(
    server: NatsServer, connect: Open, reports: Reports
) -> None:
    here, there = await connect(), await connect()
    with here.listen("a") as listener:
        await here.settled()
        await listener.heard(0)
        await server.stop()
        await reports.said("is lost")
        began = time.monotonic()
        with pytest.raises(Unreachable) as refused:
            await there.request("b", b"", 0.2)
        assert 0.15 < time.monotonic() - began < LONG / 2
        assert not isinstance(refused.value, Unanswered)
        there.publish("a")
        with here.serve("b", echo):  # begun while nobody can be told
            await server.start()
            async with asyncio.timeout(LONG):
                await here.settled()
                assert await there.request("b", b"", LONG) == b"b|"
                assert await listener.heard(LONG)
    await reports.said("is back")
    assert reports.errors == []


def wait_stopped(pid: int) -> None:
    """The signal is sent, and each thread of the process has to come to it."""
    states = {"R"}
    while states != {"T"}:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        states = {stat.rpartition(")")[2].split()[0] for stat in stats}


async def test_a_server_that_hangs_is_noticed(
    server: NatsServer, connect: Open, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "PING_SECONDS", 0.05)
    bus = await connect()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        await asyncio.to_thread(wait_stopped, server.pid)
        with pytest.raises(Unanswered):
            await bus.request("a", b"", LONG)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    with bus.serve("a", echo):
        assert await bus.request("a", b"", LONG) == b"a|"


async def test_a_node_speaks_under_its_own_name_only(
    server: NatsServer, connect: Open, reports: Reports, tmp_path: Path
) -> None:
    desk = await connect()
    one, other = await node(server, connect, "A", tmp_path), await node(server, connect, "B", tmp_path)
    with desk.serve("desk.>", echo), one.serve("node.A.>", echo), desk.listen("queue.x") as listener:
        await desk.settled()
        await one.settled()
        await listener.heard(0)
        assert await one.request("desk.A", b"1", LONG) == b"desk.A|1"
        assert await one.request("desk.A.claim", b"2", LONG) == b"desk.A.claim|2"
        assert await desk.request("node.A.start", b"3", LONG) == b"node.A.start|3"
        for subject in ("desk.B", "desk.B.claim", "node.B.start", "node.A.start", "hint.queue.x", "_INBOX_server.x"):
            with pytest.raises(Unreachable, match="does not let us ask"):
                await one.request(subject, b"", LONG)
        one.publish("queue.x")
        await reports.said('publish to "hint.queue.x"')
        assert await listener.heard(0.05) is False
        for forbidden in ("desk.>", "desk.A", "node.B.>", "_INBOX_server.>", "_INBOX_B.>", "_INBOX.>"):
            with one.serve(forbidden, echo):
                await one.settled()
                await reports.said(f'subscription to "{forbidden.lower()}"')
        with one.listen("queue.x"):
            await reports.said('subscription to "hint.queue.x"')
        assert await other.request("desk.B", b"", LONG) == b"desk.B|"
    assert reports.errors == []


async def test_the_desk_answers_nobody_in_anothers_name(
    server: NatsServer, connect: Open, reports: Reports, tmp_path: Path
) -> None:
    """A may choose where its answer goes: B would take it for an order of the desk."""
    desk, other = await connect(), await node(server, connect, "B", tmp_path)
    asked: list[bytes] = []

    async def order(subject: str, payload: bytes) -> bytes:
        asked.append(payload)
        return b""

    seed = new_seed()
    server.admit("A", public_key(seed))
    await server.reload()
    link = await Link.open(BusAddress(server.url, key_file(tmp_path / "a", seed)), "A", reports)
    with desk.serve("desk.>", echo), other.serve("node.B.>", order):
        await desk.settled()
        await other.settled()
        await link.say("desk.A.claim", b"forged", reply="node.B.start")
        await reports.said("wanted its answer sent to somebody else")
        assert await desk.request("node.B.start", b"true", LONG) == b""
        assert asked == [b"true"]
    await link.close()


async def test_an_evicted_node_is_cut_and_comes_back_when_admitted_again(
    server: NatsServer, connect: Open, reports: Reports, tmp_path: Path
) -> None:
    bus, desk = await node(server, connect, "A", tmp_path), await connect()
    with desk.serve("desk.>", echo):
        await desk.settled()
        assert await bus.request("desk.A", b"", LONG) == b"desk.A|"
        public = (tmp_path / "nats" / "nodes" / "A.pub").read_text().strip()
        server.evict("A")
        await server.reload()
        await reports.said("cannot be reached: 'Authorization Violation'")
        with pytest.raises(Unreachable):
            await bus.request("desk.A", b"", 0.05)
        server.admit("A", public)
        await server.reload()
        assert await bus.request("desk.A", b"", LONG) == b"desk.A|"


async def test_the_first_connection_fails_soon_and_in_one_line(reports: Reports, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts, and says nothing
        nobody = socket.create_server(("127.0.0.1", 0))
        closed = nobody.getsockname()[1]
        nobody.close()
        for port in (closed, mute.getsockname()[1]):
            before, began = asyncio.all_tasks(), time.monotonic()
            with pytest.raises(
                Unreachable, match=rf"^The bus nats://127.0.0.1:{port} cannot be reached: .+$"
            ) as refused:
                await open_bus(f"nats://me:hidden@127.0.0.1:{port}", name="a", report=reports)
            assert time.monotonic() - began < 8
            assert "hidden" not in str(refused.value)
            assert asyncio.all_tasks() == before
    assert reports.texts == []


async def test_wrong_credentials_are_said_and_not_shown(server: NatsServer, reports: Reports, tmp_path: Path) -> None:
    stranger = new_seed()
    for text in (stranger, "me:hidden", "hidden-token"):
        with pytest.raises(Unreachable, match="Authorization Violation") as refused:
            await open_bus(server.url, name="a", report=reports, credentials=key_file(tmp_path / "key", text))
        assert "hidden" not in str(refused.value)
        assert stranger not in str(refused.value)
    address = server.url.replace("://", "://me:hidden@")
    with pytest.raises(Unreachable) as refused:
        await open_bus(address, name="a", report=reports)
    assert "hidden" not in f"{refused.value} {BusAddress(address)!r} {BusAddress(address).credentials()!r}"


UNREADABLE = [
    "http://a:1", "nats://", "nats://a:b:c", "nats://a:70000", "tls://a?fingerprint=xyz", "tls://a?fingerprint=",
    f"nats://a?fingerprint={'0' * 64}", "tls://a?insecure=1", "nats://a/b", "a:4222", "nats://a,,b",
]  # fmt: skip


async def test_what_is_no_url_of_a_bus_is_refused(reports: Reports) -> None:
    for url in UNREADABLE:
        with pytest.raises(BusUnusable, match="cannot be read"):
            await open_bus(url, name="a", report=reports)


async def test_a_name_that_would_widen_rights_is_refused(server: NatsServer, reports: Reports) -> None:
    for name in ("", "a.b", "a b", "*", ">", "x" * 129):
        with pytest.raises(BusUnusable, match="cannot be a name"):
            await open_bus(server.url, name=name, report=reports, credentials=server.credentials)


async def test_the_next_server_is_tried(server: NatsServer, connect: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    bus = await connect(url=f"nats://127.0.0.1:{closed},{server.url.removeprefix('nats://')}")
    with bus.serve("a", echo):
        assert await bus.request("a", b"", LONG) == b"a|"


async def test_a_pinned_certificate_and_no_other(reports: Reports, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    files, der = certificate(tmp_path / "files")
    server = NatsServer(tmp_path / "nats", tls=files, report=reports)
    await server.start()
    right, wrong = sha256(der).hexdigest(), "0" * 64
    for pins in (right, right.upper(), f"{wrong},{right}", f"{wrong}&fingerprint={right}"):
        bus = await open_bus(
            f"{server.url}?fingerprint={pins}", name="a", report=reports, credentials=server.credentials
        )
        with bus.serve("a", echo):
            big = b"x" * 300_000
            assert await bus.request("a", big, LONG) == b"a|" + big
        await bus.close()
    for query, why in ((f"?fingerprint={wrong}", "fingerprint is pinned"), ("", "self-signed|verify failed")):
        with pytest.raises(Unreachable, match=why):
            await open_bus(server.url + query, name="a", report=reports, credentials=server.credentials)
    await server.stop()
    assert reports.texts == []


async def test_who_asks_for_tls_says_nothing_without_it(reports: Reports) -> None:
    """A stranger in the middle that speaks as a NATS server without TLS gets no password."""
    heard = bytearray()
    done = asyncio.Event()

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576,"headers":true}\r\n')
        heard.extend(await reader.read(65536))
        writer.close()
        done.set()

    listening = await asyncio.start_server(stranger, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    with pytest.raises(FabricError, match="cannot be reached"):
        await open_bus(f"tls://me:hidden@127.0.0.1:{port}?fingerprint={'0' * 64}", name="a", report=reports)
    await done.wait()
    assert b"CONNECT" not in heard
    assert b"hidden" not in heard
    listening.close()
