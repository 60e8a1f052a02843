"""What the port `Outputs` promises, kept by the folder on disk."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.adapters.output.keeping import NOW, OTHER, TASK, Hand, everything, files, kept_in, laid_out, text
from treadle.adapters.output import disk
from treadle.core.clock import DAY, HOUR
from treadle.core.errors import LeaseLost, NotFound, StoreFull, StoreReadOnly
from treadle.core.output import Chunk, Extent, Part, Stream


def out(data: bytes) -> list[Part]:
    return [("stdout", data)]


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """The kernel refuses to let files grow beyond this, as it does on a full disk: after a part of the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_what_was_added_is_read_with_its_offsets_and_streams(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path)
    assert await outputs.append(TASK, 1, 0, [("stdout", b"one\n"), ("stderr", b"two\n"), ("stderr", b"three")]) == 13
    assert await outputs.append(TASK, 1, 13, out(b"four")) == 17
    assert await outputs.read(TASK, 0) == [
        Chunk(0, "stdout", b"one\n"), Chunk(4, "stderr", b"two\nthree"), Chunk(13, "stdout", b"four"),
    ]  # fmt: skip
    assert await outputs.read(TASK, 6, 5) == [Chunk(6, "stderr", b"o\nthr")]
    assert await outputs.read(TASK, 17) == []
    assert await outputs.extent(TASK) == Extent(0, 17)


async def test_a_task_that_printed_nothing_has_nothing(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path)
    assert await outputs.read(TASK, 0) == []
    assert await outputs.extent(TASK) == Extent(0, 0)
    assert await outputs.expected(TASK, 1) == 0
    assert await outputs.append(TASK, 1, 0, []) == 0
    await outputs.flush(TASK)
    await outputs.drop(TASK)
    assert files(tmp_path) == []


async def test_small_pieces_of_one_stream_are_read_as_one(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path, segment_bytes=10_000)
    at = 0
    for _ in range(100):
        at = await outputs.append(TASK, 1, at, out(b"line\n"))
    assert await outputs.read(TASK, 0) == [Chunk(0, "stdout", b"line\n" * 100)]
    assert await outputs.read(TASK, 3, 7) == [Chunk(3, "stdout", b"e\nline\n")]


@pytest.mark.parametrize("again", [0, 3, 6])
async def test_what_is_sent_again_is_skipped(again: int, tmp_path: Path) -> None:
    outputs = kept_in(tmp_path)
    said = b"abcdef"
    await outputs.append(TASK, 1, 0, out(said))
    assert await outputs.append(TASK, 1, again, [("stdout", said[again:]), ("stderr", b"ghi")]) == 9
    assert await outputs.append(TASK, 1, 1, out(b"bcd")) == 9
    assert text(await everything(outputs)) == b"abcdefghi"


async def test_bytes_that_were_lost_are_a_jump(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path)
    await outputs.append(TASK, 1, 0, out(b"abc"))
    assert await outputs.append(TASK, 1, 10, out(b"xyz")) == 13
    assert await outputs.read(TASK, 0) == [Chunk(0, "stdout", b"abc")]
    assert await outputs.read(TASK, 3) == [Chunk(10, "stdout", b"xyz")]
    assert await outputs.read(TASK, 5) == [Chunk(10, "stdout", b"xyz")]
    assert await outputs.append(TASK, 1, 20, []) == 20
    assert await outputs.extent(TASK) == Extent(0, 20)
    assert await outputs.read(TASK, 13) == [Chunk(20, "stdout", b"")]
    assert await outputs.append(TASK, 1, 20, out(b"!")) == 21
    assert [chunk.at for chunk in await everything(outputs)] == [0, 10, 20]


async def test_a_later_assignment_prints_behind_and_an_earlier_one_no_more(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path)
    await outputs.append(TASK, 1, 0, out(b"first"))
    assert await outputs.expected(TASK, 2) == 0
    assert await outputs.append(TASK, 2, 0, out(b"second")) == 6
    assert await outputs.expected(TASK, 2) == 6
    with pytest.raises(LeaseLost):
        await outputs.append(TASK, 1, 5, out(b"late"))
    with pytest.raises(LeaseLost):
        await outputs.expected(TASK, 1)
    assert text(await everything(outputs)) == b"firstsecond"


@pytest.mark.parametrize("clean", [True, False])
async def test_it_is_all_there_after_a_restart(clean: bool, tmp_path: Path) -> None:
    outputs = kept_in(tmp_path)
    at = 0
    for number in range(40):
        at = await outputs.append(TASK, 3, at, out(b"line %d\n" % number))
    await outputs.append(TASK, 3, at + 100, out(b"after a gap"))
    before = await everything(outputs)
    if clean:
        await outputs.close()
        await outputs.close()
    again = kept_in(tmp_path)
    assert laid_out(await everything(again)) == laid_out(before)
    assert await again.expected(TASK, 3) == at + 111
    assert await again.append(TASK, 3, at + 111, out(b"!")) == at + 112
    assert (await again.extent(TASK)) == Extent(0, at + 112)


async def test_only_we_can_read_the_files_and_none_stays_open(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    outputs = kept_in(folder)
    await outputs.append(TASK, 1, 0, out(b"x"))
    open_before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        await outputs.append(f"{number:08d}{TASK[8:]}", 1, 0, out(b"x" * 100))
    assert len(os.listdir("/proc/self/fd")) == open_before
    assert {path.stat().st_mode & 0o777 for path in files(folder)} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*")) if path.is_dir()} == {0o700}


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", TASK.upper(), f"{TASK}/x", f"{TASK}\n"])
async def test_only_an_id_becomes_a_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await kept_in(tmp_path / "output").append(name, 1, 0, out(b"x"))
    assert files(tmp_path) == []


async def test_what_is_dropped_is_gone(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path)
    await outputs.append(TASK, 1, 0, out(b"x" * 200))
    await outputs.append(OTHER, 1, 0, out(b"y"))
    await outputs.drop(TASK)
    assert await outputs.extent(TASK) == Extent(0, 0)
    assert await outputs.read(TASK, 0) == []
    assert {path.parent.name for path in files(tmp_path)} == {OTHER}
    assert await outputs.append(TASK, 1, 0, out(b"new")) == 3


async def test_logs_that_nobody_uses_are_forgotten_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "KNOWN", 3)
    monkeypatch.setattr(disk, "TAILS", 2)
    outputs = kept_in(tmp_path)
    tasks = [f"{number:08d}{TASK[8:]}" for number in range(10)]
    for round in range(5):
        for task in tasks:
            assert await outputs.read(task, round * 20) == []
            assert await outputs.append(task, 1, round * 20, out(b"%20d" % round)) == (round + 1) * 20
            assert text(await outputs.read(task, round * 20)) == b"%20d" % round
    for task in tasks:
        assert text(await everything(outputs, task)) == b"".join(b"%20d" % round for round in range(5))
        await outputs.flush(task)


async def test_followers_of_the_end_get_the_same_bytes_as_readers_of_files(tmp_path: Path) -> None:
    outputs, files_only = kept_in(tmp_path, segment_bytes=1000), kept_in(tmp_path, segment_bytes=1000)
    at = behind = 0
    assert await outputs.read(TASK, 0) == []  # from here on the tail is kept
    followed = []
    for number in range(3000):
        stream: Stream = "stderr" if number % 7 == 0 else "stdout"
        at = await outputs.append(TASK, 1, at, [(stream, b"%d," % number)])
        if number % 5 == 0:
            chunks = await outputs.read(TASK, behind, 40)
            followed += chunks
            behind = chunks[-1].end
    while chunks := await outputs.read(TASK, behind, 40):
        followed += chunks
        behind = chunks[-1].end
    assert laid_out(followed) == laid_out(await everything(files_only, most=1000))


@pytest.mark.parametrize("size", [10, 20_000])
async def test_a_full_disk_takes_nothing_and_says_so(size: int, tmp_path: Path) -> None:
    outputs = kept_in(tmp_path, segment_bytes=100_000)
    at = await outputs.append(TASK, 1, 0, out(b"a" * 5000))
    before = {path: path.read_bytes() for path in files(tmp_path)}
    with no_file_longer_than(5004):
        for _ in range(2):
            with pytest.raises(StoreFull):
                await outputs.append(TASK, 1, at, out(b"b" * size))
    assert {path: path.read_bytes() for path in files(tmp_path)} == before
    assert await outputs.extent(TASK) == Extent(0, 5000)
    assert await outputs.append(TASK, 1, at, out(b"b" * size)) == 5000 + size
    assert text(await everything(outputs, most=10_000)) == b"a" * 5000 + b"b" * size


async def test_a_full_disk_refuses_the_index_as_well(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path, segment_bytes=100_000)
    at = 0
    for _ in range(100):
        at = await outputs.append(TASK, 1, at, out(b"x"))
    index = files(tmp_path, ".idx")[0]
    with no_file_longer_than(index.stat().st_size + 8), pytest.raises(StoreFull):
        await outputs.append(TASK, 1, at, out(b"y"))
    assert await kept_in(tmp_path).extent(TASK) == Extent(0, 100)
    assert await outputs.append(TASK, 1, at, out(b"z")) == 101
    assert text(await everything(kept_in(tmp_path))) == b"x" * 100 + b"z"


async def test_a_full_disk_refuses_a_new_segment(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path)
    await outputs.append(TASK, 1, 0, out(b"x" * 64))
    before = files(tmp_path)
    with no_file_longer_than(16), pytest.raises(StoreFull):
        await outputs.append(TASK, 1, 64, out(b"y" * 30))
    assert files(tmp_path) == before
    assert await outputs.append(TASK, 1, 64, out(b"y" * 30)) == 94
    assert text(await everything(outputs)) == b"x" * 64 + b"y" * 30


async def test_where_nothing_may_be_written_it_says_so() -> None:
    with pytest.raises(StoreReadOnly):
        await kept_in(Path("/sys/treadle")).append(TASK, 1, 0, out(b"x"))


async def test_a_caller_that_is_cancelled_leaves_whole_appends(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path, segment_bytes=1 << 20)
    data = os.urandom(3_000_000)
    at = 0
    while at < len(data):
        adding = asyncio.create_task(outputs.append(TASK, 1, at, out(data[at : at + 100_000])))
        await asyncio.sleep(0)
        adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)
        at = await outputs.append(TASK, 1, at, out(data[at : at + 50_000]))
    assert text(await everything(outputs, most=1 << 18)) == data


async def test_one_task_keeps_its_newest_bytes(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path, per_task=10_000, segment_bytes=1000)
    at = 0
    for number in range(2000):
        at = await outputs.append(TASK, 1, at, out(b"%09d\n" % number))
    extent = await outputs.extent(TASK)
    assert extent.end == at == 20_000
    assert 2000 < extent.end - extent.first <= 10_000
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 10_000
    [first, *_] = await outputs.read(TASK, 0)
    assert first.at == extent.first > 0
    assert text(await everything(outputs, most=3000)) == b"".join(
        b"%09d\n" % number for number in range(extent.first // 10, 2000)
    )
    again = kept_in(tmp_path, per_task=10_000, segment_bytes=1000)
    assert await again.extent(TASK) == extent
    assert await again.expected(TASK, 1) == 20_000


async def test_what_is_old_goes_and_its_offsets_stay_taken(tmp_path: Path) -> None:
    clock = Hand()
    outputs = kept_in(tmp_path, clock, age=DAY)
    await outputs.append(TASK, 4, 0, out(b"o" * 70))
    clock.now += DAY
    await outputs.append(TASK, 4, 70, out(b"n" * 10))
    await outputs.append(OTHER, 1, 0, out(b"other"))
    assert await outputs.prune(clock.now) == 0
    clock.now += HOUR
    assert await outputs.prune(clock.now) > 70
    assert await outputs.extent(TASK) == Extent(70, 80)
    assert await outputs.read(TASK, 0) == [Chunk(70, "stdout", b"n" * 10)]
    clock.now += DAY
    assert await outputs.prune(clock.now) > 10
    assert await outputs.prune(clock.now) == 0
    assert await outputs.read(TASK, 75) == [Chunk(80, "stdout", b"")]
    for each in (outputs, kept_in(tmp_path, clock)):
        assert await each.extent(TASK) == Extent(80, 80)
        assert await each.expected(TASK, 4) == 80
    assert await outputs.append(TASK, 4, 80, out(b"!")) == 81
    assert await outputs.read(TASK, 75) == [Chunk(80, "stdout", b"!")]


async def test_the_end_of_what_is_long_gone_is_forgotten_as_well(tmp_path: Path) -> None:
    clock = Hand()
    outputs = kept_in(tmp_path, clock, age=DAY)
    await outputs.append(TASK, 1, 0, out(b"x"))
    for _ in range(20):
        clock.now += DAY
        await outputs.prune(clock.now)
    assert files(tmp_path) == []


async def test_all_tasks_together_keep_no_more_than_the_total(tmp_path: Path) -> None:
    clock = Hand()
    outputs = kept_in(tmp_path, clock, total=20_000, segment_bytes=1000)
    tasks = [f"{number:08d}{TASK[8:]}" for number in range(10)]
    ends = dict.fromkeys(tasks, 0)
    for _ in range(6):
        for task in tasks:
            clock.now += 1
            ends[task] = await outputs.append(task, 1, ends[task], out(b"x" * 1000))
        await outputs.prune(clock.now)
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 20_000
    extents = [await outputs.extent(task) for task in tasks]
    assert {extent.end for extent in extents} == {6000}
    assert all(extent.first >= 4000 for extent in extents)
    assert sum(extent.end - extent.first for extent in extents) > 15_000


async def test_readers_go_on_while_what_they_read_is_removed(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path, per_task=4000, segment_bytes=500)

    async def write() -> None:
        at = 0
        for number in range(1500):
            at = await outputs.append(TASK, 1, at, out(b"%09d\n" % number))
            if number % 20 == 0:
                await asyncio.sleep(0)

    async def follow(pause: int) -> int:
        after = seen = 0
        while after < 15_000:
            for chunk in await outputs.read(TASK, after, 300):
                for place in range(len(chunk.data)):
                    assert chunk.data[place] == (b"%09d\n" % ((chunk.at + place) // 10))[(chunk.at + place) % 10]
                after = chunk.end
                seen += len(chunk.data)
            for _ in range(pause):
                await asyncio.sleep(0)
        return seen

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(follow(pause)) for pause in (1, 3, 10)]
        group.create_task(write())
    assert all(reader.result() > 0 for reader in readers)


async def test_removals_that_were_cut_short_and_files_of_others_do_no_harm(tmp_path: Path) -> None:
    outputs = kept_in(tmp_path)
    await outputs.append(TASK, 1, 0, out(b"x" * 10))
    folder = files(tmp_path)[0].parent
    (folder / f"{999:020d}.log").write_bytes(b"begun, and its index never came")
    (folder / "notes.txt").write_text("somebody's")
    (tmp_path / ".gone-x" / "y").mkdir(parents=True)
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "z").mkdir()
    again = kept_in(tmp_path)
    assert text(await everything(again)) == b"x" * 10
    assert await again.prune(NOW) == 0
    assert not (tmp_path / ".gone-x").exists()
    assert (folder / "notes.txt").exists()
    assert not (folder / f"{999:020d}.log").exists()
