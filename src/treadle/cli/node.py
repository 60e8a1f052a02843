"""`treadle node`: this machine as one that runs things for a server elsewhere, in the foreground."""

import os
import sys
from typing import Annotated, Any

from typer import Option

from treadle.settings.reading import Wrong, read

from . import Stop


# No docstring: the line in the table of commands describes it.
def node(
    home: Annotated[
        str | None, Option(metavar="DIR", help="Keep everything in this folder, not in ~/.treadle.")
    ] = None,
    config: Annotated[str | None, Option(metavar="FILE", help="Read this instead of treadle.toml in the home.")] = None,
    bus: Annotated[str | None, Option(metavar="URL", help="nats://HOST:PORT, where the server is, too.")] = None,
    bus_credentials: Annotated[
        str | None, Option(metavar="FILE", help="The file with this node's credentials for the bus.")
    ] = None,
    name: Annotated[str | None, Option(metavar="NAME", help="What this machine is called.")] = None,
    slots: Annotated[str | None, Option(metavar="N", help="How many runs at the same time.")] = None,
    ready_file: Annotated[str | None, Option(metavar="FILE", help="Write one line here once the node joined.")] = None,
) -> None:
    typed: dict[str, Any] = {
        "home": home,
        "config": config,
        "bus": bus,
        "bus_credentials": bus_credentials,
        "node.name": name,
        "node.slots": slots,
        "ready_file": ready_file,
    }
    try:
        reading = read({key: value for key, value in typed.items() if value is not None}, os.environ)
    except Wrong as wrong:
        raise Stop(str(wrong), 2) from None

    from treadle import compose

    sys.exit(compose.run_node(reading.settings, reading.warnings, joined))


def joined(about: dict[str, Any]) -> None:
    sys.stdout.write(f"node {about['node']}\nStop with Ctrl-C.\n")
    sys.stdout.flush()
