"""Core things in this face's words: instants as text, durations as seconds, leases flat on their task."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import UNSET, UnsetType

from treadle.core import catalogue, events, projects, queue, tasks
from treadle.core.clock import SECOND
from treadle.core.errors import FabricError
from treadle.faces.fabric import wire
from treadle.faces.fabric.errors import code_of


@lru_cache(maxsize=4096)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def instant(micros: int) -> str:
    """Microseconds UTC as ISO 8601 text, always with six digits after the point: it sorts as it is."""
    seconds, rest = divmod(micros, SECOND)
    return f"{_to_the_second(seconds)}.{rest:06d}Z"


def instant_or_none(micros: int | None) -> str | None:
    return None if micros is None else instant(micros)


def micros(moment: datetime) -> int:
    """A moment a caller wrote, as microseconds UTC, exactly."""
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def duration(seconds: float) -> int:
    """Seconds as microseconds."""
    return round(seconds * SECOND)


def duration_if_set(seconds: float | UnsetType) -> int | UnsetType:
    return UNSET if seconds is UNSET else duration(seconds)


def policy_edit(edit: wire.PolicyEdit | UnsetType) -> dict[str, int] | UnsetType:
    """The keys of a policy to change, in the core's units."""
    if edit is UNSET:
        return UNSET
    keys = {
        "max_retries": edit.max_retries,
        "lease": duration_if_set(edit.lease),
        "sweep_every": duration_if_set(edit.sweep_every),
    }
    return {name: value for name, value in keys.items() if value is not UNSET}


def tally(counts: projects.Tally) -> wire.Tally:
    return wire.Tally(
        counts.queued, counts.running, counts.succeeded, counts.failed, counts.cancelled, counts.total
    )  # fmt: skip


def project(overview: catalogue.Overview) -> wire.Project:
    it = overview.project
    policy = wire.Policy(
        max_retries=it.policy.max_retries, lease=it.policy.lease / SECOND, sweep_every=it.policy.sweep_every / SECOND
    )
    return wire.Project(
        id=it.id,
        name=it.name,
        description=it.description,
        instructions=it.instructions,
        state=it.state,
        policy=policy,
        tally=tally(overview.tally),
        created=instant(it.created),
        updated=instant(it.updated),
    )


def task_type(type: projects.TaskType) -> wire.TaskType:
    return wire.TaskType(
        id=type.id,
        project=type.project,
        name=type.name,
        template=type.template,
        variables=list(type.variables),
        duplicates=type.duplicates,
        max_retries=type.max_retries,
        lease=type.lease / SECOND,
        created=instant(type.created),
        updated=instant(type.updated),
    )


def result(it: tasks.Result | None) -> wire.Result | None:
    return None if it is None else wire.Result(it.ok, it.output, it.error, it.outputs, it.retry, it.reason)


def attempt(it: tasks.Attempt) -> wire.Attempt:
    return wire.Attempt(
        worker=it.worker,
        fence=it.fence,
        state=it.state,
        started=instant(it.started),
        ended=instant_or_none(it.ended),
        lease_until=instant(it.lease_until),
        result=result(it.result),
    )


def task(view: queue.View, *, attempts: bool = False) -> wire.Task:
    it, lease = view.task, view.task.lease
    return wire.Task(
        id=it.id,
        project=it.project,
        name=it.name,
        type=it.type,
        type_name=view.type_name,
        kind=it.kind,
        queue=it.queue,
        submitter=it.submitter,
        description=it.description,
        instructions=view.instructions,
        variables=it.variables,
        batch=it.batch,
        priority=it.priority,
        not_before=instant_or_none(it.not_before),
        max_retries=it.max_retries,
        on_lost=it.on_lost,
        state=it.state,
        retries=it.retries,
        fence=it.fence,
        worker=lease.worker if lease else None,
        lease_until=instant(lease.until) if lease else None,
        created=instant(it.created),
        updated=instant(it.updated),
        assigned=instant_or_none(it.assigned),
        finished=instant_or_none(it.finished),
        result=result(it.result),
        attempts=list(map(attempt, it.history())) if attempts else UNSET,
    )


def standing(it: tasks.Task) -> wire.Standing:
    return wire.Standing(it.id, it.state, it.retries, it.fence, instant(it.lease.until) if it.lease else None)


def refused(error: FabricError) -> wire.Refused:
    return wire.Refused(code_of(error), error.message)


def settled(outcomes: Iterable[tasks.Task | FabricError]) -> wire.LeaseReply:
    """The answer to a worker's batch."""
    return wire.LeaseReply(
        [
            wire.Settled(error=refused(outcome))
            if isinstance(outcome, FabricError)
            else wire.Settled(task=standing(outcome))
            for outcome in outcomes
        ]
    )


def event(it: events.Event) -> wire.Event:
    return wire.Event(it.seq, it.kind, it.subject, it.project, instant(it.at), it.data)


def page_of(facts: Sequence[events.Event], cursor: int) -> wire.Events:
    """A page of facts, and where to go on: behind its last one, or at `cursor` if that is further."""
    return wire.Events([event(fact) for fact in facts], max(facts[-1].seq, cursor) if facts else cursor)
