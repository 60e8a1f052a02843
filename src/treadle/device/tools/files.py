"""Reading, writing and listing files inside the roots."""

import base64
import os
import secrets
import stat
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from .roots import Outside, Roots

MOST_READ = 8 * 1024 * 1024
MOST_ENTRIES = 5000
_KINDS = ((stat.S_ISDIR, "directory"), (stat.S_ISREG, "file"), (stat.S_ISLNK, "link"))

Encoding = Annotated[
    Literal["utf-8", "base64"], Meta(description="How the content is written: as text, or base64 for any bytes.")
]


class ReadFile(Struct, forbid_unknown_fields=False):
    """What `read_file` takes."""

    path: Annotated[str, Meta(description="Inside the device's folders; relative to the first of them.")]
    offset: Annotated[int, Meta(description="Bytes to leave out at the beginning.", ge=0)] = 0
    length: Annotated[int, Meta(description="Bytes to read at most.", ge=1, le=MOST_READ)] = 1024 * 1024
    encoding: Encoding = "utf-8"


class WriteFile(Struct):
    """What `write_file` takes."""

    path: Annotated[str, Meta(description="Inside the device's folders; its folder must exist.")]
    content: Annotated[str, Meta(description="All that the file is to hold.")]
    encoding: Encoding = "utf-8"


class ListDirectory(Struct):
    """What `list_directory` takes."""

    path: Annotated[str, Meta(description="Inside the device's folders; the first of them when left out.")] = "."


class Files:
    """The tools. What cannot be done is told as `success: false` with an `error`."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    def read(self, asked: ReadFile) -> dict[str, Any]:
        """A piece of a regular file; `size` is that of the whole, `truncated` says that more follows."""
        try:
            with self._roots.opened(asked.path) as handle:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    return failed(f"{asked.path} is not a regular file")
                # through its handle, so that it is this file and no other that is read
                with open(os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    file.seek(asked.offset)
                    data = file.read(asked.length)
        except (Outside, OSError) as error:
            return failed(reason(error, asked.path))
        if asked.encoding == "base64":
            content = base64.b64encode(data).decode()
        else:
            content = data.decode("utf-8", "replace")
        truncated = asked.offset + len(data) < size
        return {
            "success": True, "path": asked.path, "content": content, "encoding": asked.encoding, "offset": asked.offset,
            "length": len(data), "size": size, "truncated": truncated,
        }  # fmt: skip

    def write(self, asked: WriteFile) -> dict[str, Any]:
        """A file with exactly this content: others see the old one or the new one, never a part, also after a crash."""
        try:
            if asked.encoding == "base64":
                data = base64.b64decode(asked.content, validate=True)
            else:
                data = asked.content.encode()
        except ValueError as error:
            return failed(f"the content is not {asked.encoding}: {error}")
        try:
            with self._roots.parent(asked.path) as (folder, name):
                _replace(folder, name, data)
        except (Outside, OSError) as error:
            return failed(reason(error, asked.path))
        return {"success": True, "path": asked.path, "size": len(data)}

    def list(self, asked: ListDirectory) -> dict[str, Any]:
        """What lies in a folder, by name; links are told as links and not followed."""
        try:
            with self._roots.opened(asked.path) as handle:
                folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=handle)
            try:
                names = sorted(os.listdir(folder))
                entries = [entry for name in names[:MOST_ENTRIES] if (entry := _entry(folder, name)) is not None]
            finally:
                os.close(folder)
        except (Outside, OSError) as error:
            return failed(reason(error, asked.path))
        return {"success": True, "path": asked.path, "entries": entries, "truncated": len(names) > MOST_ENTRIES}


def failed(why: str) -> dict[str, Any]:
    """What a tool says that ran and could not do it."""
    return {"success": False, "error": why}


def reason(error: Exception, path: str) -> str:
    """A refusal or an error of the system in one line, in the caller's own words for the file."""
    return f"{path}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)


def _replace(folder: int, name: str, data: bytes) -> None:
    mode = 0o644
    with suppress(FileNotFoundError):
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(there.st_mode):
            raise Outside(f"{name} is there and is not a regular file")
        mode = stat.S_IMODE(there.st_mode) & 0o777
    # O_PATH handles cannot be synced
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    draft = f".treadle-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(draft, flags, mode, dir_fd=directory), "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(draft, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=directory)
        os.close(directory)


def _entry(folder: int, name: str) -> dict[str, Any] | None:
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None  # it went meanwhile
    kind = next((word for test, word in _KINDS if test(there.st_mode)), "other")
    return {
        "name": os.fsencode(name).decode("utf-8", "backslashreplace"),
        "type": kind,
        "size": there.st_size,
        "modified": datetime.fromtimestamp(there.st_mtime, UTC).isoformat(),
    }
