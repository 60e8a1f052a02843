"""What the MCP server says of itself when a client connects."""

from msgspec import Struct


class About(Struct, frozen=True):
    """Its name on the wire, a title and a version for people, and how a model should go about its tools."""

    name: str
    title: str
    version: str
    instructions: str
