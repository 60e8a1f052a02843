"""Asking for work: what a caller hands in becomes tasks, with templates, duplicates, names and idempotency settled.

A submit names one project and any number of new tasks; many submits share one transaction and a constant number of
statements.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, json

from .access import Principal, guard
from .clock import HOUR
from .documents import Collection
from .errors import Conflict, Denied, Duplicate, FabricError, Fault, Invalid, NotFound
from .ids import Ids
from .leases import refused
from .ledger import Ledger
from .ports import Tx
from .projects import Project, TaskType
from .tasks import OnLost, Task
from .templates import missing

KEPT = 24 * HOUR
"""How long a repeated idempotency key gets the first answer, microseconds."""


class NewTask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece of work as asked for. `type` is an id or a name; `name` is the asker's own, unique in the project."""

    type: str | None = None
    name: str | None = None
    kind: str = "work"
    queue: str = ""
    description: str | None = None
    instructions: str | None = None
    variables: dict[str, Any] = {}
    batch: str | None = None
    priority: int = 0
    not_before: int | None = None
    max_retries: int | None = None
    on_lost: OnLost = "requeue"


class Submit(Struct, frozen=True, kw_only=True):
    """New tasks for one project. With `atomic` one fault refuses all; else each task has its own outcome."""

    project: str
    tasks: Sequence[NewTask]
    by: Principal
    key: str | None = None
    atomic: bool = True


class Receipt(Struct, frozen=True):
    """What an idempotency key stands for: the digest of the request and the tasks it made (None: was refused)."""

    request: str
    tasks: list[str | None]


Outcome = Task | FabricError
receipts = Collection("receipt", Receipt)


def submit(tx: Tx, calls: Sequence[Submit], now: int, ids: Ids) -> list[list[Outcome] | FabricError]:
    """The tasks of each call, or the error that refuses the whole call."""
    projects = tx.projects(list({call.project for call in calls}))
    repeated = _repeated(tx, calls, projects)
    again = _same_key_again(calls, projects)
    known = _types(tx, calls, projects)
    outcomes: list[list[Outcome] | FabricError] = []
    drafted: dict[int, list[tuple[Task | FabricError, TaskType | None]]] = {}
    for place, call in enumerate(calls):
        project = projects.get(call.project)
        refusal = refused(project, call.project)
        outcomes.append(repeated.get(place, refusal or []))
        if project is None or refusal or place in repeated or place in again:
            continue
        types = known[project.id]
        unknown = next((new.type for new in call.tasks if new.type and new.type not in types), None)
        if unknown is not None:
            outcomes[place] = NotFound("Task type", unknown)
            continue
        drafted[place] = [
            (_draft(new, project, types.get(new.type or ""), call.by, now, ids), types.get(new.type or ""))
            for new in call.tasks
        ]
    ledger = Ledger(tx, now)
    taken = _Taken(tx, [(calls[place], drafts) for place, drafts in drafted.items()])
    for place, drafts in drafted.items():
        outcomes[place] = taken.settle(calls[place], drafts, ledger)
    added = {task.id: task for task in ledger.write()}
    for place in drafted:
        outcome = outcomes[place]
        if not isinstance(outcome, FabricError):
            made = [added.get(task.id, task) if isinstance(task, Task) else task for task in outcome]
            outcomes[place] = made
            _keep_receipt(tx, calls[place], projects[calls[place].project], made, now)
    taken.name(tx)
    for place in again:
        outcomes[place] = submit(tx, [calls[place]], now, ids)[0]
    return outcomes


def _types(tx: Tx, calls: Sequence[Submit], projects: Mapping[str, Project]) -> dict[str, dict[str, TaskType]]:
    """The types that the calls name, by project and by the word used for them; one statement for each project."""
    asked: dict[str, set[str]] = {project.id: set() for project in projects.values()}
    for call in calls:
        if call.project in projects:
            asked[projects[call.project].id].update(new.type for new in call.tasks if new.type)
    return {project: tx.types_named(project, list(refs)) for project, refs in asked.items()}


def _draft(
    new: NewTask, project: Project, type: TaskType | None, by: Principal, now: int, ids: Ids
) -> Task | FabricError:
    """The task as it would be made, if its variables fill its template."""
    try:
        guard(new.kind, by)
    except Denied as denied:
        return denied
    lacking = missing(type.template, new.variables) if type and type.template else []
    if lacking:
        return Invalid(Fault("variables", f"Missing required template variables: {', '.join(lacking)}", new.variables))
    retries = type.max_retries if type else project.policy.max_retries
    return Task(
        id=ids(),
        project=project.id,
        created=now,
        updated=now,
        name=new.name,
        type=type.id if type else None,
        kind=new.kind,
        queue=new.queue,
        face=by.face,
        submitter=by.name,
        description=new.description or (f"Task of type {type.name}" if type else ""),
        instructions=new.instructions or None,
        variables=new.variables,
        batch=new.batch,
        priority=new.priority,
        not_before=new.not_before if new.not_before is not None and new.not_before > now else None,
        max_retries=retries if new.max_retries is None else new.max_retries,
        on_lost=new.on_lost,
    )


class _Taken:
    """The names and the work that exist already, those of this transaction included."""

    def __init__(
        self, tx: Tx, calls: Sequence[tuple[Submit, Sequence[tuple[Task | FabricError, TaskType | None]]]]
    ) -> None:
        pairs = []
        names: dict[tuple[str, str], list[str]] = {}
        for call, drafts in calls:
            for task, type in drafts:
                if isinstance(task, Task) and task.name:
                    names.setdefault((call.by.face, task.project), []).append(task.name)
                if isinstance(task, Task) and type and type.duplicates != "allow":
                    pairs.append((type.id, task.variables))
        self._names = {
            (face, project, name): id
            for (face, project), asked in names.items()
            for name, id in tx.aliases(face, project, asked).items()
        }
        self._given: dict[tuple[str, str], dict[str, str]] = {}
        self._twins: dict[tuple[str, bytes], Task] = {}
        for task in tx.twins(pairs) if pairs else ():
            self._twins.setdefault((task.type or "", canonical(task.variables)), task)

    def settle(
        self, call: Submit, drafts: Sequence[tuple[Task | FabricError, TaskType | None]], ledger: Ledger
    ) -> list[Outcome] | FabricError:
        """Put the call's tasks into the ledger, as far as nothing stands against them."""
        names, twins = dict(self._names), dict(self._twins)
        outcomes: list[Outcome] = []
        fresh: list[Task] = []
        for task, type in drafts:
            outcome = task if isinstance(task, FabricError) else self._place(call, task, type, names, twins)
            outcomes.append(outcome)
            if outcome is task and isinstance(task, Task):
                fresh.append(task)
        faults = [outcome for outcome in outcomes if isinstance(outcome, FabricError)]
        if faults and call.atomic:
            return faults[0] if len(outcomes) == 1 else _first_of(outcomes)
        self._names, self._twins = names, twins
        for task in fresh:
            ledger.add(task, call.by)
            if task.name:
                self._given.setdefault((call.by.face, task.project), {})[task.name] = task.id
        return outcomes

    def name(self, tx: Tx) -> None:
        """Let the names of the new tasks stand for them."""
        for (face, project), names in self._given.items():
            tx.put_aliases(face, project, names)

    def _place(
        self,
        call: Submit,
        task: Task,
        type: TaskType | None,
        names: dict[tuple[str, str, str], str],
        twins: dict[tuple[str, bytes], Task],
    ) -> Outcome:
        if type and type.duplicates != "allow":
            twin = twins.setdefault((type.id, canonical(task.variables)), task)
            if twin is not task:
                text = json.encode(task.variables, order="deterministic").decode()
                told = f"A task of type {type.name} with variables {text} exists already: {twin.id}"
                return twin if type.duplicates == "ignore" else Duplicate(told)
        if task.name and names.setdefault((call.by.face, task.project, task.name), task.id) != task.id:
            return Duplicate(f"A task named {task.name} exists already in this project")
        return task


def canonical(variables: Mapping[str, Any]) -> bytes:
    """The same bytes for equal variables, whatever the order of their keys."""
    return json.encode(variables, order="deterministic")


def _first_of(outcomes: Sequence[Outcome]) -> FabricError:
    """One error for a refused bulk: every broken rule with its place, or the first other error with its place."""
    faults: list[Fault] = []
    for place, outcome in enumerate(outcomes):
        if isinstance(outcome, Invalid):
            faults += [Fault(f"tasks.{place}.{fault.field}", fault.message, fault.value) for fault in outcome.faults]
        elif isinstance(outcome, FabricError):
            return type(outcome)(f"Task {place}: {outcome.message}")
    return Invalid(*faults)


def _receipt_key(call: Submit, project: Project) -> str:
    return f"{project.id}/{call.by.face}/{call.by.name}/{call.key}"


def _digest(call: Submit) -> str:
    return hashlib.sha256(json.encode(call.tasks, order="deterministic")).hexdigest()


def _same_key_again(calls: Sequence[Submit], projects: Mapping[str, Project]) -> list[int]:
    """The places of calls that share their key with an earlier call of the same ride: they go after it."""
    seen: set[str] = set()
    again = []
    for place, call in enumerate(calls):
        if call.key is None or call.project not in projects:
            continue
        key = _receipt_key(call, projects[call.project])
        if key in seen:
            again.append(place)
        seen.add(key)
    return again


def _repeated(
    tx: Tx, calls: Sequence[Submit], projects: Mapping[str, Project]
) -> dict[int, list[Outcome] | FabricError]:
    """The answers of calls whose idempotency key was used before, by their place."""
    keyed = {
        place: _receipt_key(call, projects[call.project])
        for place, call in enumerate(calls)
        if call.key is not None and call.project in projects
    }
    if not keyed:
        return {}
    found = receipts.get_many(tx, list(keyed.values()))
    tasks = tx.tasks([id for receipt in found.values() for id in receipt.tasks if id])
    answers: dict[int, list[Outcome] | FabricError] = {}
    for place, key in keyed.items():
        receipt = found.get(key)
        if receipt is None:
            continue
        if receipt.request != _digest(calls[place]):
            answers[place] = Conflict("This Idempotency-Key was used for another request")
            continue
        answers[place] = [
            tasks[id] if id and id in tasks else NotFound("Task", id or "that was refused") for id in receipt.tasks
        ]
    return answers


def _keep_receipt(tx: Tx, call: Submit, project: Project, made: Sequence[Outcome], now: int) -> None:
    if call.key is not None:
        kept = Receipt(_digest(call), [task.id if isinstance(task, Task) else None for task in made])
        receipts.put(tx, _receipt_key(call, project), kept, group=project.id, expires=now + KEPT)
