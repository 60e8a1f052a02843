"""The roots, and what lies under them: paths are looked up by name and opened by handle, never trusted as text.

The text of a path only says where to look: its links are resolved, and what comes out is then opened part by part from
the handle of a root, following no link on the way. So what is open lies below the root, whoever swaps links meanwhile;
it is what openat2 does with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, on every kernel.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import NamedTuple

from treadle.core.errors import Denied, Malformed, NotFound
from treadle.faces.console.errors import OutsideRoots

LONGEST = 4096
"""Bytes of a path."""
TRIES = 8
"""How often a path is looked up again that changed between looking and opening."""
_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_CHANGED = (errno.ELOOP, errno.ENOTDIR, errno.EINVAL)  # the last: a link was none any more when it was read


class Place(NamedTuple):
    """Something under a root: its path without links, a handle that is closed later by whoever opened it, its facts."""

    path: str
    handle: int
    facts: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.facts.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.facts.st_mode)


class Root(NamedTuple):
    """A folder that may be browsed, as it was written; `available` is whether it is there."""

    path: str
    available: bool


class Roots:
    """The folders under which everything lies. Blocks on the disk: call from a thread."""

    def __init__(self, roots: Sequence[str]) -> None:
        """Raises ValueError for a root that is not an absolute path."""
        for root in roots:
            if not root.startswith("/"):
                raise ValueError(f"{root!r} is not an absolute path")
        self._roots = tuple(dict.fromkeys(map(_collapsed, roots)))

    def listed(self) -> list[Root]:
        return [Root(root, os.path.isdir(root)) for root in self._roots]

    @contextmanager
    def open(self, asked: str) -> Iterator[Place]:
        """What the path leads to, while the block runs.

        Raises Malformed for what is no absolute path, OutsideRoots, NotFound, and Denied where the system refuses.
        """
        path = _collapsed(checked(asked))
        place = self._tried(path, asked)
        try:
            yield place
        finally:
            os.close(place.handle)

    def _tried(self, path: str, asked: str) -> Place:
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                return self._opened(os.path.realpath(path))
            except OSError as error:
                if error.errno not in _CHANGED or last:
                    raise _refusal(error, asked) from None
        raise AssertionError("the last try returns or raises")

    def _opened(self, real: str) -> Place:
        for root in self._roots:
            top = os.path.realpath(root)
            if PurePosixPath(real).is_relative_to(top):
                parts = PurePosixPath(real).relative_to(top).parts
                handle = os.open(top, _HANDLE | os.O_DIRECTORY)
                return Place(real, *descended(handle, parts))
        raise OutsideRoots


def descended(handle: int, parts: Sequence[str]) -> tuple[int, os.stat_result]:
    """The handle at the end of the parts, and its facts, from a folder's handle, which is closed.

    Raises OSError, also where one of the parts is a link.
    """
    try:
        for number, part in enumerate(parts, 1):
            kind = os.O_DIRECTORY if number < len(parts) else 0
            below = os.open(part, _HANDLE | kind, dir_fd=handle)
            os.close(handle)
            handle = below
        return handle, _facts(handle)
    except BaseException:
        os.close(handle)
        raise


def _facts(handle: int) -> os.stat_result:
    facts = os.fstat(handle)
    if stat.S_ISLNK(facts.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return facts


def checked(path: str) -> str:
    """The path, if it can be one. Raises Malformed."""
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        raise Malformed("The path is not Unicode text") from None
    if not path:
        raise Malformed("The path is missing")
    if length > LONGEST:
        raise Malformed(f"The path is longer than {LONGEST} bytes")
    if any(character in path for character in "\0\r\n"):
        raise Malformed("The path holds a line break or a NUL character")
    if not path.startswith("/"):
        raise Malformed("The path must be absolute")
    return path


def _collapsed(path: str) -> str:
    return "/" + os.path.normpath(path).lstrip("/")


def _refusal(error: OSError, asked: str) -> Exception:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return NotFound("Path", asked)
    if error.errno in (errno.EACCES, errno.EPERM):
        return Denied("The server may not open this path")
    if error.errno in _CHANGED:
        return Denied("The links of this path lead in a circle, or change while it is looked up")
    return error
