"""How long to wait before the next try: twice as long each time, and anywhere up to that, so that a thousand devices
do not come back at the same moment.
"""

from collections.abc import Callable

START, LONGEST = 1.0, 60.0
GOOD = 60.0
"""Seconds that a try must have lasted for the next pause to be short again."""


class Pauses:
    """The pauses between tries; `uniform(0, most)` draws the length of one."""

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._failures = 0

    def after(self, lasted: float) -> float:
        """Seconds to wait after a try that went well for so many seconds (0: not at all)."""
        if lasted >= GOOD:
            self._failures = 0
        most = min(LONGEST, START * 2 ** min(self._failures, 16))
        self._failures += 1
        return self._uniform(0.0, most)
