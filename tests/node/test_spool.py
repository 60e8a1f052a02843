"""The spool: what a holder writes is what a node reads, from any offset, while it grows and after it has shrunk."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treadle.core.errors import Conflict
from treadle.node.holder import spool as writing
from treadle.node.holder.spool import Spool
from treadle.node.spool import SpoolReader


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, as a holder has it; with small segments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(writing, "SEGMENT", 60)
    monkeypatch.setattr(writing, "FRAMES", 5)
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


frames = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=30)), max_size=30)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames, st.data())
def test_any_part_reads_as_it_was_written(folder: Path, written: list[tuple[int, bytes]], data: st.DataObject) -> None:
    for file in folder.iterdir():
        file.unlink()
    spool, reader = Spool(), SpoolReader(folder)
    text = b""
    for stream, piece in written:
        assert spool.write(stream, piece)
        text += piece
        at = data.draw(st.integers(0, len(text)))
        most = data.draw(st.integers(1, 200))
        assert b"".join(part for _, part in reader.read(at, spool.end, most)) == text[at : at + most]
    streams = b"".join(bytes([stream]) * len(piece) for stream, piece in written)
    read = SpoolReader(folder).read(0, spool.end, 10_000)
    assert b"".join(bytes([1 + (name == "stderr")]) * len(part) for name, part in read) == streams
    assert SpoolReader(folder).scan_end() == spool.end
    reader.close()


def test_shipped_segments_go_and_the_rest_stays(folder: Path) -> None:
    spool, reader = Spool(), SpoolReader(folder)
    for number in range(40):
        spool.write(1, b"%010d" % number)
    assert len(reader.segments()) > 3
    reader.remove(205)
    spool.ship(205)
    assert spool.first == reader.segments()[0] <= 205
    assert spool.unshipped == 195
    assert reader.read(205, spool.end, 15) == [("stdout", (b"0000000020" + b"0000000021")[5:])]
    with pytest.raises(Conflict):
        reader.read(0, spool.end, 10)
    reader.remove(spool.end)
    assert len(reader.segments()) == 1
    reader.close()


def test_half_a_frame_is_none(folder: Path) -> None:
    """A machine that lost power may leave one."""
    spool = Spool()
    spool.write(1, b"whole")
    with open(folder / writing.name_of(0), "ab") as file:
        file.write(writing.head(2, 100) + b"half")
    assert SpoolReader(folder).scan_end() == 5


def test_what_found_no_room_is_a_gap(folder: Path) -> None:
    spool, reader = Spool(), SpoolReader(folder)
    spool.write(1, b"before")
    assert reader.read(0, spool.end, 100) == [("stdout", b"before")]
    while spool.make_room():
        pass
    spool.lose(1000)
    assert (spool.first, spool.end, spool.lost) == (1006, 1006, 1000)
    spool.write(1, b"after")
    assert reader.segments() == [1006]
    assert reader.read(1006, spool.end, 100) == [("stdout", b"after")]
    assert os.listdir(folder) == [writing.name_of(1006)]
    reader.close()


def test_a_ring_keeps_the_newest(folder: Path) -> None:
    spool = Spool(ring=100)
    for number in range(40):
        spool.write(1, b"%010d" % number)
        spool.trim()
    assert SpoolReader(folder).segments()[0] == spool.first
    assert 100 <= spool.end - spool.first <= 160


def test_an_empty_segment_is_not_kept_when_the_disk_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving it up would make no room, however often."""
    spool = Spool()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert not spool.write(1, b"x")
    assert not spool.make_room()
    assert os.listdir(folder) == []
