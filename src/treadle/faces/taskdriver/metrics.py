"""What this face counts of itself: requests, errors, logins, durations. Counting costs a request well under 2 µs."""

from bisect import bisect_left
from collections import Counter

from treadle.faces.taskdriver.errors import row_of
from treadle.web.call import Call
from treadle.web.routes import METHODS

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds; one more holds what took longer."""
UNMATCHED = "unmatched"
"""The path of a request that no route took: its own text would make a series for every typing error."""
_METHODS = frozenset((*METHODS, "HEAD", "OPTIONS"))


class Histogram:
    """How often a duration fell under each bound, and the sum of all."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus has them: (upper bound, observations up to it)."""
        rows: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            total += count
            rows.append((bound, float(total)))
        return rows


class Meter:
    """The counters of one face; `done` and `erred` are told of every request and error."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.requests: dict[tuple[str, str, int], Histogram] = {}
        self.errors: Counter[tuple[str, str, str]] = Counter()
        self.login_errors: Counter[str] = Counter()
        self.sessions_created = 0
        self.session_seconds = Histogram()
        self.task_seconds = Histogram()

    def done(self, call: Call, status: int, seconds: float) -> None:
        key = (*_place(call), status)
        found = self.requests.get(key)
        if found is None:
            found = self.requests[key] = Histogram()
        found.observe(seconds)

    def erred(self, call: Call, kind: str) -> None:
        self.errors[(*_place(call), kind)] += 1

    def login_failed(self, error: Exception) -> None:
        self.login_errors[row_of(error)[1]] += 1

    def totals(self) -> tuple[int, int, float]:
        """Requests answered, those of them with a status below 400, and the mean seconds of all."""
        count = good = 0
        seconds = 0.0
        for (_, _, status), histogram in self.requests.items():
            answered = histogram.count
            count += answered
            good += answered if status < 400 else 0
            seconds += histogram.sum
        return count, good, seconds / count if count else 0.0


def _place(call: Call) -> tuple[str, str]:
    """Method and route pattern, never the path itself."""
    method = call.method if call.method in _METHODS else "OTHER"
    return method, call.route.path if call.route is not None else UNMATCHED
