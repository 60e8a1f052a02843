"""Files of a folder in the package, served as they are: pages, scripts, styles, pictures."""

import asyncio
import hashlib
import os
from pathlib import Path

from treadle.web.call import Call, Headers, Reply
from treadle.web.pages import HTML, page_policy
from treadle.web.refusals import NoRoute

MEDIA = {
    ".css": b"text/css; charset=utf-8",
    ".gif": b"image/gif",
    ".html": HTML,
    ".ico": b"image/x-icon",
    ".jpg": b"image/jpeg",
    ".js": b"text/javascript; charset=utf-8",
    ".json": b"application/json",
    ".map": b"application/json",
    ".mjs": b"text/javascript; charset=utf-8",
    ".png": b"image/png",
    ".svg": b"image/svg+xml",
    ".txt": b"text/plain; charset=utf-8",
    ".wasm": b"application/wasm",
    ".webmanifest": b"application/manifest+json",
    ".webp": b"image/webp",
    ".woff2": b"font/woff2",
}
UNKNOWN = b"application/octet-stream"


class Files:
    """What lies in a folder, listed once: an address is looked up in the list, so none can lead out of the folder.

    Links are not followed. The tags are hashes of the content, made when a file is first asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[str, Path] | None = None
        self._tags: dict[str, bytes] = {}

    async def reply(self, call: Call, name: str) -> Reply:
        """The file of that name (`assets/a.js`), or 304 to who has it already. Raises NoRoute if there is none."""
        return await asyncio.to_thread(self._reply, call, name)

    def _reply(self, call: Call, name: str) -> Reply:
        if self._listed is None:
            self._listed = _listed(self._folder)
        path = self._listed.get(name)
        if path is None:
            raise NoRoute(call.path)
        media = MEDIA.get(path.suffix.lower(), UNKNOWN)
        tag, body = self._tags.get(name), b""
        known = call.headers.get(b"if-none-match")
        if tag is None or known != tag:
            body = path.read_bytes()
            tag = self._tags[name] = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()
        headers: Headers = ((b"cache-control", b"no-cache"), (b"etag", tag))
        if media in (HTML, MEDIA[".svg"]):
            headers = (*headers, page_policy())  # also on a 304: its policy takes the place of the one that was cached
        if known == tag:
            return Reply(304, headers=headers)
        return Reply(200, body, media, headers)


def _listed(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if not path.is_symlink():
                found[path.relative_to(folder).as_posix()] = path
    return found
