"""What lies under the roots: a folder's listing, the roots themselves, and a search by name."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from threading import Event

from msgspec import UNSET

from treadle.core.errors import Denied, FabricError
from treadle.faces.console import wire
from treadle.faces.console.entries import is_shown, item_of
from treadle.faces.console.errors import NotADirectory
from treadle.faces.console.gate import USE
from treadle.faces.console.paths import Place, Roots
from treadle.faces.console.searching import search
from treadle.web.call import Call, Reply, json_reply
from treadle.web.routes import Route

SEARCHES = 2
"""At the same time: threads are few, and listings need them too."""
MOST = 10_000
"""Entries of one listing."""
ENDINGS: dict[wire.Kind, tuple[str, ...]] = {"video": (".mkv", ".mp4", ".ts"), "desc": (".txt", ".nfo", ".md")}


class Browsing:
    """Handlers. The disk is read in threads; a search ends when its client leaves."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._searches = asyncio.Semaphore(SEARCHES)

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path="/api/browse", handler=self.browse, scope=USE, query=wire.BrowseQuery,
                  reply=wire.Browsed, errors=(400, 403, 404), summary="What lies in a folder", tag="Files"),
            Route(method="GET", path="/api/browse_roots", handler=self.roots, scope=USE, reply=wire.BrowseRoots,
                  summary="The folders where browsing begins", tag="Files"),
            Route(method="GET", path="/api/browse_search", handler=self.find, scope=USE, query=wire.SearchQuery,
                  reply=wire.Found, errors=(400,), summary="Files and folders whose name holds a text", tag="Files"),
        ]  # fmt: skip

    async def browse(self, call: Call) -> Reply:
        return json_reply(await asyncio.to_thread(listing, self._roots, call.query.path, call.query.filter))

    async def roots(self, _: Call) -> Reply:
        items = await asyncio.to_thread(root_items, self._roots)
        return json_reply(wire.BrowseRoots(True, len(items), items))

    async def find(self, call: Call) -> Reply:
        asked: wire.SearchQuery = call.query
        items, truncated = await call.unless_gone(self._found(asked))
        return json_reply(wire.Found(True, asked.q, len(items), items, truncated))

    async def _found(self, asked: wire.SearchQuery) -> tuple[list[wire.Item], bool]:
        stop, fits = Event(), wanted(asked.filter)
        async with self._searches:
            try:
                return await asyncio.to_thread(
                    search, self._roots, asked.q, fits, most=asked.max_results, stopped=stop.is_set
                )
            finally:
                stop.set()


def wanted(kind: wire.Kind | None) -> Callable[[str], bool]:
    """Whether a file of this name is to be shown."""
    if kind is None:
        return lambda name: True
    endings = ENDINGS[kind]
    return lambda name: name.lower().endswith(endings)


def listing(roots: Roots, path: str, kind: wire.Kind | None = None) -> wire.Browsed:
    """What lies in a folder, but for what is hidden, leads out of the roots, or is neither file nor folder."""
    items: list[wire.Item] = []
    with roots.open(path) as folder:
        if not folder.is_folder:
            raise NotADirectory
        truncated = False
        for item in _items(roots, folder, wanted(kind)):
            truncated = len(items) >= MOST
            if truncated:
                break
            items.append(item)
    items.sort(key=lambda item: (item.type == "file", item.name.casefold(), item.name))
    return wire.Browsed(True, folder.path, len(items), items, truncated or UNSET)


def root_items(roots: Roots) -> list[wire.Item]:
    """The roots; where two have one name, each says where it lies."""
    listed = roots.listed()
    names = [PurePosixPath(root.path).name or "/" for root in listed]
    return [
        wire.Item(
            name,
            root.path,
            "folder",
            children=[],
            subtitle=str(PurePosixPath(root.path).parent) if names.count(name) > 1 else UNSET,
            available=UNSET if root.available else False,
        )
        for name, root in zip(names, listed, strict=True)
    ]


def _items(roots: Roots, folder: Place, fits: Callable[[str], bool]) -> Iterator[wire.Item]:
    try:
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder.handle)
    except PermissionError:
        raise Denied("The server may not read this folder") from None
    try:
        with os.scandir(readable) as entries:
            for entry in entries:
                item = _item(roots, folder, entry) if is_shown(entry.name) else None
                if item is not None and (item.type == "folder" or fits(item.name)):
                    yield item
    finally:
        os.close(readable)


def _item(roots: Roots, folder: Place, entry: os.DirEntry[str]) -> wire.Item | None:
    path = str(PurePosixPath(folder.path, entry.name))
    try:
        if not entry.is_symlink():
            return item_of(entry.name, path, entry.stat(follow_symlinks=False))
        with roots.open(path) as target:
            return item_of(entry.name, path, target.facts)
    except (FabricError, OSError):  # it leads out of the roots, or nowhere, or vanished while we looked
        return None
