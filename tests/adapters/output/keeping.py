"""A folder of output for a test, a clock of its own, and what a reader gets when it reads everything."""

from __future__ import annotations

from pathlib import Path

from treadle.adapters.output.disk import DiskOutputs
from treadle.adapters.output.retention import Retention
from treadle.core.output import Chunk, Stream

TASK = "3f2c8a52-9d0e-4c1b-8a44-5f0d7c9e1b20"
OTHER = "a1b2c3d4-0000-4000-8000-00000000000f"
SMALL_SEGMENT = 64
NOW = 1_800_000_000_000_000


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def kept_in(
    folder: Path, clock: Hand | None = None, segment_bytes: int = SMALL_SEGMENT, **keep: int
) -> DiskOutputs:  # fmt: skip
    return DiskOutputs(folder, clock=clock or Hand(), keep=Retention(**keep), segment_bytes=segment_bytes)


async def everything(outputs: DiskOutputs, task: str = TASK, after: int = 0, most: int = 50) -> list[Chunk]:
    """All chunks from an offset on, read in small steps; each step goes on, or ends."""
    found: list[Chunk] = []
    while chunks := await outputs.read(task, after, most):
        for chunk in chunks:
            assert chunk.at >= after
            after = chunk.end
        assert sum(len(chunk.data) for chunk in chunks) <= most
        found += chunks
    return found


def laid_out(chunks: list[Chunk]) -> dict[int, tuple[Stream, int]]:
    """Each byte with its stream, by offset."""
    return {chunk.at + place: (chunk.stream, byte) for chunk in chunks for place, byte in enumerate(chunk.data)}


def text(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


def files(folder: Path, suffix: str = "") -> list[Path]:
    return sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file())
