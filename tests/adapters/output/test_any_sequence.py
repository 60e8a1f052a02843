"""Any sequence of appends, repeats, losses, restarts and crashes leaves what a simple model says."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adapters.output.keeping import TASK, everything, files, kept_in, laid_out, text
from treadle.core.errors import LeaseLost
from treadle.core.output import Extent, Part, Stream

parts = st.lists(st.tuples(st.sampled_from(("stdout", "stderr")), st.binary(max_size=40)), max_size=4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(-30, 15), parts),
        st.tuples(st.just("append"), st.just(0), parts),
        st.tuples(st.just("assign"), st.just(0), parts),
        st.tuples(st.just("late"), st.just(0), parts),
        st.tuples(st.sampled_from(("restart", "flush", "look")), st.integers(0, 300), st.just([])),
    ),
    max_size=25,
)


class Model:
    """Each byte by its offset, and where the newest assignment stands."""

    def __init__(self) -> None:
        self.bytes: dict[int, tuple[Stream, int]] = {}
        self.end = self.base = 0
        self.fence = 1

    def append(self, at: int, parts: list[Part]) -> int:
        known = self.end - self.base
        place = self.base + at
        for stream, data in parts:
            for byte in data:
                if place >= self.end:
                    self.bytes[place] = (stream, byte)
                place += 1
        self.end = max(self.end, place)
        return max(known, self.end - self.base)


async def play(steps: list[tuple[str, int, list[Part]]], folder: Path) -> None:
    outputs, model = kept_in(folder), Model()
    for verb, number, parts in steps:
        if verb == "append":
            at = max(model.end - model.base + number, 0)
            assert await outputs.append(TASK, model.fence, at, parts) == model.append(at, parts)
        elif verb == "assign":
            model.fence += 1
            base = model.end
            model.base = base
            assert await outputs.append(TASK, model.fence, 0, parts) == model.append(0, parts)
            if model.end == base:  # nobody has seen it yet
                model.fence -= 1
                model.base = base - await outputs.expected(TASK, model.fence)
        elif verb == "late" and model.bytes:
            try:
                await outputs.append(TASK, model.fence - 1, 0, parts)
                raise AssertionError("an earlier assignment was let in")
            except LeaseLost:
                pass
        elif verb == "restart":
            if number % 2:
                await outputs.close()
            outputs = kept_in(folder)
        elif verb == "flush":
            await outputs.flush(TASK)
        assert await outputs.expected(TASK, model.fence) == model.end - model.base
        found = laid_out(await everything(outputs, after=number if verb == "look" else 0, most=1 + abs(number)))
        assert found == {at: byte for at, byte in model.bytes.items() if verb != "look" or at >= number}
    assert await outputs.extent(TASK) == Extent(min(model.bytes, default=model.end), model.end)
    await outputs.close()


@given(steps)
@settings(max_examples=60)
def test_any_sequence(steps: list[tuple[str, int, list[Part]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(steps, Path(folder)))


async def tear(folder: Path, sizes: list[int], which: int, how: str, place: int, torn: bytes) -> None:
    outputs = kept_in(folder, segment_bytes=200)
    said = b""
    for number, size in enumerate(sizes):
        piece = bytes([number % 256]) * size
        at = await outputs.append(TASK, 7, len(said), [("stdout" if number % 2 else "stderr", piece)])
        said += piece
        assert at == len(said)
    suffix = (".log", ".idx")[which]
    last = files(folder, suffix)[-1]
    content = last.read_bytes()
    place = min(place, len(content))
    last.write_bytes({"cut": content[:place], "more": content + torn, "zeros": content[:place] + bytes(64)}[how])

    again = kept_in(folder, segment_bytes=200)
    found = text(await everything(again))
    assert said.startswith(found)
    expected = await again.expected(TASK, 7) if found else 0
    assert expected == len(found)
    assert await again.append(TASK, 7, expected, [("stdout", said[expected:])]) == len(said)
    for outputs in (again, kept_in(folder, segment_bytes=200)):
        assert text(await everything(outputs)) == said


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=12),
    st.integers(0, 1),
    st.sampled_from(("cut", "more", "zeros")),
    st.integers(0, 400),
    st.binary(min_size=1, max_size=70),
)
@settings(max_examples=60)
def test_a_torn_end_is_mended_and_never_served(sizes: list[int], which: int, how: str, place: int, torn: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(tear(Path(folder), sizes, which, how, place, torn))
