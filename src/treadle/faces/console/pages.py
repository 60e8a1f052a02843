"""The start page and its files. A person who must log in is shown the way there."""

from pathlib import Path

from treadle.core.access import PUBLIC
from treadle.faces.console.gate import USE, Gate
from treadle.web.call import Call, Reply
from treadle.web.routes import Route
from treadle.web.static import Files

FOLDER = Path(__file__).parent / "static"


def page_routes(gate: Gate) -> list[Route]:
    """`/`, and what it loads from `/static`."""
    files = Files(FOLDER)

    async def start(call: Call) -> Reply:
        return await files.reply(call, "index.html")

    async def part(call: Call) -> Reply:
        await gate.admit(call)
        return await files.reply(call, call.params["file"])

    return [
        Route(method="GET", path="/", handler=start, scope=USE, summary="The start page", counted=False,
              documented=False, media_type="text/html"),
        Route(method="GET", path="/static/{file*}", handler=part, scope=PUBLIC, summary="A file of the start page",
              counted=False, documented=False),
    ]  # fmt: skip
