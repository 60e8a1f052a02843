"""The page on which a person reads and tries a listener's API: Swagger UI from an installed package, without a CDN."""

import asyncio
import hashlib
import importlib.util
from collections.abc import Awaitable, Callable
from functools import cache
from html import escape
from pathlib import Path

from treadle.core.access import PUBLIC
from treadle.web import openapi
from treadle.web.call import Call, Headers, Reply
from treadle.web.refusals import NoRoute
from treadle.web.routes import Route

PACKAGE = "flask_swagger_ui"
"""Only its static files are used; it is never imported, for that would need Flask."""
_ASSETS = {
    "swagger-ui.css": b"text/css; charset=utf-8",
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "favicon-32x32.png": b"image/png",
}
_CSP: Headers = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/png" href="{base}/favicon-32x32.png">
<link rel="stylesheet" href="{base}/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<noscript>The document itself is at <a href="{document}">{document}</a>.</noscript>
<script src="{base}/swagger-ui-bundle.js"></script>
<script src="{base}/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({{
  url: "{document}", dom_id: "#page", deepLinking: true, layout: "BaseLayout", validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis]
}});
"""


def docs_routes(path: str, title: str, document: str = openapi.PATH) -> list[Route]:
    """The page at `path` and its files below it."""
    page = _PAGE.format(title=escape(title), base=path, document=document).encode()
    start = _START.format(document=document).encode()

    async def show(_: Call) -> Reply:
        return Reply(body=page, media_type=b"text/html; charset=utf-8", headers=_CSP)

    async def asset(call: Call) -> Reply:
        name = call.params["file"]
        if name == "start.js":
            return Reply(body=start, media_type=_ASSETS["swagger-ui-bundle.js"])
        if name not in _ASSETS:
            raise NoRoute(call.path)
        tag = await asyncio.to_thread(_tag, name)
        headers: Headers = ((b"cache-control", b"no-cache"), (b"etag", tag))
        if call.headers.get(b"if-none-match") == tag:
            return Reply(304, headers=headers)
        body = await asyncio.to_thread((_folder() / name).read_bytes)
        return Reply(body=body, media_type=_ASSETS[name], headers=headers)

    return [_route(path, "The API, to read and to try", show), _route(f"{path}/{{file}}", "A file of that page", asset)]


def _route(path: str, summary: str, handler: Callable[[Call], Awaitable[Reply]]) -> Route:
    return Route(
        method="GET", path=path, handler=handler, scope=PUBLIC, summary=summary, counted=False, documented=False,
        media_type="text/html",
    )  # fmt: skip


@cache
def _folder() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"The package {PACKAGE}, which holds the API page's files, is not installed")
    return Path(found.submodule_search_locations[0]) / "dist"


@cache
def _tag(name: str) -> bytes:
    return b'"%b"' % hashlib.sha256((_folder() / name).read_bytes()).hexdigest()[:16].encode()
