"""The desk is where nodes ask for work and hand in what came of it; they never see the database.

It lives beside the store and answers over the bus, so it is the same in one process and between machines.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from msgspec import msgpack, to_builtins

from treadle.core import runs, topics
from treadle.core.clock import SECOND
from treadle.core.errors import Fault, Invalid, LeaseLost, NotFound, ProjectClosed, StoreUnavailable, Unreachable
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim, Extend, Finish, Release
from treadle.core.nodes import ANY, Node, queue_of, worker_of
from treadle.core.output import Outputs
from treadle.core.ports import Tx
from treadle.core.speech import answered, asked
from treadle.core.tasks import FINAL, Hold, Result, Task
from treadle.node import words

T = TypeVar("T")

ASKED = int(words.ASK_SECONDS * SECOND)
LOOK_SECONDS = 2.0
"""How long a node may take to answer a question or that it will look; it asks and extends soon in any case."""
WATCH_SECONDS = 1.0
"""How often a desk looks at a run although no hint came: a project that is removed says nothing of its tasks."""
POLL_SECONDS = 5.0
"""How often a waiting node looks again although no hint came."""

decode = msgpack.Decoder(words.Said).decode


class Desk:
    """Serves nodes until closed."""

    def __init__(self, fabric: Fabric, outputs: Outputs, report: Callable[[str, Exception], None]) -> None:
        self._fabric, self._outputs, self._report = fabric, outputs, report
        self._stack = ExitStack()
        self._watched: set[words.Lease] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._answers: Mapping[type, Callable[[str, Any], Any]] = {
            words.Join: self._join,
            words.Beat: self._beat,
            words.Leave: self._leave,
            words.Ask: self._ask,
            words.Keep: self._keep,
            words.Write: self._write,
            words.Expected: self._expected,
            words.Report: self._finish,
        }

    def open(self) -> None:
        """Begin to answer, and tell all nodes so."""
        self._stack.enter_context(self._fabric.bus.serve(topics.DESKS, self._answer))
        self._aside(self._call(), "calling nodes")

    async def close(self) -> None:
        """Answer no more."""
        self._stack.close()
        for each in self._background:
            each.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _call(self) -> None:
        """Nodes that still wait for a desk that was killed would do so for long."""
        known = await self._fabric.nodes.all()
        await asyncio.gather(
            *(self._order(node.id, words.Here(), type(None)) for node in known), return_exceptions=True
        )

    async def _answer(self, subject: str, payload: bytes) -> bytes:
        said = decode(payload)
        return await answered(self._answers[type(said)](subject.removeprefix(topics.desk("")), said))

    async def _join(self, id: str, said: words.Join) -> Node:
        nodes = self._fabric.nodes
        return await nodes.join(id, said.name, slots=said.slots, version=said.version, inventory=said.inventory)

    async def _beat(self, id: str, said: words.Beat) -> None:
        await self._fabric.nodes.beat(id, busy=said.busy, load=said.load)

    async def _leave(self, id: str, said: words.Leave) -> None:
        node = await self._fabric.nodes.get(id)
        await self._release(node, await self._unheard(node, said.held))
        await self._fabric.nodes.leave(id)

    async def _ask(self, id: str, said: words.Ask) -> list[words.Assignment]:
        """Work for this node before work for any; after a while an empty answer, so that a dead asker is not kept."""
        node = await self._fabric.nodes.get(id)
        deadline = self._fabric.clock() + ASKED
        given = await self._unheard(node, said.held)
        with self._fabric.bus.listen(await self._topic()) as work:
            while not given:
                if given := await self._claim(node, said.count):
                    try:
                        if not await self._order(id, words.Waits(said.name), bool):
                            return []  # its newer Ask gets them
                    except Unreachable:
                        await self._release(node, given)
                        return []
                    break
                left = (deadline - self._fabric.clock()) / SECOND
                if left <= 0:
                    break
                await work.heard(min(left, POLL_SECONDS))
        return await self._assigned(node, given)

    async def _assigned(self, node: Node, given: list[Task]) -> list[words.Assignment]:
        """As many as one answer carries; the node's next Ask gets the others."""
        ready: list[words.Assignment] = []
        room = words.MOST_BYTES
        for task in given:
            each = await self._assign(node, task)
            room -= len(msgpack.encode(each))
            if room < 0:
                break
            if each:
                ready.append(each)
        return ready

    async def _unheard(self, node: Node, held: list[words.Lease]) -> list[Task]:
        """What was given to a node by an answer that did not reach it."""

        def query(tx: Tx) -> list[Task]:
            project = tx.projects([runs.PROJECT]).get(runs.PROJECT)
            return tx.held(project.id, [worker_of(node)]) if project else []

        return [task for task in await self._fabric.store.read(query) if (task.id, task.fence) not in held]

    async def _claim(self, node: Node, count: int) -> list[Task]:
        taken: list[Task] = []
        with suppress(NotFound, ProjectClosed):
            for name in (queue_of(node.id), queue_of(ANY)):
                left = count - len(taken)
                claim = Claim(
                    project=runs.PROJECT, worker=worker_of(node), queue=name, count=left, lease=runs.POLICY.lease
                )
                taken += await self._fabric.tasks.claim(claim) if left else ()
        return taken

    async def _release(self, node: Node, given: list[Task]) -> None:
        calls = [Release(task=task.id, by=Hold(worker_of(node), fence=task.fence)) for task in given]
        if calls:
            await self._fabric.tasks.release.many(calls)

    async def _assign(self, node: Node, task: Task) -> words.Assignment | None:
        """What the node needs to know; a task that cannot be read as a run fails."""
        try:
            given = words.Assignment(task.id, task.fence, run_of(task).command, await self._fabric.runs.secrets(task))
            fitting(given)
        except Invalid as error:
            failed = Result(ok=False, error=error.message, retry=False)
            by = Hold(worker_of(node), fence=task.fence)
            await self._fabric.tasks.finish(Finish(task=task.id, by=by, result=failed))
            return None
        self._watch(node.id, (task.id, task.fence))
        return given

    async def _keep(self, id: str, said: words.Keep) -> list[words.Lease]:
        worker = await self._worker(id)
        calls = [Extend(task=task, by=Hold(worker, fence=fence), keep=runs.POLICY.lease) for task, fence in said.held]
        outcomes = await self._fabric.tasks.extend.many(calls)
        refused = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]
        if refused:
            raise refused[0]  # nobody knows; a node ends only what it was told to end
        kept = [held for held, outcome in zip(said.held, outcomes, strict=True) if isinstance(outcome, Task)]
        for lease in kept:
            self._watch(id, lease)  # another desk may have given it
        return kept

    async def _write(self, _: str, said: words.Write) -> int:
        return await owned(self._fabric.output.write(said.task, said.fence, said.at, said.parts))

    async def _expected(self, _: str, said: words.Expected) -> int:
        task = await owned(self._fabric.tasks.get(said.task))
        if not holds(task, said.fence):
            raise LeaseLost(f"Run {task.id} has another holder now, or none")
        return await self._outputs.expected(said.task, said.fence)

    async def _finish(self, id: str, said: words.Report) -> None:
        worker = await self._worker(id)
        await self._outputs.flush(said.task)
        ending = said.ending
        result = Result(
            ok=ending.ok,
            output=to_builtins(ending),
            error=None if ending.ok else ending.told(),
            retry=said.again,
            reason="reported",
        )
        by = Hold(worker, fence=said.fence)
        task = await owned(self._fabric.tasks.finish(Finish(task=said.task, by=by, result=result)))
        if task.state in FINAL:
            await self._fabric.runs.forget_secrets(task)

    def _watch(self, id: str, lease: words.Lease) -> None:
        """Tell the node at once when a task of its own is taken away; its next Keep would tell it later."""
        if lease not in self._watched:
            self._watched.add(lease)
            self._aside(self._tell(id, lease), f"watching run {lease[0]}")

    async def _tell(self, id: str, lease: words.Lease) -> None:
        try:
            with self._fabric.bus.listen(topics.task(lease[0])) as listener:
                while holds(now := await self._fabric.tasks.get(lease[0]), lease[1]):
                    await listener.heard(WATCH_SECONDS)
            if now.result is not None and now.result.reason == "reported":
                return
            if now.state in FINAL:
                await self._fabric.runs.forget_secrets(now)
        except NotFound:
            pass  # it is gone, which it must be told too
        finally:
            self._watched.discard(lease)
        await self._order(id, runs.Look(), type(None))

    def _aside(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Do what nobody waits for."""
        doing = asyncio.create_task(work, name=what)
        self._background.add(doing)
        doing.add_done_callback(self._done)

    def _done(self, doing: "asyncio.Task[None]") -> None:
        self._background.discard(doing)
        error = None if doing.cancelled() else doing.exception()
        if isinstance(error, Exception) and not isinstance(error, Unreachable):
            self._report(doing.get_name(), error)

    async def _order(self, id: str, order: words.Order, of: type[T]) -> T:
        return await asked(self._fabric.bus.request(topics.node(id), msgpack.encode(order), LOOK_SECONDS), of)

    async def _worker(self, id: str) -> str:
        """The name under which this node holds leases. Raises NotFound for a node that has to join."""
        return worker_of(await self._fabric.nodes.get(id))

    async def _topic(self) -> str:
        """What to listen to for work: the pool's hints; before its first run there is no pool, so everything's."""
        with suppress(NotFound):
            return topics.queue((await self._fabric.projects.get(runs.PROJECT)).project.id)
        return topics.EVENTS


def run_of(task: Task) -> runs.Wanted:
    """What to run. Raises Invalid; also for other kinds of tasks, which whoever may not start runs may make."""
    if task.kind != runs.KIND:
        raise Invalid(Fault("kind", "only runs are for nodes", task.kind))
    return runs.wanted(task)


def fitting(given: words.Assignment) -> None:
    """Raise Invalid for a run that no answer can carry."""
    if len(msgpack.encode(given)) > words.MOST_BYTES:
        raise Invalid(Fault("command", f"has more than {words.MOST_BYTES} bytes, with its environment and secrets"))


def holds(task: Task, fence: int) -> bool:
    """Whether this fence still holds the task."""
    return task.state == "running" and task.fence == fence


async def owned(work: Awaitable[T]) -> T:
    """What a node asks of one of its runs: one that is gone is lost. NotFound is left to mean the node itself."""
    try:
        return await work
    except NotFound as gone:
        raise LeaseLost(gone.message) from None
