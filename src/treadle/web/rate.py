"""How many calls a client may make: a fixed window for each address, counted from its first call."""

import ipaddress

from msgspec import Struct

WINDOW = 15 * 60
"""Seconds."""
CLIENTS = 50_000
"""How many addresses are remembered; beyond that the oldest window is forgotten."""


class Window(Struct):
    """One client's current window: calls used, when it ends (epoch seconds), and that instant as header text."""

    used: int
    ends: int
    ends_text: bytes


class RateLimit:
    """Counts calls by client address; time (epoch seconds) is passed in. An application takes `limit` 0 as no limit."""

    def __init__(self, limit: int = 100, window: int = WINDOW, clients: int = CLIENTS) -> None:
        self.limit, self.window, self.clients = limit, window, clients
        self._windows: dict[str, Window] = {}  # in the order in which they end

    def __len__(self) -> int:
        return len(self._windows)

    def look(self, client: str, now: float) -> Window:
        """The client's window, without counting."""
        found = self._windows.get(client)
        if found is not None and now < found.ends:
            return found
        ends = int(now) + self.window
        return Window(0, ends, b"%d" % ends)

    def take(self, client: str, now: float) -> Window:
        """Counts one call; it is refused if `used` is now above the limit."""
        found = self._windows.get(client)
        if found is None or now >= found.ends:
            found = self.look(client, now)
            self._windows.pop(client, None)
            self._forget(now)
            self._windows[client] = found
        found.used += 1
        return found

    def remaining(self, window: Window) -> int:
        return max(0, self.limit - window.used)

    def _forget(self, now: float) -> None:
        """Drops ended windows, and the oldest where there are too many; each call drops as many as it adds."""
        while self._windows:
            client, oldest = next(iter(self._windows.items()))
            if now < oldest.ends and len(self._windows) < self.clients:
                return
            del self._windows[client]


def client_key(address: str) -> str:
    """Whom an address counts as: an IPv6 customer has a whole /64, and a mapped IPv4 address is that IPv4 address."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(parsed) >> 64 << 64)}/64"
