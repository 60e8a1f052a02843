"""The reading side of a run's spool (`holder.spool` is the writing one): by offset, in order, and gone once shipped."""

import os
from itertools import pairwise
from pathlib import Path

from treadle.core.errors import Conflict
from treadle.core.output import Part, Stream

from .holder.spool import HEAD, name_of, parse

NAMES: dict[int, Stream] = {1: "stdout", 2: "stderr"}
BLOCK = 320 * 1024
"""Bytes of a segment looked at in one go; a frame fits several times."""


class SpoolReader:
    """Reads what a holder writes into a folder, while it writes and afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1
        self._at = 0  # the offset at which the frame ahead begins
        self._place = 0  # and its place in the file

    def segments(self) -> list[int]:
        """Where each segment begins, oldest first."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return sorted(int(name[:-4]) for name in names if name.endswith(".out"))

    def read(self, at: int, end: int, most: int) -> list[Part]:
        """What lies between the offsets `at` and `end`, up to `most` bytes. Raises Conflict where `at` is gone."""
        end = min(end, at + most)
        parts: list[tuple[int, list[bytes]]] = []
        while at < end and self._find(at):
            block = os.pread(self._file, BLOCK, self._place)
            ahead, place, before = self._at, 0, at
            while at < end and (frame := parse(block[place : place + HEAD])) is not None:
                stream, length = frame
                begin = place + HEAD + at - ahead
                data = block[begin : min(place + HEAD + length, begin + end - at)]
                if not data or len(block) < place + HEAD + length:
                    break
                if not parts or parts[-1][0] != stream:
                    parts.append((stream, []))
                parts[-1][1].append(data)
                at += len(data)
                if at == ahead + length:
                    place, ahead = place + HEAD + length, ahead + length
            self._at, self._place = ahead, self._place + place
            if at == before:
                break
        return [(NAMES[stream], b"".join(pieces)) for stream, pieces in parts]

    def remove(self, before: int) -> None:
        """Remove what lies before an offset, as far as it fills segments; the last one stays."""
        segments = self.segments()
        for begin, following in pairwise(segments):
            if following <= before:
                (self._folder / name_of(begin)).unlink(missing_ok=True)  # the holder may have dropped it

    def scan_end(self) -> int:
        """How far the frames reach, where no holder is left to tell."""
        segments = self.segments()
        if not segments or not self._open(segments[-1]):
            return 0
        size = os.fstat(self._file).st_size
        while (frame := self._ahead()) is not None and self._place + HEAD + frame[1] <= size:
            self._pass(frame[1])
        return self._at

    def close(self) -> None:
        """Let go of the open segment; a later read opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _find(self, at: int) -> bool:
        """Go to the frame that holds an offset, or will; False when it is not written yet."""
        if self._file >= 0 and self._walk(at):
            return True
        begins = [begin for begin in self.segments() if begin <= at]
        if not begins:
            raise Conflict(f"The output at {at} is gone")
        return self._open(begins[-1]) and self._walk(at)

    def _walk(self, at: int) -> bool:
        while at >= self._at:
            frame = self._ahead()
            if frame is None:
                if not self._open(self._at):
                    return False
            elif at < self._at + frame[1]:
                return True
            else:
                self._pass(frame[1])
        return False

    def _ahead(self) -> tuple[int, int] | None:
        return parse(os.pread(self._file, HEAD, self._place))

    def _pass(self, length: int) -> None:
        self._at, self._place = self._at + length, self._place + HEAD + length

    def _open(self, begin: int) -> bool:
        """Go to the beginning of the segment of that name; False when there is none, or we are there."""
        if self._file >= 0 and self._place == 0 and self._at == begin:
            return False
        try:
            file = os.open(self._folder / name_of(begin), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self.close()
        self._file, self._at, self._place = file, begin, 0
        return True
