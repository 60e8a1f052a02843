"""The face's numbers as Prometheus metric families, under the names of TaskDriver's published server (contract 10)."""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from treadle.faces.taskdriver.metrics import Histogram, Meter

OPERATIONS = frozenset({"next-task", "peek-next-task", "complete", "fail", "extend-lease", "cleanup-leases"})


class Standing(Struct, frozen=True):
    """What the store holds at the moment of asking, over all projects."""

    sessions: int
    projects: int
    tasks: int
    queued: int
    running: int
    completed: int
    failed: int
    agents: int


class Families:
    """A collector for prometheus_client: everything once, at the moment of asking."""

    def __init__(self, meter: Meter, standing: Standing) -> None:
        self._meter, self.standing = meter, standing

    def collect(self) -> Iterator[Metric]:
        meter, standing = self._meter, self.standing
        yield from _requests(meter)
        yield _gauge("http_requests_in_flight", "Requests being answered", meter.in_flight)
        yield _counter("http_errors", "Errors by kind", ("method", "path", "error_type"), meter.errors.items())
        yield _gauge("sessions_active", "Sessions that are open", standing.sessions)
        yield _counter("sessions_created", "Sessions opened by a login", (), [((), meter.sessions_created)])
        yield _counter("login_errors", "Logins refused", ("error_type",), _single(meter.login_errors.items()))
        yield _histogram("session_duration_seconds", "From login to logout", (), [((), meter.session_seconds)])
        yield _gauge("server_started", "1 while the server runs", 1)
        yield _gauge("projects_active", "Projects that are open", standing.projects)
        yield _gauge("tasks_total", "Tasks in the store", standing.tasks)
        yield _gauge("tasks_queued", "Tasks that wait", standing.queued)
        yield _gauge("tasks_running", "Tasks that somebody holds", standing.running)
        yield _counter("tasks_completed", "Completed tasks in the store", (), [((), standing.completed)])
        yield _counter("tasks_failed", "Failed tasks in the store", (), [((), standing.failed)])
        yield _histogram(
            "task_duration_seconds", "From claim to the end, of tasks ended here", (), [((), meter.task_seconds)]
        )
        yield _counter("agent_operations", "What agents asked of the queue", ("operation",), _operations(meter))
        yield _gauge("leases_active", "Leases that were not ended or swept", standing.running)
        yield _gauge("agents_connected", "Agents with a live lease", standing.agents)


class Flat(Struct):
    """The same numbers as JSON: by `name{labels}`, histograms with a number for each bound, `count` and `sum`."""

    counters: dict[str, float] = {}
    gauges: dict[str, float] = {}
    histograms: dict[str, dict[str, float]] = {}


def flat(families: Families) -> Flat:
    told = Flat()
    for family in families.collect():
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items() if name != "le")
            braces = f"{{{labels}}}" if labels else ""
            if family.type == "histogram":
                row = sample.labels.get("le") or sample.name.removeprefix(f"{family.name}_")
                told.histograms.setdefault(family.name + braces, {})[row] = sample.value
            else:
                group = told.counters if family.type == "counter" else told.gauges
                group[sample.name + braces] = sample.value
    return told


def _requests(meter: Meter) -> Iterator[Metric]:
    yield _counter("http_requests", "Requests answered", ("method", "path"), _places(meter).items())
    yield _histogram(
        "http_request_duration_seconds",
        "Seconds to the answer",
        ("method", "path", "status"),
        [((method, path, str(status)), histogram) for (method, path, status), histogram in meter.requests.items()],
    )


def _operations(meter: Meter) -> Iterator[tuple[tuple[str, ...], int]]:
    """The queue operations, each by the last word of its address."""
    for (_, path), count in _places(meter).items():
        operation = path.rpartition("/")[2]
        if operation in OPERATIONS:
            yield (operation,), count


def _places(meter: Meter) -> dict[tuple[str, str], int]:
    """Requests by method and path, whatever their status."""
    totals: dict[tuple[str, str], int] = {}
    for (method, path, _), histogram in meter.requests.items():
        totals[method, path] = totals.get((method, path), 0) + histogram.count
    return totals


def _single(rows: Iterable[tuple[str, int]]) -> Iterator[tuple[tuple[str, ...], int]]:
    return (((label,), value) for label, value in rows)


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(f"taskdriver_{name}", told, value=value)


def _counter(name: str, told: str, labels: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], int]]) -> Metric:
    family = CounterMetricFamily(f"taskdriver_{name}", told, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _histogram(
    name: str, told: str, labels: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], Histogram]]
) -> Metric:
    family = HistogramMetricFamily(f"taskdriver_{name}", told, labels=labels)
    for values, histogram in rows:
        family.add_metric(values, histogram.buckets(), histogram.sum)
    return family
