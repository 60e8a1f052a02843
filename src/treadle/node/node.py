"""The node: joins, beats, asks the desk for work, runs it as processes, and hands in what came of them."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from signal import Signals
from typing import Any, TypeVar

from msgspec import msgpack
from msgspec.structs import replace

from treadle import __version__
from treadle.core import nodes, runs, topics
from treadle.core.clock import SECOND
from treadle.core.errors import (
    Conflict,
    FabricError,
    LeaseLost,
    NotFound,
    ProjectClosed,
    StoreUnavailable,
    Unreachable,
    WrongState,
)
from treadle.core.ids import new_id
from treadle.core.output import PIECE
from treadle.core.ports import Bus
from treadle.core.runs import Ending
from treadle.core.speech import answered, asked
from treadle.node import words
from treadle.node.inventory import Inventory
from treadle.node.processes import Process, Processes

T = TypeVar("T")

BEAT_SECONDS = nodes.PRESENCE / SECOND / 3
KEEP_SECONDS = runs.POLICY.lease / SECOND / 3
PAUSE_SECONDS = 1.0
"""Between two tries to reach a desk that is not there."""
GROWTH_SECONDS = 30.0

decode_order = msgpack.Decoder(words.Order).decode


class Held:
    """A run in this node's hands."""

    def __init__(self, task: str, fence: int) -> None:
        self.task, self.fence = task, fence
        self.begun: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self.lost = False

    @property
    def name(self) -> str:
        return f"{self.task}.{self.fence}"

    @property
    def lease(self) -> words.Lease:
        return self.task, self.fence


class Node:
    """One machine's part in the fabric, from `run` to `stop`."""

    def __init__(
        self,
        bus: Bus,
        processes: Processes,
        inventory: Inventory,
        *,
        id: str,
        name: str,
        slots: int,
        surroundings: Mapping[str, str],
        report: Callable[[str, Exception | None], None],
    ) -> None:
        self._bus, self._processes, self._inventory, self._report = bus, processes, inventory, report
        self._id, self._name, self._slots, self._surroundings = id, name, slots, surroundings
        self._held: dict[str, Held] = {}
        self._carrying: set[asyncio.Task[None]] = set()
        self._freed, self._look = asyncio.Event(), asyncio.Event()
        self._ask = ""  # the name of the one whose answer we wait for
        self._asking: asyncio.Task[list[words.Assignment]] | None = None
        self._saying: set[asyncio.Future[Any]] = set()
        self._stopping = self._cut_off = False
        self._grace = 0.0  # what processes have between TERM and KILL when we stop, at most
        self.joined = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled; call `stop` before that for a clean end."""
        with self._bus.serve(topics.node(self._id), self._obey):
            await self._join()
            await self._adopt()
            self.joined.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(), name="node beat")
                group.create_task(self._keep(), name="node keep")
                group.create_task(self._work(), name="node work")

    async def stop(self, seconds: float) -> None:
        """Take no more work, end what runs, hand in how it ended and leave; after so many seconds leave in any case."""
        self._stopping = True
        self._ask_again()
        self._grace = seconds / 2
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for held in list(self._held.values()):
                    await self._end(held)
                await asyncio.gather(*self._carrying, return_exceptions=True)
        for carrying in self._carrying:
            carrying.cancel()
        with suppress(FabricError):
            await self._say(words.Leave(self._leases()), type(None))
        await self._processes.close()  # what could not be ended in time goes on, to be found again

    async def _join(self) -> None:
        facts = await asyncio.to_thread(self._inventory.facts)
        known = await self._insist(words.Join(self._name, self._slots, __version__, facts), nodes.Node)
        self._name = known.name

    async def _adopt(self) -> None:
        """Go on with the runs of an earlier life that are still ours; end the others."""
        found = {process.name: process for process in await self._processes.found()}
        leases = [(task, int(fence)) for task, _, fence in (name.rpartition(".") for name in found)]
        kept = await self._insist(words.Keep(leases), list[words.Lease]) if leases else []
        for lease in leases:
            held = Held(*lease)
            held.lost = lease not in kept
            held.begun.set_result(found[held.name])
            self._carry(held, self._through(held))

    async def _beat(self) -> None:
        while True:
            try:
                load = await asyncio.to_thread(self._inventory.load)
                await self._say(words.Beat(len(self._held), load), type(None))
            except (Unreachable, StoreUnavailable):
                pass  # it was reported, and the next one comes soon
            except (FabricError, OSError) as error:
                self._report("beat", error)
            await asyncio.sleep(BEAT_SECONDS)

    async def _keep(self) -> None:
        """Extend every lease in time, and at once when told to look; end what is no longer ours."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEP_SECONDS):
                    await self._look.wait()
            self._look.clear()
            held = [each for each in self._held.values() if not each.lost]
            if not held:
                continue
            kept = await self._insist(words.Keep([each.lease for each in held]), list[words.Lease])
            for each in held:
                if each.lease not in kept and each.name in self._held:
                    each.lost = True
                    await self._end(each)

    async def _work(self) -> None:
        while not self._stopping:
            free = self._slots - len(self._held)
            if free <= 0:
                self._freed.clear()
                await self._freed.wait()
                continue
            for given in await self._given(free):
                held = Held(given.task, given.fence)
                self._carry(held, self._begin(held, given))

    async def _given(self, free: int) -> list[words.Assignment]:
        """What the desk has for us: after a while, or when told to ask again, nothing."""
        self._ask = new_id()
        ask = words.Ask(self._ask, free, self._leases())
        self._asking = asyncio.create_task(self._say(ask, list[words.Assignment], words.ASK_SECONDS))
        try:
            await asyncio.wait({self._asking})
            if self._asking.cancelled() or self._stopping:  # what has not begun goes back when we leave
                return []
            return self._asking.result()
        except (Unreachable, StoreUnavailable):
            self._look.set()  # whoever answers next does not watch what we hold
            await asyncio.sleep(PAUSE_SECONDS)
        except FabricError as error:
            self._report("ask", error)
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._asking.cancel()
        return []

    def _ask_again(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def _leases(self) -> list[words.Lease]:
        return [held.lease for held in self._held.values()]

    async def _begin(self, held: Held, given: words.Assignment) -> None:
        env = {**self._surroundings, "TREADLE_TASK_ID": given.task}
        try:
            process = await self._processes.start(held.name, given.command, given.secrets, env)
        except (FabricError, OSError) as error:
            held.begun.cancel()
            ending = Ending(reason="spawn_error", error=str(error))
            with suppress(Conflict):  # it is not ours any more
                await self._insist(words.Report(given.task, given.fence, ending), type(None))
            return
        held.begun.set_result(process)
        await self._through(held)

    def _carry(self, held: Held, work: Coroutine[Any, Any, None]) -> None:
        self._held[held.name] = held
        carrying = asyncio.create_task(work, name=f"run {held.name}")
        self._carrying.add(carrying)
        carrying.add_done_callback(lambda done: self._carried(held, done))

    def _carried(self, held: Held, done: "asyncio.Task[None]") -> None:
        self._carrying.discard(done)
        self._held.pop(held.name, None)
        self._freed.set()
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Exception):
            self._report(f"run {held.name}", error)

    async def _through(self, held: Held) -> None:
        """Ship what the run prints until it has ended, and then how it ended."""
        process = held.begun.result()
        broke: Exception | None = None
        try:
            await self._ship(held, process)
        except (LeaseLost, WrongState):
            held.lost = True
        except (FabricError, OSError) as error:
            broke = error
        if held.lost or broke:
            await self._end(held)
        while process.ending is None:
            await process.grew(GROWTH_SECONDS)
        if broke:
            self._report(f"run {held.name}", broke)
            ending = Ending(reason="lost", error=str(broke))
            with suppress(Conflict):
                await self._insist(words.Report(held.task, held.fence, ending, again=True), type(None))
        await process.forget()

    async def _ship(self, held: Held, process: Process) -> None:
        if held.lost:
            return
        at = await self._insist(words.Expected(held.task, held.fence), int)
        while not held.lost:
            at = max(at, process.first)
            ending = process.ending
            try:
                parts = await process.read(at, PIECE)
            except Conflict:
                continue  # it had to be dropped just now, and `first` has moved
            if parts:
                write = words.Write(held.task, held.fence, at, parts[: words.MOST_PARTS])
                at = await self._insist(write, int)
                process.shipped(at)
            elif ending is not None:
                if self._stopping and ending.reason == "killed":
                    ending = replace(ending, reason="shutdown", error="The node was stopped")
                await self._insist(words.Report(held.task, held.fence, ending, ending.reason == "lost"), type(None))
                return
            else:
                await process.grew(GROWTH_SECONDS)

    async def _end(self, held: Held) -> None:
        """Ask all processes of a run to end, and then make them."""
        await asyncio.wait([held.begun])
        if not held.begun.cancelled():  # else it could not begin
            process = held.begun.result()
            grace = min(process.grace, self._grace) if self._stopping else process.grace
            await process.signal(Signals.SIGTERM, grace=grace)

    async def _obey(self, _: str, payload: bytes) -> bytes:
        return await answered(self._carry_out(decode_order(payload)))

    async def _carry_out(self, order: words.Order) -> bool | None:
        if isinstance(order, words.Waits):
            waits = order.ask == self._ask and not self._stopping
            if not waits:
                self._ask_again()  # for what we were about to be given
            return waits
        if isinstance(order, runs.Look | words.Here):
            self._look.set()
            if isinstance(order, words.Here):
                self._ask_again()
                for saying in self._saying:  # what the desk before may never answer is said again
                    saying.cancel()
            return None
        held = next((each for each in self._held.values() if each.task == order.task and not each.lost), None)
        if held is not None:
            await asyncio.wait([held.begun])
        if held is None or held.begun.cancelled():
            raise WrongState(f"Run {order.task} does not run on {self._name} any more")
        process = held.begun.result()
        if isinstance(order, runs.Input):
            return await process.input(order.data, eof=order.eof)
        if isinstance(order, runs.Resize):
            await process.resize(order.window)
        else:
            await process.signal(Signals[f"SIG{order.signal}"], grace=order.grace)
        return None

    async def _insist(self, said: words.Said, of: Any) -> Any:
        """Say it until somebody takes it."""
        while True:
            try:
                return await self._say(said, of)
            except (Unreachable, StoreUnavailable, ProjectClosed):
                await asyncio.sleep(PAUSE_SECONDS)

    async def _say(self, said: words.Said, of: type[T], patience: float = 0.0) -> T:
        """Say it to the desk; that it cannot be reached is reported once, until it can."""
        try:
            try:
                answer = await self._said(said, of, patience)
            except NotFound:  # somebody removed this node while it was silent
                await self._join()
                answer = await self._said(said, of, patience)
        except (Unreachable, StoreUnavailable) as error:
            if not self._cut_off:
                self._report(f"The server does not answer: {error.message}", None)
            self._cut_off = True
            raise
        self._cut_off = False
        return answer

    async def _said(self, said: words.Said, of: type[T], patience: float) -> T:
        payload = msgpack.encode(said)
        while True:
            seconds = words.ANSWER_SECONDS + patience
            saying = asyncio.ensure_future(asked(self._bus.request(topics.desk(self._id), payload, seconds), of))
            self._saying.add(saying)
            try:
                await asyncio.wait({saying})
                if not saying.cancelled():
                    return saying.result()
            finally:
                saying.cancel()
                self._saying.discard(saying)
