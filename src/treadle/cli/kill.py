"""`treadle kill`: end runs, or send them a signal."""

from typing import Annotated

from treadle.client import asking
from treadle.client.errors import Conflict, NotFound
from treadle.client.runs import Run

from . import Stop
from .attaching import GRACE
from .endings import FAILED
from .options import Argument, Home, Json, Option, Server
from .printing import json_out, note, say
from .reaching import reached


def kill(
    ids: Annotated[list[str], Argument(metavar="RUN…", help="Ids of runs.")],
    signal: Annotated[
        str | None, Option("--signal", "-s", metavar="NAME", help="Send this signal and nothing more, such as HUP.")
    ] = None,
    grace: Annotated[
        float | None, Option("--grace", metavar="SECONDS", help="Kill what is still there after so long.", least=0)
    ] = None,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """End runs with all their processes: TERM, and KILL for what is still there after 5 seconds (--grace).

    A run that waits for a node is called off. --signal sends another signal; with --grace it, too, is followed by KILL.
    """
    name = "TERM" if signal is None else signal.upper().removeprefix("SIG")
    seconds = GRACE if signal is None and grace is None else grace
    told: list[Run] = []
    with reached(server, home) as plain:
        for id in ids:
            try:
                run = plain.ask(asking.signal(id, name, seconds))
            except (NotFound, Conflict) as error:
                note(f"treadle: {error.message}")
                continue
            told.append(run)
            if not json:
                say(f"{id} {'called off' if run.state == 'cancelled' else f'told {name}'}")
    if json:
        json_out(told)
    if len(told) < len(ids):
        raise Stop(f"{len(ids) - len(told)} of {len(ids)} were refused", FAILED)
