"""A search by name below the roots: nearest first, bounded in results, entries and time. Links are not followed."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from treadle.core.errors import FabricError
from treadle.faces.console import wire
from treadle.faces.console.entries import is_shown, item_of
from treadle.faces.console.paths import Roots, descended

MOST_ENTRIES = 200_000
MOST_SECONDS = 10.0

Parts = tuple[str, ...]


def search(
    roots: Roots,
    text: str,
    fits: Callable[[str], bool],
    *,
    most: int,
    stopped: Callable[[], bool],
    now: Callable[[], float] = time.monotonic,
) -> tuple[list[wire.Item], bool]:
    """Files that fit and folders whose name holds the text, in any case; and whether there may be more."""
    sought, until, seen = text.casefold(), now() + MOST_SECONDS, 0
    found: dict[str, wire.Item] = {}
    for root in roots.listed():
        with suppress(FabricError, OSError), roots.open(root.path) as top:
            for path, entry in _walk(top.path, top.handle):
                seen += 1
                if seen > MOST_ENTRIES or stopped() or (seen % 256 == 0 and now() > until):
                    return list(found.values()), True
                if sought not in entry.name.casefold():
                    continue
                with suppress(OSError):
                    item = item_of(entry.name, path, entry.stat(follow_symlinks=False))
                    if item is not None and (item.type == "folder" or fits(item.name)) and path not in found:
                        if len(found) == most:
                            return list(found.values()), True
                        found[path] = item
    return list(found.values()), False


def _walk(top: str, handle: int) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All that is shown below a folder, level by level, with its path; what cannot be read is passed over."""
    level: deque[Parts] = deque([()])
    while level:
        parts = level.popleft()
        with suppress(OSError):
            for entry in _entries(handle, parts):
                if is_shown(entry.name):
                    yield str(PurePosixPath(top, *parts, entry.name)), entry
                    if entry.is_dir(follow_symlinks=False):
                        level.append((*parts, entry.name))


def _entries(top: int, parts: Parts) -> Iterator[os.DirEntry[str]]:
    folder, _ = descended(os.dup(top), parts)
    try:
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        with os.scandir(readable) as entries:
            yield from entries
    finally:
        os.close(readable)
