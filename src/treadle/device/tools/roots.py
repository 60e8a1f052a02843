"""The folders that a device lets others see, and the only way into them: from handle to handle, one name at a time.

A path is never checked as text. Each name is opened in the directory that is already open, links are read and followed
by hand, and `..` goes back to a handle that we came through; so whatever is moved or replaced meanwhile, nothing above
a root can be reached.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

MOST_LINKS = 40
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Outside(Exception):
    """The path leads out of the roots, or is none."""


class Roots:
    """Some folders of this machine, held open. Relative paths begin in the first one. Raises OSError for no folder."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._handles: list[tuple[tuple[PurePosixPath, ...], int]] = []
        for folder in folders:
            handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            names = (PurePosixPath(os.path.abspath(folder)), PurePosixPath(os.path.realpath(folder)))
            self._handles.append((names, handle))

    def __bool__(self) -> bool:
        return bool(self._handles)

    @property
    def paths(self) -> list[str]:
        """The roots, as they were named."""
        return [str(names[0]) for names, _ in self._handles]

    def close(self) -> None:
        """Let go of the folders; safe to call twice."""
        for _, handle in self._handles:
            os.close(handle)
        self._handles.clear()

    @contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """A handle (O_PATH) of what a path names, with all links followed. Raises Outside and OSError."""
        with _Walk(*self._begin(path)) as walk:
            yield walk.to_the_end()

    @contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """A handle of the directory in which a path's last name is, or would be made, and that name, which is no link
        as far as one can tell. Raises Outside and OSError.
        """
        with _Walk(*self._begin(path)) as walk:
            yield walk.to_the_last_name()

    def _begin(self, path: str) -> tuple[int, list[str]]:
        """The root from which a path is walked, and the names on the way. Which root it is decides nothing else."""
        if not self._handles:
            raise Outside("this device shows no folders; it was started without --root")
        if "\0" in path:
            raise Outside("a path cannot hold a zero byte")
        wanted = PurePosixPath(path)
        if not wanted.is_absolute():
            return self._handles[0][1], list(wanted.parts)
        for names, handle in self._handles:
            for name in names:
                if wanted.parts[: len(name.parts)] == name.parts:
                    return handle, list(wanted.parts[len(name.parts) :])
        raise Outside(f"{path} lies outside of {', '.join(self.paths)}")


class _Walk:
    """One way through a root: the handles from the root to where we are, and the names that are left."""

    def __init__(self, root: int, names: list[str]) -> None:
        self._open = [os.dup(root)]
        self._left = names[::-1]  # the next one last
        self._links = 0

    def __enter__(self) -> "_Walk":
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._open:
            os.close(handle)

    def to_the_end(self) -> int:
        while self._left:
            self._step(self._left.pop())
        return self._open[-1]

    def to_the_last_name(self) -> tuple[int, str]:
        while True:
            if not self._left:
                raise Outside("this names a folder")
            name = self._left.pop()
            if self._left or name == "..":
                self._step(name)
                continue
            try:
                self._step(name)
            except FileNotFoundError:
                return self._open[-1], name
            if self._left:
                continue  # it was a link, and its way is ahead
            os.close(self._open.pop())
            return self._open[-1], name

    def _step(self, name: str) -> None:
        if name == "..":
            if len(self._open) == 1:
                raise Outside("the path leads out of its root")
            os.close(self._open.pop())
            return
        handle = os.open(name, _STEP, dir_fd=self._open[-1])
        if not stat.S_ISLNK(os.fstat(handle).st_mode):
            self._open.append(handle)
            return
        try:
            target = PurePosixPath(os.readlink("", dir_fd=handle))
        finally:
            os.close(handle)
        self._links += 1
        if target.is_absolute():
            raise Outside(f"the link {name} leads out of its root")
        if self._links > MOST_LINKS:
            raise Outside("too many links, one after another")
        self._left += target.parts[::-1]
