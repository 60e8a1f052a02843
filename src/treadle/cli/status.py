"""`treadle status`: what runs where, and the projects."""

from treadle import client as sdk

from .printing import fields, json_out, say, table
from .projects import COLUMNS
from .speaking import Home, Json, Server, speak


def status(server: Server = None, home: Home = None, json: Json = False) -> None:
    """The server, where it listens, and its projects."""

    async def work(client: sdk.Client) -> tuple[sdk.About, list[sdk.Project]]:
        return await client.about(), await client.projects("all")

    about, projects = speak(server, home, work)
    if json:
        json_out({"server": about, "projects": projects})
        return
    fields(
        [
            ("version", about.version),
            ("pid", about.pid),
            ("store", about.store),
            ("started", about.started),
            *about.listeners.items(),
        ]
    )
    say("")
    table(COLUMNS, projects, empty="no projects")
