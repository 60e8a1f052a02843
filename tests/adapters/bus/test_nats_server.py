"""The NATS server of our own: found honestly, private, kept alive, and gone with us."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.bus.conftest import Reports
from treadle.adapters.bus import nats_server
from treadle.adapters.bus.credentials import new_seed, public_key
from treadle.adapters.bus.nats_server import NatsServer, NatsServerUnusable, find_program
from treadle.adapters.bus.opening import open_bus
from treadle.core.errors import Unreachable
from treadle.core.ports import Bus


def test_the_program_is_the_one_named_then_the_wheels_then_the_first_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "nats-server"
    own.write_text("#!/bin/sh\n")
    with pytest.raises(NatsServerUnusable, match=r"TREADLE_NATS_SERVER names .*, which is no program"):
        find_program({"TREADLE_NATS_SERVER": str(own)})
    own.chmod(0o755)
    assert find_program({"TREADLE_NATS_SERVER": str(own)}) == own
    assert find_program({"PATH": str(tmp_path)}).parent == Path(sys.executable).parent
    monkeypatch.setattr(nats_server, "PACKAGE", "no-such-package")
    assert find_program({"PATH": str(tmp_path)}) == own
    with pytest.raises(NatsServerUnusable, match="install the package no-such-package, put nats-server on PATH or"):
        find_program({"PATH": ""})


async def test_only_we_may_read_what_it_is_made_of(server: NatsServer, tmp_path: Path) -> None:
    folder = tmp_path / "nats"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("nats.conf", "server.nk", "nats.log"):
        assert stat.S_IMODE((folder / name).stat().st_mode) & 0o077 == 0, name
    seed = server.credentials.read_text().strip()
    assert seed not in (folder / "nats.conf").read_text()
    assert seed not in (folder / "nats.log").read_text()
    again = NatsServer(folder)
    assert again.credentials.read_text().strip() == seed


async def test_it_starts_again_where_it_was(server: NatsServer, reports: Reports) -> None:
    url, pid = server.url, server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await reports.said("started again")
    bus = await until_open(url, server, reports)
    await bus.close()
    assert server.url == url
    assert server.pid != pid


async def until_open(url: str, server: NatsServer, reports: Reports) -> Bus:
    async with asyncio.timeout(20):
        while True:
            try:
                return await open_bus(url, name="a", credentials=server.credentials, report=reports)
            except Unreachable:
                continue


async def test_stopping_leaves_no_process(server: NatsServer) -> None:
    pid = server.pid
    assert pid is not None
    await server.stop()
    await server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert server.pid is None


async def test_it_refuses_to_start_in_one_line(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(NatsServerUnusable, match=r"^The NATS server does not start: Error .*address already in use\"$"),
    ):
        await NatsServer(tmp_path / "a", port=taken.getsockname()[1]).start()
    with pytest.raises(NatsServerUnusable, match=r"^The NATS server does not start: .*no such file[^\n]*$"):
        await NatsServer(tmp_path / "b", tls=(tmp_path / "none", tmp_path / "none")).start()
    (tmp_path / "c" / "nodes").mkdir(parents=True)
    (tmp_path / "c" / "nodes" / "A.pub").write_text("nonsense")
    with pytest.raises(NatsServerUnusable, match=r"A\.pub is not named for a node or does not hold its public key"):
        await NatsServer(tmp_path / "c").start()


@pytest.mark.parametrize("node", ["", "a.b", "*", ">", "a b", "../a", "ü", "x" * 129])
async def test_a_node_that_would_have_wider_rights_is_not_admitted(node: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a node's id"):
        NatsServer(tmp_path).admit(node, public_key(new_seed()))
    with pytest.raises(ValueError, match="not a node's id"):
        NatsServer(tmp_path).admit("A", new_seed())


OWNER = """
import asyncio, pathlib, sys
from treadle.adapters.bus.nats_server import NatsServer

async def own():
    server = NatsServer(pathlib.Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(own())
"""


def test_it_does_not_outlive_us(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, tmp_path], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        watched = os.pidfd_open(pid)
        owner.kill()
    ended, _, _ = select.select([watched], [], [], 10)
    os.close(watched)
    assert ended
