"""What workers say, over HTTP: claim, extend, finish, release, each for many tasks in one request; and the sweep.

One request is one ride through the store, whatever the number of tasks in it. An item that is refused (a lost lease)
says so in its place and does no harm to the others.
"""

from collections.abc import Sequence

from treadle.core import leases
from treadle.core.errors import StoreUnavailable
from treadle.core.fabric import Fabric
from treadle.core.submitting import Outcome
from treadle.core.tasks import Hold, Result
from treadle.faces.fabric import spelling, wire
from treadle.web.call import Call, Reply, json_reply
from treadle.web.routes import Route

CLAIM, MANAGE = "queue:claim", "queue:manage"


class Leases:
    """Handlers; all but the sweep are a worker's."""

    def __init__(self, fabric: Fabric) -> None:
        self._tasks, self._projects = fabric.tasks, fabric.projects

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/api/queue/claim", handler=self.claim, scope=CLAIM, body=wire.Claim,
                  summary="Take tasks, or wait for one", reply=wire.Claimed, errors=(404, 409), tag="leases"),
            Route(method="POST", path="/api/queue/extend", handler=self.extend, scope=CLAIM, body=wire.Extend,
                  summary="Keep tasks for longer", reply=wire.LeaseReply, tag="leases"),
            Route(method="POST", path="/api/queue/finish", handler=self.finish, scope=CLAIM, body=wire.Finish,
                  summary="Hand in how tasks ended", reply=wire.LeaseReply, tag="leases"),
            Route(method="POST", path="/api/queue/release", handler=self.release, scope=CLAIM, body=wire.Release,
                  summary="Give tasks back untouched", reply=wire.LeaseReply, tag="leases"),
            Route(method="POST", path="/api/queue/sweep", handler=self.sweep, scope=MANAGE, body=wire.Sweep,
                  summary="Put back or fail tasks whose lease ran out", reply=wire.Swept, errors=(404,),
                  tag="leases"),
        ]  # fmt: skip

    async def claim(self, call: Call) -> Reply:
        asked: wire.Claim = call.body
        ask = leases.Claim(
            project=asked.project,
            worker=asked.worker,
            queue=asked.queue,
            count=asked.count,
            resume=asked.resume,
            lease=None if asked.lease is None else spelling.duration(asked.lease),
        )
        taken = await self._tasks.claim(ask)
        if not taken and asked.wait:
            taken = await call.unless_gone(self._tasks.claim(ask, asked.wait))
        return json_reply(wire.Claimed(list(map(spelling.task, await self._tasks.views(taken)))))

    async def extend(self, call: Call) -> Reply:
        asked: wire.Extend = call.body
        keep = spelling.duration(asked.seconds)
        return answer(
            await self._tasks.extend.many([leases.Extend(task=it.id, by=by(it), keep=keep) for it in asked.tasks])
        )

    async def finish(self, call: Call) -> Reply:
        asked: wire.Finish = call.body
        return answer(
            await self._tasks.finish.many(
                [leases.Finish(task=it.id, by=by(it), result=result(it)) for it in asked.tasks]
            )
        )

    async def release(self, call: Call) -> Reply:
        asked: wire.Release = call.body
        return answer(await self._tasks.release.many([leases.Release(task=it.id, by=by(it)) for it in asked.tasks]))

    async def sweep(self, call: Call) -> Reply:
        asked: wire.Sweep = call.body
        project = (await self._projects.get(asked.project)).project.id
        lost = await self._tasks.sweep(project)
        workers = dict.fromkeys(task.lease.worker for task in lost if task.lease)
        return json_reply(wire.Swept([task.id for task in lost], list(workers)))


def by(it: wire.Held | wire.Ended) -> Hold:
    return Hold(fence=it.fence)


def result(it: wire.Ended) -> Result:
    if it.ok:
        return Result(ok=True, output=it.output, outputs=it.outputs)
    return Result(ok=False, output=it.output, outputs=it.outputs, error=it.error or "Failed", retry=it.retry)


def answer(outcomes: Sequence[Outcome]) -> Reply:
    """Each item's outcome; if the store took none of them, that is the answer to the whole request."""
    down = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]
    if down and len(down) == len(outcomes):
        raise down[0]
    return json_reply(spelling.settled(outcomes))
