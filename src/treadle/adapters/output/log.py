"""A log is all that one task printed and that is still kept: a folder of segments, of which only the last one grows."""

import contextlib
import os
import re
import shutil
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from treadle.adapters.output import segment
from treadle.adapters.output.segment import Segment
from treadle.core.errors import LeaseLost, NotFound
from treadle.core.output import Chunk, Extent, Part

INDEX = 256 * 1024
"""An index as long as this ends its segment too: whoever reads looks through one of them at a time."""


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


class Shape(NamedTuple):
    """The segments at one moment. It is replaced as a whole, so that who reads needs no lock."""

    sealed: tuple[Segment, ...] = ()
    last: Segment | None = None

    @property
    def extent(self) -> Extent:
        if self.last is None:
            return Extent(0, 0)
        return Extent((self.sealed[0] if self.sealed else self.last).first, self.last.end)


class Addition(NamedTuple):
    """What a call adds: the pieces nobody had, the task offset of their first byte, whose they are."""

    at: int
    fence: int
    base: int
    pieces: list[Part]

    @property
    def size(self) -> int:
        return sum(len(data) for _, data in self.pieces)

    @property
    def expected(self) -> int:
        """The offset of the assignment's own bytes behind these."""
        return self.at - self.base + self.size


def addition(last: Segment | None, fence: int, at: int, parts: Sequence[Part]) -> Addition:
    """What is new in `parts`, which begin at offset `at` of the assignment's own bytes. Raises LeaseLost."""
    end = last.end if last else 0
    base = end
    if last is not None and fence <= last.fence:
        if fence < last.fence:
            raise LeaseLost("A later assignment of this task has begun to print")
        base = last.base
    known = end - base
    skip = max(known - at, 0)
    pieces: list[Part] = []
    for stream, data in parts:
        if skip:
            data, skip = data[skip:], max(skip - len(data), 0)
        if not data:
            continue
        if pieces and pieces[-1][0] == stream:
            pieces[-1] = (stream, pieces[-1][1] + data)
        else:
            pieces.append((stream, data))
    return Addition(base + max(at, known), fence, base, pieces)


def folder_of(root: Path, task: str) -> Path:
    """Where a task's log lies. Raises NotFound for what cannot be a task's id: it becomes the name of a folder."""
    if not is_task(task):
        raise NotFound("Task", task)
    return root / task[:2] / task


def is_task(name: str) -> bool:
    return _ID.match(name) is not None


class Log:
    """One task's log. Whoever owns it lets one change at a time touch it; reading needs only a shape."""

    def __init__(self, folder: Path, *, segment_bytes: int, most_bytes: int) -> None:
        self.folder = folder
        self.shape = Shape()
        self.dirty = False
        """Whether something may not be on disk."""
        self._segment_bytes = segment_bytes
        self._room = max(most_bytes - 2 * segment_bytes, 0)  # the last one and one append come on top
        self._names_dirty = True

    def load(self) -> None:
        """Look at the files. What a crash has torn off the last segment is cut off, and its sender sends it again."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            names = []
        firsts = segment.firsts(names)
        for first in set(segment.firsts(names, ".log")).difference(firsts):  # begun, or removed, only by half
            segment.remove(self.folder, first)
        segments: list[Segment] = []
        for first in reversed(firsts):
            found = segment.found(self.folder, first, torn=not segments)
            if found is None or (segments and not found.data):  # the same
                segment.remove(self.folder, first)
            else:
                segments.insert(0, found)
        self.shape = Shape(tuple(segments[:-1]), segments[-1]) if segments else Shape()
        self.dirty = self._names_dirty = bool(segments)

    def grows(self, new: Addition) -> bool:
        """Whether this goes into the last segment, which is quick, or needs another one."""
        last = self.shape.last
        return (
            last is not None
            and new.fence == last.fence
            and new.at == last.end
            and last.size < self._segment_bytes
            and last.indexed < INDEX
        )

    def add(self, new: Addition, now: int) -> None:
        """Write it: all of it or nothing."""
        sealed, last = self.shape
        if not self.grows(new):
            self._add_segment(new, now)
        elif new.pieces:
            assert last is not None
            self.dirty = True
            self.shape = Shape(sealed, segment.append(self.folder, last, new.pieces, now))

    def _add_segment(self, new: Addition, now: int) -> None:
        """A full segment goes to the disk before the next begins, so a crash can only have torn the last."""
        sealed, last = self.shape
        self.dirty = self._names_dirty = True
        if last is None:
            for folder in (self.folder.parent.parent, self.folder.parent, self.folder):
                folder.mkdir(0o700, exist_ok=True)
        elif last.data:
            segment.sync(self.folder, last.first)
        again = last is not None and last.first == new.at  # it is empty, and somebody else's from here on
        try:
            begun = segment.begin(self.folder, new.at, new.fence, new.base, now)
            if new.pieces:
                begun = segment.append(self.folder, begun, new.pieces, now)
        except OSError:
            if not again:
                segment.remove(self.folder, new.at)
            raise
        if last is not None and last.data:
            sealed = (*sealed, last)
        most, gone = sum(old.size for old in sealed) - self._room, 0
        while most > 0 and gone < len(sealed):
            most -= sealed[gone].size
            gone += 1
        self.shape = Shape(sealed[gone:], begun)
        for old in sealed[:gone]:
            segment.remove(self.folder, old.first)
        if last is not None and not last.data and not again:
            segment.remove(self.folder, last.first)

    def read(self, shape: Shape, after: int, most: int) -> list[Chunk]:
        """What follows the offset, up to the next gap.

        A first chunk that begins further on says that there is nothing between; it is empty if nothing follows either.
        """
        sealed, last = shape
        if last is None or after >= last.end:
            return []
        place = max(bisect_right(sealed, after, key=lambda each: each.first) - 1, 0)
        chunks: list[Chunk] = []
        at = after
        for each in (*sealed[place:], last):
            if each.end <= at:
                continue
            if each.first > at:
                if chunks:
                    break
                at = each.first
            chunks += segment.read(self.folder, each, at, most)
            if chunks:
                most -= chunks[-1].end - at
                at = chunks[-1].end
            if most <= 0:
                break
        return chunks or [Chunk(last.end, "stdout", b"")]

    def sync(self) -> None:
        """Return when everything is on disk, the names of the files too."""
        last = self.shape.last
        if not self.dirty or last is None:
            return
        segment.sync(self.folder, last.first)
        if self._names_dirty:
            for folder in (self.folder, self.folder.parent, self.folder.parent.parent):
                segment.sync_folder(folder)
        self.dirty = self._names_dirty = False

    def forget(self, upto: int, now: int) -> int:
        """Remove the segments that begin at this offset or before; how many bytes went.

        The offsets go on behind what went: if nothing is left, an empty segment stands for it.
        """
        sealed, last = self.shape
        if last is None:
            return 0
        gone = [each for each in sealed if each.first <= upto]
        sealed = sealed[len(gone) :]
        if not sealed and last.first <= upto and last.data:
            gone.append(last)
            last = segment.begin(self.folder, last.end, last.fence, last.base, now)
            segment.sync(self.folder, last.first)
            segment.sync_folder(self.folder)
        self.shape = Shape(sealed, last)
        for each in gone:
            segment.remove(self.folder, each.first)
        return sum(each.size for each in gone)

    def drop(self, aside: Path) -> None:
        """Remove all of it. It is moved aside first: a removal that is cut short leaves no half of a log."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.folder, aside)
            shutil.rmtree(aside)
        self.shape = Shape()
        self.dirty = False
