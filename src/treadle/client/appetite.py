"""How many tasks a worker wants at hand: enough that nobody waits for the network, no more than soon done."""

AHEAD_SECONDS = 0.25
"""Work that may lie ready; long tasks are therefore not hoarded, and short ones come in hundreds."""
WEIGHT = 0.1
"""Of the newest task in the mean."""


class Appetite:
    """Learns how long tasks take and says how many to claim."""

    def __init__(self, concurrency: int, *, most_ahead: int = 500, most_at_once: int = 250) -> None:
        self._concurrency, self._most_ahead, self._most_at_once = concurrency, most_ahead, most_at_once
        self._mean: float | None = None

    def took(self, seconds: float) -> None:
        """A task was worked on for so long."""
        self._mean = seconds if self._mean is None else self._mean + WEIGHT * (seconds - self._mean)

    @property
    def ahead(self) -> int:
        """How many tasks may lie ready besides those being worked on."""
        if self._mean is None:
            return 0
        return min(self._most_ahead, int(self._concurrency * AHEAD_SECONDS / max(self._mean, 1e-6)))

    def wants(self, ready: int, busy: int) -> int:
        """How many to claim now, with so many lying ready and so many being worked on; 0: not yet.

        What lies ready is used up by half before more is claimed, so that a claim is worth its request.
        """
        idle = max(0, self._concurrency - busy)
        if ready > idle + self.ahead // 2:
            return 0
        return max(0, min(self._most_at_once, idle + self.ahead - ready))
