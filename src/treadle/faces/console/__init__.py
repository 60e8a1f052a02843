"""The Console face: files to browse, one program to run on them, and its terminal as a stream of HTML."""

from typing import TYPE_CHECKING

from .gate.options import GateOptions
from .options import Options

if TYPE_CHECKING:
    from treadle.core.fabric import Fabric
    from treadle.web.log import Log

    from .face import Console

NAME = "console"

__all__ = ["NAME", "GateOptions", "Options", "make"]


def make(fabric: "Fabric", options: Options, log: "Log") -> "Console":
    """The application that speaks the Console's API (see `face.make`); what it takes is loaded only then."""
    from .face import make as made

    return made(fabric, options, log)
