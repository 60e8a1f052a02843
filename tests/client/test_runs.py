"""The verbs on runs, of the client, of its synchronous door and of the plain way, against a server that can be cut."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.scripted import Scripted, scripted
from treadle import client as sdk
from treadle.client import asking
from treadle.client.finding import Finder
from treadle.client.plain import Plain
from treadle.client.run_verbs import RunVerbs
from treadle.client.sync import SyncRuns


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Scripted]:
    with scripted(tmp_path) as script:
        yield script


def test_everything_that_is_offered_is_there() -> None:
    assert [name for name in sdk.__all__ if not hasattr(sdk, name)] == []
    with pytest.raises(AttributeError):
        getattr(sdk, "Nothing")  # noqa: B009
    with pytest.raises(AttributeError):
        getattr(sdk, "Connection")  # noqa: B009  # it is in one of the modules, but is not offered


def test_the_synchronous_door_has_every_verb() -> None:
    verbs = {name for name, _ in inspect.getmembers(RunVerbs, inspect.isfunction) if not name.startswith("_")}
    assert verbs == {name for name in vars(SyncRuns) if not name.startswith("_")}
    assert all(vars(SyncRuns)[verb].__doc__ == getattr(RunVerbs, verb).__doc__ for verb in verbs)


async def test_verbs(tmp_path: Path, script: Scripted) -> None:
    async with sdk.Client(home=tmp_path) as client:
        new = sdk.NewRun(argv=("cat",), stdin=True, secrets={"A": "hidden"}, limits=sdk.Limits(memory=1 << 20))
        assert "hidden" not in repr(new)
        run = await client.runs.start(new)
        assert (run.argv, run.stdin, run.created.tzinfo is not None) == (("cat",), True, True)
        await client.runs.input(run.id, b"\xffabc")
        await client.runs.input(run.id, eof=True)
        await client.runs.resize(run.id, columns=80, rows=25)
        await client.runs.signal(run.id, "HUP", grace=2)
        assert [node.name for node in await client.runs.nodes()] == ["loom"]
        assert (await client.runs.list("running", limit=3)).runs[0].id == run.id
        script.ends(0)
        assert (await client.runs.ended(run.id)).state == "succeeded"
        with pytest.raises(sdk.NotFound):
            await client.runs.get("nope")
    assert script.started == [
        {"argv": ["cat"], "stdin": True, "secrets": {"A": "hidden"}, "limits": {"memory": 1 << 20}}
    ]
    assert (bytes(script.taken), script.eof) == (b"\xffabc", True)
    assert script.sizes == [{"columns": 80, "rows": 25}]
    assert script.signals == [{"signal": "HUP", "grace": 2}]


def prepare(script: Scripted) -> bytes:
    """A run that has ended, whose stream will be cut at odd places."""
    data = random.randbytes(30_000)
    for place in range(0, len(data), 700):
        script.prints(data[place : place + 700], random.choice(("stdout", "stderr")))
    script.ends(3)
    script.cuts = [random.randrange(1, 9000) for _ in range(6)]
    return data


def joined(printed: list[object]) -> bytes:
    *chunks, end = printed
    assert isinstance(end, sdk.RunEnd)
    assert end.code == 3
    at, data = 0, b""
    for chunk in chunks:
        assert isinstance(chunk, sdk.Chunk)
        assert chunk.at == at
        data, at = data + chunk.data, chunk.end
    return data


async def test_a_stream_goes_on_where_it_was_cut(tmp_path: Path, script: Scripted) -> None:
    data = prepare(script)
    async with sdk.Client(home=tmp_path) as client:
        assert joined([printed async for printed in client.runs.follow("r1")]) == data
        assert script.cuts == []
        last, *_ = [each async for each in client.runs.follow("r1", -10)]
        assert last == sdk.Chunk(at=len(data) - 10, stream=script.printed[-1][0], data=data[-10:])


def test_and_so_it_does_by_the_plain_way(tmp_path: Path, script: Scripted) -> None:
    data = prepare(script)
    plain = Plain(Finder(home=tmp_path))
    told: list[sdk.ClientError | None] = []
    assert joined(list(plain.follow("r1", patience=5, away=told.append))) == data
    assert script.cuts == []
    assert [error is None for error in told] == [False, True] * 6
    assert plain.ask(asking.get("r1")).id == "r1"
    script.cuts = [5, 5]
    with pytest.raises(sdk.Unreachable):
        list(plain.follow("r1"))
    plain.close()


def test_and_by_the_synchronous_door(tmp_path: Path, script: Scripted) -> None:
    data = prepare(script)
    with sdk.SyncClient(home=tmp_path) as client:
        assert joined(list(client.runs.follow("r1"))) == data
        assert client.runs.get("r1").output.end == len(data)


def test_a_plain_connection_that_the_server_closed_is_opened_again(tmp_path: Path) -> None:
    plain = Plain(Finder(home=tmp_path))
    with scripted(tmp_path):
        assert plain.ask(asking.get("r1")).id == "r1"
    with scripted(tmp_path):
        assert plain.ask(asking.get("r1"), patience=5).id == "r1"
    with pytest.raises(sdk.Unreachable) as lost:
        plain.ask(asking.get("r1"))
    plain.close()
    (tmp_path / "server.json").unlink()
    with pytest.raises(sdk.NoServer):
        plain.ask(asking.get("r1"))
    assert lost.value.sent is False


@pytest.mark.parametrize("address", ["http://127.0.0.1:x", "http://", "ftp://127.0.0.1"])
def test_what_is_no_address(address: str, tmp_path: Path) -> None:
    with pytest.raises(sdk.NoServer):
        Plain(Finder(address, home=tmp_path)).ask(asking.get("r1"))
