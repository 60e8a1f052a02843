"""The MCP face: actions as its tools, over streamable HTTP, at one address of another face's listener.

The official SDK takes about half a second to import, so it is not imported before the first request.
"""

from .about import About
from .door import PATH, SCOPE, routes

__all__ = ["PATH", "SCOPE", "About", "routes"]
