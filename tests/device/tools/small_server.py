"""A small real MCP server on stdin and stdout, by the official SDK, for tests of whoever starts such servers."""

import os
import sys
import time

from mcp.server import MCPServer

server = MCPServer("small")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def pid() -> str:
    """The process that answers."""
    return str(os.getpid())


@server.tool()
def die() -> str:
    """End at once, in the middle of the call."""
    os._exit(7)


@server.tool()
def big(size: int) -> str:
    """So many bytes of text."""
    return "x" * size


@server.tool()
def variable(name: str) -> str:
    """What the environment says."""
    return os.environ.get(name, "")


if __name__ == "__main__":
    if "--broken" in sys.argv:
        sys.exit("this server is broken")
    if "--deaf" in sys.argv:
        time.sleep(300)
    print("small server is up", file=sys.stderr, flush=True)  # noqa: T201
    server.run()
