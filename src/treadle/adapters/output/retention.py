"""How much output is kept, and for how long; and which segments have to go, oldest first."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from treadle.adapters.output import segment
from treadle.adapters.output.log import is_task
from treadle.core.clock import DAY

MIB = 1024 * 1024
ASIDE = ".gone-"
"""How a folder's name begins whose removal has begun."""
REMEMBERED = 12
"""For how many times its own age the end of an output is remembered of which nothing is left."""


class Retention(Struct, frozen=True, kw_only=True):
    """Bytes on disk for each task and in all, and microseconds since something was printed."""

    per_task: int = 256 * MIB
    total: int = 4096 * MIB
    age: int = 7 * DAY


class Kept(NamedTuple):
    """A segment as the walk finds it."""

    newest: int
    task: str
    first: int
    bytes: int
    empty: bool


def walk(root: Path) -> list[Kept]:
    """Every segment there is; what was left of a removal that was cut short is removed."""
    return [
        kept for shard in _folders(root) for task in _folders(shard) if is_task(task.name) for kept in _segments(task)
    ]


def overdue(kept: Sequence[Kept], keep: Retention, now: int) -> list[Kept]:
    """What has to go: what is too old, and the oldest beyond the total (somewhat more, so that it lasts a while)."""
    used = sum(each.bytes for each in kept)
    enough = keep.total - keep.total // 16 if used > keep.total else used
    gone = []
    for each in sorted(kept):
        if each.empty:
            too_old = now - each.newest > REMEMBERED * keep.age
        else:
            too_old = now - each.newest > keep.age or used > enough
        if too_old:
            gone.append(each)
            used -= each.bytes
    return gone


def _folders(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(ASIDE):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _segments(folder: Path) -> Iterator[Kept]:
    for first in segment.firsts(os.listdir(folder)):
        with contextlib.suppress(OSError):  # removed, or begun, just now
            data = os.stat(segment.data_file(folder, first)).st_size
            index = os.stat(segment.index_file(folder, first)).st_size
            yield Kept(segment.newest(folder, first), folder.name, first, data + index, not data)
