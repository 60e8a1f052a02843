"""The server as a quick command reaches it: one plain connection, whose errors end the command."""

from collections.abc import Iterator
from contextlib import contextmanager

from treadle.client.errors import ClientError
from treadle.client.finding import Finder
from treadle.client.plain import Plain

from .endings import stop


@contextmanager
def reached(server: str | None, home: str | None) -> Iterator[Plain]:
    """A connection while the block runs. What goes wrong there with the server is raised as Stop."""
    plain = Plain(Finder(server, home=home))
    try:
        yield plain
    except ClientError as error:
        raise stop(error) from error
    finally:
        plain.close()
