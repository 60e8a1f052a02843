"""The runner that needs no model: does what a request says outright, and tells how to configure a model otherwise."""

from collections.abc import Mapping
from typing import Any

from treadle.faces.ufo.runners.calling import called, missing
from treadle.faces.ufo.runners.reading import CommandLine, NamedCall, Unreadable, read, typed
from treadle.faces.ufo.runners.relay import Relay
from treadle.faces.ufo.runners.toolbox import Toolbox
from treadle.faces.ufo.running import DeviceIO, Outcome, TaskSpec, executes_requests

NO_MODEL = (
    "No language model is configured, so this server cannot carry out a request in free text. Set [ufo.llm] base_url, "
    "model and, if the endpoint needs a key, api_key_env; or write `run: COMMAND`, or a tool's name and its arguments."
)


class Rules:
    """Carries out `run: COMMAND`, `{"tool": NAME, "args": {…}}`, `NAME {…}` and `NAME key=value …`.

    Anything else goes whole to a device that executes requests itself, and is a failure on any other.
    """

    name = "rules"

    def __init__(self, inject: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]) -> None:
        self._inject, self._environment = inject, environment

    async def run(self, task: TaskSpec, io: DeviceIO) -> Outcome:
        """See the class. Raises SessionError where the device does not say what tools it has."""
        itself = executes_requests(task.metadata)
        try:
            said = read(task.request)
            if said is None:
                return await Relay().run(task, io) if itself else Outcome(ok=False, error=NO_MODEL)
            box = await Toolbox.open(task, io, self._inject, self._environment)
            chosen = _chosen(said, box)
        except Unreadable as error:
            return Outcome(ok=False, error=str(error))
        if chosen is None:
            if itself:
                return await Relay().run(task, io)
            return Outcome(ok=False, error=_not_there(said, box))
        name, args = chosen
        done = await called(box, io, name, args, number=1)
        return Outcome(
            ok=done.error is None,
            output=done.output,
            error=done.error,
            rounds=[{"request": task.request, "result": done.output, "tool": name, "answer": done.answer}]
            if isinstance(done.answer, dict) and done.answer != done.output
            else [{"request": task.request, "result": done.output, "tool": name}],
        )


def _chosen(said: CommandLine | NamedCall, box: Toolbox) -> tuple[str, dict[str, Any]] | None:
    """The tool that the request means and its arguments, or None where the device lacks it. Raises Unreadable."""
    if isinstance(said, CommandLine):
        found = box.command()
        return (found[0].name, {found[1]: said.line}) if found else None
    tool = box.tools.get(said.name)
    return (tool.name, {**said.args, **typed(said.words, tool.input_schema)}) if tool else None


def _not_there(said: CommandLine | NamedCall, box: Toolbox) -> str:
    if isinstance(said, NamedCall):
        return NO_MODEL if said.bare else missing(said.name, box)
    return f"this device has no tool that runs a command line; it has: {', '.join(sorted(box.tools)) or 'none'}"
