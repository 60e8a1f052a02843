"""UFO's address: devices and constellations on a WebSocket, callers over HTTP, and between them sessions that turn a
request into commands for a device.
"""

from typing import TYPE_CHECKING

from .options import Limits, Options
from .runners.options import LlmOptions, RunnerOptions

if TYPE_CHECKING:
    from treadle.core.fabric import Fabric
    from treadle.web.log import Log

    from .face import Ufo

NAME = "ufo"

__all__ = ["NAME", "Limits", "LlmOptions", "Options", "RunnerOptions", "make"]


def make(fabric: "Fabric", options: Options, log: "Log") -> "Ufo":
    """The application that speaks UFO's API (see `face.make`); what it takes is loaded only then."""
    from .face import make as made

    return made(fabric, options, log)
