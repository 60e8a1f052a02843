"""The fabric is the whole: its attributes are the verbs, grouped by the noun they act on."""

from collections.abc import AsyncGenerator, Callable, Sequence

from . import topics
from .at_hand import AtHand
from .catalogue import Catalogue
from .clock import Clock, SteadyClock
from .duties import Duties
from .events import Event
from .grants import Grants
from .ids import Ids
from .nodes import Nodes
from .output import Output, Outputs
from .ports import Bus, Store
from .projects import TaskType
from .queue import POLL_SECONDS, Queue
from .relay import relay_to
from .runs import Runs

PAGE = 500


class Fabric:
    """Everything a face can call: `tasks`, `projects`, `runs`, `nodes`, `output`, `grants`, `events`."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        outputs: Outputs,
        *,
        report: Callable[[str, Exception], None],
        steps: SteadyClock | None = None,
    ) -> None:
        self.store, self.bus, self.clock, self.ids = store, bus, clock, ids
        types = AtHand[TaskType](store, clock, lambda tx, keys: tx.types(keys))
        self._types = types
        self.tasks = Queue(store, bus, clock, ids, types)
        self.projects = Catalogue(store, clock, ids)
        self.grants = Grants(store, clock, ids)
        self.events = Events(store, bus)
        self.nodes = Nodes(store, clock)
        self.runs = Runs(store, bus, clock, ids, tasks=self.tasks, projects=self.projects, nodes=self.nodes)
        self.output = Output(store, bus, clock, outputs)
        self.duties = Duties(
            store,
            clock,
            queue=self.tasks,
            catalogue=self.projects,
            grants=self.grants,
            nodes=self.nodes,
            outputs=outputs,
            report=report,
            steps=steps,
        )
        store.on_commit = self._committed

    def _committed(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind.startswith("type."):
                self._types.drop(event.subject)
            self.grants.learn(event)
            self.output.learn(event)
        relay_to(self.bus, events)


class Events:
    """The log of facts, read and followed from a cursor."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store, self._bus = store, bus

    async def after(self, cursor: int, limit: int = PAGE, project: str | None = None) -> list[Event]:
        """Facts after the cursor, oldest first."""
        return await self._store.read(lambda tx: tx.events_after(cursor, limit, project))

    async def last(self) -> int:
        """The cursor of the newest fact."""
        return await self._store.read(lambda tx: tx.last_event())

    async def follow(self, cursor: int, project: str | None = None) -> AsyncGenerator[Event, None]:
        """Facts after the cursor, and then each one as it is committed; never ends by itself."""
        with self._bus.listen(topics.EVENTS) as listener:
            while True:
                page = await self.after(cursor, PAGE, project)
                for event in page:
                    yield event
                    cursor = event.seq
                if len(page) < PAGE:
                    await listener.heard(POLL_SECONDS)
