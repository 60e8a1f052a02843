"""The Architect face: an agent that is commanded over one WebSocket, by actions that it lists itself."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .events import Area
from .options import FACE, Options
from .topics import Topic

if TYPE_CHECKING:
    from treadle.core.actions import Action
    from treadle.core.errors import FabricError
    from treadle.core.fabric import Fabric
    from treadle.web.log import Log

    from .face import Architect

NAME = FACE

__all__ = ["NAME", "Area", "Options", "Topic", "make"]


def make(
    fabric: "Fabric",
    options: Options,
    log: "Log",
    *,
    actions: "Sequence[Action]" = (),
    areas: Sequence[Area] = (),
    topics: Sequence[Topic] = (),
    errors: "Mapping[type[FabricError], str] | None" = None,
) -> "Architect":
    """The application that speaks the Architect's API (see `face.make`); what it takes is loaded only then."""
    from .face import make as made

    return made(fabric, options, log, actions=actions, areas=areas, topics=topics, errors=errors)
