"""Runs and the machines they run on, over HTTP: start, list, look, feed, resize, signal."""

import asyncio

from treadle.core import nodes, runs
from treadle.core.errors import Fault, Invalid
from treadle.core.fabric import Fabric
from treadle.core.runs import Command, Window
from treadle.core.tasks import Task
from treadle.faces.fabric import spelling, wire
from treadle.faces.fabric import wire_runs as words
from treadle.web.call import Call, Reply, json_reply
from treadle.web.routes import Route

ALL, ONE = "/api/runs", "/api/runs/{run}"
NODES = "/api/queue/nodes"
READ, START, FEED, SIGNAL = "runs:read", "runs:start", "runs:feed", "runs:signal"
MANAGE = "nodes:manage"


class Runs:
    """Handlers; `{run}` is the id of the run's task. Whoever starts, feeds or signals a process shows a key."""

    def __init__(self, fabric: Fabric) -> None:
        self._runs, self._nodes, self._tasks, self._output = fabric.runs, fabric.nodes, fabric.tasks, fabric.output

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path=ALL, handler=self.start, scope=START, summary="Run a command on a node",
                  body=words.NewRun, reply=words.Run, status=201, errors=(404, 409), tag="runs"),
            Route(method="GET", path=ALL, handler=self.page, scope=READ, summary="Runs, newest first",
                  query=words.RunQuery, reply=words.Runs, tag="runs"),
            Route(method="GET", path=ONE, handler=self.get, scope=READ, query=wire.WaitQuery, reply=words.Run,
                  summary="A run, at once or when it has ended", errors=(404,), tag="runs",
                  description="What it prints is at /api/tasks/{run}/output."),
            Route(method="POST", path=f"{ONE}/input", handler=self.input, scope=FEED, body=words.Input, status=204,
                  summary="Type into a run", errors=(404, 409, 503), tag="runs",
                  description="202 says that the run has begun to read it and the rest still waits."),
            Route(method="POST", path=f"{ONE}/resize", handler=self.resize, scope=FEED, body=Window, status=204,
                  summary="Change the size of a run's terminal", errors=(404, 409, 503), tag="runs"),
            Route(method="POST", path=f"{ONE}/signal", handler=self.signal, scope=SIGNAL, body=words.Signal, status=202,
                  summary="Send a signal to a run, or end it", reply=words.Run, errors=(404, 409, 503), tag="runs"),
            Route(method="GET", path=NODES, handler=self.nodes, scope=READ, reply=words.Nodes, tag="nodes",
                  summary="The machines that joined"),
            Route(method="GET", path=f"{NODES}/{{node}}", handler=self.node, scope=READ, reply=words.Node, tag="nodes",
                  summary="One machine, by id or name", errors=(404,)),
            Route(method="DELETE", path=f"{NODES}/{{node}}", handler=self.forget, scope=MANAGE, status=204, tag="nodes",
                  summary="Forget a machine that is gone", errors=(404, 409)),
        ]  # fmt: skip

    async def start(self, call: Call) -> Reply:
        asked: words.NewRun = call.body
        command = Command(
            argv=tuple(asked.argv),
            shell=asked.shell,
            cwd=asked.cwd,
            env=asked.env,
            pty=asked.pty,
            stdin=asked.stdin,
            limits=asked.limits,
            sandbox=asked.sandbox,
            grace=asked.grace,
        )
        task = await self._runs.start(
            command, by=call.principal, on=asked.on, name=asked.name, secrets=asked.secrets, on_lost=asked.on_lost
        )
        return json_reply(await self._spelled(task), 201)

    async def page(self, call: Call) -> Reply:
        asked: words.RunQuery = call.query
        states = tuple(asked.state) if asked.state else None
        found, total = await self._runs.page(states, asked.limit, asked.offset)
        return json_reply(words.Runs(list(await asyncio.gather(*map(self._spelled, found))), total))

    async def get(self, call: Call) -> Reply:
        asked: wire.WaitQuery = call.query
        task = await self._runs.get(call.params["run"])
        if asked.wait:
            task = await call.unless_gone(self._tasks.settled(task.id, asked.wait))
        return json_reply(await self._spelled(task))

    async def input(self, call: Call) -> Reply:
        asked: words.Input = call.body
        if asked.text is not None and asked.base64 is not None:
            raise Invalid(Fault("text", "give text or base64, not both"))
        data = asked.base64 if asked.base64 is not None else (asked.text or "").encode()
        taken = await self._runs.input(call.params["run"], data, eof=asked.eof)
        return Reply(204 if taken else 202)

    async def resize(self, call: Call) -> Reply:
        await self._runs.resize(call.params["run"], call.body)
        return Reply(204)

    async def signal(self, call: Call) -> Reply:
        asked: words.Signal = call.body
        task = await self._runs.signal(call.params["run"], asked.signal, by=call.principal, grace=asked.grace)
        return json_reply(await self._spelled(task), 202)

    async def nodes(self, _: Call) -> Reply:
        return json_reply(words.Nodes([spelled(node) for node in await self._nodes.all()]))

    async def node(self, call: Call) -> Reply:
        return json_reply(spelled(await self._nodes.get(call.params["node"])))

    async def forget(self, call: Call) -> Reply:
        await self._nodes.remove(call.params["node"], call.principal)
        return Reply(204)

    async def _spelled(self, task: Task) -> words.Run:
        wanted, ending = runs.wanted(task), runs.ending(task)
        extent = await self._output.extent(task.id)
        command = wanted.command
        last = task.attempts[-1] if task.attempts else None
        return words.Run(
            id=task.id,
            state=task.state,
            name=wanted.name,
            argv=list(command.argv) or None,
            shell=command.shell,
            cwd=command.cwd,
            on=wanted.on,
            node=nodes.name_of(last.worker) if last else None,
            by=task.submitter,
            pty=command.pty is not None,
            stdin=command.stdin,
            created=spelling.instant(task.created),
            started=spelling.instant_or_none(last.started if last else None),
            finished=spelling.instant_or_none(task.finished),
            seconds=ending.seconds if ending else None,
            code=ending.code if ending else None,
            signal=ending.signal if ending else None,
            reason=ending.reason if ending else None,
            error=ending.error if ending else None,
            output=words.Printed(extent.first, extent.end),
        )


def spelled(node: nodes.Node) -> words.Node:
    return words.Node(
        id=node.id,
        name=node.name,
        state=node.state,
        slots=node.slots,
        busy=node.busy,
        version=node.version,
        joined=spelling.instant(node.joined),
        seen=spelling.instant(node.seen),
        inventory=node.inventory,
        load=node.load,
    )
