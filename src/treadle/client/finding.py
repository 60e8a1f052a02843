"""Where the server is and which key opens it: said by the caller, by the environment, or found in the home.

The home's own key is sent to the server of that home and to no other address.
"""

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from treadle.client.errors import NoServer


class Way(NamedTuple):
    """An address without a slash at its end, and the key to show there, if any."""

    server: str
    key: str | None


class Finder:
    """Looks anew at each call, because a server that is started again may have another address."""

    def __init__(
        self, server: str | None = None, key: str | None = None, home: str | os.PathLike[str] | None = None
    ) -> None:
        self._server = server or os.environ.get("TREADLE_SERVER") or None
        self._key = key or os.environ.get("TREADLE_KEY") or None
        self.home = home_folder(home)

    def find(self) -> Way:
        """The way to the server. Raises NoServer."""
        announced = self._announced()
        if self._server is not None:
            server = self._server.rstrip("/")
            if not server.startswith(("http://", "https://")):
                raise NoServer(f"{server} is no address of a server; write http://HOST:PORT")
        elif announced is not None:
            server = announced
        else:
            raise NoServer(f"no server runs in {self.home}; start `treadle up`")
        return Way(server, self._key or (self._home_key() if server == announced else None))

    def _announced(self) -> str | None:
        """The address in server.json, which a running server keeps there."""
        try:
            said = msgspec.json.decode((self.home / "server.json").read_bytes())
            return str(said["listeners"]["fabric"]).rstrip("/")
        except (OSError, msgspec.DecodeError, KeyError, TypeError):
            return None

    def _home_key(self) -> str | None:
        try:
            return (self.home / "secrets" / "local.key").read_text("ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None


def home_folder(home: str | os.PathLike[str] | None = None) -> Path:
    """The home: as given, else TREADLE_HOME, else ~/.treadle."""
    named = home or os.environ.get("TREADLE_HOME") or "~/.treadle"
    return Path(named).expanduser()
