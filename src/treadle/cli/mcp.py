"""`treadle mcp`: the running server's MCP on stdin and stdout, for agents that start their MCP servers as children."""

from typing import Annotated

from typer import Option

from treadle.client.errors import NoServer
from treadle.client.finding import Finder

from . import Stop


def mcp(
    server: Annotated[
        str | None, Option(metavar="URL", help="Another server than this home's; its key is TREADLE_KEY.")
    ] = None,
    home: Annotated[str | None, Option(metavar="DIR", help="The home of the server, not ~/.treadle.")] = None,
) -> None:
    """Speak MCP on stdin and stdout; the server that `treadle up` runs answers.

    Give this command to a program that uses MCP tools. It ends with its stdin.
    """
    finder = Finder(server, home=home)
    try:
        finder.find()  # before the SDK's slow import: whoever forgot to start a server hears of it at once
    except NoServer as missing:
        raise Stop(str(missing), 3) from None

    from .bridging import NoAnswer, Refusal, serve

    try:
        serve(finder)
    except NoAnswer as silent:
        raise Stop(f"{silent}; is it running? Start it with `treadle up`", 3) from None
    except Refusal as refused:
        raise Stop(str(refused)) from None
